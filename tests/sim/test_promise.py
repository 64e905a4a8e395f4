"""What a workload promises, when a run has kept it, and what late messages are put down to."""

from __future__ import annotations

from typing import Any

import pytest

from sluice_sim.embedded.lateness import causes
from sluice_sim.embedded.timeline import (
    Cause,
    Minute,
)
from sluice_sim.promise import Waits, promise_s, waits
from tests.support.builders import (
    dynamic_workload,
    workload,
)


def test_a_dynamic_target_promises_its_acceptable_latency_for_any_processing_time() -> None:
    promised = dynamic_workload(acceptable_latency_s=60.0)
    assert {promise_s(promised, processing_s, 2) for processing_s in (1, 60, 3600)} == {60.0}


def test_a_static_target_promises_the_time_in_which_an_instance_works_it_off() -> None:
    """8 messages of 60 s each are 8 minutes for one at a time, 4 for two."""
    assert promise_s(workload("one"), 60, 1) == 8 * 60
    assert promise_s(workload("one"), 60, 2) == 4 * 60


def test_a_message_that_starts_just_in_time_is_in_time() -> None:
    assert waits([10.0, 60.0, 60.1, 5.0], [], 60.0) == Waits(
        promise_s=60.0, attainment=0.75, p50_s=10.0, p99_s=60.1
    )


def test_a_message_that_never_started_is_late_however_short_its_wait() -> None:
    found = waits([1.0], [2.0], 60.0)
    assert found is not None
    assert (found.attainment, found.p99_s, found.kept) == (0.5, 2.0, False)


@pytest.mark.parametrize(("late", "kept"), [(0, True), (10, True), (11, False)])
def test_the_promise_is_kept_at_99_per_cent_and_never_rounded_up_to_it(late: int, kept: bool) -> None:
    found = waits([0.0] * (1000 - late) + [61.0] * late, [], 60.0)
    assert found is not None
    assert found.kept is kept


def test_if_nothing_was_sent_nothing_waited() -> None:
    assert waits([], [], 60.0) is None


def row(number: int, **changes: Any) -> Minute:
    values: dict[str, Any] = {
        "visible": 20, "in_flight": 2, "desired": 2, "running": 2, "target": 8.0,
        "backlog_per_instance": None, "processing_s": None, "events": (),
    }  # fmt: skip
    return Minute(minute=number, **(values | changes))


@pytest.mark.parametrize(
    ("changes", "is_fifo", "cause"),
    [
        ({"running": 0}, False, Cause.NONE_RUNNING),
        ({"desired": 3}, False, Cause.BOOTING),
        ({"desired": 5, "running": 5, "in_flight": 5}, False, Cause.AT_MAXIMUM),
        ({}, False, Cause.NOT_REQUESTED),
        ({"target": None}, False, Cause.NOT_REQUESTED),
        ({"visible": 14}, False, Cause.WITHIN_TARGET),
        (
            {"visible": 14, "backlog_per_instance": 5.0, "effective_backlog_per_instance": 5.1},
            False,
            Cause.NOT_REQUESTED,
        ),
        ({"in_flight": 1}, True, Cause.BUSY_GROUPS),
        ({"in_flight": 2}, True, Cause.NOT_REQUESTED),
        ({"in_flight": 1}, False, Cause.NOT_REQUESTED),
    ],
)
def test_a_late_minute_is_attributed_to_the_state_of_the_fleet(
    changes: dict[str, Any], is_fifo: bool, cause: Cause
) -> None:
    found = causes([(0.0, 60.0)], [row(1, **changes)], maximum=5, slots=1, is_fifo=is_fifo)
    assert found == {cause: 1.0}


def test_late_messages_are_weighted_by_their_wait_and_the_largest_cause_comes_first() -> None:
    rows = [row(1, running=0), row(2, desired=3), row(3, visible=0)]
    late_s = [(30.0, 120.0), (60.0, 90.0)]
    found = causes(late_s, rows, maximum=5, slots=1, is_fifo=False)
    assert list(found.items()) == [(Cause.BOOTING, 0.75), (Cause.NONE_RUNNING, 0.25)]
