"""How long instances boot, learned from those that have: nobody is told when one will be ready.

Owns the estimate that policies share. AWS shows since when an instance boots and that it no longer does. An
estimate begins with what the operator measured and moves to what was seen; instances launched together are
learned once all of them are ready, or the fast ones of each launch would make boots look short.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sluice_sim.simulator.fleet import Snapshot

PRIOR_WEIGHT = 4
"""Boots that what was measured beforehand counts as."""
MEMORY = 200
"""So many boots are remembered, the newest."""
QUANTILES = 8
"""An instance's boot is thought of as one of so many times, each as likely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCapacity:
    """A part of an instance, thought of as ready at a moment: the parts of one instance add up to it."""

    ready_s: float
    instances: float


@dataclass(slots=True, kw_only=True)
class BootTimes:
    """What is known of boots at the newest look."""

    prior_s: float
    """What the operator measured."""
    _observed_s: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))
    _launches: dict[float, list[float]] = field(default_factory=dict)
    """By launch time: the boots of those that are ready, while others of the same launch still boot."""
    _booting: Counter[float] = field(default_factory=Counter)
    _quantiles_s: tuple[float, ...] = ()

    def update(self, snapshot: Snapshot) -> None:
        """One more look: what booted at the last one and no longer does is ready since then at the latest."""
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
        """How long the next launch boots on average, seconds."""
        return sum(self.quantiles_s) / len(self.quantiles_s)

    @property
    def quantiles_s(self) -> Sequence[float]:
        """The distribution in so many equally likely boot times, shortest first."""
        if not self._quantiles_s:
            known = sorted([*self._observed_s, *[self.prior_s] * PRIOR_WEIGHT])
            middles = [(2 * point + 1) * len(known) // (2 * QUANTILES) for point in range(QUANTILES)]
            self._quantiles_s = tuple(known[middle] for middle in middles)
        return self._quantiles_s

    def expected_of_launch(self, now_s: float) -> list[ExpectedCapacity]:
        """When an instance launched now will be ready."""
        return [
            ExpectedCapacity(ready_s=now_s + boot_s, instances=count / QUANTILES)
            for boot_s, count in Counter(self.quantiles_s).items()
        ]

    def expected_of_booting(self, snapshot: Snapshot) -> list[ExpectedCapacity]:
        """When the booting instances will be ready, as far as their age says; one overdue is about to be."""
        found: defaultdict[float, float] = defaultdict(float)
        for launched_s, count in Counter(snapshot.launched_s).items():
            age_s = snapshot.now_s - launched_s
            left = [boot_s for boot_s in self.quantiles_s if boot_s > age_s] or [age_s]
            for boot_s in left:
                found[launched_s + boot_s] += count / len(left)
        return [ExpectedCapacity(ready_s=ready_s, instances=part) for ready_s, part in sorted(found.items())]
