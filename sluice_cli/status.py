"""`sluice status`: what every workload does now, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from rich.console import Group
from rich.live import Live

from sluice_cli import status_json, status_of_several, status_tables, status_view
from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened, reached
from sluice_cli.progress import ProgressBar
from sluice_cli.several_planes import are_several
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError

WATCH_EVERY_S = 10.0
WIDTH = 200
"""Of the output where there is no terminal: nothing is left out."""
FINDING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One reading, ready to be printed."""

    ok: bool
    lines: Group
    document: Callable[[], dict[str, Any]]


@click.command()
@click.argument("workloads", metavar="[WORKLOAD]...", nargs=-1, shell_complete=COMPLETE)
@click.option("--watch", is_flag=True, help="Show it again every ten seconds, until Ctrl-C.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object (docs/schemas/status.json, or status-of-several.json).",
)
@click.option(
    "--all-regions",
    is_flag=True,
    help="Show the control planes of every enabled region; --profile A,B and --region A,B those of several.",
)
@account_options
def status(
    workloads: tuple[str, ...], account: AccountOptions, *, watch: bool, as_json: bool, all_regions: bool
) -> None:
    """Show what every workload does now, and what is wrong with it.

    WORKLOAD is the name of a registered workload; without one, all are shown. One name shows all that is
    known of that workload. `?` is a value that could not be read. Takes read permissions alone
    (docs/policies/status.json). Exits with 1 if a condition is wrong, or a control plane of several could not
    be read.
    """
    if watch and as_json:
        raise UsageError("--watch redraws a terminal, and --json prints once: leave one of them out")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with ProgressBar(Console(stderr=True)) as bar:
        if are_several(account, all_regions=all_regions):
            with reached(account, "status", bar) as wait:
                planes = status_of_several.reader(account, bar.step, all_regions=all_regions)
                shown = _shown(
                    partial(_of_several, planes, workloads, console), wait, console, bar, watch=watch
                )
        else:
            with opened(account, "status", bar) as chosen:
                read = status_view.reader(chosen.account, bar.step)
                of_one = partial(_of_one, read, workloads, console, chosen.account.plane.stack)
                shown = _shown(of_one, chosen.wait, console, bar, watch=watch)
    if as_json:
        click.echo(json.dumps(shown.document()))
    else:
        console.print(shown.lines)
    sys.exit(0 if shown.ok else FINDING)


def _of_one(read: status_view.Read, workloads: tuple[str, ...], console: Console, stack: str) -> Shown:
    view = read(workloads)
    if len(workloads) == 1:
        lines = status_tables.detail(view.workloads[0], view.events, view.at)
    else:
        lines = status_tables.overview(view.workloads, view.at, console.width)
    return Shown(ok=view.ok, lines=lines, document=partial(status_json.document, view, stack))


def _of_several(read: status_of_several.Read, workloads: tuple[str, ...], console: Console) -> Shown:
    found = read(workloads)
    return Shown(
        ok=found.ok,
        lines=status_of_several.tables(found, console.width),
        document=partial(status_of_several.document, found),
    )


def _shown(
    read: Callable[[], Shown],
    wait: Callable[[float], None],
    console: Console,
    bar: ProgressBar,
    *,
    watch: bool,
) -> Shown:
    """One reading; with `watch` redrawn until Ctrl-C, where the last one stands while the next is read."""
    shown = read()
    if not watch:
        return shown
    bar.stop()
    with Live(shown.lines, console=console, auto_refresh=False) as live:
        while True:
            wait(WATCH_EVERY_S)
            live.update(read().lines, refresh=True)
