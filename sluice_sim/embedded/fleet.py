"""A fleet with a life: instances or tasks boot, run, drain and go, on the virtual clock.

Owns the lifecycle that Auto Scaling groups and ECS services share; what AWS's API then shows of it is the
mirror's. Refuses nothing: bounds are the API's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol

from sluice_sim.aws_rules.policy_runner import Size
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.worker import Consumer

RECONCILE_S = 10


class Life(StrEnum):
    """Where an instance or task stands."""

    BOOTING = "booting"
    RUNNING = "running"
    DRAINING = "draining"
    GONE = "gone"


@dataclass(slots=True, kw_only=True, eq=False)
class Unit:
    """One instance or task; `since` is when its present life began. Moments are epoch seconds."""

    life: Life
    since: float
    launched_at: float
    worker: Consumer | None = None


class Mirror(Protocol):
    """What the API shows of a fleet, and what an operator has suspended."""

    def show(self, fleet: Fleet, unit: Unit) -> None:
        """Tell the API that a unit's life changed."""
        ...

    def may_launch(self) -> bool:
        """Whether new units may start."""
        ...

    def refused(self, words: str, at: float) -> None:
        """Tell the API that a launch failed, why, and when (epoch seconds)."""
        ...

    def may_terminate(self) -> bool:
        """Whether units may be stopped."""
        ...


class Fleet:
    """Units moving towards a desired count."""

    def __init__(
        self, clock: VirtualClock, mirror: Mirror, *, boot_s: float, start: Callable[[], Consumer]
    ) -> None:
        self._clock, self._mirror, self._boot_s, self._start = clock, mirror, boot_s, start
        self._units: list[Unit] = []
        self._desired = 0
        self._rolling: list[Unit] = []
        self._billed_s = 0.0
        """Of the units that are gone."""
        self.refusal: str | None = None
        """Why AWS starts no unit, in its words; None where it does."""
        clock.every(RECONCILE_S, self._reconcile)

    @property
    def rolling(self) -> bool:
        """Whether a deployment still replaces units."""
        return bool(self._rolling)

    def set_desired(self, desired: int) -> None:
        """Ask for this many, and begin to move there."""
        self._desired = desired
        self._reconcile()

    def roll(self) -> None:
        """A deployment: every unit is replaced, the new ones first."""
        self._rolling = [unit for unit in self._units if unit.life in (Life.BOOTING, Life.RUNNING)]
        self._launch(len(self._rolling))

    def size(self) -> Size:
        """What is asked for, and what there is; during a deployment old and new both count."""
        lives = [unit.life for unit in self._units]
        return Size(
            desired=self._desired, running=lives.count(Life.RUNNING), booting=lives.count(Life.BOOTING)
        )

    def billed_s(self) -> float:
        """Seconds of all units so far, each from its launch until it is gone."""
        return self._billed_s + sum(self._clock.now - unit.launched_at for unit in self._units)

    def warmed(self, warmup_s: float) -> int:
        """Running units whose warm-up is over."""
        return sum(
            unit.life is Life.RUNNING and self._clock.now - unit.since >= warmup_s for unit in self._units
        )

    def _reconcile(self) -> None:
        self._finish_roll()
        self._replace_the_dead()
        alive = [unit for unit in self._units if unit.life in (Life.BOOTING, Life.RUNNING)]
        missing = self._desired + len(self._rolling) - len(alive)
        if missing > 0 and self._mirror.may_launch():
            if self.refusal is None:
                self._launch(missing)
            else:
                self._mirror.refused(self.refusal, self._clock.now)
        elif missing < 0 and self._mirror.may_terminate():
            # Those still booting go first: nobody waits for their work.
            for unit in sorted(alive, key=lambda unit: unit.life is not Life.BOOTING)[:-missing]:
                self._stop(unit)

    def _finish_roll(self) -> None:
        """Once enough new units run, the old ones go."""
        old = set(map(id, self._rolling))
        fresh = [unit for unit in self._units if unit.life is Life.RUNNING and id(unit) not in old]
        if self._rolling and len(fresh) >= min(self._desired, len(self._rolling)):
            for unit in self._rolling:
                self._stop(unit)
            self._rolling = []

    def _replace_the_dead(self) -> None:
        """What a health check finds: units whose consumer ended unbidden make room for new ones."""
        for unit in list(self._units):
            if unit.life is Life.RUNNING and unit.worker is not None and not unit.worker.alive:
                self._gone(unit)

    def _launch(self, count: int) -> None:
        for _ in range(count):
            unit = Unit(life=Life.BOOTING, since=self._clock.now, launched_at=self._clock.now)
            self._units.append(unit)
            self._mirror.show(self, unit)
            self._clock.at(self._clock.now + self._boot_s, partial(self._booted, unit))

    def _booted(self, unit: Unit) -> None:
        if unit.life is Life.BOOTING:  # else it was stopped while it booted
            self._live(unit, Life.RUNNING)
            unit.worker = self._start()

    def _stop(self, unit: Unit) -> None:
        """Let it finish its messages first, as a lifecycle hook or task protection does."""
        if unit.life in (Life.DRAINING, Life.GONE):
            return
        self._live(unit, Life.DRAINING)
        if unit.worker is None:
            self._gone(unit)
        else:
            unit.worker.drain(partial(self._gone, unit))

    def _gone(self, unit: Unit) -> None:
        self._units.remove(unit)
        self._billed_s += self._clock.now - unit.launched_at
        self._live(unit, Life.GONE)

    def _live(self, unit: Unit, life: Life) -> None:
        unit.life, unit.since = life, self._clock.now
        self._mirror.show(self, unit)
