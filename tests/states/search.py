"""Breadth first through every state of a scope, until one is wrong or none is new.

The first wrong state is one of those that need the fewest moves; its story is how it came about.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field

import click

from tests.states.invariants import of_state
from tests.states.liveness import Fairness
from tests.states.model import Scope, World
from tests.states.moves import moves

SAYS_AFTER_S = 2
SHOWN = 10
"""Steps of a fair run in a story."""


@dataclass
class Found:
    """What a search has seen."""

    scope: Scope
    states: int = 0
    transitions: int = 0
    depth: int = 0
    is_closed: bool = False
    """Whether no state is left whose moves were not made."""
    fair_runs: int = 0
    story: str = ""
    """How the first wrong state came about; empty if none is wrong."""
    seconds: float = field(default=0, compare=False)

    def __str__(self) -> str:
        end = "all" if self.is_closed else f"cut off at {self.depth} moves"
        return (
            f"{self.scope.name}: {self.states:,} states, {self.transitions:,} moves, depth {self.depth} "
            f"({end}), {self.fair_runs:,} fair runs, {self.seconds:.0f} s"
        )


Origins = dict[World, tuple[World | None, str]]
"""State -> the one before it and the move; the dictionary is the set of the states reached."""


def search(scope: Scope, *, max_depth: int | None = None, max_states: int | None = None) -> Found:
    """Search this scope; with a bound it may be cut off, after the last depth that was searched in full."""
    gc.disable()  # no state is garbage, and looking for some takes a third of the time
    try:
        return _search(scope, max_depth, max_states)
    finally:
        gc.enable()


def _search(scope: Scope, max_depth: int | None, max_states: int | None) -> Found:
    found, began, said = Found(scope), time.monotonic(), time.monotonic()
    came: Origins = dict.fromkeys(scope.starts(), (None, ""))
    fairness, frontier = Fairness(scope), list(came)
    while frontier and found.depth != max_depth and not (max_states and len(came) > max_states):
        new: list[World] = []
        for world in frontier:
            wrong = fairness.why_not_settled(world)
            if wrong:
                found.story = _story(came, world, *wrong)
                break
            for label, after, violations in moves(world, scope):
                found.transitions += 1
                problems = [*violations, *of_state(after, scope)]
                if problems:
                    found.story = _story(came, world, [f"{label}: {after}"], problems[0])
                    break
                if after not in came:
                    came[after] = (world, label)
                    new.append(after)
            if found.story:
                break
            if time.monotonic() - said > SAYS_AFTER_S:
                said = time.monotonic()
                click.echo(f"{scope.name}: {len(came):,} states, depth {found.depth}", err=True)
        if found.story:
            break
        frontier = new
        found.depth += bool(new)
    found.is_closed = not frontier
    found.states, found.fair_runs = len(came), fairness.runs
    found.seconds = time.monotonic() - began
    return found


def _story(came: Origins, world: World, last: list[str], problem: str) -> str:
    steps: list[str] = []
    at: World | None = world
    while at is not None:
        before, label = came[at]
        steps.append(f"{label or 'it begins'}: {at}")
        at = before
    if len(last) > SHOWN:  # the minutes of a fair run are alike
        last = [*last[: SHOWN - 1], "and so on"]
    lines = [*reversed(steps), *last]
    return "\n".join(
        [*(f"{number:>3}. {line}" for number, line in enumerate(lines)), f"     WRONG: {problem}"]
    )
