"""The clients for SQS that a worker makes: what they try again, and what their requests leave out."""

from collections.abc import Callable

import botocore.endpoint
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from sluice.errors import TransientError
from sluice_worker.aws import sqs
from sluice_worker.core.model import Poll, Queue
from tests.builders import queue_url
from tests.worker.runtime.parts import message

WORK = Queue(url=queue_url("work"))


class Answers:
    """SQS at the end of the wire: every request is answered with the same status."""

    def __init__(self, status: int) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self._status = status

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.requests.append(request)
        answer = AWSResponse(request.url, self._status, {"Content-Type": "application/x-amz-json-1.0"}, None)
        answer._content = b"{}"
        return answer


@pytest.fixture
def connected(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[int], tuple[sqs.SqsQueues, Answers]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _: None)

    def connect(status: int) -> tuple[sqs.SqsQueues, Answers]:
        queues, answers = sqs.connect(connections=1), Answers(status)
        for client in (queues._client, queues._telling):
            client.meta.events.register("before-send.sqs", answers)
        return queues, answers

    return connect


def test_a_poll_that_fails_is_tried_three_times(
    connected: Callable[[int], tuple[sqs.SqsQueues, Answers]],
) -> None:
    queues, answers = connected(500)
    with pytest.raises(TransientError, match="receiving from work"):
        queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    assert len(answers.requests) == 3


def test_what_is_told_is_tried_once(connected: Callable[[int], tuple[sqs.SqsQueues, Answers]]) -> None:
    queues, answers = connected(500)
    with pytest.raises(TransientError, match="deleting from work"):
        queues.delete([message()])
    assert len(answers.requests) == 1


def test_no_request_counts_its_attempts(connected: Callable[[int], tuple[sqs.SqsQueues, Answers]]) -> None:
    queues, answers = connected(200)
    queues.receive(Poll(queue=WORK, max_messages=10, wait_s=0), 30)
    queues.delete([message()])
    assert len(answers.requests) == 2
    assert not any("amz-sdk-request" in request.headers for request in answers.requests)
