"""Which decisions become events, what an event holds, and how often a finding is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sluice.aws.event_bus import EVENTS_PER_CALL, SOURCE
from sluice.core.model import (
    AnyDecision,
    AutoScalingGroup,
    Decision,
    EcsService,
    GuardDecision,
    Kind,
    LearningDecision,
    Reason,
    TargetDecision,
    Trigger,
    Unknown,
)
from sluice.decision_events import (
    DECISION,
    FINDING,
    MAX_MESSAGE_CHARS,
    DecisionEvents,
    detail,
    detail_type,
)
from sluice.ports import Outcome
from sluice.report import sentence
from tests.support.builders import GROUP, NOW, SERVICE, durations, observation, plenty
from tests.support.fakes import Clock, FakeEventBus

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/event.json").read_text(encoding="utf-8"))
BYTES_PER_CALL = 262_144
"""What EventBridge takes in one PutEvents, all entries together (documented)."""
WOKEN = Decision(
    workload="transcription",
    kind=Kind.BOOTSTRAP,
    trigger=Trigger.ALARM,
    reason=Reason.WORK_WAITS,
    observation=observation(visible=9, in_flight=2, delayed=1),
    desired=2,
)
RETUNED = TargetDecision(
    workload="transcription",
    trigger=Trigger.SCHEDULE,
    reason=Reason.RETUNED,
    durations=durations(48),
    current=10,
    target=12.5,
)
LEARNED = LearningDecision(
    workload="transcription",
    trigger=Trigger.SCHEDULE,
    reason=Reason.TOO_MANY_LATE,
    current_s=20,
    margin_s=30,
    processing_s=None,
    variation=None,
)
STARVED = replace(WOKEN, kind=Kind.LAUNCH, reason=Reason.NO_CAPACITY, desired=None, detail="at noon: no Spot")
UNREACHABLE = replace(WOKEN, kind=Kind.SCALE, reason=Reason.PROMISE_OUT_OF_REACH, desired=None)


def validated(decision: AnyDecision, outcome: Outcome, fleet: Any = GROUP) -> dict[str, Any]:
    """The event's detail, checked against the schema."""
    found = detail(decision, fleet, sentence(decision, outcome))
    event = {"source": SOURCE, "detail-type": detail_type(decision, outcome), "detail": found}
    jsonschema.validate(json.loads(json.dumps(event)), SCHEMA)
    return found


def events(bus: FakeEventBus, clock: Clock | None = None) -> DecisionEvents:
    return DecisionEvents(bus=bus, now=clock or Clock())


def found_again(subject: DecisionEvents, *decisions: AnyDecision) -> int:
    """One invocation that decides this; returns how many events are not on the bus."""
    for decision in decisions:
        subject.add(decision, Outcome.HELD, GROUP, sentence(decision, Outcome.HELD))
    unsent = subject.send(plenty)
    return unsent.events if unsent else 0


def test_a_decision_is_an_event_if_it_has_changed_a_fleet_or_its_policy() -> None:
    sent = {
        (kind, outcome)
        for kind, outcome in product(Kind, Outcome)
        if detail_type(replace(WOKEN, kind=kind), outcome)
    }
    assert sent == {
        (Kind.BOOTSTRAP, Outcome.ACTED),
        (Kind.SHUTDOWN, Outcome.ACTED),
        (Kind.SCALE, Outcome.ACTED),
        (Kind.SURGE, Outcome.ACTED),
        (Kind.RETUNE, Outcome.ACTED),
        (Kind.GUARD, Outcome.ACTED),
        (Kind.SWITCH, Outcome.ACTED),
    }
    assert detail_type(RETUNED, Outcome.ACTED) == DECISION
    assert detail_type(LEARNED, Outcome.ACTED) is None


def test_four_reasons_are_findings_whatever_is_decided() -> None:
    findings = {
        reason
        for reason, kind, outcome in product(Reason, Kind, Outcome)
        if detail_type(replace(WOKEN, kind=kind, reason=reason), outcome) == FINDING
    }
    assert findings == {
        Reason.BOUNDS_DISJOINT,
        Reason.NO_CAPACITY,
        Reason.PROMISE_OUT_OF_REACH,
        Reason.COLOR_STAYS,
    }


def test_an_event_of_a_resize_has_the_fleet_the_numbers_before_and_after_and_a_sentence() -> None:
    assert validated(WOKEN, Outcome.ACTED) == {
        "version": 1,
        "workload": "transcription",
        "fleet": {"type": "asg", "name": GROUP.name},
        "decision": "bootstrap",
        "reason": "work_waits",
        "trigger": "alarm",
        "before": {"desired": 0, "running": 0, "visible": 9, "in_flight": 2, "delayed": 1},
        "after": {"desired": 2},
        "message": "transcription: bootstrap 0 -> 2: work waits and nothing runs",
    }


