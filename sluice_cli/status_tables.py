"""How `sluice status` is printed: a line a workload, or one workload in detail.

Columns that do not fit are dropped, the least important first. Whatever the width, each wrong condition is a
sentence below its workload.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from typing import TypeVar

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sluice.core.model import Backlog, Capacity, Unknown
from sluice.core.schedules import InForce
from sluice.core.switch_record import Switch
from sluice_operator.aws.workload_events import NOT_SCALED, WorkloadEvents
from sluice_operator.core.conditions import Condition, Kind, Status, in_words, live_backlog_per_instance
from sluice_operator.core.drain import drain_s
from sluice_operator.core.events import Activity, AlarmState, Deployment
from sluice_operator.core.readings import LoggedDecision, Point, Readings, Starts, promise_s
from sluice_operator.core.schedules import schedule_in_force, until
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.status import WorkloadStatus
from sluice_report.quantities import number, share

UNKNOWN = "?"
NONE = "-"
INDENT = 2
GAP = 2
MARKS = {Status.TRUE: "yes", Status.FALSE: "no", Status.UNKNOWN: UNKNOWN}
HEADINGS = {
    Kind.REGISTERED: ("reg", 19),
    Kind.READING: ("read", 16),
    Kind.PUBLISHING: ("publ", 14),
    Kind.AWAKE: ("awake", 15),
    Kind.SCALING_LIMITED: ("limit", 13),
    Kind.PAUSED: ("pause", 17),
    Kind.KEEPING: ("keep", 12),
}
"""Condition -> the heading of its column in the list, and its rank; schedules have a column of their own."""
INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+")
MAX_ACTIVITIES = 8
MAX_REASONS = 5
"""Reasons of unknown values below the list; the detail of a workload and --json have all."""
WRONG_STYLE, UNKNOWN_STYLE = "bold red", "yellow"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column of the list; those of the lowest rank are dropped last."""

    heading: str
    rank: int
    cell: Callable[[WorkloadStatus], str | Text]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filled:
    """A column with a cell for each workload."""

    heading: str
    rank: int
    cells: Sequence[Text]
    width: int


def overview(found: Sequence[WorkloadStatus], now: datetime, width: int) -> Group:
    """All workloads, a line each with its last decision and what is wrong below it."""
    if not found:
        return Group(Text("No workload is registered: deploy one with workload.yaml (README.md)."))
    columns = _fitting([_filled(column, found) for column in _columns(found, now)], width)
    widths = [column.width for column in columns]
    lines: list[Text | Padding] = [_line([column.heading for column in columns], widths, style="bold")]
    for index, each in enumerate(found):
        lines.append(_line([column.cells[index] for column in columns], widths))
        lines += _notes(each, now, width)
    return Group(*lines, Text(""), *_unknown_reasons(found), _summary(found))


def _filled(column: _Column, found: Sequence[WorkloadStatus]) -> _Filled:
    cells = [_text(column.cell(each)) for each in found]
    return _Filled(
        heading=column.heading,
        rank=column.rank,
        cells=cells,
        width=max(len(column.heading), *map(len, cells)),
    )


