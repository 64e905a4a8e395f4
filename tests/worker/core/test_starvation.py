"""No queue starves, and no message in the buffer: shown by hours of the worst on a virtual clock.

Each course is also run without the rule, and must then starve: else it would prove nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sluice_worker.core.model import MAX_BATCH_SIZE, Priority
from tests.worker.core.builders import queue
from tests.worker.core.simulation import FLOOD, Load, Simulation

pytestmark = pytest.mark.slow

HOUR_S = 3600.0
HIGH, MEDIUM, LOW = Priority


def flood(name: str, priority: Priority, weight: float = 1.0) -> Load:
    return Load(queue=queue(name, priority, weight), at_first=FLOOD)


def trickle(name: str, priority: Priority, weight: float = 1.0, *, every_s: float = 7.0) -> Load:
    return Load(queue=queue(name, priority, weight), per_s=1 / every_s)


def one_of_each() -> list[Load]:
    return [flood("urgent", HIGH), flood("usual", MEDIUM), flood("someday", LOW)]


def hostile_weights() -> list[Load]:
    return [
        flood("loud", HIGH, 1000),
        flood("quiet", HIGH, 0.001),
        flood("mild", MEDIUM, 0.001),
        trickle("rare", MEDIUM, 0.001, every_s=95),
        flood("last", LOW, 0.001),
        trickle("least", LOW, 0.001),
    ]


def neighbours_of_one_priority() -> list[Load]:
    return [flood("heavy", LOW, 1000), flood("light", LOW, 0.001), trickle("rare", LOW, 0.001, every_s=50)]


def twenty_queues() -> list[Load]:
    return [
        flood(f"{priority}-{n}", priority, 10.0 ** (3 - n)) for priority in Priority for n in range(6)
    ] + [
        trickle("rare-1", LOW, 0.001, every_s=61),
        trickle("rare-2", LOW, 0.001, every_s=300),
    ]


def one_that_fails() -> list[Load]:
    return [Load(queue=queue("broken", HIGH, 1000), at_first=FLOOD, fails=True), *hostile_weights()]


COURSES: Sequence[Callable[[], list[Load]]] = (
    one_of_each,
    hostile_weights,
    neighbours_of_one_priority,
    twenty_queues,
    one_that_fails,
)
# Slots that keep up with the pollers would leave capacity for high alone for ever; slower ones fill the
# buffer.
FAST: dict[str, Any] = {"poll_s": 2.0, "slots": 1, "service_s": 0.15}
SLOW: dict[str, Any] = {"slots": 2, "service_s": 1.0, "limit": 20}
OVERRUN: dict[str, Any] = {"slots": 1, "service_s": 2.0, "limit": 20}


def longest_gap_allowed_s(course: Simulation) -> float:
    """A minute, the poll under way, one for each queue that starves too, and the time until capacity is free.

    Queues of one priority that do not all fit into its room with a batch of ten take turns, as room comes
    with messages that pop after their minute.
    """
    alike = max(Counter(load.queue.priority for load in course.loads).values())
    turns = math.ceil(MAX_BATCH_SIZE * alike / course.limit)
    return 60 * max(turns, 1) + course.poll_s * (1 + len(course.loads)) + course.drain_s


def longest_wait_allowed_s(course: Simulation) -> float:
    """A minute, the messages under way, and those that have waited longer."""
    return 60 + course.service_s + course.drain_s


@pytest.mark.parametrize("speed", [FAST, SLOW, OVERRUN], ids=["fast", "slow", "overrun"])
@pytest.mark.parametrize("loads", COURSES)
def test_no_queue_and_no_message_waits_for_ever(
    loads: Callable[[], list[Load]], speed: dict[str, Any]
) -> None:
    course = Simulation(loads=loads(), **speed)
    course.run(2 * HOUR_S)
    assert course.longest_gap_s <= longest_gap_allowed_s(course)
    assert course.longest_wait_s <= longest_wait_allowed_s(course)
    at_best = 2 * HOUR_S * min(course.slots / course.service_s, MAX_BATCH_SIZE / course.poll_s)
    assert sum(course.begun.values()) > 0.9 * at_best


@pytest.mark.parametrize("loads", COURSES)
def test_a_minute_and_some_polls_is_the_longest_gap_where_a_batch_of_each_queue_fits(
    loads: Callable[[], list[Load]],
) -> None:
    course = Simulation(loads=loads(), **FAST, limit=MAX_BATCH_SIZE * 8)
    course.run(HOUR_S)
    assert 60 <= course.longest_gap_s <= 60 + course.poll_s * (1 + len(course.loads))


@pytest.mark.parametrize("loads", COURSES)
def test_several_pollers_starve_nobody_either(loads: Callable[[], list[Load]]) -> None:
    course = Simulation(loads=loads(), pollers=5, poll_s=5.0, slots=2, service_s=0.3)
    course.run(HOUR_S)
    assert course.longest_gap_s <= longest_gap_allowed_s(course)
    assert course.longest_wait_s <= longest_wait_allowed_s(course)


@pytest.mark.parametrize("loads", COURSES)
def test_without_the_rule_a_queue_starves(loads: Callable[[], list[Load]]) -> None:
    course = Simulation(loads=loads(), **FAST, starving_after_s=math.inf)
    course.run(HOUR_S)
    assert course.longest_gap_s > 10 * longest_gap_allowed_s(course)


@pytest.mark.parametrize("loads", [one_of_each, hostile_weights, twenty_queues, one_that_fails])
def test_without_the_rule_a_message_starves(loads: Callable[[], list[Load]]) -> None:
    course = Simulation(loads=loads(), **OVERRUN, starving_after_s=math.inf)
    course.run(HOUR_S)
    assert course.longest_wait_s > 10 * longest_wait_allowed_s(course)


def test_a_flood_of_high_still_has_nearly_everything() -> None:
    """The rule saves others from starving; it does not share."""
    course = Simulation(loads=one_of_each(), **FAST)
    course.run(HOUR_S)
    assert course.begun[HIGH] > 0.9 * sum(course.begun.values())
    assert course.begun[LOW] > 0


def test_an_idle_worker_makes_one_poll_in_twenty_seconds_and_poller() -> None:
    course = Simulation(loads=[Load(queue=queue(name)) for name in ("a", "b", "c")], pollers=3, poll_s=0.01)
    course.run(HOUR_S)
    assert sum(course.polls.values()) <= 3 * HOUR_S / 20 + 3 * 2
    assert len(course.polls) == 3


def test_where_something_trickles_in_nothing_waits_for_a_long_poll_elsewhere() -> None:
    """As many pollers as queues: each queue is waited at, and a message is taken when it comes."""
    loads = [trickle(name, priority, every_s=40) for name, priority in (("a", HIGH), ("b", LOW))]
    loads.append(Load(queue=queue("never", MEDIUM)))
    course = Simulation(loads=loads, pollers=3, poll_s=0.01)
    course.run(HOUR_S)
    assert course.longest_gap_s < 2
    assert course.begun[HIGH] + course.begun[LOW] >= 2 * (HOUR_S / 40 - 1)
