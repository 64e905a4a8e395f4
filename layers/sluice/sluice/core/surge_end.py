"""When a surge ends, and which minimum its end puts back.

Whoever has scheduled a minimum wants it from its start on: the workload's own schedules, and scheduled
actions of others. A surge ends before the next one starts, so that no older minimum takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfoNotFoundError

from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import Mode, Reason, Schedule, Workload
from sluice.core.schedules import in_force, starts
from sluice.core.surge import MinimumChange, Refusal, ScheduledActions

MIN_HOLD = timedelta(minutes=5)
LATEST = timedelta(minutes=2)
"""AWS executes a scheduled action within seconds, and up to two minutes late (documented)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The next start of a schedule, or of somebody else's scheduled action."""

    at: datetime
    """In UTC."""
    minimum: int
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.what} sets the minimum to {self.minimum} at {self.at:%H:%M} UTC"


def action_name(workload: Workload, schedule: Schedule) -> str:
    """The name of a schedule's action of a service, as workload.yaml gives it; AWS names that of a group."""
    return f"sluice-{workload.name}-{schedule.name}"


def schedule_in_force(workload: Workload, now: datetime) -> Schedule | None:
    """The workload's schedule whose minimum and maximum AWS holds at this moment; None without one.

    None as well if a time zone is not known here: then only what AWS lists counts.
    """
    if workload.mode is not Mode.ACTIVE:  # AWS has no action for them
        return None
    try:
        held = in_force(workload.schedules, now)
    except ZoneInfoNotFoundError:
        return None
    return held.schedule if held else None


def why_just_starting(workload: Workload, now: datetime) -> Refusal | None:
    """Why a surge waits for a schedule that AWS may not have executed yet: that would end the surge."""
    for start in _own_starts(workload, now - LATEST, now):
        why = f"{start}, which AWS may execute two minutes late and which would end the surge: try again then"
        return Refusal(reason=Reason.HELD, why=why, passes=True)
    return None


def end_in_time(
    workload: Workload, actions: ScheduledActions, now: datetime, until: datetime
) -> tuple[datetime, str] | Refusal:
    """The end, before the next start that sets the minimum itself; and what to know of the others."""
    own = _own_starts(workload, now, until)
    is_known = schedule_in_force(workload, now) is not None
    others = [other for other in actions.others if not (is_known and _is_own(workload, other, own))]
    coming = own + [
        _Start(
            at=other.at,
            minimum=other.minimum,
            what=f"the scheduled action {other.name}",
            way_out="try again after it, or delete it",
        )
        for other in others
        if other.at is not None and now < other.at <= until
    ]
    notes = [
        f"the scheduled action {other.name} sets the minimum to {other.minimum} by an expression of its own"
        for other in others
        if other.at is None
    ]
    step = MINUTE
    if coming:
        first = min(coming, key=lambda start: start.at)
        until, step = _free(actions, minute_of(first.at) - MINUTE, -MINUTE), -MINUTE
        if until - now < MIN_HOLD - MINUTE:
            why = f"{first}, so a surge would end at once: {first.way_out}"
            return Refusal(reason=Reason.HELD, why=why, passes=True)
        notes.insert(0, f"{first}, so the surge ends before it")
    return _free(actions, until, step), "; ".join(notes)


def _own_starts(workload: Workload, after: datetime, until: datetime) -> list[_Start]:
    """The first start of each of the workload's schedules in this time.

    Application Auto Scaling does not say when a recurring action starts next.
    """
    if schedule_in_force(workload, until) is None:
        return []
    return [
        _Start(
            at=start,
            minimum=each.bounds.min,
            what=f"schedule {each.name}",
            way_out="try again after it",
        )
        for each in workload.schedules
        for start in islice(starts(each, after, until), 1)
    ]


def _is_own(workload: Workload, action: MinimumChange, own: list[_Start]) -> bool:
    """Whether it is a schedule's action: that of a service has our name, of a group its start and minimum."""
    named = {action_name(workload, each) for each in workload.schedules}
    return action.name in named or (action.at, action.minimum) in {(each.at, each.minimum) for each in own}


def _free(actions: ScheduledActions, moment: datetime, step: timedelta) -> datetime:
    """The first moment from this one on at which no action of the fleet starts."""
    while moment in actions.taken:
        moment += step
    return moment
