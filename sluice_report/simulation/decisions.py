"""What was decided in a run: which way each decision moved the fleet, and which of very many are told.

Owns the reading of a decision's sentence. Refuses to count a retune as a move.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sluice_report.simulation.time_series import Course
from sluice_sim.simulator.context import LogEntry

CHANGE = re.compile(r"(?:(?!retune)[a-z ]+ )?(\d+) -> (\d+)(?=[:,; ]|$)")
"""How a sentence about the fleet begins: `3 -> 5: ...` or `bootstrap 0 -> 1: ...`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One decision: when, whose, why, and by how many instances (0 where the fleet stays as it is)."""

    at_s: float
    stretch: int
    who: str
    text: str
    change: int


def of(told: Sequence[LogEntry], course: Course) -> tuple[Move, ...]:
    """Every decision in its order."""
    return tuple(
        Move(
            at_s=one.at_s,
            stretch=course.stretch(one.at_s),
            who=one.source,
            text=" ".join(one.text.split()).replace("->", "→"),
            change=_change(one.text),
        )
        for one in told
    )


def kept(moves: Sequence[Move], most: int) -> tuple[Move, ...]:
    """All where there are at most so many; else the first of every stretch, then the greatest, in order."""
    if len(moves) <= most:
        return tuple(moves)
    first = {move.stretch: place for place, move in reversed(list(enumerate(moves)))}
    ranked = sorted(
        range(len(moves)), key=lambda place: (first[moves[place].stretch] != place, -abs(moves[place].change))
    )
    return tuple(moves[place] for place in sorted(ranked[:most]))


def turns(moves: Sequence[Move]) -> int:
    """How often a move outwards follows one inwards, or the other way."""
    ways = [move.change > 0 for move in moves if move.change]
    return sum(before != after for before, after in pairwise(ways))


def _change(text: str) -> int:
    found = CHANGE.match(text)
    return int(found[2]) - int(found[1]) if found else 0
