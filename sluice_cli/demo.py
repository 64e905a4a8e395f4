"""`sluice demo`: watch fleets follow their queues on an embedded AWS."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

import sluice_report
from sluice_cli import completion
from sluice_cli.demo_server import Address, AddressType, serve_until_interrupted
from sluice_cli.outputs import require_writable_directory
from sluice_cli.terminal import Console
from sluice_report.demo import sentences
from sluice_report.quantities import duration, durations, number, share
from sluice_sim.embedded.scenarios import DEMO, DEMO_OF_PROCESSES, SCENARIOS
from sluice_sim.embedded.timeline import (
    ColorSize,
    Component,
    EventKind,
    Minute,
    Scenario,
    Summary,
    SwitchSeen,
    Timeline,
)

CHECKOUT = Path(__file__).resolve().parent.parent
BAR_MESSAGES = 3
"""Messages per block of the backlog's bar."""
BAR_WIDTH = 26
FLEET_WIDTH, COLOR_WIDTH = 10, 6
"""Dots for the instances of a fleet, and of one of two colors."""
COLOR_CELL = 15
"""Characters of one color's numbers and dots."""
MINUTE_S = 60
EVENT_STYLES = {
    EventKind.ARRIVAL: "cyan",
    EventKind.DECISION: "bold yellow",
    EventKind.TARGET_TRACKING: "magenta",
    EventKind.FAILURE: "bold red",
    EventKind.NOTE: "dim",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary alone, as one JSON object.")
@click.option(
    "--scenario",
    "names",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.names(lambda _: SCENARIOS),
    help="Run this example workload; repeatable. Without it: " + " and ".join(s.name for s in DEMO) + ".",
)
@click.option(
    "--report",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write report.html and a picture of each workload there.",
)
@click.option(
    "--real-workers",
    is_flag=True,
    help="Run the workers as processes, one `python -m sluice_worker` per instance, over HTTP and on the "
    "wall clock: two seconds stand for a minute, and the demo ends within three. Without a scenario: "
    + " and ".join(s.name for s in DEMO_OF_PROCESSES)
    + ". Not for dynamic targets: the processes measure wall-clock seconds.",
)
@click.option("--list", "as_list", is_flag=True, help="List the scenarios.")
@click.option(
    "--serve",
    "address",
    type=AddressType(),
    help="At the end serve the embedded AWS over HTTP until Ctrl-C: for Grafana, the AWS CLI, or other "
    "commands with --endpoint-url. On the loopback interface, unless a host is named.",
)
@click.option(
    "--without",
    "parts",
    type=click.Choice([part.value for part in Component]),
    multiple=True,
    help="Remove a part of the control plane and see what still works; repeatable.",
)
def demo(
    as_json: bool,
    names: tuple[str, ...],
    directory: Path | None,
    real_workers: bool,
    as_list: bool,
    address: Address | None,
    parts: tuple[str, ...],
) -> None:
    """Run example workloads from their minimum to their peak and back.

    No AWS account is needed: SQS, Auto Scaling, ECS, SSM and CloudWatch are embedded, the clock is virtual,
    and the decisions are made by the same handlers, alarms and policies that `sam deploy` installs. Workers
    are simulated, or processes with --real-workers. Exits with 1 if a message is left or a fleet is not back
    at its minimum; a promise that is not kept is reported, but does not change the exit status.
    """
    if as_list:
        for scenario in SCENARIOS.values():
            click.echo(f"{scenario.name:24} {scenario.description}")
        return
    _require_possible(directory, address, real_workers)
    scenarios, without = _chosen(names, real_workers), [Component(part) for part in parts]
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if real_workers:
        timelines = _run_with_processes(scenarios, without, console)
    else:
        from sluice_cli.demo_operator import switch
        from sluice_sim.embedded.demo import run_scenarios  # the cloud takes a second or two to import

        timelines = run_scenarios(
            CHECKOUT,
            scenarios,
            without=without,
            on_minute=_Timeline(console, scenarios).show,
            operator=switch,
            afterwards=partial(serve_until_interrupted, address, console) if address else None,
        )
    summaries = [timeline.summary for timeline in timelines]
    if as_json:
        click.echo(json.dumps({"workloads": [_as_json(summary) for summary in summaries]}))
    else:
        for summary in summaries:
            console.print(_table(summary))
            if summary.switch is not None:
                console.print(_switch_table(summary.switch))
            sentences_to_print = [f"{_capitalised(sentences.promise(summary))}.", sentences.why_late(summary)]
            console.print("\n".join(filter(None, sentences_to_print)), end="\n\n")
    if directory is not None:
        _write_report(timelines, directory, console)
    sys.exit(0 if all(summary.ok for summary in summaries) else 1)


def _require_possible(directory: Path | None, address: Address | None, real_workers: bool) -> None:
    if not (CHECKOUT / "workload.yaml").is_file():
        raise click.ClickException(
            f"{CHECKOUT} holds no workload.yaml: run the demo from a clone of the project"
        )
    if address is not None and real_workers:
        raise click.BadParameter("the account of --real-workers ends with them", param_hint="--serve")
    if directory is not None:
        require_writable_directory(directory)


def _chosen(names: Sequence[str], real_workers: bool) -> list[Scenario]:
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(SCENARIOS)}", param_hint="--scenario"
        )
    chosen = [SCENARIOS[name] for name in dict.fromkeys(names)]
    if not real_workers:
        return chosen or list(DEMO)
    for scenario in chosen:
        if scenario.simulated_only:
            raise click.BadParameter(
                f"{scenario.name} is not for --real-workers: {scenario.simulated_only}",
                param_hint="--scenario",
            )
    return chosen or list(DEMO_OF_PROCESSES)


