"""`sluice status`: what every workload does now, and what is wrong with it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import click
from rich.console import Group
from rich.live import Live

from sluice_cli import status_json, status_tables
from sluice_cli.aws_account import COMPLETE, AccountOptions, OpenedAccount, account_options, opened
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator.account import Account
from sluice_operator.aws.workload_events import WorkloadEvents, read_events
from sluice_operator.pauses import held_by_aws
from sluice_operator.status import StatusReader, WorkloadStatus

READ_LIMIT_S = 120.0
"""A thousand workloads take under 15 s; with every call throttled and retried, a minute or two."""
WATCH_EVERY_S = 10.0
WIDTH = 200
"""Of the output where there is no terminal: nothing is left out."""
FINDING = 1

EVENTS_SINCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one reading of the account has found."""

    at: datetime
    workloads: Sequence[WorkloadStatus]
    events: WorkloadEvents | None
    """Of the one workload that was asked for, if its document is served."""


@click.command()
@click.argument("workloads", metavar="[WORKLOAD]...", nargs=-1, shell_complete=COMPLETE)
@click.option("--watch", is_flag=True, help="Show it again every ten seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/status.json).")
@account_options
def status(workloads: tuple[str, ...], account: AccountOptions, *, watch: bool, as_json: bool) -> None:
    """Show what every workload does now, and what is wrong with it.

    WORKLOAD is the name of a registered workload; without one, all are shown. One name shows all that is
    known of that workload. `?` is a value that could not be read. Takes read permissions alone
    (docs/policies/status.json). Exits with 1 if a condition is wrong.
    """
    if watch and as_json:
        raise UsageError("--watch redraws a terminal, and --json prints once: leave one of them out")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with (
        ProgressBar(Console(stderr=True)) as bar,
        opened(account, "status", bar) as chosen,
    ):
        reader = StatusReader(
            chosen.account.ports,
            chosen.account.decisions,
            partial(held_by_aws, chosen.account.clients),
        )

        def read() -> View:
            end_s = time.monotonic() + READ_LIMIT_S
            found = reader.read(workloads, lambda: end_s - time.monotonic(), bar.step)
            return _with_events(found, chosen.account, one=len(workloads) == 1)

        if watch:
            _watch(read, chosen, console, bar, one=len(workloads) == 1)
        view = read()
    if as_json:
        click.echo(json.dumps(status_json.document(view.workloads, view.events, chosen.account, view.at)))
    else:
        console.print(_shown(view, console, one=len(workloads) == 1))
    sys.exit(FINDING if any(each.wrong for each in view.workloads) else 0)


def _with_events(found: Sequence[WorkloadStatus], account: Account, *, one: bool) -> View:
    now, events = account.ports.now(), None
    if one and (readings := found[0].readings):
        events = read_events(account.clients, readings.workload, now - EVENTS_SINCE)
    return View(at=now, workloads=found, events=events)


def _watch(
    read: Callable[[], View], chosen: OpenedAccount, console: Console, bar: ProgressBar, *, one: bool
) -> None:
    """Redraw until Ctrl-C; the last view stands while the next one is read."""
    view = read()
    bar.stop()
    with Live(_shown(view, console, one=one), console=console, auto_refresh=False) as live:
        while True:
            chosen.wait(WATCH_EVERY_S)
            live.update(_shown(read(), console, one=one), refresh=True)


def _shown(view: View, console: Console, *, one: bool) -> Group:
    if one:
        return status_tables.detail(view.workloads[0], view.events, view.at)
    return status_tables.overview(view.workloads, view.at, console.width)
