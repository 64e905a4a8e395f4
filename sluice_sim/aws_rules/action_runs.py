"""When scheduled actions of scaling run: late, and those of one fleet in the order in which they are due.

AWS documents that a scheduled action generally runs within seconds and may be two minutes late (EC2 Auto
Scaling) or a few seconds (Application Auto Scaling, which shares the distribution here), and that the order
of actions is guaranteed for one group or one scalable target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random

from sluice_sim.clock import VirtualClock

MEAN_LATENESS_S = 10.0
"""Assumption: "generally within seconds"."""
MAX_LATENESS_S = 120.0
"""The most that EC2 Auto Scaling documents."""

Next = Callable[[datetime], datetime | None]
"""The first time later than its argument at which an action is due, in UTC; None if there is none."""


@dataclass(frozen=True, slots=True)
class Key:
    """What identifies a scheduled action: its fleet (a group or a resource id) and its name."""

    fleet: str
    name: str


@dataclass(slots=True)
class _Series:
    """The runs of one action, with the clock's ids of those that are scheduled."""

    next_due: datetime | None = None
    """When it is due next; one that is late stays due until it runs."""
    event_ids: set[int] = field(default_factory=set)


class ActionRuns:
    """The runs of all scheduled actions of an account.

    Each run is late by a random time that depends on the seed and the action, and on nothing else.
    """

    def __init__(self, clock: VirtualClock, *, seed: int) -> None:
        self._clock, self._seed = clock, seed
        self._series: dict[Key, _Series] = {}
        self._latest: dict[str, float] = {}
        """Fleet -> when its latest run is or was."""

    def start(self, key: Key, following: Next, run: Callable[[], object]) -> None:
        """Run an action whenever it is due from now on, in place of an earlier one with this key."""
        self.stop(key)
        random = Random(f"{self._seed} {key.fleet} {key.name}")  # noqa: S311 - not for cryptography
        series = self._series[key] = _Series()

        def schedule(after: datetime) -> None:
            upcoming = following(after)
            if series.next_due is None:
                series.next_due = upcoming
            if upcoming is not None:
                series.event_ids.add(self._clock.at(upcoming.timestamp(), partial(due, upcoming)))

        def due(scheduled: datetime) -> None:
            lateness_s = min(random.expovariate(1 / MEAN_LATENESS_S), MAX_LATENESS_S)
            moment = max(self._clock.now + lateness_s, self._latest.get(key.fleet, 0.0))
            self._latest[key.fleet] = moment
            series.event_ids.add(self._clock.at(moment, partial(fire, scheduled)))
            schedule(scheduled)

        def fire(scheduled: datetime) -> None:
            series.next_due = following(scheduled)
            run()

        schedule(self._now())

    def stop(self, key: Key) -> None:
        """Do not run the action again."""
        series = self._series.pop(key, None)
        if series is not None:
            for event_id in series.event_ids:
                self._clock.cancel(event_id)

    def next_due(self, key: Key) -> datetime | None:
        """When the action is due next; a run that is late is due until it runs. None if it has no more."""
        return self._series[key].next_due

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now, UTC)
