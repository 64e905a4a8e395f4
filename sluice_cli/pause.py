"""`sluice pause`: hold a workload's scaling at once, in both directions or in one."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import click

from sluice.core.pause import BOTH, Direction
from sluice_cli import pause_json
from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened
from sluice_cli.durations import duration
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator import pauses

LIMIT_S = 60.0
MIN_FOR, MAX_FOR = timedelta(minutes=1), timedelta(days=365)
MAX_REASON = 200


@click.command(name="pause")
@click.argument("workload", shell_complete=COMPLETE)
@click.option("--in", "only_in", is_flag=True, help="Hold scale-in alone.")
@click.option("--out", "only_out", is_flag=True, help="Hold scale-out alone.")
@click.option("--for", "for_", metavar="DURATION", help="End by itself, for example after 2h or 90m.")
@click.option("--reason", default="", help="Shown with every decision that is held.")
@click.option("--replace", is_flag=True, help="Take over the pause that another operator has set.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/pause.json).")
@account_options
def pause(
    workload: str,
    account: AccountOptions,
    *,
    only_in: bool,
    only_out: bool,
    for_: str | None,
    reason: str,
    replace: bool,
    as_json: bool,
) -> None:
    """Hold a workload's scaling at once: Sluice's decisions and AWS's own policy.

    Without --in and --out both directions are held. With --for the pause ends by itself, also while the
    control plane is silent. The same command again changes your own pause.
    """
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise UsageError(f"--reason takes one line of at most {MAX_REASON} characters")
    span = None if for_ is None else duration("--for", for_, MIN_FOR, MAX_FOR)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "pause", bar) as chosen:
        done = pauses.pause(
            chosen.account,
            workload,
            chosen_directions(only_in=only_in, only_out=only_out),
            span,
            reason,
            lambda: LIMIT_S,
            replace_others=replace,
            on_step=bar.step,
        )
        now = chosen.account.ports.now()
    if as_json:
        click.echo(json.dumps(pause_json.paused(done, now)))
        sys.exit(0)
    click.echo(f"{done.workload} is {done.pause}")
    click.echo(f"AWS's own policy: {'held too' if done.aws_held else 'there is none to hold'}.")
    if done.resized is not None:
        click.echo(f"{done.resized[0].upper()}{done.resized[1:]}.")
    if done.replaced is not None:
        click.echo(f"It was {done.replaced}")
    end = "It ends by itself" if done.pause.until else "It ends"
    click.echo(f"{end}; `sluice resume {done.workload}` ends it{' earlier' if done.pause.until else ''}.")


def chosen_directions(*, only_in: bool, only_out: bool) -> frozenset[Direction]:
    """The directions of the options; both without any."""
    chosen = {Direction.IN: only_in, Direction.OUT: only_out}
    return frozenset(direction for direction, is_chosen in chosen.items() if is_chosen) or BOTH
