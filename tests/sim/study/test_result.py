"""What a run comes to: each number against a run written by hand."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from sluice_sim.simulator import (
    conservation,
    queue_kernel,
)
from sluice_sim.study.result import (
    Elasticity,
    demand,
    elasticity,
    measure,
    result,
    supply,
)
from tests.sim.simulator.builders import (
    bound,
    run,
)

KEYS = """
policy promise_s messages processed dead_letters lost redelivered
attempts failed_attempts failed_share failed_instance_hours attainment
wait_p50_s wait_p95_s wait_p99_s wait_max_s instance_hours
warm_pool_size warm_pool_hours launches warm_launches launches_refused interruptions
peak_instances peak_backlog mean_load mean_processing_s scale_in
target_per_instance target_because target_limits
promise_kept lower_bound_instance_hours attainable cost_ratio no_cost_ratio_because
missing_instances surplus_instances missing_time_share surplus_time_share extra_changes_per_hour
switch warnings simulated_s wall_s
"""


def test_the_result_has_exactly_the_documented_keys_with_and_without_a_bound():
    finished_run = run([0.0] * 120, [70.0] * 120)
    with_bound = result(measure(finished_run), supply(finished_run), bound([1.0] * 10))
    without = result(measure(finished_run), supply(finished_run), None)
    assert list(with_bound) == list(without) == KEYS.split()
    no_target = {"promise_kept", "target_per_instance", "target_because", "warm_pool_size", "switch"}
    no_bound = {"lower_bound_instance_hours", "attainable", "cost_ratio"}
    no_bound |= {field.name for field in fields(Elasticity)}
    assert {key for key, value in with_bound.items() if value is None} == no_target | {
        "no_cost_ratio_because"
    }
    assert {key for key, value in without.items() if value is None} == no_target | no_bound
    json.dumps([with_bound, without], allow_nan=False)


def test_percentiles_are_waits_that_messages_really_had():
    waits = list(range(1, 101))
    measured = measure(run([0.0] * 100, waits, promise_s=30.0))
    assert (measured.wait_p50_s, measured.wait_p95_s, measured.wait_p99_s) == (50.0, 95.0, 99.0)
    assert measured.wait_max_s == 100.0


def test_attainment_counts_a_wait_as_long_as_the_promise_and_none_longer():
    assert measure(run([0.0, 0.0, 0.0], [29.0, 30.0, 30.001], promise_s=30.0)).attainment == 2 / 3


def test_a_message_never_processed_has_waited_to_the_end_and_was_not_served_in_time():
    waiting, dead = queue_kernel.WAITING, queue_kernel.DEAD_LETTER
    finished_run = run(
        [0.0, 580.0, 590.0], [1.0, math.nan, 591.0], state=[1, waiting, dead], promise_s=1000.0
    )
    measured = measure(finished_run)
    assert (measured.messages, measured.processed) == (3, 1)
    assert measured.attainment == 1 / 3
    assert measured.wait_max_s == 20.0


def test_failed_attempts_are_a_share_of_all_and_cost_the_hours_of_their_slots():
    finished_run = replace(run([0.0, 0.0], [1.0, 2.0]), failed_attempts=1, failed_s=3600.0, concurrency=4)
    finished_run.messages.receives[:] = [1, 3]
    measured = measure(finished_run)
    assert (measured.attempts, measured.failed_attempts, measured.failed_share) == (4, 1, 0.25)
    assert measured.failed_instance_hours == 0.25


def test_without_a_message_there_is_no_attainment_and_no_wait():
    measured = measure(run([], []))
    assert (measured.attainment, measured.wait_p50_s, measured.wait_max_s) == (None, None, None)
    assert (measured.attempts, measured.failed_share) == (0, None)
    assert measured.peak_backlog == 0


def test_instances_are_billed_from_launch_to_termination_or_to_the_end():
    finished_run = run(
        [0.0], [70.0], lives=[(0, 60, 360), (300, 400, math.nan), (100, 200, 150)], end_s=660.0
    )
    measured = measure(finished_run)
    assert measured.instance_hours == pytest.approx((360 + 360 + 50) / 3600)
    assert (measured.launches, measured.peak_instances) == (3, 1)


def test_supply_counts_running_but_not_booting_instances():
    supplied = supply(run([0.0], [70.0], lives=[(0, 60, 360), (0, 60, math.nan), (100, 200, 150)]))
    assert supplied(np.array([0.0, 59.9, 60.0, 359.9, 360.0, 599.0])).tolist() == [0, 0, 2, 2, 1, 1]
    assert supplied.changes(600.0) == 2, "two moments: two come at once, and one goes; the end is none"


def test_an_instance_that_starts_as_another_ends_changes_nothing():
    assert supply(run([0.0], [70.0], lives=[(0, 60, 300), (200, 300, math.nan)])).changes(600.0) == 1


def test_the_peak_of_the_backlog_is_that_of_the_worst_moment():
    finished_run = run([0.0, 1.0, 2.0, 50.0], [10.0, 10.0, 10.0, 50.0], service_s=5.0)
    assert measure(finished_run).peak_backlog == 3


def test_elasticity_compares_supply_with_demand_to_the_second():
    # Demand 2 for two minutes, then 1 for eight; supply 0, from 60 s on 1, from 300 s on 3.
    supplied = supply(run([0.0], [70.0], lives=[(0, 60, math.nan), (0, 300, math.nan), (0, 300, math.nan)]))
    found = elasticity(supplied, demand(bound([2.0, 2.0] + [1.0] * 8)), 600.0)
    assert found == Elasticity(
        missing_instances=(60 * 2 + 60 * 1) / 600,
        surplus_instances=300 * 2 / 600,
        missing_time_share=120 / 600,
        surplus_time_share=300 / 600,
        extra_changes_per_hour=3600 * (2 - 1) / 600,
    )


def test_after_the_plan_nothing_is_demanded_and_before_the_end_nothing_is_cut():
    supplied = supply(run([0.0], [70.0], lives=[(0, 0, math.nan)]))
    found = elasticity(supplied, demand(bound([1.0])), 600.0)
    assert (found.missing_instances, found.surplus_instances, found.surplus_time_share) == (
        0.0,
        540 / 600,
        540 / 600,
    )


def test_demand_is_whole_instances():
    assert demand(bound([0.4, 0.5, 1.499, 1.5])).level.tolist() == [0, 1, 1, 2, 0]


@pytest.mark.parametrize(("messages", "ratio"), [(0, False), (1, False), (119, False), (120, True)])
def test_below_a_mean_load_of_one_instance_there_is_a_reason_instead_of_a_ratio(messages, ratio):
    finished_run = run([0.0] * messages, [70.0] * messages, service_s=5.0, end_s=600.0)
    numbers = result(measure(finished_run), supply(finished_run), bound([0.1], instance_hours=0.01))
    assert numbers["mean_load"] == pytest.approx(messages / 120)
    assert (numbers["cost_ratio"] is not None) is ratio
    assert (numbers["no_cost_ratio_because"] is None) is ratio


def kernel(*, fresh, slots=(), returning=()):
    from sluice_sim.simulator.queue import _new_kernel_state

    made = _new_kernel_state(4, 1, room=8, messages=5, fleets=1)
    made.counts[queue_kernel.NEXT_NEW] = fresh
    made.message[: len(slots)] = slots
    made.counts[queue_kernel.RETURNING] = len(returning)
    made.visible_message[: len(returning)] = returning
    return made


def messages(count, *, next_in_group=(), states=None):
    finished_run = run([0.0] * count, [1.0] * count, state=states or [queue_kernel.WAITING] * count)
    return finished_run.messages._replace(next_in_group=np.array(next_in_group, np.int64))


def test_a_message_in_neither_queue_nor_slot_is_lost():
    five = messages(5, states=[1, 0, 0, 0, 2])
    assert conservation.lost(five, kernel(fresh=4, slots=[1, 2], returning=[3])) == 0
    assert conservation.lost(five, kernel(fresh=4, slots=[1], returning=[3])) == 1
    assert conservation.lost(five, kernel(fresh=4)) == 3
    assert conservation.lost(five, kernel(fresh=1)) == 0, "nobody has taken them yet"


def test_a_message_of_a_group_is_held_behind_the_one_that_may_be_taken():
    # Groups 0 -> 2 -> 4 and 1 -> 3.
    grouped = messages(5, next_in_group=[2, 3, 4, -1, -1])
    assert conservation.lost(grouped, kernel(fresh=0, slots=[0], returning=[1])) == 0
    assert conservation.lost(grouped, kernel(fresh=0, slots=[2], returning=[1])) == 1, "0 is nowhere"
    assert conservation.lost(grouped, kernel(fresh=0, slots=[0])) == 2
