"""Interleavings by seed: one, many on all cores, and the shortest part of one that still fails.

A failing seed is reported by its shortest part. The seed alone identifies an interleaving.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from typing import TypeVar

from tests.chaos.cloud import PUNCTUAL
from tests.chaos.colors import Act, Beginning, Inside, colors_drawn, run_colors
from tests.chaos.moves import InitialState, Move, drawn, run_interleaving

PER_BATCH = 200
Part = TypeVar("Part")


def failure_of(start: InitialState, moves: Sequence[Move]) -> str | None:
    """The violations of this interleaving, or None."""
    try:
        run_interleaving(start, moves)
    except AssertionError as broken:
        return str(broken)
    return None


def shortest(start: InitialState, moves: Sequence[Move]) -> list[Move]:
    """The moves of a failing interleaving that it needs in order to fail."""
    return _needed(moves, lambda part: failure_of(start, part) is not None)


def _needed(moves: Sequence[Part], fails: Callable[[Sequence[Part]], bool]) -> list[Part]:
    needed = list(moves)
    shorter = True
    while shorter:
        before = len(needed)
        for at in reversed(range(before)):
            without = needed[:at] + needed[at + 1 :]
            if fails(without):
                needed = without
        shorter = len(needed) < before
    return needed


def on_time(start: InitialState, moves: Sequence[Move]) -> InitialState:
    """The initial state of a failing interleaving without delays, if it fails without them too."""
    for delays in (PUNCTUAL, replace(start.delays, ticks_s=(0,)), replace(start.delays, points_s=0)):
        earlier = replace(start, delays=delays)
        if failure_of(earlier, moves):
            return earlier
    return start


def failure_report(seed: int) -> str:
    """Describe a failing seed for a reader."""
    start, moves = drawn(seed)
    if failure_of(start, moves) is None:
        return _colors_report(seed)
    start = on_time(start, moves)
    needed = shortest(start, moves)
    lines = [
        f"the interleaving of seed {seed} violates an invariant:",
        str(failure_of(start, needed)),
        "it begins with",
    ]
    for served, how in zip(start.workloads, start.initial_states, strict=True):
        lines.append(
            f"  {served.name} on {served.fleet}, {how}: bounds {served.bounds.min}..{served.bounds.max}, "
            f"bootstrap {served.bootstrap_instances or 'by backlog'}, {served.idle_minutes} idle minutes, "
            f"in flight {'counted' if served.count_in_flight else 'not counted'}, "
            f"{served.deadline or served.target}"
        )
    lines.append(
        f"  ticks late by {', '.join(map(str, start.delays.ticks_s))} s (repeated),  "
        f"points readable after {start.delays.points_s} s"
    )
    lines += [f"  inside a handler, {after} calls later: {step}" for after, step in start.steps_inside]
    lines += ["and goes on with", *(f"  {move}" for move in needed)]
    return "\n".join(lines)


def _colors_failure(beginning: Beginning, acts: Sequence[Act | Inside]) -> str | None:
    try:
        run_colors(beginning, acts)
    except AssertionError as broken:
        return str(broken)
    return None


def _colors_report(seed: int) -> str:
    """Describe the interleaving of colors of this seed."""
    beginning, acts = colors_drawn(seed)
    needed = _needed(acts, lambda part: _colors_failure(beginning, part) is not None)
    lines = [f"the interleaving of colors of seed {seed} violates an invariant:"]
    lines += [str(_colors_failure(beginning, needed)), f"it begins with {beginning} and goes on with"]
    return "\n".join([*lines, *(f"  {act}" for act in needed)])


def reached_by(seeds: Iterable[int]) -> tuple[Counter[str], int | None]:
    """Count what these interleavings reached, and return the first seed that failed."""
    reached: Counter[str] = Counter()
    for seed in seeds:
        start, moves = drawn(seed)
        try:
            reached += run_interleaving(start, moves).reached
            reached += run_colors(*colors_drawn(seed)).reached
        except AssertionError:
            return reached, seed
    return reached, None


def on_all_cores(seeds: range, processes: int) -> Iterator[tuple[Counter[str], int | None]]:
    """The results of `reached_by` for each batch, in the order in which the batches end."""
    batches = [seeds[at : at + PER_BATCH] for at in range(0, len(seeds), PER_BATCH)]
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(reached_by, batches)
