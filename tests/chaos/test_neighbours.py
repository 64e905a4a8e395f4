"""One workload's faults change nothing for another: the same events, with and without a neighbour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest

from sluice.core.model import Unknown
from sluice.ports import Counter
from sluice.usecases.published_backlog import published_backlog
from tests.chaos.event_storm import EventStorm
from tests.chaos.faults import PLANE_STEPS
from tests.chaos.moves import MOVES, InitialState, Move, beginning, make_move
from tests.chaos.steps import Step

pytestmark = pytest.mark.slow

SEEDS, MORE_SEEDS = range(300), range(300, 900)
# What happens inside a handler depends on how many calls it makes, and so on the neighbour.
INDEPENDENT_MOVES = [
    name
    for name in MOVES
    if name not in ("something_inside_a_handler", "a_message_within_a_tick", "surges_at_once")
]
DELIVERY_STEPS = ("deliver", "deliver again", "lose", "swap")
PLANE_INDEX = {2: 2, 1: 1}
"""Number of workloads -> the `workload_index` that means the control plane."""


def drawn_for_two(seed: int) -> tuple[InitialState, list[Move]]:
    random = Random(seed)
    start = beginning(random.choice)
    while len(start.workloads) < 2:
        start = beginning(random.choice)
    start = replace(
        start, workloads=start.workloads[:2], initial_states=start.initial_states[:2], steps_inside=()
    )
    moves = [random.choice(MOVES[random.choice(INDEPENDENT_MOVES)]) for _ in range(random.randint(10, 40))]
    return start, [move for move in moves if not any(map(_is_shared, _steps(move)))]


def _is_shared(step: Step) -> bool:
    """What concerns both.

    Two workloads that claim one fleet are both held, a stack change has every document read afresh, and which
    of the queued ticks comes early or never depends on how many there are.
    """
    is_stack_change = step.what == "update stack" and step.workload_index % 2 == 1
    return step.what.startswith(("claim", "tick below", "ticks are lost")) or is_stack_change


def _steps(move: Move) -> list[Step]:
    return [part for part in move if isinstance(part, Step)]


def of_the_first(moves: Iterable[Move]) -> list[Move]:
    """The moves that remain for the first workload without its neighbour."""
    return [tuple(own for step in _steps(move) for own in _own(step)) for move in moves]


def _own(step: Step) -> list[Step]:
    if step.what in ("minute", "deliver a tick", "tick again", "hour passes", *PLANE_STEPS):
        return [step]
    if step.what in DELIVERY_STEPS and step.workload_index == PLANE_INDEX[2]:
        return [replace(step, workload_index=PLANE_INDEX[1])]
    if step.what in DELIVERY_STEPS:
        return [step] if step.workload_index == 0 else []
    return [step] if step.workload_index % 2 == 0 else []


def timeline_of_the_first(start: InitialState, moves: Iterable[Move]) -> list[object]:
    storm: EventStorm = start.storm()
    for move in moves:
        make_move(storm, move)
    # Every invocation that reads the registry reports its bad documents, also one for the neighbour's stack.
    return [
        logged
        for logged in storm.timeline
        if logged[0] == start.workloads[0].name and logged[2] != Counter.DOCUMENT_INVALID
    ]


def difference(seed: int) -> tuple[list[object], list[object]]:
    """The timeline of the first workload with its neighbour, and without."""
    start, moves = drawn_for_two(seed)
    alone = replace(start, workloads=start.workloads[:1], initial_states=start.initial_states[:1])
    return timeline_of_the_first(start, moves), timeline_of_the_first(alone, of_the_first(moves))


def changes_nothing(seeds: Iterable[int]) -> int:
    """Check that the first workload's timeline is the same alone; returns how much was logged."""
    logged = 0
    for seed in seeds:
        with_neighbour, alone = difference(seed)
        assert with_neighbour == alone, f"seed {seed}"
        logged += len(with_neighbour)
    return logged


def test_a_neighbour_changes_no_action_decision_or_data_point() -> None:
    assert changes_nothing(SEEDS) > 5 * len(SEEDS)


def test_an_unreadable_proof_that_blocks_the_neighbour_is_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def all_or_nothing(*args: object) -> object:
        published = published_backlog(*args)  # type: ignore[arg-type]
        unread = [series for series in published.values() if isinstance(series, Unknown)]
        return dict.fromkeys(published, unread[0]) if unread else published

    monkeypatch.setattr("sluice.usecases.missed_alarms.published_backlog", all_or_nothing)
    with pytest.raises(AssertionError):
        changes_nothing(MORE_SEEDS)
