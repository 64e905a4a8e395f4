"""The simulated fleet: queue, scale-in, boots, interruptions and failed launches."""

from __future__ import annotations

import numpy as np
import pytest

from sluice_sim.simulator.fleet import (
    RETRY_S,
    SPOT_NOTICE_S,
    ScaleIn,
    SimulatedFleet,
)
from tests.sim.simulator.fleets import (
    at,
    simulated_fleet,
    started,
)


def after_desired(subject: SimulatedFleet, second: float, desired: int) -> SimulatedFleet:
    at(subject, second).set_desired(desired)
    return subject


def lives(subject: SimulatedFleet) -> list[tuple[float, float]]:
    """From launch to termination, which is what is billed."""
    launched = [one.launched_s for one in subject.instances]
    return list(zip(launched, subject.terminated_s().tolist(), strict=True))


# ---- The queue


def test_a_message_waits_until_an_instance_has_booted_and_then_one_after_another() -> None:
    subject = after_desired(simulated_fleet([0, 1, 2], 10, boot_s=60), 5, 1)
    at(subject, 200)
    assert started(subject) == [65, 75, 85]


def test_the_oldest_visible_message_is_received_first_by_every_free_slot() -> None:
    subject = after_desired(simulated_fleet([0, 1, 2, 3], 10, concurrency=2), 5, 1)
    at(subject, 100)
    assert started(subject) == [5, 5, 15, 15]


def test_a_delayed_message_is_counted_as_such_until_it_is_visible() -> None:
    subject = simulated_fleet([10], 5, delay_s=30)
    subject.set_desired(1)
    assert (at(subject, 20).snapshot().delayed, subject.snapshot().visible) == (1, 0)
    at(subject, 41)
    assert started(subject) == [40]
    assert (subject.snapshot().delayed, subject.snapshot().in_flight) == (0, 1)


def test_the_oldest_message_ages_until_it_is_deleted_in_flight_or_not() -> None:
    subject = after_desired(simulated_fleet([10, 25], 60), 0, 1)
    assert at(subject, 5).snapshot().oldest_age_s == 0  # no message has arrived
    assert at(subject, 40).snapshot().oldest_age_s == 30  # in progress
    assert at(subject, 71).snapshot().oldest_age_s == 46  # the first is done, the second is 46 s old
    assert at(subject, 200).snapshot().oldest_age_s == 0


@pytest.mark.parametrize(("groups", "age_s"), [(None, 40), ([0, 1], 100)], ids=["standard", "fifo"])
def test_a_message_received_three_times_no_longer_counts_as_oldest_in_a_standard_queue(
    groups: list[int] | None, age_s: float
) -> None:
    subject = simulated_fleet([0, 60], 50, scale_in=ScaleIn.KILL, visibility_timeout_s=20, groups=groups)
    for second in (0, 25, 46):  # redelivered after each kill, and never completed
        after_desired(after_desired(subject, second, 1), second + 4, 0)
    assert subject.queue.messages.receives.tolist() == [3, 0]
    assert at(subject, 100).snapshot().oldest_age_s == age_s


def test_messages_of_one_group_follow_one_another_and_groups_run_side_by_side() -> None:
    subject = simulated_fleet([0, 1, 2, 3], 10, groups=[7, 7, 8, 7], concurrency=4)
    subject.set_desired(1)
    at(subject, 100)
    assert started(subject) == [0, 10, 2, 20]


def test_a_killed_workers_message_holds_its_group_back_until_it_is_visible_again() -> None:
    subject = simulated_fleet([0, 1], 50, groups=[7, 7], scale_in=ScaleIn.KILL, visibility_timeout_s=100)
    after_desired(subject, 0, 1)
    after_desired(after_desired(subject, 20, 0), 21, 1)
    at(subject, 300)
    assert started(subject) == [100, 150]


# ---- Scale-in


