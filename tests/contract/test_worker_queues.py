"""The contract of the worker's `ports.Queues`, for every implementation."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sluice.errors import ConfigError
from sluice_worker.aws.dead_letter import MAX_MESSAGE_BYTES, REASON
from sluice_worker.aws.sqs import connect
from sluice_worker.core.model import Depth, Poll, Queue
from sluice_worker.message import Message
from sluice_worker.ports import Queues
from tests.sluice.aws import account
from tests.support.builders import queue_url
from tests.worker import sqs_limits
from tests.worker.fakes import InMemorySqs

VISIBILITY_S = 600


@dataclass
class Subject:
    port: Queues
    create: Callable[..., str]
    """A queue by its name, which takes messages of at most `max_bytes`."""
    send: Callable[..., None]

    def receive(self, url: str, count: int = 10, *, wait_s: int = 0) -> list[Message]:
        return self.port.receive(Poll(queue=Queue(url=url), max_messages=count, wait_s=wait_s), VISIBILITY_S)


def _create_in_sqs(name: str, *, max_bytes: int = MAX_MESSAGE_BYTES) -> str:
    url = account.create_queue(name)
    account.client("sqs").set_queue_attributes(
        QueueUrl=url, Attributes={"MaximumMessageSize": str(max_bytes)}
    )
    return url


def _send_to_sqs(
    url: str,
    *bodies: str,
    group: str | None = None,
    attributes: Mapping[str, str | bytes] | None = None,
    types: Mapping[str, str] | None = None,
    trace_header: str | None = None,
) -> None:
    types = types or {}
    for body in bodies:
        order: dict[str, Any] = {"MessageGroupId": group} if group else {}
        if url.endswith(".fifo"):
            order["MessageDeduplicationId"] = uuid.uuid4().hex
        if trace_header:
            attribute = {"DataType": "String", "StringValue": trace_header}
            order["MessageSystemAttributes"] = {"AWSTraceHeader": attribute}
        account.client("sqs").send_message(
            QueueUrl=url,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": types.get(name, "Binary"), "BinaryValue": value}
                if isinstance(value, bytes)
                else {"DataType": types.get(name, "String"), "StringValue": value}
                for name, value in (attributes or {}).items()
            },
            **order,
        )


@pytest.fixture(params=["fake", "sqs"])
def subject(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    if request.param == "fake":
        fake = InMemorySqs()
        yield Subject(port=fake, create=fake.create, send=fake.send)
        return
    sqs_limits.enforced(monkeypatch)
    with account.account():
        yield Subject(port=connect(connections=2), create=_create_in_sqs, send=_send_to_sqs)


def bodies(messages: list[Message]) -> list[str]:
    return [message.body for message in messages]


def test_a_sent_message_is_received(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "do it", attributes={"tenant": "a", "raw": b"\x00\x01"})
    (message,) = subject.receive(url)
    assert message.body == "do it"
    assert message.attributes == {"tenant": "a", "raw": b"\x00\x01"}
    assert message.receive_count == 1
    assert message.group_id is None
    assert message.message_id
    assert message.visible_at - message.received_at == pytest.approx(VISIBILITY_S, abs=60)


def test_an_empty_queue_returns_no_message(subject: Subject) -> None:
    assert subject.receive(subject.create("work")) == []


@pytest.mark.parametrize(("max_messages", "brought"), [(1, 1), (3, 3), (10, 4)])
def test_a_poll_brings_no_more_than_it_asks_for(subject: Subject, max_messages: int, brought: int) -> None:
    url = subject.create("work")
    subject.send(url, *"abcd")
    assert len(subject.receive(url, max_messages)) == brought


def test_a_long_poll_returns_at_once_if_messages_are_visible(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "waits")
    assert bodies(subject.receive(url, wait_s=20)) == ["waits"]


def test_a_received_message_is_hidden_from_the_next_poll(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "once")
    assert len(subject.receive(url)) == 1
    assert subject.receive(url) == []


def test_a_released_message_is_received_again_and_counted(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "again")
    for receipt in (1, 2, 3):
        (message,) = subject.receive(url)
        assert message.receive_count == receipt
        assert subject.port.hide([(message, 0)]) == {}


def test_each_receipt_has_a_handle_of_its_own_and_one_id(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "again")
    (first,) = subject.receive(url)
    subject.port.hide([(first, 0)])
    (second,) = subject.receive(url)
    assert first.message_id == second.message_id
    assert first.receipt_handle != second.receipt_handle


def test_hiding_for_longer_keeps_a_message_from_others(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "mine")
    assert subject.port.hide([(message, 300) for message in subject.receive(url)]) == {}
    assert subject.receive(url) == []


def test_one_batch_hides_each_message_for_its_own_time(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, *"abc")
    a, b, c = subject.receive(url)
    assert subject.port.hide([(a, 0), (b, 300), (c, 0)]) == {}
    assert sorted(bodies(subject.receive(url))) == sorted([a.body, c.body])


def test_deleted_messages_are_gone(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, *"abcdefghij")
    assert subject.port.delete(subject.receive(url)) == {}
    assert subject.port.depth(url) == Depth(visible=0, in_flight=0)


def test_a_deleted_message_cannot_be_released(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "done")
    messages = subject.receive(url)
    subject.port.delete(messages)
    assert subject.port.hide([(messages[0], 0)])[0].final
    assert subject.receive(url) == []


def test_a_batch_is_deleted_except_the_refused_messages(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, *"abc")
    a, b, c = subject.receive(url)
    refused = subject.port.delete([a, replace(b, receipt_handle="made up"), c])
    assert {place: refusal.final for place, refusal in refused.items()} == {1: True}
    assert refused[1].reason
    assert subject.port.depth(url) == Depth(visible=0, in_flight=1)


def test_a_batch_is_hidden_except_the_refused_messages(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, *"ab")
    a, b = subject.receive(url)
    refused = subject.port.hide([(replace(a, receipt_handle="made up"), 0), (b, 0)])
    assert {place: refusal.final for place, refusal in refused.items()} == {0: True}
    assert bodies(subject.receive(url)) == [b.body]


def test_depth_separates_visible_from_in_flight(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, *"abcde")
    subject.receive(url, 2)
    assert subject.port.depth(url) == Depth(visible=3, in_flight=2)


def test_every_call_to_a_queue_that_does_not_exist_is_a_config_error(subject: Subject) -> None:
    url = subject.create("work")
    subject.send(url, "astray")
    (message,) = subject.receive(url)
    missing = queue_url("gone")
    misdirected = replace(message, queue=Queue(url=missing))
    calls: list[Callable[[], object]] = [
        lambda: subject.receive(missing),
        lambda: subject.port.delete([misdirected]),
        lambda: subject.port.hide([(misdirected, 0)]),
        lambda: subject.port.depth(missing),
        lambda: subject.port.send_to_dead_letter_queue(missing, message, "why"),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="gone"):
            call()


# ---- dead letters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dead", "dead.fifo"])
def test_a_dead_lettered_message_keeps_its_content_and_adds_the_reason(subject: Subject, name: str) -> None:
    url, dead = subject.create(name.replace("dead", "work")), subject.create(name)
    group = "g" if name.endswith(".fifo") else None
    subject.send(url, "poison", group=group, attributes={"tenant": "a", "raw": b"\x00"})
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "ValueError: no such tenant")
    (received_dead_letter,) = subject.receive(dead)
    assert (received_dead_letter.body, received_dead_letter.group_id) == ("poison", group)
    assert received_dead_letter.attributes == {
        "tenant": "a",
        "raw": b"\x00",
        REASON: "ValueError: no such tenant",
    }


def test_sending_to_the_dead_letter_queue_does_not_delete_the_message(subject: Subject) -> None:
    url, dead = subject.create("work"), subject.create("dead")
    subject.send(url, "poison")
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "why")
    assert subject.port.depth(url) == Depth(visible=0, in_flight=1)


def test_a_reason_that_sqs_would_refuse_is_made_valid() -> None:
    """If it were refused, the poison would return forever: errors contain colour codes, bytes, or no text."""
    with account.account():
        port = connect(connections=1)
        url, dead = account.create_queue("work"), account.create_queue("dead")
        _send_to_sqs(url, "a", "b", "c")
        poll = Poll(queue=Queue(url=url), max_messages=10, wait_s=0)
        reasons = ["\x1b[31mred\x00\ud800\ufffe \u00e9\U0001f600\n", "", "x" * 5000]
        for message, reason in zip(port.receive(poll, VISIBILITY_S), reasons, strict=True):
            port.send_to_dead_letter_queue(dead, message, reason)
        poll = Poll(queue=Queue(url=dead), max_messages=10, wait_s=0)
        sent = {message.attributes[REASON] for message in port.receive(poll, VISIBILITY_S)}
    red = "\ufffd[31mred\ufffd\ufffd\ufffd \u00e9\U0001f600\n"
    assert sent == {red, "no reason", "x" * 1000}


TYPES = {
    "count": "Number",
    "share": "Number.float",
    "id": "String.uuid",
    "picture": "Binary.png",
    "text": "String",
    "raw": "Binary",
}
TYPED: dict[str, str | bytes] = {
    "count": "3",
    "share": "0.25",
    "id": "8c5d",
    "picture": b"\x89PNG",
    "text": "a",
    "raw": b"\x00",
}


@pytest.mark.parametrize("name", ["work", "work.fifo"])
def test_a_dead_lettered_message_keeps_its_body_and_attributes(subject: Subject, name: str) -> None:
    """Types with their labels, the group (also a standard queue's, for fair queues), the trace."""
    url, dead = subject.create(name), subject.create(name.replace("work", "dead"))
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    subject.send(url, "poison", group="tenant", attributes=TYPED, types=TYPES, trace_header=trace)
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "why")
    (received_dead_letter,) = subject.receive(dead)
    assert received_dead_letter.attributes == TYPED | {REASON: "why"}
    assert received_dead_letter.attribute_types == TYPES | {REASON: "String"}
    assert (received_dead_letter.group_id, received_dead_letter.trace_header) == ("tenant", trace)


