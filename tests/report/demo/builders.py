"""Builders of timelines, with defaults: a test names only what it is about."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sluice_sim.embedded.timeline import (
    ColorSize,
    Event,
    EventKind,
    Minute,
    Summary,
    SwitchSeen,
    SwitchStep,
    Timeline,
)
from sluice_sim.promise import Waits

BOOTSTRAP = "bootstrap 0 -> 1: work waits and nothing runs (by tick)"
TRACKING = "target tracking 1 -> 3: 24 per instance against a target of 8"
SHUTDOWN = "shutdown 3 -> 0: the queue is proven empty (0 for 5 min and now) (by alarm)"


def arrival(text: str = "24 messages arrive") -> Event:
    return Event(kind=EventKind.ARRIVAL, text=text)


def decision(text: str = BOOTSTRAP) -> Event:
    return Event(kind=EventKind.DECISION, text=text)


def tracking(text: str = TRACKING) -> Event:
    return Event(kind=EventKind.TARGET_TRACKING, text=text)


def failure(text: str = "publish_backlog: nothing published") -> Event:
    return Event(kind=EventKind.FAILURE, text=text)


def note(text: str = "only 2 message groups are active") -> Event:
    return Event(kind=EventKind.NOTE, text=text)


def minute(number: int, *events: Event, **changes: Any) -> Minute:
    values: dict[str, Any] = {
        "visible": 0,
        "in_flight": 0,
        "desired": 0,
        "running": 0,
        "backlog_per_instance": 0.0,
        "target": 8.0,
        "processing_s": None,
    }
    return Minute(minute=number, events=events, **(values | changes))


def summary(**changes: Any) -> Summary:
    values: dict[str, Any] = {
        "name": "transcription",
        "minimum": 0,
        "maximum": 5,
        "sent": 24,
        "processed": 24,
        "left": 0,
        "peak_instances": 3,
        "minutes_at_zero": 3,
        "decisions": Counter(bootstrap=1, shutdown=1),
        "final_desired": 0,
        "instance_hours": 0.25,
        "waits": Waits(promise_s=480.0, attainment=1.0, p50_s=180.0, p99_s=300.0),
    }
    return Summary(**(values | changes))


def minutes() -> tuple[Minute, ...]:
    """24 messages, one instance, then three, then none."""
    return (
        minute(1),
        minute(2, arrival(), decision(), visible=24, desired=1, backlog_per_instance=24),
        minute(3, visible=23, in_flight=1, desired=1, running=1, backlog_per_instance=24),
        minute(4, tracking(), visible=22, in_flight=1, desired=3, running=1, backlog_per_instance=23),
        minute(5, visible=17, in_flight=3, desired=3, running=3, backlog_per_instance=6.67, processing_s=60),
        minute(6, visible=4, in_flight=3, desired=3, running=3, backlog_per_instance=2.33, processing_s=61.5),
        minute(7, desired=3, running=3, processing_s=61.5),
        minute(8, decision(SHUTDOWN)),
        minute(9),
    )


def timeline(**changes: Any) -> Timeline:
    lesson = "24 messages on one instance are <three times> the target."
    return Timeline(summary=summary(**changes), minutes=minutes(), explanation=lesson)


def arriving() -> tuple[Minute, ...]:
    """30 messages arrive every minute; from minute 4 on they count as sustained, at two instances."""
    before = tuple(
        minute(number, sent=30, effective_backlog_per_instance=15.0, backlog_per_instance=15.0)
        for number in (1, 2, 3)
    )
    sustained = tuple(
        minute(
            number,
            sent=30,
            desired=2,
            running=2,
            in_flight=5,
            arrivals_per_s=0.5,
            backlog_per_instance=2.5,
            effective_backlog_per_instance=9.5,
        )
        for number in range(4, 21)
    )
    return before + sustained


def flat(length: int = 5, **changes: Any) -> Timeline:
    """A timeline in which all minutes are equal."""
    return Timeline(
        summary=summary(), minutes=tuple(minute(number, **changes) for number in range(1, length + 1))
    )


def color(name: str, running: int, *, desired: int | None = None, **changes: Any) -> ColorSize:
    values: dict[str, Any] = {"active": False, "busy": running} | changes
    return ColorSize(color=name, desired=running if desired is None else desired, running=running, **values)


def switched(**changes: Any) -> Timeline:
    """Blue hands over to green in minute 3; the switch is over in minute 6."""
    blue, green = (2, 2, 2, 0, 0, 0, 0), (0, 0, 2, 2, 2, 2, 2)
    rows = tuple(
        minute(
            number,
            in_flight=2,
            desired=old + new,
            running=old + new,
            colors=(color("blue", old, active=number < 3), color("green", new, active=number >= 3)),
        )
        for number, (old, new) in enumerate(zip(blue, green, strict=True), 1)
    )
    steps = (
        SwitchStep(step="begin", began_s=60.0, ended_s=60.0, reason="begins"),
        SwitchStep(step="ready", began_s=60.0, ended_s=150.0, reason="green runs"),
        SwitchStep(step="flip", began_s=150.0, ended_s=150.0, reason="green is active"),
        SwitchStep(step="retire", began_s=150.0, ended_s=200.0, reason="blue is at zero"),
        SwitchStep(step="finish", began_s=200.0, ended_s=350.0, reason="over"),
    )
    seen = {"old": "blue", "new": "green", "steps": steps, "outcome": "green is active", "is_done": True}
    switch = SwitchSeen(**(seen | changes))
    return Timeline(summary=summary(final_desired=2, minimum=2, switch=switch), minutes=rows)
