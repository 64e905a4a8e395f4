"""How many days a search can simulate in the time that it has, from what the present settings took.

Times are seconds of processor time: what else the machine does makes a search slower, and not worse. What a
day takes to simulate is for the most part its decisions: one a minute with target tracking, one a tick with
the deadline engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sluice_sim.study.candidates import Changes, applied
from sluice_sim.study.experiment import Experiment

TOTAL_S = 150.0
"""Seconds for the search on every core, half of five minutes: the rest is for the present settings, the
pictures, and slower machines."""
SEARCH_SHARE, FINALISTS_SHARE = 0.6, 0.3
"""Of the time: settings alone and together; the best of them on all days to tune on. The rest judges."""
TRACKING_COST, TICK_COST_S = 1.2, 14.0
"""A day with a million messages: 1.2 s with target tracking, 1 s + 14 s / TickSeconds with the engine."""


def relative_cost(experiment: Experiment) -> float:
    """What a day with these settings takes to simulate, to be compared with that of other settings."""
    deadline = experiment.deployed().workload.deadline
    return TRACKING_COST if deadline is None else 1 + TICK_COST_S / deadline.tick_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The time of a search, and what a day takes."""

    present: Experiment
    present_s_per_day: float
    cores: int

    def s_per_day(self, changes: Changes) -> float:
        """What a day takes with these changes."""
        ratio = relative_cost(applied(self.present, changes)) / relative_cost(self.present)
        return self.present_s_per_day * ratio

    def probe_days(self, options: Sequence[Changes], combinations: int, tuned_days: int) -> int:
        """Days on which all options and so many combinations of them can be tried; one at least."""
        each_s = [self.s_per_day(changes) for changes in options]
        needed_s = sum(each_s) + combinations * max(each_s)
        return max(1, min(tuned_days, int(SEARCH_SHARE * TOTAL_S * self.cores / max(needed_s, 1e-9))))

    def finalists(self, ranked: Sequence[Changes], tuned_days: int, most: int) -> int:
        """How many of the best can be run on all days to tune on; one at least, and `most` at most."""
        left_s, affordable = FINALISTS_SHARE * TOTAL_S * self.cores, 0
        for changes in ranked[:most]:
            left_s -= self.s_per_day(changes) * tuned_days
            if left_s < 0:
                break
            affordable += 1
        return max(1, affordable)
