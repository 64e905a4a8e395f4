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
from zoneinfo import ZoneInfo

from sluice.core.model import Schedule

WEEK = timedelta(days=7)
LONGEST = 2 * WEEK
"""A weekly start that daylight saving skips comes a week later: every schedule starts in this time."""
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The schedule that started last."""

    schedule: Schedule
    since: datetime
    """In UTC."""
    until: datetime
    """When the next one starts, maybe the same again, in UTC."""
    next: Schedule


def starts(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """When the schedule starts, in UTC, later than `after` and at `until` at the latest.

    ZoneInfoNotFoundError if its time zone is not in the database of this machine.
    """
    zone = ZoneInfo(schedule.time_zone)
    day, last = (after.astimezone(zone) - DAY).date(), (until.astimezone(zone) + DAY).date()
    while day <= last:
        if day.weekday() in schedule.weekdays:
            local = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=zone)
            start = local.astimezone(UTC)
            is_skipped = start.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
            if after < start <= until and not is_skipped:
                yield start
        day += DAY


def in_force(schedules: Sequence[Schedule], now: datetime) -> InForce | None:
    """The schedule that started last, at `now` at the latest; None if there are none.

    ZoneInfoNotFoundError if a time zone is not in the database of this machine.
    """
    if not schedules:
        return None
    since, current = max(
        ((start, each) for each in schedules for start in starts(each, now - LONGEST, now)),
        key=lambda pair: pair[0],
    )
    until, following = min(
        ((start, each) for each in schedules for start in starts(each, now, now + LONGEST)),
        key=lambda pair: pair[0],
    )
    return InForce(schedule=current, since=since, until=until, next=following)


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
