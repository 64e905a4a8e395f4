import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice.core.model import Trigger
from sluice.errors import ConfigError, failure_message
from sluice.events import (
    Shard,
    batch_response,
    deliveries,
    parse_alarm,
    parse_retune,
    parse_scheduled_time,
    parse_shard,
    parse_switch,
    parse_test_load,
    shard_message,
    size_in_shard_bytes,
)
from tests.support.builders import (
    NOW,
    alarm_arn,
    stack_id,
)

DATA = {
    "alarmName": "sluice-transcription-bootstrap",
    "state": {"value": "ALARM"},
    "configuration": {"description": "Sluice workload transcription: messages wait."},
}
ARN = alarm_arn("transcription", "bootstrap")
STACK = {"detail-type": "CloudFormation Stack Status Change"}

SAMPLES = sorted((Path(__file__).parents[2] / "events").glob("*.json"))
PARSERS: list[Callable[[Any], object]] = [
    lambda event: parse_scheduled_time(event, now=NOW),
    parse_alarm,
    parse_retune,
    parse_test_load,
    deliveries,
    lambda event: [parse_shard(body) for body in (deliveries(event) or {}).values()],
]


def direct(**changes: Any) -> dict[str, Any]:
    return {"source": "aws.cloudwatch", "alarmArn": ARN, "alarmData": DATA | changes}


def bus(**changes: Any) -> dict[str, Any]:
    return {"detail-type": "CloudWatch Alarm State Change", "resources": [ARN], "detail": DATA} | changes


def without(event: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != key}


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside an event."""
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in members:
        yield (*path, key)
        yield from places(value, (*path, key))


def damaged(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every variant of the event with one value deleted or replaced."""
    for *above, last in places(event):
        for instead in ("deleted", None, 3, "x", [], {}):
            changed = deepcopy(event)
            holder: Any = changed
            for key in above:
                holder = holder[key]
            if instead == "deleted":
                del holder[last]
            else:
                holder[last] = deepcopy(instead)
            yield changed


class TestAnyEvent:
    @pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
    @pytest.mark.parametrize(
        "parse", PARSERS, ids=["schedule", "alarm", "retune", "load", "delivery", "shard"]
    )
    def test_a_damaged_document_is_either_parsed_or_refused(
        self, sample: Path, parse: Callable[[Any], object]
    ) -> None:
        for event in damaged(json.loads(sample.read_text())):
            with suppress(ConfigError):
                parse(event)

    @pytest.mark.parametrize("event", [None, 3, "x", [], [{}], True])
    @pytest.mark.parametrize(
        "parse", PARSERS, ids=["schedule", "alarm", "retune", "load", "delivery", "shard"]
    )
    def test_a_value_that_is_not_an_object_is_refused(
        self, event: object, parse: Callable[[Any], object]
    ) -> None:
        with pytest.raises(ConfigError) as refused:
            parse(event)
        assert str(refused.value) == f"the event must be a JSON object, got {event!r}"


class TestSchedule:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-01-15T12:00:00Z", datetime(2026, 1, 15, 12, tzinfo=UTC)),
            ("2026-01-15T13:00:00+01:00", datetime(2026, 1, 15, 12, tzinfo=UTC)),
            ("2026-01-15T12:00:00", datetime(2026, 1, 15, 12, tzinfo=UTC)),
        ],
    )
    def test_the_scheduled_time_is_read_as_utc(self, text: str, moment: datetime) -> None:
        parsed = parse_scheduled_time({"scheduled_time": text}, now=NOW)
        assert (parsed, parsed.utcoffset()) == (moment, timedelta(0))

    def test_an_event_without_one_is_a_manual_one_and_means_now(self) -> None:
        assert parse_scheduled_time({}, now=NOW) == NOW

    @pytest.mark.parametrize("wrong", ["<aws.scheduler.scheduled-time>", "", 7, ["2026"]])
    def test_anything_else_is_refused_with_the_input_it_should_have(self, wrong: object) -> None:
        with pytest.raises(ConfigError, match=r"is not an ISO 8601 time: the schedule's input must be"):
            parse_scheduled_time({"scheduled_time": wrong}, now=NOW)

    @pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-01:00"])
    def test_a_time_that_utc_cannot_hold_is_refused(self, edge: str) -> None:
        with pytest.raises(ConfigError) as refused:
            parse_scheduled_time({"scheduled_time": edge}, now=NOW)
        assert str(refused.value) == f"scheduled_time {edge!r} lies outside the years 1 to 9999 in UTC"


def delivery(*bodies: object) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{place}", "body": body} for place, body in enumerate(bodies)]}


SHARD = Shard(scheduled=NOW, documents={"a": '{"name": "a"}', "ü": '"\\ü\n'})


