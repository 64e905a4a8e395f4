"""The decisions of a run: how each changed the fleet, and which to show where there are too many.

The change is read from the decision's sentence. A retune changes the target, so it counts as no change of the
fleet although its sentence has an arrow too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sluice_report.simulation.time_series import TimeSeries
from sluice_sim.simulator.context import LogEntry

CHANGE = re.compile(r"(?:(?!retune)[a-z ]+ )?(\d+) -> (\d+)(?=[:,; ]|$)")
"""How a sentence about the fleet begins: `3 -> 5: ...` or `bootstrap 0 -> 1: ...`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision; `change` is the number of instances added, 0 if the fleet stays the same."""

    at_s: float
    interval: int
    source: str
    text: str
    change: int


def parse(log: Sequence[LogEntry], series: TimeSeries) -> tuple[Decision, ...]:
    """Every decision, in order."""
    return tuple(
        Decision(
            at_s=entry.at_s,
            interval=series.interval_at(entry.at_s),
            source=entry.source,
            text=" ".join(entry.text.split()).replace("->", "→"),
            change=_change(entry.text),
        )
        for entry in log
    )


def most_important(decisions: Sequence[Decision], limit: int) -> tuple[Decision, ...]:
    """All decisions if at most `limit`; else the first of every interval, then the largest, in order."""
    if len(decisions) <= limit:
        return tuple(decisions)
    first = {decision.interval: index for index, decision in reversed(list(enumerate(decisions)))}

    def rank(index: int) -> tuple[bool, int]:
        decision = decisions[index]
        return first[decision.interval] != index, -abs(decision.change)

    ranked = sorted(range(len(decisions)), key=rank)
    return tuple(decisions[index] for index in sorted(ranked[:limit]))


def direction_changes(decisions: Sequence[Decision]) -> int:
    """How often a scale-out follows a scale-in, or the other way round."""
    scale_outs = [decision.change > 0 for decision in decisions if decision.change]
    return sum(before != after for before, after in pairwise(scale_outs))


def _change(text: str) -> int:
    found = CHANGE.match(text)
    return int(found[2]) - int(found[1]) if found else 0
