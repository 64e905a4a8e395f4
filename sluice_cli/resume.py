"""`sluice resume`: end a workload's pause at once."""

from __future__ import annotations

import json
import sys

import click

from sluice_cli import pause_json
from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened
from sluice_cli.pause import LIMIT_S, chosen_directions
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_operator import pauses


@click.command(name="resume")
@click.argument("workload", shell_complete=COMPLETE)
@click.option("--in", "only_in", is_flag=True, help="Resume scale-in alone.")
@click.option("--out", "only_out", is_flag=True, help="Resume scale-out alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/resume.json).")
@account_options
def resume(workload: str, account: AccountOptions, *, only_in: bool, only_out: bool, as_json: bool) -> None:
    """End a workload's pause at once, whoever has set it; AWS's own policy gets back what it had.

    Without --in and --out both directions are resumed.
    """
    directions = chosen_directions(only_in=only_in, only_out=only_out)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "resume", bar) as chosen:
        done = pauses.resume(chosen.account, workload, directions, lambda: LIMIT_S, on_step=bar.step)
        now = chosen.account.ports.now()
    if as_json:
        click.echo(json.dumps(pause_json.resumed(done, now)))
        sys.exit(0)
    if done.ended is None:
        still = f" in this direction; it is {done.left}" if done.left else ""
        click.echo(f"{done.workload} is not paused{still}: nothing was done.")
    else:
        left = f" It is still {done.left}" if done.left else ""
        click.echo(f"{done.workload} is resumed. It was {done.ended}{left}")
