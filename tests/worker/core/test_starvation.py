"""No queue starves, and no message in the buffer: shown by hours of the worst on a virtual clock.

Each simulation is also run without the rule, and must then starve: else it would prove nothing.
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


def longest_gap_allowed_s(simulation: Simulation) -> float:
    """A minute, the poll under way, one for each queue that starves too, and the time until capacity is free.

    Queues of one priority that do not all fit into its room with a batch of ten take turns, as room comes
    with messages that pop after their minute.
    """
    alike = max(Counter(load.queue.priority for load in simulation.loads).values())
    rounds = math.ceil(MAX_BATCH_SIZE * alike / simulation.limit)
    return 60 * max(rounds, 1) + simulation.poll_s * (1 + len(simulation.loads)) + simulation.drain_s


def longest_wait_allowed_s(simulation: Simulation) -> float:
    """A minute, the messages under way, and those that have waited longer."""
    return 60 + simulation.service_s + simulation.drain_s


@pytest.mark.parametrize("speed", [FAST, SLOW, OVERRUN], ids=["fast", "slow", "overrun"])
@pytest.mark.parametrize("loads", COURSES)
def test_no_queue_and_no_message_waits_for_ever(
    loads: Callable[[], list[Load]], speed: dict[str, Any]
) -> None:
    simulation = Simulation(loads=loads(), **speed)
    simulation.run(2 * HOUR_S)
    assert simulation.longest_gap_s <= longest_gap_allowed_s(simulation)
    assert simulation.longest_wait_s <= longest_wait_allowed_s(simulation)
    at_best = 2 * HOUR_S * min(simulation.slots / simulation.service_s, MAX_BATCH_SIZE / simulation.poll_s)
    assert sum(simulation.started.values()) > 0.9 * at_best


@pytest.mark.parametrize("loads", COURSES)
def test_the_longest_gap_is_a_minute_and_some_polls_if_a_batch_of_each_queue_fits(
    loads: Callable[[], list[Load]],
) -> None:
    simulation = Simulation(loads=loads(), **FAST, limit=MAX_BATCH_SIZE * 8)
    simulation.run(HOUR_S)
    assert 60 <= simulation.longest_gap_s <= 60 + simulation.poll_s * (1 + len(simulation.loads))


@pytest.mark.parametrize("loads", COURSES)
def test_no_queue_starves_with_several_pollers(loads: Callable[[], list[Load]]) -> None:
    simulation = Simulation(loads=loads(), pollers=5, poll_s=5.0, slots=2, service_s=0.3)
    simulation.run(HOUR_S)
    assert simulation.longest_gap_s <= longest_gap_allowed_s(simulation)
    assert simulation.longest_wait_s <= longest_wait_allowed_s(simulation)


@pytest.mark.parametrize("loads", COURSES)
def test_without_the_rule_a_queue_starves(loads: Callable[[], list[Load]]) -> None:
    simulation = Simulation(loads=loads(), **FAST, starving_after_s=math.inf)
    simulation.run(HOUR_S)
    assert simulation.longest_gap_s > 10 * longest_gap_allowed_s(simulation)


@pytest.mark.parametrize("loads", [one_of_each, hostile_weights, twenty_queues, one_that_fails])
def test_without_the_rule_a_message_starves(loads: Callable[[], list[Load]]) -> None:
    simulation = Simulation(loads=loads(), **OVERRUN, starving_after_s=math.inf)
    simulation.run(HOUR_S)
    assert simulation.longest_wait_s > 10 * longest_wait_allowed_s(simulation)


def test_many_high_messages_get_nearly_all_slots() -> None:
    """The rule prevents starvation; it does not share capacity evenly."""
    simulation = Simulation(loads=one_of_each(), **FAST)
    simulation.run(HOUR_S)
    assert simulation.started[HIGH] > 0.9 * sum(simulation.started.values())
    assert simulation.started[LOW] > 0


def test_each_poller_of_an_idle_worker_polls_every_twenty_seconds() -> None:
    simulation = Simulation(
        loads=[Load(queue=queue(name)) for name in ("a", "b", "c")], pollers=3, poll_s=0.01
    )
    simulation.run(HOUR_S)
    assert sum(simulation.polls.values()) <= 3 * HOUR_S / 20 + 3 * 2
    assert len(simulation.polls) == 3


def test_a_trickle_into_one_queue_does_not_wait_for_a_long_poll_of_another() -> None:
    """With as many pollers as queues, each queue has a long poll, and a message is received on arrival."""
    loads = [trickle(name, priority, every_s=40) for name, priority in (("a", HIGH), ("b", LOW))]
    loads.append(Load(queue=queue("never", MEDIUM)))
    simulation = Simulation(loads=loads, pollers=3, poll_s=0.01)
    simulation.run(HOUR_S)
    assert simulation.longest_gap_s < 2
    assert simulation.started[HIGH] + simulation.started[LOW] >= 2 * (HOUR_S / 40 - 1)
