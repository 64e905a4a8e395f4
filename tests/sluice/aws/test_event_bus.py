"""PutEvents as AWS may answer it: refused, throttled in part, malformed, late."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.aws.event_bus import EventBridgeBus
from sluice.ports import DecisionEvent
from tests.sluice.aws.stubs import ANY, refusal, stubbed
from tests.support.builders import plenty
from tests.templates.stacks import EVENT_BUS

EVENTS = [DecisionEvent(detail_type="Sluice Decision v1", detail={"number": each}) for each in range(12)]
TAKEN = {"EventId": "1"}
THROTTLED = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}


def answer(*entries: Mapping[str, str]) -> dict[str, Any]:
    return {"Entries": list(entries), "FailedEntryCount": sum("ErrorCode" in each for each in entries)}


def call(*entries: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return "put_events", {"Entries": ANY}, answer(*entries)


def entry(number: int) -> dict[str, str]:
    return {
        "EventBusName": EVENT_BUS,
        "Source": "sluice",
        "DetailType": "Sluice Decision v1",
        "Detail": f'{{"number": {number}}}',
    }


def put(client: Any, pool: ThreadPoolExecutor, count: int = 3) -> dict[int, str]:
    unsent = EventBridgeBus(lambda: client, pool, EVENT_BUS).put(EVENTS[:count], plenty)
    return {place: why.reason for place, why in unsent.items()}


def test_a_call_holds_ten_events_each_for_the_bus(pool: ThreadPoolExecutor) -> None:
    first = {"Entries": [entry(each) for each in range(10)]}
    second = {"Entries": [entry(10), entry(11)]}
    with stubbed(
        "events",
        ("put_events", first, answer(*[TAKEN] * 10)),
        ("put_events", second, answer(TAKEN, TAKEN)),
    ) as client:
        assert put(client, pool, 12) == {}


def test_an_entry_that_aws_throttles_is_put_again_and_the_others_are_not(pool: ThreadPoolExecutor) -> None:
    again = ("put_events", {"Entries": [entry(1)]}, answer(TAKEN))
    with stubbed("events", call(TAKEN, THROTTLED, TAKEN), again) as client:
        assert put(client, pool) == {}


def test_an_entry_that_stays_throttled_is_named_with_the_answer_of_aws(pool: ThreadPoolExecutor) -> None:
    with stubbed("events", call(TAKEN, THROTTLED, TAKEN), call(THROTTLED)) as client:
        refused = "AWS refused one with ThrottlingException: Rate exceeded"
        assert put(client, pool) == {1: f"PutEvents of 1 events to {EVENT_BUS}: {refused}"}


def test_an_entry_that_aws_will_never_take_is_not_put_again(pool: ThreadPoolExecutor) -> None:
    with stubbed("events", call(MALFORMED, TAKEN, THROTTLED), call(TAKEN)) as client:
        refused = "AWS refused one with MalformedDetail: Detail is malformed."
        assert put(client, pool) == {0: f"PutEvents of 3 events to {EVENT_BUS}: {refused}"}


def test_a_refused_call_keeps_its_events_from_the_bus_and_no_others(pool: ThreadPoolExecutor) -> None:
    denied = ("put_events", {"Entries": ANY}, refusal("AccessDeniedException", "not authorized", 400))
    with stubbed("events", denied, call(TAKEN, TAKEN)) as client:
        unsent = put(client, pool, 12)
    assert unsent.keys() == set(range(10))
    assert "AWS answered AccessDeniedException: not authorized" in unsent[0]


@pytest.mark.parametrize(
    "entries", [(), (TAKEN,), (TAKEN, {}, TAKEN), (TAKEN,) * 4], ids=["none", "one", "empty", "four"]
)
def test_an_answer_that_does_not_say_what_was_taken_counts_as_not_taken_and_as_no_defect(
    pool: ThreadPoolExecutor, entries: tuple[Mapping[str, str], ...]
) -> None:
    with stubbed("events", call(*entries)) as client:
        unsent = EventBridgeBus(lambda: client, pool, EVENT_BUS).put(EVENTS[:3], plenty)
    assert unsent
    assert [why.defect for why in unsent.values() if why.defect] == []


def test_a_call_that_hangs_is_not_waited_for(pool: ThreadPoolExecutor) -> None:
    released = threading.Event()

    class Hanging:
        def put_events(self, **_: Any) -> None:
            released.wait(20)

    started = time.monotonic()
    try:
        unsent = EventBridgeBus(Hanging, pool, EVENT_BUS).put(EVENTS[:3], lambda: 0.05)
        assert time.monotonic() - started < 10
        assert unsent.keys() == {0, 1, 2}
        assert "not read before the deadline" in unsent[0].reason
    finally:
        released.set()
