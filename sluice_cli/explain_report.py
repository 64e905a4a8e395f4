"""The minutes of an explanation as the demo's picture draws them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sluice_operator.core.timeline import Entry, Source, folded
from sluice_sim.embedded.timeline import Event, EventKind, Minute

NEEDED = ("visible", "in_flight", "desired_now", "running")
"""A tick that could not read all of these is no row."""
MAX_ROWS = 1440
"""More would be narrower than a point: of neighbours the one with the most visible messages is drawn."""


def minutes(entries: Sequence[Entry]) -> list[Minute]:
    """A row for each tick with what happened since the one before it; merged entries, oldest first."""
    ticks = [entry for entry in entries if entry.source is Source.TICK and entry.numbers.keys() >= {*NEEDED}]
    if not ticks:
        return []
    midnight = ticks[0].at.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = {row.minute: row for row in (_row(tick, midnight) for tick in ticks)}
    drawn = list(_thinned(list(rows.values())))
    events: dict[int, list[Event]] = {}
    for entry in folded(entries):
        if _is_shown(entry):
            at = (entry.at - midnight) // timedelta(minutes=1)
            nearest = min(drawn, key=lambda row: abs(row.minute - at))
            events.setdefault(nearest.minute, []).append(_event(entry))
    return [replace(row, events=tuple(events.get(row.minute, ()))) for row in drawn]


def _row(tick: Entry, midnight: datetime) -> Minute:
    numbers = tick.numbers
    visible, in_flight, desired, running = (int(numbers[name]) for name in NEEDED)
    return Minute(
        minute=(tick.at - midnight) // timedelta(minutes=1),
        time=tick.at,
        visible=visible,
        in_flight=in_flight,
        desired=desired,
        running=running,
        # What is tracked; how many messages arrived is not logged, so arrivals are not drawn.
        backlog_per_instance=numbers.get(
            "effective_backlog_per_instance", numbers.get("backlog_per_instance")
        ),
        target=numbers.get("target"),
        processing_s=None,
        events=(),
    )


def _thinned(rows: Sequence[Minute]) -> Iterator[Minute]:
    every = math.ceil(len(rows) / MAX_ROWS)
    for first in range(0, len(rows), every):
        yield max(rows[first : first + every], key=lambda row: row.visible)


def _is_shown(entry: Entry) -> bool:
    if entry.source is Source.ALARM:
        return entry.wrong or (entry.repeats is not None and entry.repeats[1].endswith(" ALARM"))
    return entry.source not in (Source.TICK, Source.STACK) or entry.wrong


def _event(entry: Entry) -> Event:
    often = f"{entry.times} times, the last: " if entry.times > 1 else ""
    kind = EventKind.NOTE
    if entry.wrong:
        kind = EventKind.FAILURE
    elif entry.source is Source.ACTIVITY:
        kind = EventKind.TARGET_TRACKING
    elif entry.source is Source.DECISION and entry.repeats is None:
        kind = EventKind.DECISION
    return Event(kind=kind, text=often + entry.text, time=entry.at)
