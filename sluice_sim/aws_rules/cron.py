"""Cron expressions of scaling schedules: which minutes of a time zone they name.

EC2 Auto Scaling takes the five fields of Unix. Application Auto Scaling takes six inside `cron(...)`, where
Sunday is 1, the last field is the year, and one of the two day fields is `?`. Both follow daylight saving
time. What falls into the hour that is skipped in spring does not run, and what falls into the hour that is
repeated in autumn runs once, as documented for EventBridge Scheduler (an assumption for both services here).
The wildcards L, W and # of six fields are not simulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

MAX_DAYS = 9 * 366
"""How far ahead a run is searched: 29 February may be eight years away."""
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
SUNDAY = 7  # of date.isoweekday
ANY = ("*", "?")

Values = frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The minutes that an expression names."""

    times: tuple[time, ...]
    """The times of a day, ascending."""
    month_days: Values
    months: Values
    weekdays: Values
    """As `date.isoweekday` numbers them."""
    years: Values
    either_day: bool
    """Whether a day of the month or one of the week suffices, as in Unix where both fields are given."""

    @classmethod
    def five_fields(cls, expression: str) -> Cron:
        """Parse `minute hour day-of-month month day-of-week`; ValueError if it is none."""
        fields = _split(expression, 5, "minute hour day-of-month month day-of-week")
        weekdays = _values(fields[4], 0, 7, {name: number for number, name in enumerate(DAYS)})
        return cls._from(
            fields, Values((day % 7) or SUNDAY for day in weekdays), _values("*", 1970, 2199, {})
        )

    @classmethod
    def six_fields(cls, expression: str) -> Cron:
        """Parse `minutes hours day-of-month month day-of-week year`; ValueError if it is none."""
        fields = _split(expression, 6, "minutes hours day-of-month month day-of-week year")
        if (fields[2] == "?") == (fields[4] == "?"):
            raise ValueError(f"cron expression {expression!r}: write ? in one of the two day fields")
        weekdays = _values(fields[4], 1, 7, {name: number for number, name in enumerate(DAYS, 1)})
        return cls._from(
            fields, Values((day - 1) or SUNDAY for day in weekdays), _values(fields[5], 1970, 2199, {})
        )

    @classmethod
    def _from(cls, fields: Sequence[str], weekdays: Values, years: Values) -> Cron:
        minutes, hours = sorted(_values(fields[0], 0, 59, {})), sorted(_values(fields[1], 0, 23, {}))
        return cls(
            times=tuple(time(hour, minute) for hour, minute in product(hours, minutes)),
            month_days=_values(fields[2], 1, 31, {}),
            months=_values(fields[3], 1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
            weekdays=weekdays,
            years=years,
            either_day=fields[2] not in ANY and fields[4] not in ANY,
        )

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """The first run later than `moment`, in UTC; None if there is none in the next eight years."""
        today = moment.astimezone(zone).date()
        for day in (today + timedelta(days=ahead) for ahead in range(MAX_DAYS)):
            if not self._names(day):
                continue
            for each in self.times:
                run = datetime.combine(day, each, zone).astimezone(UTC)
                is_skipped = run.astimezone(zone).time() != each
                if run > moment and not is_skipped:
                    return run
        return None

    def _names(self, day: date) -> bool:
        of_month, of_week = day.day in self.month_days, day.isoweekday() in self.weekdays
        is_day = of_month or of_week if self.either_day else of_month and of_week
        return is_day and day.month in self.months and day.year in self.years


def _split(expression: str, count: int, names: str) -> list[str]:
    fields = expression.split()
    if len(fields) != count:
        raise ValueError(
            f"cron expression {expression!r} has {len(fields)} fields, not {count}: write {names}"
        )
    return fields


def _values(field: str, low: int, high: int, names: Mapping[str, int]) -> Values:
    """The numbers that a field lists: `*`, `a`, `a-b`, each with `/step`, between commas."""
    found: set[int] = set()
    for part in field.upper().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ANY:
            begin, end = low, high
        else:
            begin = _number(first, names, field)
            end = _number(last, names, field) if dash else high if slash else begin
        if not low <= begin <= end <= high:
            raise ValueError(f"cron field {field!r} is outside {low} to {high}")
        stride = _number(step, {}, field) if slash else 1
        if not stride:
            raise ValueError(f"cron field {field!r} has a step of 0; write 1 or more")
        found.update(range(begin, end + 1, stride))
    return Values(found)


def _number(text: str, names: Mapping[str, int], field: str) -> int:
    number = names.get(text, int(text) if text.isdecimal() else -1)
    if number < 0:
        raise ValueError(f"cron field {field!r}: {text!r} is not a number or a name that is simulated")
    return number