class TestShards:
    def test_a_shard_is_read_as_it_was_written(self) -> None:
        assert parse_shard(shard_message(SHARD)) == SHARD
        assert list(parse_shard(shard_message(SHARD)).documents) == ["a", "ü"]

    def test_it_is_named_by_its_slice_and_moment(self) -> None:
        assert SHARD.name == "a to ü at 12:00:30"
        assert Shard(scheduled=NOW, documents={"a": "{}"}).name == "a to a at 12:00:30"

    def test_a_message_is_as_large_as_its_documents_and_a_fixed_envelope(self) -> None:
        """SQS counts bytes, and a quotation mark inside a document takes two of them."""
        empty = len(shard_message(Shard(scheduled=NOW, documents={})).encode())
        sizes = [size_in_shard_bytes(name, text) for name, text in SHARD.documents.items()]
        assert len(shard_message(SHARD).encode()) == empty + sum(sizes) - len(", ")

    def test_a_queues_messages_are_keyed_by_their_ids_and_any_other_event_is_none(self) -> None:
        assert deliveries(delivery("one", "two")) == {"m0": "one", "m1": "two"}
        for name in ("schedule", "schedule-manual", "stack-status", "bootstrap-asg-direct"):
            assert deliveries(json.loads((SAMPLES[0].parent / f"{name}.json").read_text())) is None

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({"Records": []}, "`Records` must be the messages of a queue, got []"),
            ({"Records": "x"}, "`Records` must be the messages of a queue, got 'x'"),
            ({"Records": [{"body": "x"}]}, "the event lacks `messageId`: got None"),
            (delivery(None), "the event lacks `body`: got None"),
        ],
    )
    def test_records_of_another_kind_are_refused(self, event: dict[str, Any], expected: str) -> None:
        with pytest.raises(ConfigError) as refused:
            deliveries(event)
        assert expected in str(refused.value)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("hello", "the message is not JSON, so not a shard of a tick: 'hello'"),
            ("[" * 100_000, "the message is not JSON, so not a shard of a tick: '[[[["),
            ("[]", "must be a JSON object, got []"),
            ("{}", "`documents` must be an object, got None"),
            ('{"documents": {}}', "a shard serves at least one workload"),
            ('{"documents": {"a": "{}"}}', "lacks `scheduled_time`"),
            ('{"documents": {"a": "{}"}, "scheduled_time": "noon"}', "'noon' is not an ISO 8601 time"),
            ('{"documents": {"a": {}}, "scheduled_time": "2026-01-15T12:00:00Z"}', "lacks `a`: got {}"),
        ],
    )
    def test_a_message_that_is_not_a_shard_is_refused_with_what_it_lacks(
        self, body: str, expected: str
    ) -> None:
        with pytest.raises(ConfigError) as refused:
            parse_shard(body)
        assert expected in str(refused.value)

    def test_only_the_failed_messages_come_again(self) -> None:
        assert batch_response([]) == {"batchItemFailures": []}
        assert batch_response(["m1"]) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}


class TestAlarm:
    @pytest.mark.parametrize("event", [direct(), bus()])
    def test_both_shapes_say_the_same(self, event: dict[str, Any]) -> None:
        alarm = parse_alarm(event)
        assert (alarm.arn, alarm.name, alarm.state, alarm.workload, alarm.is_alarm) == (
            ARN,
            "sluice-transcription-bootstrap",
            "ALARM",
            "transcription",
            True,
        )

    @pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
    def test_only_the_change_to_alarm_needs_an_action(self, state: str) -> None:
        assert not parse_alarm(direct(state={"value": state})).is_alarm

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({}, "neither `alarmData`"),
            ({"detail-type": "Scheduled Event", "detail": {}}, "its keys are ['detail', 'detail-type']"),
            ({"alarmData": DATA}, "lacks `alarmArn`"),
            (direct(alarmName=""), "lacks `alarmName`: got ''"),
            (direct(state={}), "lacks `value`"),
            (direct(state=None), "`state` must be an object, got None"),
            (direct(state="x"), "`state` must be an object, got 'x'"),
            ({"alarmArn": ARN, "alarmData": without(DATA, "state")}, "`state` must be an object, got None"),
            (direct(state={"value": 3}), "lacks `value`: got 3"),
            (direct(configuration={}), "its description is ''"),
            (direct(configuration=None), "`configuration` must be an object, got None"),
            (direct(configuration="x"), "`configuration` must be an object, got 'x'"),
            (direct(configuration={"description": None}), "its description is None"),
            (direct(configuration={"description": 3}), "its description is 3, but must begin with"),
            (direct() | {"alarmArn": 3}, "lacks `alarmArn`: got 3"),
            (direct() | {"alarmData": None}, "`alarmData` must be an object, got None"),
            (direct() | {"alarmData": []}, "`alarmData` must be an object, got []"),
            (direct() | {"alarmData": "x"}, "`alarmData` must be an object, got 'x'"),
            (direct(configuration={"description": "CPU of x"}), "must begin with 'Sluice workload NAME:'"),
            (
                direct(configuration={"alarmRule": "ALARM(x)", "description": "Sluice workload x: y"}),
                "is a composite one",
            ),
            (bus(resources=[]), "needs its one alarm ARN in `resources`, got []"),
            (bus(resources=[ARN, ARN]), "needs its one alarm ARN"),
            (bus(resources=None), "in `resources`, got None"),
            (bus(resources=3), "in `resources`, got 3"),
            (bus(resources=[3]), "in `resources`, got [3]"),
            (bus(resources=[""]), "in `resources`, got ['']"),
            (bus(resources=ARN), "in `resources`, got 'arn:"),
            (bus(detail={}), "lacks `alarmName`"),
            (bus(detail=None), "`detail` must be an object, got None"),
            (bus(detail="x"), "`detail` must be an object, got 'x'"),
            (without(bus(), "detail"), "`detail` must be an object, got None"),
        ],
    )
    def test_missing_parts_are_named(self, event: dict[str, Any], expected: str) -> None:
        with pytest.raises(ConfigError) as refused:
            parse_alarm(event)
        assert expected in str(refused.value)


