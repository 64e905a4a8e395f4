"""Particular races: two alarms and a message, a silent publisher, and the race that remains."""

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
def test_a_message_that_arrives_anywhere_between_two_alarms_has_an_instance_at_once(
    first: str, second: str, after: int
) -> None:
    played = 0
    for later in range(12 - after):
        meanwhile = ((after, Step("arrive")), (later, Step("deliver again")))
        storm = InitialState((SERVED,), ("awake, proven empty",), meanwhile).storm()
        storm.cloud.post(SERVED.name, Event(alarm=alarm(second)))
        storm.invoke(Event(alarm=alarm(first)))
        storm.invoke(Event(alarm=alarm(second)))
        if storm.armed:  # the message came after the last call: the next tick's business
            continue
        played += 1
        assert storm.cloud.backlog(SERVED).visible == 1
        assert storm.cloud.capacity(SERVED).desired >= 1, f"{second} ran {later} calls after the message"
    assert played


def test_while_the_publisher_is_silent_no_fleet_is_ever_shut_down() -> None:
    for seed in range(100):
        start, moves = drawn(seed)
        silent = InitialState(
            workloads=start.workloads,
            starts=tuple("awake" for _ in start.workloads),
            meanwhile=tuple(inside for inside in start.meanwhile if inside[1].what not in PUBLISHES),
        ).storm()
        for move in moves:
            for part in move:
                step = part if isinstance(part, Step) else part[1]
                if step.what not in (*PUBLISHES, "deliver", "deliver again"):
                    silent.run_step(step)
            for served in start.workloads:
                silent.invoke(Event(alarm=alarm("shutdown", served.name)))
        assert not [what for what in silent.reached if what.startswith(f"{Kind.SHUTDOWN} acted")]


def test_the_race_that_remains_a_bootstrap_may_undo_what_another_did_between_its_look_and_its_act() -> None:
    """SetDesiredCapacity and UpdateService take no "only if it is still 0": the later write wins.

    The loser is put right by target tracking, as the fleet is awake either way.
    """
    an_operator_asks_for_four = (
        4,
        Step("set desired", 0, 5),
    )  # after the fourth call the fleet has been read
    storm = InitialState((SERVED,), ("asleep over work",), (an_operator_asks_for_four,)).storm()
    storm.invoke(Event(alarm=alarm("bootstrap")))
    assert storm.armed == []
    assert storm.cloud.capacity(SERVED).desired == 1
    assert storm.reached["bootstraps that overwrote a higher count"] == 1
