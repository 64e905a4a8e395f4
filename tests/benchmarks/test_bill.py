"""The bill of ten workloads: what the deployed handlers call, by list prices, however fast the machine is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import bill
from benchmarks.bill import (
    DEADLINE,
    LEARNING,
    LOOP,
    MAX_RATIO,
    NOTIFYING,
    TICKS_A_MINUTE,
    TRACKING,
    Ticks,
    Usage,
)
from benchmarks.list_prices import MINUTES, Minute, month

pytestmark = pytest.mark.slow

WORKLOADS = 10
SLOW_S = 0.9
"""0.9 s for each invocation: far more than any takes with its share of a core."""


@pytest.fixture(scope="module")
def usages() -> dict[str, Usage]:
    """What ten workloads use with each engine, as if each invocation took 0.9 s."""
    measured = {scaling: bill.measure(WORKLOADS, scaling, 1, 1) for scaling in bill.SCALINGS}
    ticks = measured[DEADLINE].ticks
    assert ticks is not None
    return {
        TRACKING: replace(measured[TRACKING], minute_s=SLOW_S),
        DEADLINE: replace(measured[DEADLINE], minute_s=SLOW_S, ticks=replace(ticks, slice_s=SLOW_S)),
    }


@pytest.fixture
def ticks(usages: dict[str, Usage]) -> Ticks:
    found = usages[DEADLINE].ticks
    assert found is not None
    return found


def test_the_core_of_ten_deadline_workloads_costs_at_most_1_8_times_target_trackings(
    usages: dict[str, Usage],
) -> None:
    assert bill.ratio(usages[TRACKING], usages[DEADLINE]) <= MAX_RATIO


def test_a_tick_reads_each_queue_and_replaces_each_state_once(ticks: Ticks) -> None:
    assert ticks.calls == {
        "GetQueueAttributes": WORKLOADS,
        "UpdateItem": WORKLOADS,
        "BatchGetItem": 1,
        "DescribeAutoScalingGroups": 1,
        "DescribeServices": 1,
        "DescribeScalableTargets": 1,
        "read_units": WORKLOADS,
        "write_units": WORKLOADS,
    }


def test_ten_workloads_are_one_message_and_one_invocation_a_tick(
    usages: dict[str, Usage], ticks: Ticks
) -> None:
    assert (ticks.messages, ticks.invocations, ticks.receive_units) == (1, 1, 1)
    calls = usages[DEADLINE].calls
    assert (calls["SendMessageBatch"], calls["send_units"] <= TICKS_A_MINUTE) == (1, True)


def test_the_minutes_tick_calls_for_both_engines_the_same_but_for_the_queued_ticks(
    usages: dict[str, Usage],
) -> None:
    sending = {"SendMessageBatch", "send_units"}
    deadline = {name: count for name, count in usages[DEADLINE].calls.items() if name not in sending}
    assert deadline == usages[TRACKING].calls


def test_an_hour_reads_six_metrics_a_workload_and_stores_what_it_learned_however_many_functions_run(
    usages: dict[str, Usage], ticks: Ticks
) -> None:
    hourly = usages[DEADLINE].hourly
    assert {name: hourly[name] for name in ("metrics_read", "UpdateItem", "write_units", "read_units")} == {
        "metrics_read": 6 * WORKLOADS,
        "UpdateItem": WORKLOADS,
        "write_units": WORKLOADS,
        "read_units": WORKLOADS,
    }
    assert not usages[TRACKING].hourly.keys() & {"metrics_read", "UpdateItem"}
    learning = month(
        Minute(
            metrics_read=6 * WORKLOADS / 60,
            write_units=WORKLOADS / 60,
            read_units=WORKLOADS / 60,
        )
    )
    assert bill.bill(usages[DEADLINE], DEADLINE)[LEARNING] == pytest.approx(learning)
    three = replace(usages[DEADLINE], ticks=replace(ticks, slice_s=25.0))
    assert bill.bill(three, DEADLINE)[LEARNING] == pytest.approx(learning)


def test_a_function_that_loops_needs_no_queue_and_pays_for_its_waiting(usages: dict[str, Usage]) -> None:
    ticked, looped = (bill.bill(usages[DEADLINE], engine) for engine in (DEADLINE, LOOP))
    gone = {"ticks sent, received, deleted", "deadline_tick: Lambda"}
    assert ticked.keys() - looped.keys() == gone
    gb_s = bill.LOOPED_S * bill.memory_mb() / 1024
    assert looped["functions that loop: Lambda"] == pytest.approx(
        MINUTES * (gb_s * 0.0000133334 + 0.20e-6), rel=1e-6
    )
    same = looped.keys() & ticked.keys() - {"Lambda's polls of empty queues"}
    assert {name: looped[name] for name in same} == {name: ticked[name] for name in same}


def test_the_core_leaves_out_only_alarms_that_cost_both_engines_the_same(usages: dict[str, Usage]) -> None:
    tracking, deadline = (bill.bill(usages[engine], engine) for engine in bill.SCALINGS)
    assert tracking[NOTIFYING] == pytest.approx(deadline[NOTIFYING])
    assert bill.core(deadline) == pytest.approx(sum(deadline.values()) - deadline[NOTIFYING])