def _run_with_processes(
    scenarios: Sequence[Scenario], without: Sequence[Component], console: Console
) -> list[Timeline]:
    from sluice_sim.embedded import real_processes

    if Component.RETUNE in without:
        raise click.BadParameter(
            "retune: no target is dynamic with --real-workers, so nothing would be missing",
            param_hint="--without",
        )
    console.print(
        "\nEach instance is a process, [bold]python -m sluice_worker[/], and AWS a server on this machine.\n"
        f"A minute takes {MINUTE_S / real_processes.PACE:g} s, all else is shortened alike; "
        "it ends within 3 min."
    )
    for scenario in scenarios:
        console.print(
            _shortened_durations(scenario.name, real_processes.scaled_durations(CHECKOUT, scenario)),
            style="dim",
        )
    printer = _Timeline(console, scenarios)
    try:
        return real_processes.run_scenarios(CHECKOUT, scenarios, without=without, on_minute=printer.show)
    except real_processes.WorkersFailedError as broken:
        raise click.ClickException(f"the workers failed: {broken}") from broken


def _shortened_durations(name: str, shortened: Mapping[str, tuple[float, float]]) -> str:
    first, *more = [
        f"{what} {{}}{wall_s:.2g} s in place of {virtual_s:g} s"
        for what, (virtual_s, wall_s) in shortened.items()
    ]
    return f"{name}: {', '.join([first.format('takes '), *(each.format('') for each in more)])}"


def _write_report(timelines: Sequence[Timeline], directory: Path, console: Console) -> None:
    try:
        written = sluice_report.write(timelines, directory)
    except OSError as error:
        raise click.ClickException(
            f"{directory}: no report can be written there: {error.strerror}"
        ) from error
    console.print(f"report: {', '.join(map(str, written))}", style="dim")


class _Timeline:
    """Prints minutes as they happen: each with an event, and some in between."""

    def __init__(self, console: Console, scenarios: Sequence[Scenario]) -> None:
        self._console = console
        self._every = {scenario.name: scenario.row_every_minutes for scenario in scenarios}
        self._width = max(map(len, self._every))
        self._named = len(scenarios) > 1
        self._has_heading = False

    def show(self, name: str, minute: Minute) -> None:
        """Print one minute: its numbers, its bars, and its events below."""
        if not self._has_heading:
            self._console.print(self._heading(minute))
            self._has_heading = True
        if minute.events or minute.minute % self._every[name] == 0:
            self._console.print(self._row(name, minute))

    def _heading(self, first: Minute) -> Text:
        name = f"{'workload':{self._width}}  " if self._named else ""
        fleets, note = "running/desired  ", ""
        if first.colors:
            fleets = "".join(f" {each.color:{COLOR_CELL - 1}}" for each in first.colors)
            note = ", with running/desired, * the active color"
        return Text.from_markup(
            f"\n[bold] min  {name}visible  in flight  {'backlog':{BAR_WIDTH}} {fleets}tracked / target[/]\n"
            f"[dim]      one block: {BAR_MESSAGES} messages, [blue]█[/] visible, [cyan]▒[/] in flight; "
            f"[green]●[/] running, ○ asked for{note}[/]"
        )

    def _row(self, name: str, minute: Minute) -> Text:
        tracked = "-" if minute.tracked_per_instance is None else f"{minute.tracked_per_instance:.3g}"
        target = "-" if minute.target is None else f"{minute.target:.3g}"
        row = Text(f"{minute.minute:4d}  ")
        if self._named:
            row.append(f"{name:{self._width}}  ", style="dim")
        row.append(f"{minute.visible:7d}  {minute.in_flight:9d}  ")
        row.append_text(_backlog_bar(minute))
        if minute.colors:
            for each in minute.colors:
                row.append_text(_color_cell(each))
        else:
            row.append(f" {minute.running:2d}/{minute.desired:<2d} ")
            row.append_text(_dots(minute.running, minute.desired, FLEET_WIDTH, "green"))
        row.append(f" {tracked:>5} / {target}")
        for event in minute.events:
            row.append(f"\n{'':6}→ {event.text}", style=EVENT_STYLES[event.kind])
        return row


