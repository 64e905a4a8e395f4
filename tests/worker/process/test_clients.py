"""The clients for SQS that a worker makes: what they try again, and what their requests leave out."""

import json
import time
from collections.abc import Callable

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.model import StructureShape
from botocore.regions import EndpointRulesetResolver

from sluice.errors import TransientError
from sluice_worker import wiring
from sluice_worker.aws import cloudwatch, instance, sqs
from sluice_worker.core.model import Poll, Queue
from sluice_worker.ports import Refusal
from tests.support.builders import queue_url
from tests.worker.runtime.parts import message

WORK = Queue(url=queue_url("work"))
ORDERED = Queue(url=queue_url("work.fifo"))


RECEIVED = b"""
{"Messages": [{"MessageId": "1", "ReceiptHandle": "r-1", "MD5OfBody": "4b", "Body": "do it",
  "Attributes": {"ApproximateReceiveCount": "2", "SentTimestamp": "1768478400500"},
  "MessageAttributes": {"tenant": {"DataType": "String", "StringValue": "a"},
    "raw": {"DataType": "Binary", "BinaryValue": "AAE="}}}]}
"""
DELETED = b"""
{"Successful": [{"Id": "0"}],
  "Failed": [{"Id": "1", "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "expired"}]}
"""


class Answers:
    """SQS at the end of the wire: every request is answered with the same status and body."""

    def __init__(self, status: int, body: bytes = b"{}") -> None:
        self.requests: list[AWSPreparedRequest] = []
        self._status, self._body = status, body

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.requests.append(request)
        answer = AWSResponse(request.url, self._status, {"Content-Type": "application/x-amz-json-1.0"}, None)
        answer._content = self._body
        return answer


Connected = Callable[..., tuple[sqs.SqsQueues, Answers]]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Connected:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _: None)

    def connect(status: int, body: bytes = b"{}") -> tuple[sqs.SqsQueues, Answers]:
        queues, answers = sqs.connect(connections=1), Answers(status, body)
        for client in (queues._client, queues._ack_client):
            client.meta.events.register("before-send.sqs", answers)
        return queues, answers

    return connect


def test_a_poll_that_fails_is_tried_three_times(connected: Connected) -> None:
    queues, answers = connected(500)
    with pytest.raises(TransientError, match="receiving from work"):
        queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert len(answers.requests) == 3


def test_an_acknowledgement_is_not_retried_by_the_client(connected: Connected) -> None:
    queues, answers = connected(500)
    with pytest.raises(TransientError, match="deleting from work"):
        queues.delete([message()])
    assert len(answers.requests) == 1


def test_no_request_counts_its_attempts(connected: Connected) -> None:
    queues, answers = connected(200)
    queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    queues.delete([message()])
    assert len(answers.requests) == 2
    assert not any("amz-sdk-request" in request.headers for request in answers.requests)


def test_each_client_resolves_its_endpoint_once(connected: Connected) -> None:
    queues, answers = connected(200)
    resolved: list[object] = []
    for client in (queues._client, queues._ack_client):
        client.meta.events.register("before-endpoint-resolution.sqs", lambda **_: resolved.append(1))
    for queue in (WORK, ORDERED, WORK):
        queues.receive(Poll(queue=queue, max_messages=10, wait_s=0), 30)
        queues.delete([message()])
    assert len(resolved) == 2
    assert {request.url for request in answers.requests} == {"https://sqs.eu-west-1.amazonaws.com/"}


def test_an_endpoint_is_resolved_for_each_call_by_a_botocore_that_does_it_elsewhere(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = EndpointRulesetResolver.construct_endpoint
    monkeypatch.delattr(EndpointRulesetResolver, "construct_endpoint")
    queues, answers = connected(200)
    monkeypatch.setattr(EndpointRulesetResolver, "construct_endpoint", resolve, raising=False)
    queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert len(answers.requests) == 1


@pytest.mark.parametrize("parsed", [False, True])
def test_the_whole_message_is_read_however_boto3_parses_it(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, parsed: bool
) -> None:
    if parsed:  # as by a boto3 that speaks another protocol to SQS
        monkeypatch.setattr(StructureShape, "is_document_type", property(lambda _: False))
    queues, _ = connected(200, RECEIVED)
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert (received.message_id, received.receipt_handle, received.body) == ("1", "r-1", "do it")
    assert (received.receive_count, received.sent_at) == (2, 1768478400.5)
    assert received.attributes == {"tenant": "a", "raw": b"\x00\x01"}


@pytest.mark.parametrize("wait_s", [0, 20])
def test_a_message_is_hidden_from_the_request_on_but_in_a_long_poll_from_its_answer_on(
    connected: Connected, wait_s: int
) -> None:
    """SQS hides a message when it delivers it. If counted from later, another worker gets it too early."""
    queues, _ = connected(200, RECEIVED)
    taking: list[float] = []

    def take_time(**_: object) -> None:
        taking.append(time.monotonic())
        time.sleep(0.05)
        taking.append(time.monotonic())

    queues._client.meta.events.register_first("before-send.sqs", take_time)
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=wait_s), 30)
    requested_at, answered_at = taking
    if wait_s:
        assert received.visible_at >= answered_at + 30
    else:
        assert received.visible_at <= requested_at + 30


