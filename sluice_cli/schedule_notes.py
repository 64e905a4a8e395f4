"""What `sluice validate` says of schedules: which AWS refuses, and which hardly do what is meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from sluice.core.model import AutoScalingGroup, Schedule, Workload
from sluice.core.schedules import coinciding_start
from sluice.document.schedule_lines import written
from sluice.errors import Problem
from sluice_operator.core.schedules import limits, unknown_zone

YEAR = timedelta(days=366)
DAY = timedelta(days=1)


def problems(workload: Workload) -> Iterator[Problem]:
    """One for each schedule that AWS would refuse."""
    for each in workload.schedules:
        if unknown_zone([each]) is None:
            continue
        near = difflib.get_close_matches(each.time_zone, available_timezones(), n=1, cutoff=0.8)
        meant = f"did you mean {near[0]}?" if near else "write a name such as Europe/Berlin"
        yield Problem(
            path="schedules",
            value=written(each),
            way_out=f"{each.time_zone} is no time zone of the IANA database: {meant}",
        )


def notes(workload: Workload, now: datetime) -> Iterator[str]:
    """One sentence for each schedule whose consequence is easy to miss; every time zone is known."""
    own = workload.schedules
    if not own:
        return
    yield from _without_effect(workload)
    if twice := coinciding_start(own, now):
        one, other, at = twice
        refuses = "EC2 Auto Scaling may refuse them, and " if _is_group(workload) else ""
        yield (
            f"schedules {one.name} and {other.name} both start at {at:%Y-%m-%d %H:%M} UTC: {refuses}one of "
            "both sets the bounds then; let one start a minute later"
        )
    for each in own:
        if skipped := _skipped(each, now):
            yield (
                f"schedule {each.name} does not start on {skipped:%Y-%m-%d}: daylight saving skips "
                f"{each.hour}:{each.minute:02} {each.time_zone} that day, so the one before it stays in force"
            )


def _without_effect(workload: Workload) -> Iterator[str]:
    """All that set the same bounds change them once, at the first start, and never again."""
    first, *others = workload.schedules
    if any(each.bounds != first.bounds for each in others):
        return
    named = " and ".join(each.name for each in workload.schedules)
    plural = bool(others)
    if first.bounds == workload.bounds:
        yield (
            f"schedule{'s' * plural} {named} set{'' if plural else 's'} MinCapacity and MaxCapacity of the "
            f"workload, {limits(first)}: nothing ever changes"
        )
    else:
        yield (
            f"nothing ends schedule{'s' * plural} {named}: from the first start on the fleet stays at "
            f"{limits(first)}; give another schedule, whose start ends it"
        )


def _skipped(schedule: Schedule, now: datetime) -> date | None:
    """The first day of the next year on which daylight saving skips the schedule's time."""
    zone = ZoneInfo(schedule.time_zone)
    day = now.astimezone(zone).date()
    for _ in range(YEAR.days):
        if day.weekday() in schedule.weekdays:
            local = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=zone)
            if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
                return day
        day += DAY
    return None


def _is_group(workload: Workload) -> bool:
    return isinstance(workload.fleet, AutoScalingGroup)
