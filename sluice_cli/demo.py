"""`sluice demo`: watch a fleet follow its queue on an embedded AWS."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice_sim.embedded.story import Minute, Part, Summary

CHECKOUT = Path(__file__).resolve().parent.parent
BAR_MESSAGES = 3
"""Messages that one block of the backlog's bar stands for."""
BAR_WIDTH = 26


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary alone, as one JSON object.")
@click.option(
    "--without",
    "parts",
    type=click.Choice([part.value for part in Part]),
    multiple=True,
    help="Take a part of the control plane away and see what still works; repeatable.",
)
def demo(as_json: bool, parts: tuple[str, ...]) -> None:
    """Play one workload from zero to its maximum and back.

    No AWS account is needed: SQS, Auto Scaling, SSM and CloudWatch are embedded, the clock is virtual, and
    what decides are the very handlers, alarms and policy that `sam deploy` would install. Exits with 1 when a
    message is left or the fleet is not back at its minimum.
    """
    if not (CHECKOUT / "workload.yaml").is_file():
        raise click.ClickException(
            f"{CHECKOUT} holds no workload.yaml: run the demo from a clone of the project"
        )
    from sluice_sim.embedded.demo import play  # the cloud takes a second or two to import

    timeline = Console(stderr=as_json, highlight=False, soft_wrap=True)
    timeline.print(_legend())
    summary = play(
        CHECKOUT,
        without=tuple(Part(part) for part in parts),
        on_minute=lambda minute: timeline.print(_row(minute)),
    )
    if as_json:
        click.echo(json.dumps({"workloads": [summary.as_json()]}))
    else:
        timeline.print(_table(summary))
    sys.exit(0 if summary.ok else 1)


def _legend() -> Text:
    return Text.from_markup(
        f"\n[bold]min  visible  in flight  {'backlog':{BAR_WIDTH}} running/desired  per instance / target"
        "[/]\n"
        f"[dim]     one block: {BAR_MESSAGES} messages, [blue]█[/] visible, [cyan]▒[/] in flight; "
        "[green]●[/] running, ○ asked for[/]"
    )


def _row(minute: Minute) -> Text:
    """One minute: the numbers, the bars, and below it what was decided."""
    published = "-" if minute.backlog_per_instance is None else f"{minute.backlog_per_instance:.3g}"
    target = "-" if minute.target is None else f"{minute.target:g}"
    row = Text(f"{minute.minute:3d}  {minute.visible:7d}  {minute.in_flight:9d}  ")
    row.append_text(_backlog_bar(minute)).append(f" {minute.running:2d}/{minute.desired:<2d} ")
    row.append_text(_fleet_bar(minute)).append(f" {published:>5} / {target}")
    for event in minute.events:
        row.append(f"\n{'':5}→ {event}", style="bold yellow")
    return row


def _backlog_bar(minute: Minute) -> Text:
    visible = -(-minute.visible // BAR_MESSAGES)
    in_flight = -(-minute.in_flight // BAR_MESSAGES)
    bar = Text("█" * visible, style="blue").append("▒" * in_flight, style="cyan")
    bar.truncate(BAR_WIDTH, pad=True)
    return bar


def _fleet_bar(minute: Minute) -> Text:
    bar = Text("●" * minute.running, style="green").append(
        "○" * (minute.desired - minute.running), style="default"
    )
    bar.truncate(10, pad=True)
    return bar


def _table(summary: Summary) -> Table:
    verdict = "nothing left, back at its minimum"
    if not summary.ok:
        verdict = (
            f"not done: {summary.left} left, desired {summary.final_desired} (minimum {summary.minimum})"
        )
    table = Table(title=f"{summary.name}: {verdict}", title_justify="left", show_header=False)
    decided = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.decisions.items()))
    for what, value in (
        ("messages sent", summary.sent),
        ("processed", summary.processed),
        ("left", summary.left),
        ("instances at most", summary.peak_instances),
        ("minutes at zero", summary.minutes_at_zero),
        ("Sluice's decisions", decided or "none"),
        ("desired at the end", summary.final_desired),
    ):
        table.add_row(what, str(value))
    return table
