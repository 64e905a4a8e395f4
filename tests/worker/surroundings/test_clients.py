"""The clients for SQS that a worker makes: what they try again, and what their requests leave out."""

import json
from collections.abc import Callable

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.model import StructureShape

from sluice.errors import TransientError
from sluice_worker import wiring
from sluice_worker.aws import cloudwatch, instance, sqs
from sluice_worker.core.model import Poll, Queue
from sluice_worker.ports import Refusal
from tests.builders import queue_url
from tests.worker.runtime.parts import message

WORK = Queue(url=queue_url("work"))


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
        for client in (queues._client, queues._telling):
            client.meta.events.register("before-send.sqs", answers)
        return queues, answers

    return connect


def test_a_poll_that_fails_is_tried_three_times(connected: Connected) -> None:
    queues, answers = connected(500)
    with pytest.raises(TransientError, match="receiving from work"):
        queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert len(answers.requests) == 3


def test_what_is_told_is_tried_once(connected: Connected) -> None:
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


@pytest.mark.parametrize("parsed", [False, True])
def test_all_that_a_message_carries_is_read_however_boto3_parses_it(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, parsed: bool
) -> None:
    if parsed:  # as by a boto3 that speaks another protocol to SQS
        monkeypatch.setattr(StructureShape, "is_document_type", property(lambda _: False))
    queues, _ = connected(200, RECEIVED)
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert (received.message_id, received.receipt_handle, received.body) == ("1", "r-1", "do it")
    assert (received.receive_count, received.sent_at) == (2, 1768478400.5)
    assert received.attributes == {"tenant": "a", "raw": b"\x00\x01"}


def test_what_a_batch_left_undone_is_read(connected: Connected) -> None:
    queues, _ = connected(200, DELETED)
    refused = Refusal(why="ReceiptHandleIsInvalid: expired", final=True)
    assert queues.delete([message(), message()]) == {1: refused}
    assert queues.hide([(message(), 0), (message(), 0)]) == {1: refused}


def test_what_sqs_says_nothing_of_is_not_done(connected: Connected) -> None:
    """The answer was damaged on its way: what was to be deleted may be there still."""
    queues, _ = connected(200, b"<html>")
    told = queues.delete([message(), message()])
    assert {place: refusal.final for place, refusal in told.items()} == {0: False, 1: False}
    assert queues.hide([(message(), 0)]).keys() == {0}


@pytest.mark.parametrize("field", ["Body", "MessageId", "ReceiptHandle", "Attributes"])
def test_a_message_that_lacks_what_it_must_have_is_an_answer_that_cannot_be_read(
    connected: Connected, field: str
) -> None:
    said = json.loads(RECEIVED)
    said["Messages"][0][field] = None
    queues, _ = connected(200, json.dumps(said).encode())
    with pytest.raises(TransientError, match="AWS's answer cannot be read"):
        queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)


def test_what_is_null_counts_as_not_sent(connected: Connected) -> None:
    said = json.loads(RECEIVED)
    (sent,) = said["Messages"]
    sent["MessageAttributes"]["raw"]["StringValue"] = None
    sent["Attributes"]["MessageGroupId"] = None
    queues, _ = connected(200, json.dumps(said).encode())
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert received.attributes["raw"] == b"\x00\x01"
    sent["MessageAttributes"] = None
    queues, _ = connected(200, json.dumps(said).encode())
    (received,) = queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert received.attributes == {}


def test_the_session_that_the_program_chose_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """boto3 alone of AWS's SDKs passes it over."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    region = wiring.region()
    made = [sqs.client(connections=1, region=region), cloudwatch.client(region), instance.client(region)]
    assert {each.meta.region_name for each in made} == {"eu-west-3"}


def test_messages_are_not_parsed_twice(connected: Connected) -> None:
    queues, _ = connected(200, RECEIVED)
    (said,) = queues._client.receive_message(QueueUrl=WORK.url)["Messages"]
    assert said["MessageAttributes"]["raw"]["BinaryValue"] == "AAE="