def test_an_event_of_the_guard_has_the_signals_that_are_known_and_whether_anything_may_grow() -> None:
    engaged = GuardDecision(
        workload="transcription",
        trigger=Trigger.TICK,
        reason=Reason.DOWNSTREAM_FAILS,
        engages=True,
        until=NOW,
        failed_percent=60.0,
        detail="60 % failed",
    )
    found = validated(engaged, Outcome.ACTED)
    assert (found["before"], found["after"]) == ({"failed_percent": 60.0}, {"may_scale_out": 0})
    assert found["message"] == "transcription: guard holds scale-out: the downstream fails (60 % failed)"
    released = replace(engaged, engages=False, failed_percent=None, dead_letters_per_minute=-1.0)
    found = validated(released, Outcome.ACTED)
    assert (found["before"], found["after"]) == ({"dead_letters_per_minute": -1.0}, {"may_scale_out": 1})
    assert validated(replace(released, engages=None), Outcome.ACTED)["after"] is None


def test_an_event_of_a_retune_has_the_targets() -> None:
    found = validated(RETUNED, Outcome.ACTED, SERVICE)
    assert found["fleet"] == {"type": "ecs", "cluster": SERVICE.cluster, "service": SERVICE.service}
    assert (found["before"], found["after"]) == ({"target": 10}, {"target": 12.5})
    assert "target" not in validated(replace(RETUNED, current=None), Outcome.ACTED)["before"]


@pytest.mark.parametrize("finding", [STARVED, UNREACHABLE, replace(WOKEN, reason=Reason.BOUNDS_DISJOINT)])
def test_an_event_of_a_finding_asks_for_nothing(finding: Decision) -> None:
    finding = replace(finding, desired=None)
    assert validated(finding, Outcome.HELD)["after"] is None


def test_a_reading_that_is_unknown_is_absent_and_never_zero() -> None:
    unseen = replace(STARVED, observation=replace(observation(), backlog=Unknown(reason="throttled")))
    assert validated(unseen, Outcome.HELD)["before"] == {"desired": 0, "running": 0}


def test_ten_of_the_largest_events_are_within_what_a_call_takes() -> None:
    widest = "\N{GRINNING FACE}"
    decision = replace(STARVED, workload="w" * 64, detail=widest * 10_000)
    sizes = []
    for fleet in (AutoScalingGroup(name=widest * 255), EcsService(cluster="c" * 255, service="s" * 255)):
        found = validated(decision, Outcome.HELD, fleet)
        assert len(found["message"]) == MAX_MESSAGE_CHARS
        assert found["message"].endswith("...")
        sizes.append(len(json.dumps(found, ensure_ascii=False).encode()) + len(SOURCE) + len(FINDING))
    assert EVENTS_PER_CALL * max(sizes) < BYTES_PER_CALL / 4


def test_a_finding_that_lasts_is_sent_once_an_hour() -> None:
    bus, clock = FakeEventBus(), Clock()
    subject = events(bus, clock)
    for _ in range(180):
        assert found_again(subject, STARVED) == 0
        clock.advance(minutes=1)
    assert len(bus.events) == 4  # at the beginning, and after each 59 minutes


def test_a_finding_that_comes_back_within_the_hour_is_not_sent_again() -> None:
    bus, clock = FakeEventBus(), Clock()
    subject = events(bus, clock)
    found_again(subject, STARVED)
    clock.advance(minutes=10)
    found_again(subject)
    clock.advance(minutes=10)
    found_again(subject, STARVED)
    assert len(bus.events) == 1


def test_findings_of_other_workloads_and_other_reasons_are_sent_beside_it() -> None:
    bus = FakeEventBus()
    subject = events(bus)
    found_again(
        subject, STARVED, replace(STARVED, workload="b"), UNREACHABLE, replace(STARVED, detail="again")
    )
    found_again(subject, STARVED, replace(STARVED, workload="b"), UNREACHABLE)
    assert [(each.detail["workload"], each.detail["reason"]) for each in bus.events] == [
        ("transcription", "no_capacity"),
        ("b", "no_capacity"),
        ("transcription", "promise_out_of_reach"),
    ]


def test_a_finding_whose_event_was_not_taken_is_sent_when_it_is_found_again() -> None:
    bus = FakeEventBus(refusing="throttled")
    subject = events(bus)
    assert found_again(subject, STARVED) == 1
    bus.refusing = None
    assert found_again(subject, STARVED) == 0
    assert len(bus.events) == 1


def test_every_action_is_sent_however_many_there_are() -> None:
    bus = FakeEventBus()
    subject = events(bus)
    for _ in range(25):
        subject.add(WOKEN, Outcome.ACTED, GROUP, "")
    assert subject.send(plenty) is None
    assert len(bus.events) == 25
    assert subject.send(plenty) is None
    assert len(bus.events) == 25


def test_without_an_event_nothing_is_asked_of_the_bus() -> None:
    class Untouched(FakeEventBus):
        def put(self, events: Any, remaining_s: Any) -> Any:
            raise AssertionError("there is nothing to put")

    subject = events(Untouched())
    subject.add(replace(WOKEN, desired=None), Outcome.HELD, GROUP, "")
    assert subject.send(plenty) is None


def test_the_first_reason_stands_for_all_that_are_not_sent() -> None:
    subject = events(FakeEventBus(refusing="throttled"))
    subject.add(WOKEN, Outcome.ACTED, GROUP, "")
    subject.add(WOKEN, Outcome.ACTED, GROUP, "")
    unsent = subject.send(plenty)
    assert unsent is not None
    assert (unsent.events, unsent.reason.reason) == (2, "throttled")