def _backlog_bar(minute: Minute) -> Text:
    visible = -(-minute.visible // BAR_MESSAGES)
    in_flight = -(-minute.in_flight // BAR_MESSAGES)
    bar = Text("█" * visible, style="blue").append("▒" * in_flight, style="cyan")
    bar.truncate(BAR_WIDTH, pad=True)
    return bar


def _color_cell(each: ColorSize) -> Text:
    mark = "*" if each.active else " "
    cell = Text(f" {each.running:2d}/{each.desired:<2d}{mark} ", style="bold" if each.active else "")
    return cell.append_text(_dots(each.running, each.desired, COLOR_WIDTH, each.color)).append(" ")


def _dots(running: int, desired: int, width: int, style: str) -> Text:
    bar = Text("●" * running, style=style).append("○" * (desired - running), style="")
    bar.truncate(width, pad=True, overflow="ellipsis")
    return bar


def _as_json(summary: Summary) -> dict[str, object]:
    """The summary's numbers, and as sentences what is not done and why a promise was not kept."""
    return {
        **summary.as_json(),
        "ok": summary.ok,
        "not_done": None if summary.ok else sentences.unfinished(summary),
        "why_late": sentences.why_late(summary) or None,
    }


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _table(summary: Summary) -> Table:
    title = f"{summary.name}: {sentences.verdict(summary)}"
    table = Table(title=title, title_justify="left", show_header=False)
    decided = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.decisions.items()))
    for what, value in (
        ("messages sent", summary.sent),
        ("processed", summary.processed),
        *_process_rows(summary),
        ("left", summary.left),
        ("peak instances", summary.peak_instances),
        ("minutes at zero", summary.minutes_at_zero),
        ("Sluice's decisions", decided or "none"),
        ("desired at the end", summary.final_desired),
        ("instance-hours", number(summary.instance_hours)),
        *_wait_rows(summary),
        *_switch_rows(summary),
    ):
        table.add_row(what, str(value))
    return table


def _switch_table(switch: SwitchSeen) -> Table:
    """The steps with their times; several steps begin and end in one second."""
    table = Table(title=f"the switch: {switch.outcome or 'it has not ended'}", title_justify="left")
    table.add_column("step")
    table.add_column("began after", justify="right")
    table.add_column("took", justify="right")
    table.add_column("said", overflow="fold")
    for each in switch.steps:
        took = "?" if each.ended_s is None else duration(each.ended_s - each.began_s)
        after = duration(each.began_s - switch.steps[0].began_s)
        table.add_row(each.step, after, took, each.reason)
    return table


def _wait_rows(summary: Summary) -> list[tuple[str, object]]:
    waits = summary.waits
    if waits is None:
        return []
    half, nearly_all, promised = durations([waits.p50_s, waits.p99_s, waits.promise_s])
    return [
        ("wait p50, arrival to start", half),
        ("wait p99", nearly_all),
        (f"started within {promised}", share(waits.attainment)),
    ]


def _switch_rows(summary: Summary) -> list[tuple[str, object]]:
    if summary.switch is None:
        return []
    return [
        ("out of order in their message group", summary.out_of_order),
        ("instances ended at work", summary.ended_at_work),
        ("desired of the old color", summary.old_color_desired),
    ]


def _process_rows(summary: Summary) -> list[tuple[str, object]]:
    processes = summary.processes
    if processes is None:
        return []
    mean = "" if processes.mean_s is None else f", {processes.mean_s:.3g} s on average (wall clock)"
    return [
        ("processed twice", summary.processed_twice),
        ("worker processes", f"{processes.started} started, {processes.failed or 'none'} failed"),
        ("processing times published", f"{processes.published}{mean}"),
    ]
