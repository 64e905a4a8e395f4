"""EventBridge Scheduler: when a schedule invokes its target, and for which scheduled time.

AWS documents under "Schedule types in EventBridge Scheduler" that every schedule invokes its target with 60 s
precision. A cron expression names wall-clock minutes. A rate counts from the deployment. Expressions that our
templates do not use are errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from sluice_sim.clock import VirtualClock

MAX_LATENESS_S = 59
"""A schedule for 1:00 invokes its target between 1:00:00 and 1:00:59 (documented)."""

CRON_PERIODS_S = {"cron(* * * * ? *)": 60.0, "cron(0 * * * ? *)": 3600.0}
UNITS_S = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")

Target = Callable[[datetime], object]
"""Called with the scheduled time, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring schedule."""

    period_s: float
    from_deploy: bool = False
    """True for a rate, which counts from the deployment; a cron expression follows the wall clock."""

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """Parse a ScheduleExpression; ValueError if it is not simulated."""
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
        """The first scheduled time of a schedule deployed at `deployed_s`, epoch seconds."""
        if self.from_deploy:
            return deployed_s + self.period_s
        return (deployed_s // self.period_s + 1) * self.period_s


def at(expression: str) -> datetime:
    """The moment of a one-time schedule, in UTC; ValueError if the expression is no `at(...)`."""
    return datetime.strptime(expression, "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)


class Scheduler:
    """The schedules of one account.

    Each invocation is late by 0 to 59 s, drawn from a random stream per schedule that depends on the seed and
    the schedule's name. The same seed gives the same run, and adding a schedule leaves the others unchanged.
    """

    def __init__(self, clock: VirtualClock, *, seed: int) -> None:
        self._clock, self._seed = clock, seed

    def start(self, name: str, schedule: Schedule, target: Target) -> int:
        """Start a schedule: call its target for every scheduled time from now on, with some lateness.

        Returns its id in the clock, by which it is cancelled.
        """
        random = self._random(name)

        def due() -> None:
            scheduled = datetime.fromtimestamp(self._clock.now, UTC)
            lateness_s = random.uniform(0, MAX_LATENESS_S)
            self._clock.at(self._clock.now + lateness_s, lambda: target(scheduled))

        return self._clock.every(schedule.period_s, due, first=schedule.first_after(self._clock.now))

    def start_once(self, name: str, moment: datetime, target: Callable[[], object]) -> int:
        """Call the target once at that moment, or now if it has passed, with some lateness."""
        lateness_s = self._random(name).uniform(0, MAX_LATENESS_S)
        return self._clock.at(max(moment.timestamp(), self._clock.now) + lateness_s, target)

    def _random(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")  # noqa: S311 - not for cryptography