def test_a_drained_instance_finishes_its_message_receives_no_other_and_is_billed_until_then() -> None:
    subject = after_desired(simulated_fleet([0, 0], 50), 0, 1)
    after_desired(subject, 20, 0)
    at(subject, 200)
    assert started(subject) == [0, None]
    assert lives(subject) == [(0, 50)]
    assert (subject.queue.redelivered, subject.snapshot().running, subject.snapshot().visible) == (0, 0, 1)


def test_a_killed_instances_message_returns_when_its_visibility_timeout_ends_and_is_counted() -> None:
    subject = after_desired(simulated_fleet([0], 50, scale_in=ScaleIn.KILL, visibility_timeout_s=30), 0, 1)
    after_desired(after_desired(subject, 40, 0), 45, 1)
    snapshot = at(subject, 50).snapshot()
    assert (snapshot.visible, snapshot.in_flight, snapshot.idle) == (
        0,
        1,
        1,
    )  # extended once, it is invisible until 60
    at(subject, 200)
    assert started(subject) == [60]
    assert (subject.queue.redelivered, subject.queue.processed) == (1, 1)
    assert subject.queue.messages.receives.tolist() == [2]
    assert lives(subject)[0] == (0, 40)


def test_a_message_killed_too_often_is_a_dead_letter_once_it_would_be_received_again() -> None:
    subject = simulated_fleet([0], 50, scale_in=ScaleIn.KILL, visibility_timeout_s=30, max_receives=2)
    after_desired(subject, 0, 1)
    after_desired(after_desired(subject, 10, 0), 35, 1)
    after_desired(subject, 40, 0)
    snapshot = at(subject, 100).snapshot()
    assert (snapshot.visible, snapshot.in_flight, subject.queue.dead_letters) == (1, 0, 0)
    at(after_desired(subject, 100, 1), 101)
    assert (subject.snapshot().backlog, subject.queue.dead_letters, subject.queue.processed) == (0, 1, 0)
    assert subject.queue.lost() == 0


def test_a_protected_fleet_terminates_idle_instances_at_once_and_busy_ones_when_they_are_done() -> None:
    subject = simulated_fleet([0], 47, scale_in=ScaleIn.PROTECT)
    after_desired(subject, 0, 3)
    after_desired(subject, 10, 0)
    assert subject.snapshot().running == 1
    at(subject, 200)
    ends = sorted(end for _, end in lives(subject))
    assert ends == [10, 10, 50]  # looked at every 10 s
    assert (subject.queue.processed, subject.queue.redelivered) == (1, 0)


def test_booting_instances_stop_before_running_ones() -> None:
    subject = after_desired(simulated_fleet([0], 500, boot_s=60), 0, 1)
    after_desired(after_desired(subject, 100, 3), 110, 1)
    snapshot = at(subject, 120).snapshot()
    assert (snapshot.running, snapshot.idle, snapshot.launched_s) == (1, 0, ())
    assert lives(subject)[1:] == [(100, 110), (100, 110)]


def test_the_newest_booting_instances_stop_first() -> None:
    subject = after_desired(after_desired(simulated_fleet([], 1, boot_s=60), 0, 1), 10, 2)
    after_desired(subject, 20, 1)
    assert subject.snapshot().launched_s == (0,)


def test_the_oldest_running_instances_stop_first() -> None:
    subject = after_desired(after_desired(simulated_fleet([], 1), 0, 1), 50, 2)
    after_desired(subject, 100, 1)
    assert lives(subject) == [(0, 100), (50, pytest.approx(np.nan, nan_ok=True))]


# ---- The fleet


def test_a_snapshot_counts_running_and_idle_instances_and_has_the_launch_times_of_booting_ones() -> None:
    subject = after_desired(simulated_fleet([0], 500, boot_s=[30.0, 60.0, 45.0], maximum=3), 0, 1)
    after_desired(subject, 31, 3)
    snapshot = at(subject, 40).snapshot()
    assert (snapshot.desired, snapshot.running, snapshot.idle, snapshot.launched_s) == (3, 1, 0, (31, 31))
    assert (subject.warmed(5.0), subject.warmed(20.0)) == (1, 0)


