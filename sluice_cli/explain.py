"""`sluice explain`: why a workload did or did not scale."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

import sluice_report
from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened
from sluice_cli.durations import duration
from sluice_cli.explain_report import minutes
from sluice_cli.outputs import require_writable_directory
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator.core.timeline import LOGGED, Answer, Entry, at_moment, folded
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.explain import Explanation
from sluice_operator.explain import explain as read_explanation

READ_LIMIT_S = 120.0
WIDTH = 200
"""Of the output where there is no terminal: nothing is left out."""
FINDING = 1
DEFAULT_SINCE = timedelta(hours=6)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)
KEPT = ", for which CloudWatch keeps alarm history"
"""CloudWatch keeps an alarm's history for 30 days."""
BEFORE, AFTER = timedelta(minutes=30), timedelta(minutes=10)
"""What is read around the moment of --at."""
QUIET = timedelta(minutes=10)
"""The logs tell nothing of the time before their first line if that is so much later than the start."""


@click.command()
@click.argument("workload", shell_complete=COMPLETE)
@click.option(
    "--since", multiple=True, metavar="DURATION", help="How far back, such as 90m, 6h or 2d. [default: 6h]"
)
@click.option(
    "--at",
    "moments",
    multiple=True,
    metavar="TIME",
    help="One moment, such as 14:05 or 2026-01-15T14:05, in UTC.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/explain.json).")
@click.option(
    "--report",
    "report_dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a picture of it there, WORKLOAD.png.",
)
@account_options
def explain(
    workload: str,
    since: tuple[str, ...],
    moments: tuple[str, ...],
    report_dir: Path | None,
    account: AccountOptions,
    *,
    as_json: bool,
) -> None:
    """Show why a workload did or did not scale, as a timeline.

    Decisions, scaling activities, alarms, deployments and changes of the stacks are merged by time, in UTC;
    repeated holds are one line. --at explains one moment. Takes read permissions alone
    (docs/policies/explain.json). Exits with 1 if something failed or could not be read.
    """
    chosen_times = [f"--since {each}" for each in since] + [f"--at {each}" for each in moments]
    if len(chosen_times) > 1:
        raise UsageError(f"{' and '.join(chosen_times)} each choose the time: give one of them")
    span = duration("--since", since[0], SHORTEST, LONGEST, KEPT) if since else DEFAULT_SINCE
    written = _written(moments[0]) if moments else None
    if report_dir is not None:
        require_writable_directory(report_dir)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "explain", bar) as chosen:
        now = chosen.account.ports.now()
        at = None if written is None else _moment(written, moments[0], now)
        start, end = (now - span, now) if at is None else (at - BEFORE, min(at + AFTER, now))
        end_s = time.monotonic() + READ_LIMIT_S
        found = read_explanation(
            chosen.account, workload, start, end, lambda: end_s - time.monotonic(), bar.step
        )
    answer = None if at is None else _answer(found, at)
    if as_json:
        click.echo(json.dumps(_document(workload, found, start, end, answer)))
    else:
        console.print(_shown(workload, found, start, end, answer))
    if report_dir is not None:
        _write_picture(workload, found, start, end, report_dir)
    sys.exit(FINDING if found.wrong or (answer is not None and answer.wrong) else 0)


def _write_picture(name: str, found: Explanation, start: datetime, end: datetime, directory: Path) -> None:
    console = Console(stderr=True, highlight=False)
    if not (rows := minutes(found.entries)):
        console.print("No picture: no tick has logged a queue and a fleet in this time.", style="bold red")
        return
    finding = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    try:
        path = sluice_report.write_picture(name, finding, rows, directory, all_events="`sluice explain`")
    except OSError as error:
        raise UsageError(f"{directory}: no picture can be written there: {error.strerror}") from error
    console.print(f"picture: {path}", style="dim")


