"""When schedules start, and which one is in force.

AWS runs them as scheduled actions of the group or the scalable target: each sets the fleet's own minimum
and maximum when it starts, and nothing ends it but the next one. A start that daylight saving skips in spring
does not run, and one that it repeats in autumn runs once, at the first of both times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sluice.core.model import Bounds, Mode, Schedule, Workload

WEEK = timedelta(days=7)
LONGEST = 2 * WEEK
"""A weekly start that daylight saving skips comes a week later: every schedule starts in this time."""
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The schedule that started last, at a moment."""

    schedule: Schedule
    at: datetime
    """The moment in question."""
    since: datetime
    """When it started last, in UTC."""
    until: datetime | None
    """When another one starts, in UTC; None if there is no other."""
    next: Schedule | None
    """The other one."""

    def ends(self) -> str:
        """`until 18:00 Europe/Berlin by schedule office-hours`, by the clock of the schedule that follows."""
        name = f"by schedule {self.schedule.name}"
        if self.until is None or self.next is None:
            return name
        zone = time_zone(self.next.time_zone)
        local, today = self.until.astimezone(zone), self.at.astimezone(zone).date()
        day = "" if local.date() == today else f"{local:%Y-%m-%d} "
        return f"until {day}{local.hour}:{local:%M} {self.next.time_zone} {name}"

    def limits(self, end: Literal["minimum", "maximum"]) -> str:
        """`at minimum 3 until 18:00 Europe/Berlin by schedule office-hours`."""
        bounds = self.schedule.bounds
        return f"at {end} {bounds.min if end == 'minimum' else bounds.max} {self.ends()}"


def in_force(schedules: Sequence[Schedule], now: datetime) -> InForce | None:
    """The schedule that started last, at `now` at the latest; None if there are none.

    Of two that started at once, the first. ZoneInfoNotFoundError if a time zone is not in the database of
    this machine.
    """
    if not schedules:
        return None
    since, current = max(_starts_of_all(schedules, now - LONGEST, now), key=_moment)
    others = [each for each in schedules if each != current]
    until, following = min(_starts_of_all(others, now, now + LONGEST), key=_moment, default=(None, None))
    return InForce(schedule=current, at=now, since=since, until=until, next=following)


def in_force_on(workload: Workload, fleet: Bounds | None, now: datetime) -> InForce | None:
    """The schedule in force, if `fleet`, the fleet's own bounds, are those that it sets.

    None where it does not limit the fleet: in a mode without schedules, before its first start, during a
    surge, after a change by hand or by a stack update; and where this machine does not know a time zone.
    """
    if workload.mode is not Mode.ACTIVE or fleet is None:
        return None
    try:
        found = in_force(workload.schedules, now)
    except ZoneInfoNotFoundError:
        return None
    return found if found is not None and found.schedule.bounds == fleet else None


def starts(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """When the schedule starts, in UTC, later than `after` and at `until` at the latest.

    ZoneInfoNotFoundError if its time zone is not in the database of this machine.
    """
    zone = time_zone(schedule.time_zone)
    day, last = (after.astimezone(zone) - DAY).date(), (until.astimezone(zone) + DAY).date()
    while day <= last:
        if day.weekday() in schedule.weekdays:
            local = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=zone)
            start = local.astimezone(UTC)
            is_skipped = start.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
            if after < start <= until and not is_skipped:
                yield start
        day += DAY


def coinciding(schedules: Sequence[Schedule]) -> tuple[Schedule, Schedule] | None:
    """Two schedules that start at the same minute by the same clock, which EC2 Auto Scaling refuses."""
    for one, other in combinations(schedules, 2):
        same_time = (one.hour, one.minute, one.time_zone) == (other.hour, other.minute, other.time_zone)
        if same_time and one.weekdays & other.weekdays:
            return one, other
    return None


def coinciding_start(
    schedules: Sequence[Schedule], now: datetime
) -> tuple[Schedule, Schedule, datetime] | None:
    """Two schedules, maybe of different time zones, and a minute of the next year when both start, in UTC.

    ZoneInfoNotFoundError if a time zone is not in the database of this machine.
    """
    year = now + timedelta(days=366)
    by_start: dict[datetime, Schedule] = {}
    for each in schedules:
        for start in starts(each, now, year):
            if start in by_start:
                return by_start[start], each, start
            by_start[start] = each
    return None


def _starts_of_all(
    schedules: Sequence[Schedule], after: datetime, until: datetime
) -> Iterator[tuple[datetime, Schedule]]:
    return ((start, each) for each in schedules for start in starts(each, after, until))


def _moment(start: tuple[datetime, Schedule]) -> datetime:
    return start[0]


def time_zone(name: str) -> ZoneInfo:
    """The zone of this name; ZoneInfoNotFoundError for one that this machine's database does not have."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError):  # "Europe" is a folder of the database, "Europe/" no key at all.
        raise ZoneInfoNotFoundError(f"No time zone found with key {name}") from None