def test_a_spot_interruption_gives_two_minutes_notice_and_is_replaced_at_once() -> None:
    subject = simulated_fleet(
        [0], 10_000, interruptions_per_instance_hour=2.0, visibility_timeout_s=900, seed=1
    )
    subject.set_desired(1)
    while not subject.interruptions:
        at(subject, subject.now_s + 1)
    noticed = subject.now_s
    assert len(subject.instances) == 2
    assert subject.queue.redelivered == 0
    at(subject, noticed + SPOT_NOTICE_S + 1)
    assert subject.queue.redelivered == 1
    assert subject.terminated_s()[0] == pytest.approx(noticed + SPOT_NOTICE_S, abs=1)


def test_a_draining_instance_is_interrupted_as_well() -> None:
    conditions = {"interruptions_per_instance_hour": 2.0, "visibility_timeout_s": 900, "seed": 1}
    subject = after_desired(simulated_fleet([0], 50_000, **conditions), 0, 1)
    after_desired(subject, 1, 0)
    while not subject.interruptions and subject.now_s < 40_000:
        at(subject, subject.now_s + 1)
    noticed = subject.now_s
    assert len(subject.instances) == 1, "no other was requested"
    at(subject, noticed + SPOT_NOTICE_S + 1)
    assert (subject.interruptions, subject.queue.redelivered) == (1, 1)
    assert subject.terminated_s()[0] == pytest.approx(noticed + SPOT_NOTICE_S, abs=1)


def test_a_terminated_instance_is_not_interrupted() -> None:
    subject = after_desired(
        after_desired(simulated_fleet([], 1, interruptions_per_instance_hour=2.0, seed=1), 0, 5), 1, 0
    )
    at(subject, 40_000)
    assert subject.interruptions == 0


def test_a_drained_message_that_ends_within_the_spot_notice_is_not_redelivered() -> None:
    subject = simulated_fleet(np.arange(0, 36_000, 50).tolist(), 40, interruptions_per_instance_hour=2.0)
    subject.set_desired(1)
    at(subject, 40_000)
    assert subject.interruptions > 5
    assert (subject.queue.redelivered, subject.queue.processed) == (0, 720)


def test_a_failed_launch_is_retried_until_it_succeeds() -> None:
    subject = simulated_fleet([0], 1, refusal_ratio=0.8, seed=3)
    subject.set_desired(2)
    at(subject, 3600)
    assert subject.launches_refused > 0
    assert subject.snapshot().running == 2
    assert {one.launched_s % RETRY_S for one in subject.instances} == {0}


def test_a_fleet_grows_beyond_its_initial_arrays() -> None:
    subject = simulated_fleet([0.0] * 500, 5, maximum=1, concurrency=3)
    subject.set_desired(1)
    for second, desired in ((1, 150), (2, 0), (3, 1500), (20, 0), (21, 30)):
        after_desired(subject, second, desired)
    at(subject, 100)
    assert (subject.queue.processed, subject.queue.lost(), subject.snapshot().running) == (500, 0, 30)
    assert len(subject.instances) == 1 + 149 + 1500 + 30


def test_service_times_are_summed_by_the_minute_of_completion() -> None:
    subject = after_desired(simulated_fleet([0, 50, 130], [10, 20, 30]), 0, 1)
    at(subject, 180)
    sums, squares, counts = subject.queue.durations(0, 3)
    assert (sums.tolist(), squares.tolist(), counts.tolist()) == ([10, 20, 30], [100, 400, 900], [1, 1, 1])
    assert subject.queue.finished_service_s(1, 2).tolist() == [20]


def test_the_same_fleet_simulated_twice_is_the_same() -> None:
    def run_once() -> list[float | None]:
        random = np.random.default_rng(2)
        arrivals = np.sort(random.uniform(0, 5000, 800)).tolist()
        subject = simulated_fleet(
            arrivals,
            random.exponential(20.0, 800).tolist(),
            scale_in=ScaleIn.KILL,
            interruptions_per_instance_hour=3.0,
            refusal_ratio=0.3,
        )
        for minute in range(90):
            after_desired(subject, 60.0 * minute, minute * 7 % 5)
        return started(subject)

    assert run_once() == run_once()
