"""EventBridge Scheduler: when a schedule's target starts, and which moment it stands for.

Owns a schedule's phase and the lateness of each start. AWS documents both under "Schedule types in
EventBridge Scheduler": every schedule invokes its target with 60 s precision, a cron expression names
wall-clock minutes, and a rate has none of its own, so that it counts from the deploy. Refuses expressions
that our templates do not use.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from sluice_sim.clock import VirtualClock

MAX_LATENESS_S = 59
"""A schedule set to 1:00 starts its target between 1:00:00 and 1:00:59."""

CRON_PERIODS_S = {"cron(* * * * ? *)": 60.0, "cron(0 * * * ? *)": 3600.0}
UNITS_S = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")

Target = Callable[[datetime], object]
"""Told the scheduled time, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring schedule."""

    period_s: float
    from_deploy: bool = False
    """A rate counts from the deploy, at any second; cron starts at whole periods of the wall clock."""

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """A ScheduleExpression; ValueError names one that is not simulated."""
        if expression in CRON_PERIODS_S:
            return cls(period_s=CRON_PERIODS_S[expression])
        rate = RATE.fullmatch(expression)
        if rate is None:
            known = ", ".join(CRON_PERIODS_S)
            raise ValueError(
                f"schedule {expression!r} is not simulated: write {known} or rate(N minutes|hours|days)"
            )
        return cls(period_s=int(rate[1]) * UNITS_S[rate[2]], from_deploy=True)

    def first_after(self, deployed_s: float) -> float:
        """The first scheduled time of a schedule deployed then, epoch seconds."""
        if self.from_deploy:
            return deployed_s + self.period_s
        return (deployed_s // self.period_s + 1) * self.period_s


class Scheduler:
    """The schedules of one account.

    Each start is late by 0 to 59 s of its own, drawn from a random stream that the seed and the schedule's
    name give: the same seed gives the same run, and another schedule changes nobody's lateness.
    """

    def __init__(self, clock: VirtualClock, *, seed: int) -> None:
        self._clock, self._seed = clock, seed

    def start(self, name: str, schedule: Schedule, target: Target) -> None:
        """Deploy a schedule: its target starts at every scheduled time from now on, late."""
        random = Random(f"{self._seed} {name}")  # noqa: S311 - a simulation's draw

        def due() -> None:
            scheduled = datetime.fromtimestamp(self._clock.now, UTC)
            lateness_s = random.uniform(0, MAX_LATENESS_S)
            self._clock.at(self._clock.now + lateness_s, lambda: target(scheduled))

        self._clock.every(schedule.period_s, due, first=schedule.first_after(self._clock.now))
