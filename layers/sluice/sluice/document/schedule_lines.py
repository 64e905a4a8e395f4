"""Schedules as one line each, as the parameters of workload.yaml and the document write them.

`office-hours,MON-FRI,8:00,Europe/Berlin,3,20`: name, weekdays, time of day, time zone, minimum, maximum.
Weekdays are `MON-FRI`, `SUN-SAT` for every day, or days joined by `+`, such as `SAT+SUN`.
"""

from __future__ import annotations

import re

from sluice.core.model import Bounds, Schedule

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
"""As `date.weekday` numbers them."""
RANGES = {"MON-FRI": frozenset(range(5)), "SUN-SAT": frozenset(range(7))}
_DAY = f"({'|'.join(DAYS)})"
ZONE_PATTERN = "[A-Z][a-zA-Z0-9_+/-]{1,31}"
PATTERN = (
    r"([a-z][a-z0-9-]{0,23},"
    rf"(MON-FRI|SUN-SAT|{_DAY}(\+{_DAY}){{0,6}}),"
    r"([0-9]|1[0-9]|2[0-3]):[0-5][0-9],"
    rf"{ZONE_PATTERN},"
    r"(0|[1-9][0-9]{0,3}),"
    r"[1-9][0-9]{0,3})?"
)
"""Empty for no schedule. Hours have no zero before them, as cron writes them."""
EXAMPLE = "office-hours,MON-FRI,8:00,Europe/Berlin,3,20"


def parsed(line: str) -> Schedule:
    """The schedule of a line that matches the pattern and is not empty; ValueError for any other."""
    if not line or re.fullmatch(PATTERN, line) is None:
        raise ValueError(f"{line!r} is no schedule: write it as {EXAMPLE}")
    name, days, time, zone, minimum, maximum = line.split(",")
    hour, minute = time.split(":")
    weekdays = RANGES.get(days) or frozenset(DAYS.index(day) for day in days.split("+"))
    return Schedule(
        name=name,
        weekdays=weekdays,
        hour=int(hour),
        minute=int(minute),
        time_zone=zone,
        bounds=Bounds(min=int(minimum), max=int(maximum)),
    )


def written(schedule: Schedule) -> str:
    """The line of a schedule."""
    spans = {days: span for span, days in RANGES.items()}
    days = spans.get(schedule.weekdays) or "+".join(DAYS[day] for day in sorted(schedule.weekdays))
    time = f"{schedule.hour}:{schedule.minute:02}"
    bounds = schedule.bounds
    return f"{schedule.name},{days},{time},{schedule.time_zone},{bounds.min},{bounds.max}"