def test_a_message_with_ten_attributes_is_dead_lettered_with_them_and_without_a_reason(
    subject: Subject,
) -> None:
    """SQS accepts ten."""
    url, dead = subject.create("work"), subject.create("dead")
    attributes = {f"a{number}": "x" for number in range(10)}
    subject.send(url, "poison", attributes=attributes)
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "why")
    (received_dead_letter,) = subject.receive(dead)
    assert received_dead_letter.attributes == attributes


def test_a_message_dead_lettered_twice_has_the_second_reason(subject: Subject) -> None:
    """It was redriven from the dead-letter queue with ten attributes, one of which is the worker's."""
    url, dead = subject.create("work"), subject.create("dead")
    attributes = {f"a{number}": "x" for number in range(9)}
    subject.send(url, "poison", attributes=attributes | {REASON: "the first"})
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "the second")
    (received_dead_letter,) = subject.receive(dead)
    assert received_dead_letter.attributes == attributes | {REASON: "the second"}


@pytest.mark.parametrize("limit", [262_144, MAX_MESSAGE_BYTES])
@pytest.mark.parametrize(
    ("room", "expected"),
    [(0, None), (25, None), (25 + 5, "Value"), (25 + 99, "ValueError: no such tenant")],
)
def test_a_reason_is_shortened_to_the_bytes_left_by_the_message_or_omitted(
    subject: Subject, limit: int, room: int, expected: str | None
) -> None:
    """SQS counts the body and the names, types and values of the attributes; the queue's own limit holds."""
    url, dead = subject.create("work"), subject.create("dead", max_bytes=limit)
    sender = len("aString") + len("\u00e9".encode())
    subject.send(url, "x" * (limit - sender - room), attributes={"a": "\u00e9"})
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "ValueError: no such tenant")
    (received_dead_letter,) = subject.receive(dead)
    assert received_dead_letter.body == message.body
    assert received_dead_letter.attributes.get(REASON) == expected


