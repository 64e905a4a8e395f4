"""Estimates how long instances boot, from the boots observed so far.

AWS shows when an instance was launched and that it is no longer booting, never when it will be ready. The
estimate starts from what the operator measured and moves to what was observed. Instances launched together
are learned only once all of them are ready: the fast ones of each launch are seen first and would bias it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sluice_sim.simulator.fleet import Snapshot

PRIOR_WEIGHT = 4
"""Weight of the operator's measurement, in observed boots."""
MEMORY = 200
"""Number of most recent boots that are kept."""
QUANTILES = 8
"""The distribution of boot times is approximated by this many equally likely values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCapacity:
    """A fraction of an instance expected to be ready at a moment; the fractions of an instance sum to 1."""

    ready_s: float
    instances: float


@dataclass(slots=True, kw_only=True)
class BootTimes:
    """What is known about boot times at the latest snapshot."""

    prior_s: float
    """Boot time that the operator measured."""
    _observed_s: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))
    _launches: dict[float, list[float]] = field(default_factory=dict)
    """Launch time -> boot times of the ready instances, while others of the same launch still boot."""
    _booting: Counter[float] = field(default_factory=Counter)
    _quantiles_s: tuple[float, ...] = ()

    def update(self, snapshot: Snapshot) -> None:
        """Add a snapshot: instances that no longer boot became ready since the previous one."""
        booting = Counter(snapshot.launched_s)
        for launched_s, count in (self._booting - booting).items():
            ready = self._launches.setdefault(launched_s, [])
            ready += [snapshot.now_s - launched_s] * count
        for launched_s in [one for one in self._launches if one not in booting]:
            self._observed_s.extend(self._launches.pop(launched_s))
            self._quantiles_s = ()
        self._booting = booting

    @property
    def mean_s(self) -> float:
        """Expected boot time of the next launch, seconds."""
        return sum(self.quantiles_s) / len(self.quantiles_s)

    @property
    def quantiles_s(self) -> Sequence[float]:
        """QUANTILES equally likely boot times in seconds, shortest first."""
        if not self._quantiles_s:
            known = sorted([*self._observed_s, *[self.prior_s] * PRIOR_WEIGHT])
            middles = [(2 * point + 1) * len(known) // (2 * QUANTILES) for point in range(QUANTILES)]
            self._quantiles_s = tuple(known[middle] for middle in middles)
        return self._quantiles_s

    def expected_of_launch(self, now_s: float) -> list[ExpectedCapacity]:
        """When an instance launched at `now_s` is expected to be ready."""
        return [
            ExpectedCapacity(ready_s=now_s + boot_s, instances=count / QUANTILES)
            for boot_s, count in Counter(self.quantiles_s).items()
        ]

    def expected_of_booting(self, snapshot: Snapshot) -> list[ExpectedCapacity]:
        """When the booting instances are expected to be ready, given how long they have booted already.

        One that has booted longer than any quantile is expected now.
        """
        found: defaultdict[float, float] = defaultdict(float)
        for launched_s, count in Counter(snapshot.launched_s).items():
            age_s = snapshot.now_s - launched_s
            left = [boot_s for boot_s in self.quantiles_s if boot_s > age_s] or [age_s]
            for boot_s in left:
                found[launched_s + boot_s] += count / len(left)
        return [ExpectedCapacity(ready_s=ready_s, instances=part) for ready_s, part in sorted(found.items())]
