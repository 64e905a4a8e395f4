"""A day of queue-proc: nothing at night, most in the early afternoon, and messages that take longer then.

A day takes minutes to run, so continuous integration runs its morning (`test_day.py`) and `make day` all of
it (`whole_day.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from sluice_sim.embedded.scenarios import QUEUE_PROC
from sluice_sim.embedded.timeline import Scenario
from tests.scenarios.conftest import Recording, run_scenario

HOUR = 60
"""Minutes."""
DAWN, DUSK = 5 * HOUR, 23 * HOUR
PEAK_PER_MINUTE = 40


def per_minute(minute_of_day: int) -> int:
    """Messages that arrive in this minute of the day: a half wave from dawn to dusk."""
    if not DAWN <= minute_of_day < DUSK:
        return 0
    return round(PEAK_PER_MINUTE * math.sin(math.pi * (minute_of_day - DAWN) / (DUSK - DAWN)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day(Scenario):
    """A part of the day; `flow` is the messages of each of its minutes."""

    flow: tuple[int, ...]

    def arriving(self, minute: int) -> int:
        """Messages that arrive in this minute."""
        return self.flow[minute] if minute < len(self.flow) else 0

    @property
    def last_arrival(self) -> int:
        """The minute after which nothing arrives."""
        return max(minute for minute, messages in enumerate(self.flow) if messages)


def day(first: int, last: int) -> Day:
    """Of queue-proc between two minutes of the day; then what is left is worked off."""
    same = {field.name: getattr(QUEUE_PROC, field.name) for field in fields(Scenario)}
    noon = 14 * HOUR
    durations = ((0, 2.0), (max(noon - first, 1), 6.0), (DUSK - first, 2.0))
    flow = tuple(per_minute(minute) for minute in range(first, last))
    return Day(
        **same | {"durations": durations, "steady": None, "max_minutes": len(flow) + HOUR},
        flow=flow,
    )


def run_minutes(first: int, last: int) -> Recording:
    return run_scenario(scenario=day(first, last))
