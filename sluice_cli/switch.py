"""`sluice switch`: make the other color of a blue/green workload the active one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from sluice.core.model import Color
from sluice_cli import switch_report
from sluice_cli.aws_account import COMPLETE, AccountOptions, OpenedAccount, account_options, opened
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator import switches
from sluice_operator.core.switching import Execution, Progress
from sluice_operator.switches import Found

LIMIT_S, POLL_S = 60.0, 5.0


@click.command(name="switch")
@click.argument("workload", shell_complete=COMPLETE)
@click.option("--to", metavar="COLOR", help="blue or green.  [default: the color that is not active]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, or why it is refused; change nothing.")
@click.option("--follow", "follow_it", is_flag=True, help="Follow the switch in progress.")
@click.option("--abort", "abort_it", is_flag=True, help="Stop the switch in progress, and have it undone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/switch.json).")
@account_options
def switch(
    workload: str,
    account: AccountOptions,
    *,
    to: str | None,
    dry_run: bool,
    follow_it: bool,
    abort_it: bool,
    as_json: bool,
) -> None:
    """Make the other color of a blue/green workload the active one, without a message lost.

    A state machine of the control plane does it: the new color is raised and takes messages, then it becomes
    the active one; the old one receives no more, and is set to zero once it works on nothing. What fails
    before the new color is active is undone. Ctrl-C leaves the switch running.
    """
    color = _asked(to, {"--dry-run": dry_run, "--follow": follow_it, "--abort": abort_it})
    with (
        ProgressBar(Console(stderr=True)) as bar,
        opened(account, "switch", bar, blue_green=True) as chosen,
    ):
        if dry_run:
            plan = switches.plan(chosen.account, workload, color, lambda: LIMIT_S, on_step=bar.step)
            bar.stop()
            _print(switch_report.plan_json(plan), switch_report.plan(plan), as_json=as_json)
            sys.exit(2 if plan.refusal else 0)
        if abort_it:
            found = switches.abort(chosen.account, workload, lambda: LIMIT_S, on_step=bar.step)
            bar.stop()
            done = switch_report.aborted(found)
            _print(done, f"{found.workload}: {done['message']}", as_json=as_json)
            sys.exit(0)
        begun: Found | None
        if follow_it:
            begun = switches.find(chosen.account, workload, lambda: LIMIT_S, on_step=bar.step)
        else:
            begun = switches.start(chosen.account, workload, color, lambda: LIMIT_S, on_step=bar.step)
        if begun is None:
            bar.stop()
            assert color is not None
            done = switch_report.active_already(workload, color)
            _print(done, f"{workload}: {done['message']}", as_json=as_json)
            sys.exit(0)
        _follow(chosen, begun, bar, as_json=as_json)


def _asked(to: str | None, given: dict[str, bool]) -> Color | None:
    ways = [name for name, is_given in given.items() if is_given]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)} are different things to do: give one of them")
    if to is None:
        return None
    if ways and ways != ["--dry-run"]:
        raise UsageError(f"{ways[0]} is about the switch in progress: leave --to out")
    if to not in set(Color):
        raise UsageError(f"--to {to}: give blue or green")
    return Color(to)


def _print(done: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    click.echo(json.dumps(done) if as_json else sentence)


def _follow(chosen: OpenedAccount, begun: Found, bar: ProgressBar, *, as_json: bool) -> None:
    """Show the switch until its end; exit status 0 if the color is switched, 2 otherwise."""

    def wait() -> None:
        chosen.wait(POLL_S)

    try:
        stands, seen = _shown(
            switches.follow(chosen.account, begun.execution, wait), bar, begun, is_quiet=as_json
        )
    except KeyboardInterrupt:
        bar.stop()
        click.echo(switch_report.left(begun), err=True)
        sys.exit(130)
    bar.stop()
    done = switch_report.ended(begun, stands, seen)
    sentence = f"{begun.workload}: {done['message']}"
    if not done["well"] and not as_json:
        raise UsageError(sentence)
    _print(done, sentence, as_json=as_json)
    sys.exit(0 if done["well"] else 2)


def _shown(
    follow: Iterable[tuple[Execution, Progress]], bar: ProgressBar, begun: Found, *, is_quiet: bool
) -> tuple[Execution, Progress]:
    """Print each step once it says something new; returns the end."""
    printed: list[str] = []
    shown: tuple[Execution, Progress] | None = None
    for shown in follow:
        seen = shown[1]
        for line in switch_report.lines(seen)[len(printed) :]:
            printed.append(line)
            if not is_quiet:
                bar.stop()
                click.echo(line)
        text, share = switch_report.now(begun, seen)
        bar.show(text, share)
    assert shown is not None
    return shown