def _fitting(columns: Sequence[_Filled], width: int) -> list[_Filled]:
    """The columns that fit, without those of the highest rank."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width + GAP for column in kept) - GAP > width:
        kept.remove(max(kept, key=lambda column: column.rank))
    return kept


def _text(cell: str | Text) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text(cell, style=UNKNOWN_STYLE if UNKNOWN in cell else "")


def _line(cells: Sequence[str | Text], widths: Sequence[int], style: str = "") -> Text:
    """Names to the left, all other cells to the right."""
    line = Text(style=style, no_wrap=True, overflow="crop")
    for index, (cell, cell_width) in enumerate(zip(cells, widths, strict=True)):
        blank = " " * (cell_width - len(cell))
        line.append_text(Text.assemble(cell, blank) if index == 0 else Text.assemble(" " * GAP, blank, cell))
    return line


def _columns(found: Sequence[WorkloadStatus], now: datetime) -> list[_Column]:
    """All columns in their order; that of schedules only if a workload has some."""
    plain = [
        _Column(heading="workload", rank=0, cell=lambda each: each.name),
        _Column(heading="state", rank=1, cell=_state),
        _Column(heading="visible", rank=2, cell=_count("visible")),
        _Column(heading="flight", rank=8, cell=_count("in_flight")),
        _Column(heading="delayed", rank=18, cell=_count("delayed")),
        _Column(heading="oldest", rank=4, cell=_read(lambda read: duration(read.oldest_age_s))),
        _Column(heading="desired", rank=5, cell=_size(lambda fleet: str(fleet.desired))),
        _Column(heading="pend", rank=11, cell=_size(_pending)),
        _Column(heading="run", rank=3, cell=_size(lambda fleet: str(fleet.running))),
        _Column(heading="max", rank=9, cell=_read(_maximum)),
        _Column(heading="of target", rank=10, cell=_read(_against_target)),
        _Column(heading="drain", rank=7, cell=_read(lambda read: _drain(drain_s(read)))),
        _Column(heading="in time", rank=6, cell=_read(lambda read: _in_time(read.starts))),
    ]
    marks = [
        _Column(heading=heading, rank=rank, cell=_mark(kind)) for kind, (heading, rank) in HEADINGS.items()
    ]
    schedule = _Column(heading="schedule", rank=16, cell=lambda each: _schedule(each, now))
    has_schedules = any(each.readings and each.readings.workload.schedules for each in found)
    return [*plain, *([schedule] if has_schedules else []), *marks]


def _schedule(each: WorkloadStatus, now: datetime) -> Text:
    """The schedule in force and until when, marked where the fleet has not its bounds."""
    condition = next(one for one in each.conditions if one.kind is Kind.SCHEDULED)
    held = schedule_in_force(each.readings.workload, now) if each.readings else None
    if condition.status is Status.UNKNOWN:
        return Text(UNKNOWN, style=UNKNOWN_STYLE)
    if not isinstance(held, InForce):
        return Text(NONE)
    shown = f"{held.schedule.name}{until(held, now)}"
    return Text(shown + ("!" if condition.wrong else ""), style=WRONG_STYLE if condition.wrong else "")


def _read(cell: Callable[[Readings], str]) -> Callable[[WorkloadStatus], str]:
    return lambda each: UNKNOWN if each.readings is None else cell(each.readings)


def _count(name: str) -> Callable[[WorkloadStatus], str]:
    def cell(readings: Readings) -> str:
        backlog = readings.observation.backlog
        return f"{getattr(backlog, name):,}" if isinstance(backlog, Backlog) else UNKNOWN

    return _read(cell)


def _size(cell: Callable[[Capacity], str]) -> Callable[[WorkloadStatus], str]:
    def of(readings: Readings) -> str:
        capacity = readings.observation.capacity
        return cell(capacity) if isinstance(capacity, Capacity) else UNKNOWN

    return _read(of)


def _pending(capacity: Capacity) -> str:
    """Instances that boot; where AWS does not say, those that are asked for and do not run yet."""
    if capacity.booting is not None:
        return str(capacity.booting)
    return str(max(capacity.desired - capacity.running, 0))


def _maximum(readings: Readings) -> str:
    capacity = readings.observation.capacity
    bounds = capacity.bounds if isinstance(capacity, Capacity) else None
    return str(min(readings.workload.bounds.max, bounds.max if bounds else readings.workload.bounds.max))


def _against_target(readings: Readings) -> str:
    """Messages per instance against the target, or the deadline engine's margin."""
    if readings.workload.deadline is not None:
        margin_s = readings.margin_s
        return (
            UNKNOWN if isinstance(margin_s, Unknown) or margin_s is None else f"margin {number(margin_s)} s"
        )
    tracked: object = readings.tracked
    if not readings.workload.publishes_effective:
        tracked = live_backlog_per_instance(readings)
    value = tracked.value if isinstance(tracked, Point) else tracked
    shown = number(value) if isinstance(value, float) else UNKNOWN
    target = readings.target
    return f"{shown}/{number(target)}" if isinstance(target, int | float) else f"{shown}/{UNKNOWN}"


def _drain(seconds: float | Unknown) -> str:
    if isinstance(seconds, float) and math.isinf(seconds):
        return "grows"
    return duration(seconds)


def _in_time(starts: Starts | Unknown | None) -> str:
    return share(starts.in_time_share) if isinstance(starts, Starts) else UNKNOWN