class TestRetune:
    def test_a_stacks_status_change_names_its_stack(self) -> None:
        request = parse_retune(
            {"detail-type": "CloudFormation Stack Status Change", "detail": {"stack-id": stack_id("x")}}
        )
        assert (request.trigger, request.stack_id) == (Trigger.STACK, stack_id("x"))

    @pytest.mark.parametrize("event", [{}, {"scheduled_time": "2026-01-15T12:00:00Z"}])
    def test_anything_else_is_the_hourly_round(self, event: dict[str, Any]) -> None:
        assert parse_retune(event).stack_id is None
        assert parse_retune(event).trigger is Trigger.SCHEDULE

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (STACK, "`detail` must be an object, got None"),
            (STACK | {"detail": "x"}, "`detail` must be an object, got 'x'"),
            (STACK | {"detail": {}}, "lacks `stack-id`: got None"),
            (STACK | {"detail": {"stack-id": 3}}, "lacks `stack-id`: got 3"),
        ],
    )
    def test_a_stack_event_without_a_stack_is_refused(self, event: dict[str, Any], expected: str) -> None:
        with pytest.raises(ConfigError) as refused:
            parse_retune(event)
        assert expected in str(refused.value)


class TestLoad:
    def test_fifty_messages_of_five_seconds_by_default(self) -> None:
        load = parse_test_load({"workload": "transcription"})
        assert (load.messages, load.duration_s) == (50, 5)

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({}, "lacks `workload`"),
            ({"workload": ""}, "lacks `workload`: got ''"),
            ({"workload": "x", "messages": 0}, "messages: 0: give a whole number from 1 to 10000"),
            ({"workload": "x", "messages": 10_001}, "messages: 10001"),
            ({"workload": "x", "messages": 1.5}, "messages: 1.5"),
            ({"workload": "x", "messages": "5"}, "messages: '5'"),
            ({"workload": "x", "messages": True}, "messages: True"),
            ({"workload": "x", "messages": None}, "messages: None"),
            ({"workload": "x", "duration_s": True}, "duration_s: True: give seconds"),
            ({"workload": "x", "duration_s": -1}, "duration_s: -1: give seconds from 0 to 43200"),
            ({"workload": "x", "duration_s": float("nan")}, "duration_s: nan"),
            ({"workload": "x", "duration_s": 43_201}, "duration_s: 43201"),
        ],
    )
    def test_an_invalid_load_is_refused(self, event: dict[str, Any], expected: str) -> None:
        with pytest.raises(ConfigError) as refused:
            parse_test_load(event)
        assert expected in str(refused.value)


@pytest.mark.parametrize("to", [[], [[]], {}, 1, "red"])
def test_a_switch_to_what_is_no_color_is_refused(to: Any) -> None:
    with pytest.raises(ConfigError, match="blue or green"):
        parse_switch({"step": "begin", "workload": "t", "by": "a", "execution": "e", "to": to})


def test_a_refusal_that_quotes_a_lone_surrogate_can_be_logged() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_shard('{"scheduled_time": "2026-01-15T12:00:00Z", "documents": {"\\ud800": 3}}')
    assert "\\ud800" in failure_message(refused.value).encode("utf-8").decode()


def test_minutes_that_no_float_holds_are_refused() -> None:
    step = {"step": "begin", "workload": "t", "by": "a", "execution": "e"}
    with pytest.raises(ConfigError, match="drain_minutes"):
        parse_switch(step | {"drain_minutes": 10**400})
