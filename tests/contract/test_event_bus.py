"""The contract of `ports.EventBus`, for every implementation."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sluice.aws.event_bus import EventBridgeBus
from sluice.ports import DecisionEvent, EventBus
from tests.sluice.aws import account
from tests.support.builders import plenty
from tests.support.fakes import FakeEventBus
from tests.templates.stacks import EVENT_BUS


@dataclass
class Subject:
    bus: EventBus
    heard: Callable[[], list[tuple[str, Mapping[str, object]]]]
    """The detail-types and details of the events that listeners were told of."""


def event(number: int) -> DecisionEvent:
    return DecisionEvent(detail_type=f"Kind {number % 2}", detail={"number": number, "who": "Zoë"})


@pytest.fixture(params=["fake", "eventbridge"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeEventBus()
        yield Subject(bus=fake, heard=lambda: [(one.detail_type, one.detail) for one in fake.events])
        return
    with account.account(), account.threads() as pool:
        events, sqs = account.client("events"), account.client("sqs")
        name, url = EVENT_BUS.rpartition("/")[2], account.create_queue("listener")
        events.create_event_bus(Name=name)
        events.put_rule(Name="all", EventBusName=name, EventPattern=json.dumps({"source": ["sluice"]}))
        target = {"Id": "listener", "Arn": "arn:aws:sqs:eu-west-1:123456789012:listener"}
        events.put_targets(Rule="all", EventBusName=name, Targets=[target])

        def heard() -> list[tuple[str, Any]]:
            found = []
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                found += [json.loads(message["Body"]) for message in messages]
            return [(each["detail-type"], each["detail"]) for each in found]

        yield Subject(bus=EventBridgeBus(lambda: events, pool, EVENT_BUS), heard=heard)


@pytest.mark.parametrize("count", [1, 10, 11, 25])
def test_every_event_is_heard_as_it_was_put(subject: Subject, count: int) -> None:
    put = [event(number) for number in range(count)]
    assert subject.bus.put(put, plenty) == {}
    heard = sorted(subject.heard(), key=lambda one: json.dumps(one[1]["number"]).zfill(3))
    assert heard == [(one.detail_type, one.detail) for one in put]