def duration(seconds: float | Unknown | None) -> str:
    """Seconds in one or two units, such as 45s, 4m10s or 2h05m; `?` if unknown, `-` if there is none."""
    if isinstance(seconds, Unknown):
        return UNKNOWN
    if not seconds:
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m" if whole < 100 * 3600 else f"{whole // 86400}d"


def _state(each: WorkloadStatus) -> Text:
    if each.wrong:
        return Text("wrong", style=WRONG_STYLE)
    return Text("ok", style="green")


def _mark(kind: Kind) -> Callable[[WorkloadStatus], Text]:
    def cell(each: WorkloadStatus) -> Text:
        return _marked(next(condition for condition in each.conditions if condition.kind is kind))

    return cell


def _marked(condition: Condition) -> Text:
    style = UNKNOWN_STYLE if condition.status is Status.UNKNOWN else ""
    return Text(
        MARKS[condition.status] + ("!" if condition.wrong else ""),
        style=WRONG_STYLE if condition.wrong else style,
    )


def _notes(each: WorkloadStatus, now: datetime, width: int) -> list[Text | Padding]:
    """The last decision, shortened to a line, and each wrong condition in full."""
    notes: list[Text | Padding] = []
    if each.readings is not None and isinstance(each.readings.switch, Switch):
        notes.append(Padding(Text(f"in {in_words(each.readings.switch)}"), (0, 0, 0, INDENT)))
    if each.readings is not None and isinstance(each.readings.last_decision, LoggedDecision):
        said = Text(" " * INDENT + _said(each.readings.last_decision, now), style="dim", no_wrap=True)
        said.truncate(width, overflow="ellipsis")
        notes.append(said)
    notes += [
        Padding(Text(f"! {_sentence(condition)}", style=WRONG_STYLE), (0, 0, 0, INDENT))
        for condition in each.conditions
        if condition.wrong
    ]
    return notes


def _unknown_reasons(found: Sequence[WorkloadStatus]) -> list[Text]:
    """Why values are shown as `?`, each reason once; a reading of queue or fleet is a condition already."""
    reasons = Counter(
        value.reason
        for each in found
        if each.readings is not None
        for value in (getattr(each.readings, name.name) for name in fields(each.readings))
        if isinstance(value, Unknown)
    )
    shown = [
        f"{with_way_out(reason, 'status')} ({count:,} value{'' if count == 1 else 's'})"
        for reason, count in reasons.most_common(MAX_REASONS)
    ]
    if len(reasons) > MAX_REASONS:
        shown.append(f"{len(reasons) - MAX_REASONS:,} further reasons: --json has all of them")
    return [Text(f"{UNKNOWN} {reason}", style=UNKNOWN_STYLE) for reason in shown]


def _said(decision: LoggedDecision, now: datetime) -> str:
    return f"{ago(decision.at, now)} ago: {decision.message}"


def _sentence(condition: Condition) -> str:
    message = with_way_out(condition.message, "status")
    return f"{condition.kind} {condition.status}, {condition.reason}: {message}"


def _summary(found: Sequence[WorkloadStatus]) -> Text:
    wrong = sum(each.wrong for each in found)
    workloads = f"{len(found):,} workload{'' if len(found) == 1 else 's'}"
    if not wrong:
        return Text(f"{workloads}: nothing is wrong.")
    return Text(f"{workloads}, {wrong:,} with a condition that is wrong.", style=WRONG_STYLE)


def detail(each: WorkloadStatus, events: WorkloadEvents | None, now: datetime) -> Group:
    """All that is known of one workload."""
    parts: list[Text | Table | Padding] = [
        Text.assemble((each.name, "bold"), "  ", _state(each)),
        _conditions(each.conditions),
    ]
    if each.readings is not None:
        parts.append(_facts(each.readings, now))
    if events is not None:
        parts.append(_section("Alarms", events.alarms, lambda alarm: _alarm(alarm, now), "none"))
        parts.append(_section("Deployments", events.deployments, _deployment(now), "none under way"))
        activities = events.activities
        folded = activities if isinstance(activities, Unknown) else _folded(activities)
        parts.append(_section("Newest scaling activities of the last hour", folded, _activity(now), "none"))
    return Group(*(part for each_part in parts for part in (each_part, Text(""))))


Item = TypeVar("Item")


def _section(
    title: str,
    items: Sequence[Item] | Unknown,
    row: Callable[[Item], tuple[str | Text, str | Text]],
    none: str,
) -> Table:
    """A titled list of pairs, the reason why it could not be read, or that there is none."""
    table = grid(title)
    if isinstance(items, Unknown):
        table.add_row(UNKNOWN, Text(with_way_out(items.reason, "status"), style=UNKNOWN_STYLE))
    elif not items:
        table.add_row(NONE, none)
    else:
        for item in items:
            table.add_row(*row(item))
    return table


def _alarm(alarm: AlarmState, now: datetime) -> tuple[Text, Text]:
    style = {"ALARM": "bold", "INSUFFICIENT_DATA": UNKNOWN_STYLE}.get(alarm.state, "")
    muted = "" if alarm.actions_enabled else ", its actions are disabled"
    # The rest of the name of target tracking's alarms is a unique id.
    name = re.sub(r"(-Alarm(High|Low))-.*", r"\1", alarm.name)
    return Text(alarm.state, style=style), Text(f"{name} for {ago(alarm.since, now)}{muted}")


def _deployment(now: datetime) -> Callable[[Deployment], tuple[str, str]]:
    def row(deployment: Deployment) -> tuple[str, str]:
        began = deployment.started_at
        return UNKNOWN if began is None else f"{ago(began, now)} ago", deployment.description

    return row


def _activity(now: datetime) -> Callable[[tuple[Activity, int]], tuple[str, Text]]:
    def row(folded: tuple[Activity, int]) -> tuple[str, Text]:
        activity, alike = folded
        failed = activity.status in ("Failed", "Cancelled")
        tells = failed or activity.status == NOT_SCALED
        ended = f" {activity.status}: {activity.status_message}".rstrip(": ") if tells else ""
        often = f"{alike} times: " if alike > 1 else ""
        said = Text(f"{often}{activity.description}{ended}", style=WRONG_STYLE if failed else "")
        if activity.cause:
            said.append(f"\n{activity.cause}", style="dim")
        return f"{ago(activity.at, now)} ago", said

    return row


def _folded(activities: Sequence[Activity]) -> list[tuple[Activity, int]]:
    """The newest; neighbours that differ by an instance's id are one: AWS lists each instance by itself."""

    def same(activity: Activity) -> tuple[str, ...]:
        texts = (activity.description, activity.cause, activity.status, activity.status_message)
        return tuple(INSTANCE_ID.sub("i-", text) for text in texts)

    runs = [list(alike) for _, alike in groupby(activities, key=same)]
    return [(alike[0], len(alike)) for alike in runs[:MAX_ACTIVITIES]]


def ago(moment: datetime, now: datetime) -> str:
    """How long ago that was, in one or two units."""
    return duration(max((now - moment).total_seconds(), 1.0))


def _facts(readings: Readings, now: datetime) -> Table:
    table = grid()
    promised_s = promise_s(readings.workload)
    rows: list[tuple[str, object]] = [
        ("queue", readings.workload.queue_url),
        ("messages", _messages(readings.observation.backlog)),
        ("oldest message", readings.oldest_age_s),
        *_fleets(readings),
        ("backlog/target", _against_target(readings)),
        ("arrivals", _rate(readings.arrivals_per_s)),
        ("deletions", _rate(readings.deletions_per_s)),
        ("time to drain", drain_s(readings)),
        ("promise", duration(promised_s)),
        ("in time, last hour", readings.starts),
        ("last decision", readings.last_decision),
    ]
    for name, value in rows:
        table.add_row(name, _value(value, now))
    return table


def _fleets(readings: Readings) -> list[tuple[str, object]]:
    """The fleet and its size; of a blue/green workload both colors, and the switch in progress."""
    workload, idle = readings.workload, readings.workload.idle
    if idle is None:
        return [("fleet", f"{workload.fleet}"), ("instances", _instances(readings))]
    other = readings.observation.idle
    size = f"{other.desired} desired, {other.running} running" if isinstance(other, Capacity) else other
    switch = in_words(readings.switch) if isinstance(readings.switch, Switch) else readings.switch
    return [
        (f"{workload.color}, active", f"{workload.fleet}"),
        ("instances", _instances(readings)),
        (f"{idle.color}, idle", f"{idle.fleet}"),
        ("instances", size),
        ("switch", switch),
    ]


def _value(value: object, now: datetime) -> Text:
    match value:
        case Unknown():
            return Text(f"{UNKNOWN} {with_way_out(value.reason, 'status')}", style=UNKNOWN_STYLE)
        case float() | None:
            return Text(_drain(value) if isinstance(value, float) else NONE)
        case Starts():
            return Text(f"{share(value.in_time_share)} of {value.messages:,.0f} messages")
        case LoggedDecision():
            return Text(_said(value, now))
        case _:
            return Text(str(value))


def _messages(backlog: Backlog | Unknown) -> Unknown | str:
    if isinstance(backlog, Unknown):
        return backlog
    return f"{backlog.visible:,} visible, {backlog.in_flight:,} in flight, {backlog.delayed:,} delayed"


def _instances(readings: Readings) -> Unknown | str:
    capacity = readings.observation.capacity
    if isinstance(capacity, Unknown):
        return capacity
    return (
        f"{capacity.desired} desired, {_pending(capacity)} pending, {capacity.running} running, "
        f"at most {_maximum(readings)}"
    )


def _rate(per_s: float | Unknown | None) -> Unknown | str:
    if isinstance(per_s, Unknown):
        return per_s
    return f"{number(60 * (per_s or 0))} a minute, mean of the last 5"


def _conditions(all_: Sequence[Condition]) -> Table:
    table = grid()
    for condition in all_:
        marked = _marked(condition)
        table.add_row(
            condition.kind.value,
            Text.assemble(marked, " " * (5 - len(marked)), f"{condition.reason}: {condition.message}"),
        )
    return table


def grid(title: str | None = None) -> Table:
    """A table of names and values without lines."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        pad_edge=False,
        padding=(0, 1),
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table