def _written(text: str) -> datetime | clock_time:
    """The moment, or a time of day, as it is written; in UTC unless it says otherwise."""
    try:
        if of_day := re.fullmatch(r"(\d{1,2}):(\d{2})", text, re.ASCII):
            return clock_time(int(of_day[1]), int(of_day[2]), tzinfo=UTC)
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (OverflowError, ValueError) as malformed:
        raise UsageError(f"--at {text} is no time: give 14:05 or 2026-01-15T14:05, in UTC") from malformed


def _moment(written: datetime | clock_time, text: str, now: datetime) -> datetime:
    of_day = isinstance(written, clock_time)
    at = datetime.combine(now.date(), written) if isinstance(written, clock_time) else written
    if at > now:
        way_out = (
            f"for yesterday give {at - timedelta(days=1):%Y-%m-%dT%H:%M}"
            if of_day
            else "give an earlier time"
        )
        raise UsageError(f"--at {text} is in the future: it is {now:%Y-%m-%dT%H:%M} UTC; {way_out}")
    if now - at > LONGEST:
        raise UsageError(
            f"--at {text} is over 30 days ago, for which CloudWatch keeps alarm history: give a later time"
        )
    return at


def _shown(name: str, found: Explanation, start: datetime, end: datetime, answer: Answer | None) -> Group:
    time_format = "%H:%M:%S" if start.date() == end.date() else "%m-%d %H:%M:%S"
    parts: list[Text | Table] = [
        Text(f"{name}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC", style="bold")
    ]
    parts.append(_table(folded(found.entries), time_format) if found.entries else Text("Nothing happened."))
    parts += [
        Text(f"? {what}: {with_way_out(unknown.reason, 'explain')}", style="yellow")
        for what, unknown in found.unread.items()
    ]
    if found.unread_decisions is None:
        parts += [Text(said, style=style) for said, style in _missing_lines(name, found, start, time_format)]
    if answer is not None:
        parts += [Text(""), Text(answer.sentence, style="bold")]
        parts += [_table(answer.standing, time_format)] if answer.standing else []
    return Group(*parts)


def _table(entries: Sequence[Entry], time_format: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for entry in entries:
        style = "bold red" if entry.wrong else "dim" if entry.repeats else ""
        table.add_row(
            f"{entry.at:{time_format}}", entry.source.value, Text(_text(entry, time_format), style=style)
        )
    return table


def _answer(found: Explanation, at: datetime) -> Answer:
    if unread := found.unread_decisions:
        return Answer(sentence=f"what happened at {at:%H:%M} UTC, and why, is unknown: {unread.reason}")
    return at_moment(found.entries, at)


def _missing_lines(
    name: str, found: Explanation, start: datetime, time_format: str
) -> Iterator[tuple[str, str]]:
    """What the logs lack of the time, as sentences with their styles."""
    first = next((entry.at for entry in found.entries if entry.source in LOGGED), None)
    if first is None:
        said = (
            f"! the functions logged nothing about {name} in this time: check that the control plane's "
            "schedules are enabled, and that the retention of its log groups is longer"
        )
        yield said, "bold red"
    elif first - start > QUIET:
        yield f"The logs tell nothing about {name} before {first:{time_format}}.", "dim"


def _text(entry: Entry, time_format: str) -> str:
    if entry.until is None:
        return entry.text
    first, last = (f"{moment:{time_format}}" for moment in (entry.at, entry.until))
    return f"{entry.times} times{f' until {last}' if last != first else ''}, the last: {entry.text}"


def _document(
    name: str, found: Explanation, start: datetime, end: datetime, answer: Answer | None
) -> dict[str, Any]:
    return {
        "workload": name,
        "start": _time(start),
        "end": _time(end),
        "ok": not (found.wrong or (answer is not None and answer.wrong)),
        "because": None if answer is None else answer.sentence,
        "entries": [
            {
                "at": _time(entry.at),
                "until": _time(entry.until or entry.at),
                "times": entry.times,
                "source": entry.source.value,
                "text": entry.text,
                "effect": entry.effect.value,
                "wrong": entry.wrong,
                "numbers": dict(entry.numbers),
            }
            for entry in folded(found.entries)
        ],
        "unread": {what: unknown.reason for what, unknown in found.unread.items()},
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
