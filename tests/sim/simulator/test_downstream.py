"""A downstream fails attempts beyond its capacity, and its failures return, cost and end as at AWS."""

from __future__ import annotations

import numpy as np
import pytest

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.downstream import Downstream
from sluice_sim.simulator.fleet import SimulatedFleet
from tests.sim.simulator.fleets import at, simulated_fleet, started

SERVICE_S = 10.0
SECOND_FAILS = Downstream(capacity=1, seed=1)
"""With this seed, the first attempt of the second message fails if it begins beside another."""


def busy(
    load: int, capacity: int, *, seed: int = 0, for_s: float = 6000.0, ratio: float = 1.0
) -> SimulatedFleet:
    """A fleet of which `load` slots work for all of the time."""
    count = int(load * for_s / SERVICE_S / min(ratio, 1.0)) + load
    subject = simulated_fleet(
        np.zeros(count),
        SERVICE_S,
        maximum=load,
        max_receives=1000,
        visibility_timeout_s=30.0,
        downstream=Downstream(capacity=capacity, failed_time_ratio=ratio, seed=seed),
    )
    subject.set_desired(load)
    return at(subject, for_s)


def failed_share(subject: SimulatedFleet) -> float:
    attempts = int(subject.queue.messages.receives.sum(dtype=np.int64)) - subject.snapshot().running
    return subject.queue.failed_attempts / attempts


@pytest.mark.parametrize("load", [10, 40])
def test_nothing_fails_up_to_the_capacity(load: int) -> None:
    subject = busy(load, 40, for_s=600.0)
    assert (subject.queue.failed_attempts, subject.queue.failed_s) == (0, 0.0)
    assert subject.queue.processed == load * 59


@pytest.mark.parametrize("load", [50, 80, 160])
def test_beyond_the_capacity_the_share_that_the_load_exceeds_it_by_fails(load: int) -> None:
    assert failed_share(busy(load, 40)) == pytest.approx(1 - 40 / load, abs=0.01)


@pytest.mark.parametrize("load", [50, 80, 160])
def test_a_saturated_downstream_completes_as_much_as_at_its_capacity_whatever_the_load(load: int) -> None:
    assert busy(load, 40).queue.processed == pytest.approx(40 * 6000 / SERVICE_S, rel=0.02)


def test_a_failed_attempt_takes_as_long_as_it_is_said_to() -> None:
    slow, quick = busy(80, 40, for_s=600.0), busy(80, 40, for_s=600.0, ratio=0.1)
    assert slow.queue.failed_s == pytest.approx(slow.queue.failed_attempts * SERVICE_S)
    assert quick.queue.failed_s == pytest.approx(quick.queue.failed_attempts * SERVICE_S / 10)


def test_failures_are_counted_in_the_minute_in_which_they_end() -> None:
    subject = busy(80, 40, for_s=600.0)
    by_minute = subject.queue.failed_by_minute(0, 10)
    assert by_minute.sum() == subject.queue.failed_attempts
    assert (by_minute[1:] > 0).all()


def pair(**conditions: object) -> SimulatedFleet:
    """Two instances and two messages, the second of which fails in its first attempt."""
    subject = simulated_fleet(
        [0, 0], SERVICE_S, visibility_timeout_s=60.0, downstream=SECOND_FAILS, **conditions
    )
    subject.set_desired(2)
    return subject


def test_a_failed_message_is_in_flight_until_its_visibility_timeout_ends_and_is_then_received_again() -> None:
    subject = pair()
    assert at(subject, 11).queue.failed_attempts == 1
    assert [subject.snapshot().visible, subject.snapshot().in_flight] == [0, 1]
    assert at(subject, 59).snapshot().in_flight == 1
    assert at(subject, 61).queue.processed == 1
    assert started(subject) == [0, 60]
    assert at(subject, 71).queue.processed == 2
    assert subject.queue.lost() == 0


def test_a_message_whose_attempt_outlasts_the_timeout_returns_after_the_last_extension() -> None:
    subject = simulated_fleet([0, 0], 25, visibility_timeout_s=20.0, downstream=SECOND_FAILS)
    subject.set_desired(2)
    assert started(at(subject, 41)) == [0, 40]


def test_a_message_that_failed_as_often_as_it_may_be_received_is_a_dead_letter() -> None:
    subject = pair(max_receives=1)
    assert at(subject, 59).queue.dead_letters == 0
    assert at(subject, 61).queue.dead_letters == 1
    assert list(subject.queue.messages.state) == [queue_kernel.PROCESSED, queue_kernel.DEAD_LETTER]
    assert subject.queue.lost() == 0


def test_a_failed_message_holds_back_its_group_alone() -> None:
    subject = simulated_fleet(
        [0, 0, 0, 0],
        SERVICE_S,
        groups=[0, 1, 0, 1],
        visibility_timeout_s=60.0,
        downstream=SECOND_FAILS,
    )
    subject.set_desired(2)
    assert started(at(subject, 100)) == [0, 60, 10, 70]
    assert subject.queue.lost() == 0


def test_an_instance_that_is_stopped_in_a_failing_attempt_is_gone_when_that_ends() -> None:
    subject = at(pair(), 5)
    subject.set_desired(0)
    at(subject, 30)
    assert list(subject.terminated_s()) == [10, 10]
    assert subject.queue.failed_attempts == 1


def test_thousands_of_failed_messages_return() -> None:
    subject = simulated_fleet(
        np.zeros(5000),
        SERVICE_S,
        maximum=5000,
        visibility_timeout_s=600.0,
        downstream=Downstream(capacity=1),
    )
    subject.set_desired(5000)
    assert at(subject, 11).snapshot().in_flight > 4900
    assert subject.queue.lost() == 0
    assert subject.queue.processed + subject.queue.failed_attempts == 5000


def test_the_same_seed_fails_the_same_messages_and_another_one_others() -> None:
    def processed(seed: int) -> list[int]:
        return np.flatnonzero(busy(80, 40, seed=seed, for_s=600.0).queue.messages.state).tolist()

    assert processed(1) == processed(1) != processed(2)
