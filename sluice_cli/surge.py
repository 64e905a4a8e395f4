"""`sluice surge`: raise a workload's fleet at once, and hold it."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Any

import click

from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened
from sluice_cli.durations import duration
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator import surges
from sluice_operator.surges import Size

LIMIT_S = 60.0
DRAIN_IN, HOLD = timedelta(minutes=30), timedelta(hours=1)
SHORTEST_DRAIN, SHORTEST_HOLD, LONGEST = timedelta(minutes=1), timedelta(minutes=5), timedelta(days=7)
MAX_INSTANCES = 9999


@click.command(name="surge")
@click.argument("workload", shell_complete=COMPLETE)
@click.option("--to", metavar="N", help="This many instances.")
@click.option(
    "--drain-in",
    metavar="DURATION",
    help="As many as drain the backlog in this time, such as 30m.  [default: 30m]",
)
@click.option("--for", "for_", metavar="DURATION", help="How long they are held, such as 2h.  [default: 1h]")
@click.option("--end", "end_it", is_flag=True, help="Hand back at once.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/surge.json).")
@account_options
def surge(
    workload: str,
    account: AccountOptions,
    *,
    to: str | None,
    drain_in: str | None,
    for_: str | None,
    end_it: bool,
    as_json: bool,
) -> None:
    """Raise a workload's fleet at once, and hold it as the fleet's minimum for some time.

    AWS itself puts the minimum back at the end, also while the control plane is silent; then the workload's
    own scaling lowers the fleet. A surge lowers nothing: given again, it raises or prolongs the one in force.
    """
    given = [name for name, value in (("--to", to), ("--drain-in", drain_in), ("--for", for_)) if value]
    if end_it and given:
        raise UsageError(f"--end hands back at once: leave {' and '.join(given)} out")
    size, hold = _size(to, drain_in), _hold(drain_in, for_)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "surge", bar) as chosen:
        if end_it:
            done = surges.end(chosen.account, workload, lambda: LIMIT_S, on_step=bar.step)
        else:
            done = surges.surge(chosen.account, workload, size, hold, lambda: LIMIT_S, on_step=bar.step)
    if as_json:
        click.echo(json.dumps(done))
        sys.exit(0)
    click.echo(f"{done['workload']}: {done['message']}")
    if not end_it:
        click.echo(_end(done["workload"], done["surge"]))


def _size(to: str | None, drain_in: str | None) -> Size:
    if to is not None and drain_in is not None:
        raise UsageError(f"--to {to} and --drain-in {drain_in} both choose the size: give one of them")
    if to is None:
        return Size(drain_in=_drain_in(drain_in))
    if not (to.isascii() and to.isdecimal() and 1 <= int(to[:9]) <= MAX_INSTANCES and len(to) <= 9):
        raise UsageError(f"--to {to}: give a whole number of instances from 1 to {MAX_INSTANCES}")
    return Size(to=int(to))


def _drain_in(text: str | None) -> timedelta:
    return DRAIN_IN if text is None else duration("--drain-in", text, SHORTEST_DRAIN, LONGEST)


def _hold(drain_in: str | None, for_: str | None) -> timedelta:
    """As asked, or long enough to drain the backlog."""
    drained = None if drain_in is None else _drain_in(drain_in)
    if for_ is None:
        return max(HOLD, drained or HOLD)
    hold = duration("--for", for_, SHORTEST_HOLD, LONGEST)
    if drained is not None and hold < drained:
        raise UsageError(
            f"--for {for_} ends before the backlog is drained, --drain-in {drain_in}: give a longer --for"
        )
    return hold


def _end(name: str, in_force: dict[str, Any]) -> str:
    until = datetime.fromisoformat(in_force["until"])
    return (
        f"AWS puts the minimum of {in_force['minimum_before']} back at {until:%Y-%m-%d %H:%M} UTC; "
        f"`sluice surge {name} --end` does so at once."
    )
