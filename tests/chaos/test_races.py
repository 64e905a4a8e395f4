"""Particular races: two alarms and a message, a silent publisher, and one race that AWS cannot exclude."""

from __future__ import annotations

import pytest

from sluice.core.model import Kind
from tests.chaos.cloud import Event
from tests.chaos.moves import InitialState, drawn
from tests.chaos.steps import Step
from tests.support.builders import (
    alarm,
    workload,
)

SERVED = workload()
PUBLISHES = ("minute", "deliver a tick")


@pytest.mark.parametrize(("first", "second"), [("bootstrap", "shutdown"), ("shutdown", "bootstrap")])
@pytest.mark.parametrize("after", range(12))
def test_a_message_that_arrives_at_any_call_of_two_alarms_gets_an_instance_at_once(
    first: str, second: str, after: int
) -> None:
    checked = 0
    for later in range(12 - after):
        steps_inside = ((after, Step("arrive")), (later, Step("deliver again")))
        storm = InitialState((SERVED,), ("running, proven empty",), steps_inside).storm()
        storm.cloud.post(SERVED.name, Event(alarm=alarm(second)))
        storm.invoke(Event(alarm=alarm(first)))
        storm.invoke(Event(alarm=alarm(second)))
        if storm.pending_steps:  # the message came after the last call: the next tick handles it
            continue
        checked += 1
        assert storm.cloud.backlog(SERVED).visible == 1
        assert storm.cloud.capacity(SERVED).desired >= 1, f"{second} ran {later} calls after the message"
    assert checked


def test_while_the_publisher_is_silent_no_fleet_is_ever_shut_down() -> None:
    for seed in range(100):
        start, moves = drawn(seed)
        silent = InitialState(
            workloads=start.workloads,
            initial_states=tuple("running" for _ in start.workloads),
            steps_inside=tuple(inside for inside in start.steps_inside if inside[1].what not in PUBLISHES),
        ).storm()
        for move in moves:
            for part in move:
                step = part if isinstance(part, Step) else part[1]
                if step.what not in (*PUBLISHES, "deliver", "deliver again"):
                    silent.run_step(step)
            for served in start.workloads:
                silent.invoke(Event(alarm=alarm("shutdown", served.name)))
        assert not [what for what in silent.reached if what.startswith(f"{Kind.SHUTDOWN} acted")]


def test_a_bootstrap_may_overwrite_a_count_that_an_operator_set_after_it_read_the_fleet() -> None:
    """SetDesiredCapacity and UpdateService take no "only if it is still 0": the later write wins.

    Target tracking corrects the lost write, as the fleet runs either way.
    """
    an_operator_asks_for_four = (
        4,
        Step("set desired", 0, 5),
    )  # after the fourth call the fleet has been read
    storm = InitialState((SERVED,), ("at zero, work waits",), (an_operator_asks_for_four,)).storm()
    storm.invoke(Event(alarm=alarm("bootstrap")))
    assert storm.pending_steps == []
    assert storm.cloud.capacity(SERVED).desired == 1
    assert storm.reached["bootstraps that overwrote a higher count"] == 1
