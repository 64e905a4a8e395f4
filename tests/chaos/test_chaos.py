"""The share of the interleavings in every test run; `python -m tests.chaos` runs 100,000 of them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.cloud import PUNCTUAL
from tests.chaos.machine import Chaos
from tests.chaos.moves import drawn
from tests.chaos.reach import not_reached
from tests.chaos.seeds import failure_of, failure_report, on_time, reached_by, shortest
from tests.chaos.steps import Step

pytestmark = pytest.mark.slow

DEFAULT_SHARE = range(1500)


@pytest.fixture(scope="module")
def share() -> tuple[Counter[str], int | None]:
    return reached_by(DEFAULT_SHARE)


def test_no_interleaving_of_the_default_share_violates_an_invariant(
    share: tuple[Counter[str], int | None],
) -> None:
    reached, failed = share
    assert failed is None, failure_report(failed)
    assert reached["interleavings"] == len(DEFAULT_SHARE)


def test_the_default_share_meets_every_decision_reason_limit_counter_and_step(
    share: tuple[Counter[str], int | None],
) -> None:
    reached, _ = share
    assert not_reached(reached) == []


def test_no_interleaving_that_hypothesis_finds_violates_an_invariant() -> None:
    run_state_machine_as_test(
        Chaos, settings=settings(stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow])
    )


def test_a_seed_is_the_same_interleaving_every_time() -> None:
    assert drawn(7) == drawn(7) != drawn(8)


def test_a_failing_interleaving_is_reported_by_its_shortest_failing_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sluice.core.bootstrap_shutdown.why_not_proven_empty", lambda *_: None)
    _, failed = reached_by(DEFAULT_SHARE)
    assert failed is not None
    start, moves = drawn(failed)
    start = on_time(start, moves)
    assert start.delays == PUNCTUAL  # this defect needs no delay
    needed = shortest(start, moves)
    assert len(needed) < len(moves)
    assert failure_of(start, needed)
    assert str(failure_of(start, needed)) in failure_report(failed)
    assert all(isinstance(part, Step | tuple) for move in needed for part in move)