def batch(*broken: int, group: str | None = None, **how: object) -> bytes:
    """An answer with four messages; those named have these changes."""
    system = {"ApproximateReceiveCount": "2", "SentTimestamp": "1768478400500"}
    if group is not None:
        system["MessageGroupId"] = group
    plain = {"ReceiptHandle": "r", "Body": "do it", "Attributes": system}
    sent = [{**plain, "MessageId": str(n), **(how if n in broken else {})} for n in range(4)]
    return json.dumps({"Messages": sent}).encode()


UNREADABLE: dict[str, dict[str, object]] = {
    "no body": {"Body": None},
    "no id": {"MessageId": None},
    "no receipt handle": {"ReceiptHandle": None},
    "no system attributes": {"Attributes": None},
    "a count of thousands of digits": {
        "Attributes": {"ApproximateReceiveCount": "9" * 5000, "SentTimestamp": "1"}
    },
    "an endless count": {"Attributes": {"ApproximateReceiveCount": float("inf"), "SentTimestamp": "1"}},
    "a count that is none": {"Attributes": {"ApproximateReceiveCount": "?", "SentTimestamp": "1"}},
    "an attribute without a value": {"MessageAttributes": {"tenant": {"DataType": "String"}}},
    "bytes that are no base64": {"MessageAttributes": {"raw": {"DataType": "Binary", "BinaryValue": "A"}}},
}


@pytest.mark.parametrize("how", UNREADABLE.values(), ids=UNREADABLE)
def test_a_message_that_cannot_be_read_does_not_block_the_others(
    connected: Connected, how: dict[str, object]
) -> None:
    queues, _ = connected(200, batch(1, **how))
    received = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert [one.unreadable is None for one in received] == [True, False, True, True]
    assert [one.message_id for one in received if one.unreadable is None] == ["0", "2", "3"]


def test_a_message_that_cannot_be_read_keeps_its_place_in_its_group(connected: Connected) -> None:
    queues, _ = connected(200, batch(1, group="g", Body=None))
    received = queues.receive(Poll(queue=ORDERED, max_messages=10, wait_s=0), 30)
    assert [one.message_group for one in received] == [(ORDERED.url, "g")] * 4


def test_messages_after_one_with_an_unreadable_group_are_left_to_be_redelivered(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    """It may belong to the same group, and would overtake."""
    queues, _ = connected(200, batch(1, group="g", Attributes=None))
    received = queues.receive(Poll(queue=ORDERED, max_messages=10, wait_s=0), 30)
    assert [one.message_id for one in received] == ["0"]
    assert "message 1 of work.fifo" in caplog.text


def test_the_failed_entries_of_a_batch_are_read(connected: Connected) -> None:
    queues, _ = connected(200, DELETED)
    refused = Refusal(reason="ReceiptHandleIsInvalid: expired", final=True)
    assert queues.delete([message(), message()]) == {1: refused}
    assert queues.hide([(message(), 0), (message(), 0)]) == {1: refused}


def test_an_entry_missing_in_the_response_of_sqs_is_not_done(connected: Connected) -> None:
    """The answer was damaged on its way: what was to be deleted may be there still."""
    queues, _ = connected(200, b"<html>")
    refusals = queues.delete([message(), message()])
    assert {place: refusal.final for place, refusal in refusals.items()} == {0: False, 1: False}
    assert queues.hide([(message(), 0)]).keys() == {0}


def test_a_null_field_of_a_message_counts_as_absent(connected: Connected) -> None:
    response = json.loads(RECEIVED)
    (sent,) = response["Messages"]
    sent["MessageAttributes"]["raw"]["StringValue"] = None
    sent["Attributes"]["MessageGroupId"] = None
    queues, _ = connected(200, json.dumps(response).encode())
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert received.attributes["raw"] == b"\x00\x01"
    sent["MessageAttributes"] = None
    queues, _ = connected(200, json.dumps(response).encode())
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert received.attributes == {}


def test_the_programs_default_session_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = boto3.Session("mine", "secret", region_name="us-west-2")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", chosen)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert sqs.client(connections=1, region=wiring.region()).meta.region_name == "us-west-2"


@pytest.mark.parametrize(
    "variables", [{"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-west-2"}, {"AWS_REGION": "eu-west-3"}]
)
def test_every_client_is_of_the_region_that_aws_region_names(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """boto3 is the only AWS SDK that ignores it."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    region = wiring.region()
    made = [sqs.client(connections=1, region=region), cloudwatch.client(region), instance.client(region)]
    assert {each.meta.region_name for each in made} == {"eu-west-3"}


def test_messages_are_not_parsed_twice(connected: Connected) -> None:
    queues, _ = connected(200, RECEIVED)
    (response,) = queues._client.receive_message(QueueUrl=WORK.url)["Messages"]
    assert response["MessageAttributes"]["raw"]["BinaryValue"] == "AAE="
