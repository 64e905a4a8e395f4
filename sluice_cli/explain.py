"""`sluice explain`: why a workload did or did not scale."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sluice_cli.aws_account import AccountOptions, account_options, opened
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_operator.core.timeline import Entry, at_moment, folded
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.explain import Explanation
from sluice_operator.explain import explain as read_explanation

READ_LIMIT_S = 120.0
WIDTH = 200
"""Of the output where there is no terminal: nothing is left out."""
FINDING = 1
DEFAULT_SINCE = timedelta(hours=6)
LONGEST = timedelta(days=30)
"""CloudWatch keeps an alarm's history for 30 days."""
BEFORE, AFTER = timedelta(minutes=30), timedelta(minutes=10)
"""What is read around the moment of --at."""
UNITS_S = {"d": 86400, "h": 3600, "m": 60}


@click.command()
@click.argument("workload")
@click.option("--since", metavar="DURATION", help="How far back, such as 90m, 6h or 2d. [default: 6h]")
@click.option("--at", "moment", metavar="TIME", help="One moment, such as 14:05 or 2026-01-15T14:05, in UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/explain.json).")
@account_options
def explain(
    workload: str, since: str | None, moment: str | None, account: AccountOptions, *, as_json: bool
) -> None:
    """Show why a workload did or did not scale, as a timeline.

    Decisions, scaling activities, alarms, deployments and changes of the stacks are merged by time, in UTC;
    repeated holds are one line. --at explains one moment. Takes read permissions alone
    (docs/policies/explain.json). Exits with 1 if something failed or could not be read.
    """
    if since is not None and moment is not None:
        raise UsageError("--since and --at each choose the time: leave one of them out")
    span = DEFAULT_SINCE if since is None else _duration(since)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "explain", bar) as chosen:
        now = chosen.account.ports.now()
        at = None if moment is None else _moment(moment, now)
        start, end = (now - span, now) if at is None else (at - BEFORE, min(at + AFTER, now))
        end_s = time.monotonic() + READ_LIMIT_S
        found = read_explanation(
            chosen.account, workload, start, end, lambda: end_s - time.monotonic(), bar.step
        )
    if as_json:
        click.echo(json.dumps(_document(workload, found, start, end, at)))
    else:
        console.print(_shown(workload, found, start, end, at))
    sys.exit(FINDING if found.wrong else 0)


def _duration(text: str) -> timedelta:
    if not re.fullmatch(r"(\d+[dhm])+", text, re.ASCII):
        raise UsageError(f"--since {text}: give a number with d, h or m, such as 90m, 6h or 2d")
    parts = re.findall(r"(\d+)([dhm])", text)
    if len({unit for _, unit in parts}) < len(parts):
        raise UsageError(
            f"--since {text} gives two durations of one unit: give one, such as {parts[0][0]}{parts[0][1]}"
        )
    span_s = sum(int(number) * UNITS_S[unit] for number, unit in parts)
    if not 0 < span_s <= LONGEST.total_seconds():
        raise UsageError(f"--since {text}: give between 1m and 30d, for which CloudWatch keeps alarm history")
    return timedelta(seconds=span_s)


def _moment(text: str, now: datetime) -> datetime:
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text, re.ASCII):
            hour, minute = map(int, text.split(":"))
            at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        else:
            at = datetime.fromisoformat(text)
    except ValueError as malformed:
        raise UsageError(f"--at {text} is no time: give 14:05 or 2026-01-15T14:05, in UTC") from malformed
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if at > now:
        raise UsageError(
            f"--at {text} is in the future: it is {now:%Y-%m-%dT%H:%M} UTC; give an earlier time"
        )
    if now - at > LONGEST:
        raise UsageError(f"--at {text} is over 30 days ago, and CloudWatch keeps no alarm history for longer")
    return at


def _shown(name: str, found: Explanation, start: datetime, end: datetime, at: datetime | None) -> Group:
    time_format = "%H:%M:%S" if start.date() == end.date() else "%m-%d %H:%M:%S"
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for entry in folded(found.entries):
        style = "bold red" if entry.wrong else "dim" if entry.held else ""
        table.add_row(
            f"{entry.at:{time_format}}", entry.source.value, Text(_text(entry, time_format), style=style)
        )
    parts: list[Text | Table] = [
        Text(f"{name}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC", style="bold")
    ]
    parts.append(table if found.entries else Text("Nothing happened."))
    parts += [
        Text(f"? {what}: {with_way_out(unknown.reason, 'explain')}", style="yellow")
        for what, unknown in found.unread.items()
    ]
    if not found.has_log_lines and "decisions" not in found.unread:
        parts.append(Text(_no_lines(name), style="bold red"))
    if at is not None:
        parts.append(Text(_because(found, at), style="bold"))
    return Group(*parts)


def _because(found: Explanation, at: datetime) -> str:
    if unread := found.unread.get("decisions"):
        return f"why nothing happened at {at:%H:%M} UTC is unknown: {unread.reason}"
    return at_moment(found.entries, at)


def _no_lines(name: str) -> str:
    return (
        f"! the functions logged nothing about {name} in this time: check that the control plane's "
        "schedules are enabled, and that the retention of its log groups is longer"
    )


def _text(entry: Entry, time_format: str) -> str:
    if entry.until is None:
        return entry.text
    return f"{entry.times} times until {entry.until:{time_format}}, last: {entry.text}"


def _document(
    name: str, found: Explanation, start: datetime, end: datetime, at: datetime | None
) -> dict[str, Any]:
    return {
        "workload": name,
        "start": _time(start),
        "end": _time(end),
        "ok": not found.wrong,
        "because": None if at is None else _because(found, at),
        "entries": [
            {
                "at": _time(entry.at),
                "until": _time(entry.until or entry.at),
                "times": entry.times,
                "source": entry.source.value,
                "text": entry.text,
                "held": entry.held,
                "wrong": entry.wrong,
            }
            for entry in folded(found.entries)
        ],
        "unread": {what: unknown.reason for what, unknown in found.unread.items()},
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