def test_a_reason_is_never_truncated_within_a_character(subject: Subject) -> None:
    url, dead = subject.create("work"), subject.create("dead", max_bytes=1024)
    subject.send(url, "x" * (1024 - len("SluiceWorkerFailureString") - 4))
    (message,) = subject.receive(url)
    subject.port.send_to_dead_letter_queue(dead, message, "a\u20ac\u20ac")
    (received_dead_letter,) = subject.receive(dead)
    assert received_dead_letter.attributes == {REASON: "a\u20ac"}


def test_a_message_that_the_dead_letter_queue_cannot_hold_is_refused_and_stays(subject: Subject) -> None:
    url, dead = subject.create("work"), subject.create("dead", max_bytes=1024)
    subject.send(url, "x" * 1025)
    (message,) = subject.receive(url)
    with pytest.raises(ConfigError, match="must be shorter than 1024 bytes"):
        subject.port.send_to_dead_letter_queue(dead, message, "why")
    assert subject.port.depth(dead) == Depth(visible=0, in_flight=0)
    assert subject.port.depth(url) == Depth(visible=0, in_flight=1)


# ---- FIFO --------------------------------------------------------------------------------------------------


def test_a_group_is_received_in_order(subject: Subject) -> None:
    url = subject.create("work.fifo")
    subject.send(url, *"abcdef", group="g")
    received = subject.receive(url)
    assert bodies(received) == list("abcdef")
    assert {message.group_id for message in received} == {"g"}


def test_a_group_with_messages_in_flight_waits_and_others_do_not(subject: Subject) -> None:
    url = subject.create("work.fifo")
    subject.send(url, "a1", "a2", group="a")
    assert bodies(subject.receive(url, 1)) == ["a1"]
    subject.send(url, "b1", group="b")
    assert bodies(subject.receive(url)) == ["b1"]


def test_a_group_continues_once_its_messages_in_flight_are_deleted(subject: Subject) -> None:
    url = subject.create("work.fifo")
    subject.send(url, "a1", "a2", group="a")
    subject.port.delete(subject.receive(url, 1))
    assert bodies(subject.receive(url)) == ["a2"]


def test_a_group_restarts_with_the_message_that_was_returned(subject: Subject) -> None:
    url = subject.create("work.fifo")
    subject.send(url, *"abc", group="g")
    subject.port.hide([(message, 0) for message in subject.receive(url, 2)])
    assert bodies(subject.receive(url)) == ["a", "b", "c"]


def test_a_group_stays_locked_until_none_of_its_messages_is_in_flight(subject: Subject) -> None:
    url = subject.create("work.fifo")
    subject.send(url, *"abc", group="g")
    a, b = subject.receive(url, 2)
    subject.port.hide([(b, 0)])
    assert subject.receive(url) == []
    subject.port.hide([(a, 0)])
    assert bodies(subject.receive(url)) == ["a", "b", "c"]
