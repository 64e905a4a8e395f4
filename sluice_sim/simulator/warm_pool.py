"""The warm pool of a simulated Auto Scaling group: stopped instances that start sooner than new ones.

Without reuse its size is fixed (AWS: MinSize = MaxGroupPreparedCapacity): each instance taken from it is
replaced by a new one, which initialises for a whole boot and is then stopped. With reuse (ReuseOnScaleIn,
MaxGroupPreparedCapacity alone) it holds that many instances less the desired ones, and those that are scaled
in return to it. Times are seconds since the start of the run.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPoolSettings:
    """What the pool holds, how soon its instances start, and what they cost."""

    size: int
    boot_s: Callable[[], float]
    """Returns the seconds from the next start of a stopped instance until it receives messages."""
    price_ratio: float
    """Price of a stopped instance (its volumes) over that of a running one."""
    reuse: bool = False
    """Whether instances return to it when they are scaled in."""


@dataclass(frozen=True, slots=True, order=True)
class _Pooled:
    """An instance of the pool."""

    stopped_s: float
    """When it is stopped, and can be started."""
    since_s: float
    """When it entered the pool. Until `stopped_s` it initialises, at the price of a running instance."""


@dataclass(slots=True)
class WarmPool:
    """The pool of one run. Callers pass moments that never decrease."""

    settings: WarmPoolSettings
    initialising_s: Callable[[], float]
    """Returns the seconds that the next new instance initialises: a cold boot."""
    _pooled: list[_Pooled] = field(default_factory=list)
    """In the order in which they are stopped."""
    _left_s: float = 0.0
    """Cost of the instances that have left, in seconds of a running instance."""

    def stopped(self, now_s: float) -> int:
        """Instances that can be started now."""
        return bisect_right(self._pooled, now_s, key=lambda one: one.stopped_s)

    def take(self, now_s: float) -> bool:
        """Start a stopped instance, if there is one."""
        if not self._pooled or self._pooled[0].stopped_s > now_s:
            return False
        self._left_s += self._cost_s(self._pooled.pop(0), now_s)
        return True

    def give_back(self, stopped_s: float) -> None:
        """Take in an instance that was scaled in; `resize` ends it if the pool has no room."""
        if self.settings.reuse:
            insort(self._pooled, _Pooled(stopped_s, stopped_s))

    def resize(self, desired: int, now_s: float) -> None:
        """Initialise missing instances, or terminate surplus ones, those that initialise first."""
        size = max(0, self.settings.size - desired) if self.settings.reuse else self.settings.size
        while len(self._pooled) > size:
            self._left_s += self._cost_s(self._pooled.pop(), now_s)
        while len(self._pooled) < size:
            insort(self._pooled, _Pooled(now_s + self.initialising_s(), now_s))

    def cost_s(self, now_s: float) -> float:
        """What the pool has cost by now, in seconds of a running instance."""
        return self._left_s + math.fsum(self._cost_s(one, now_s) for one in self._pooled)

    def _cost_s(self, one: _Pooled, now_s: float) -> float:
        stopped_s = max(0.0, now_s - one.stopped_s)
        return now_s - one.since_s - stopped_s + self.settings.price_ratio * stopped_s
