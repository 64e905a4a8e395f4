import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.aws.sqs import SqsQueues
from sluice.core.model import Unknown
from sluice.errors import ConfigError, TransientError
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    refusal,
    stubbed,
    unchecked,
)
from tests.support.builders import (
    backlog,
    plenty,
    queue_url,
)

URL = queue_url("transcription")
REQUEST = {
    "QueueUrl": URL,
    "AttributeNames": [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ],
}


def attributes(visible: object = "3", in_flight: object = "2", delayed: object = "1") -> dict[str, Any]:
    counts = zip(REQUEST["AttributeNames"], (visible, in_flight, delayed), strict=True)
    return {"Attributes": {name: count for name, count in counts if count is not None}}


def test_one_call_asks_for_all_three_counts(pool: ThreadPoolExecutor) -> None:
    with stubbed("sqs", ("get_queue_attributes", REQUEST, attributes())) as client:
        assert SqsQueues(lambda: client, pool).read([URL], plenty) == {URL: backlog(3, 2, 1)}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Attributes": {}},
        {"Attributes": None},
        attributes(in_flight=None),
        attributes(visible="-1"),
        attributes(visible="many"),
        attributes(delayed="1.5"),
        attributes(delayed=""),
    ],
)
def test_a_malformed_answer_is_unknown_and_never_a_number(
    answer: Mapping[str, Any], pool: ThreadPoolExecutor
) -> None:
    with unchecked("sqs", GetQueueAttributes=answer) as client:
        observed = SqsQueues(lambda: client, pool).read([URL], plenty)[URL]
    assert isinstance(observed, Unknown)
    assert observed.reason.startswith(f"GetQueueAttributes of {URL}: AWS's answer cannot be read")


def test_a_refusal_is_unknown_with_awss_own_words(pool: ThreadPoolExecutor) -> None:
    call = ("get_queue_attributes", REQUEST, refusal("AccessDenied", "not yours", 403))
    with stubbed("sqs", call) as client:
        observed = SqsQueues(lambda: client, pool).read([URL], plenty)[URL]
    assert observed == Unknown(reason=f"GetQueueAttributes of {URL}: AWS answered AccessDenied: not yours")


def test_queues_are_read_at_once_and_not_one_after_the_other() -> None:
    together = threading.Barrier(4, timeout=5)

    def answer(operation: str, parameters: object) -> Mapping[str, Any]:
        together.wait()  # passes only when four reads are under way
        return attributes()

    with unchecked("sqs") as client, ThreadPoolExecutor(4) as four:
        client._make_api_call = answer
        urls = [queue_url(f"q{index}") for index in range(4)]
        observed = SqsQueues(lambda: client, four).read(urls, plenty)
    assert observed == dict.fromkeys(urls, backlog(3, 2, 1))


def test_reads_stop_at_the_deadline_and_earlier_results_count() -> None:
    slow, quick = queue_url("slow"), queue_url("quick")
    released = threading.Event()

    def answer(operation: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        if parameters["QueueUrl"] == slow:
            released.wait(5)
        return attributes()

    with unchecked("sqs") as client, ThreadPoolExecutor(2) as two:
        client._make_api_call = answer
        began = time.monotonic()
        observed = SqsQueues(lambda: client, two).read([slow, quick], lambda: 0.2)
        elapsed_s = time.monotonic() - began
        released.set()
    late = Unknown(reason=f"GetQueueAttributes of {slow}: not read before the deadline")
    assert observed == {slow: late, quick: backlog(3, 2, 1)}
    assert elapsed_s < 2


def test_a_read_that_never_began_before_the_deadline_is_cancelled() -> None:
    released, requested = threading.Event(), []

    def answer(operation: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        requested.append(parameters["QueueUrl"])
        released.wait(5)
        return attributes()

    with unchecked("sqs") as client, ThreadPoolExecutor(1) as one:
        client._make_api_call = answer
        urls = [queue_url(f"q{index}") for index in range(5)]
        observed = SqsQueues(lambda: client, one).read(urls, lambda: 0.1)
        released.set()
    assert all(isinstance(reading, Unknown) for reading in observed.values())
    assert requested == urls[:1]


@pytest.mark.usefixtures("in_account")
class TestSending:
    def bodies(self, url: str) -> list[dict[str, Any]]:
        client, found = account.client("sqs"), []
        while messages := client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]
        ).get("Messages"):
            found += messages
            for message in messages:
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def test_each_body_arrives_as_it_was_sent(self, pool: ThreadPoolExecutor) -> None:
        url = account.create_queue("transcription")
        body = json.dumps({"duration_s": 2.5})
        SqsQueues(lambda: account.client("sqs"), pool).send(url, [body] * 12)
        assert [message["Body"] for message in self.bodies(url)] == [body] * 12

    def test_a_fifo_queue_keeps_equal_bodies_apart_and_lets_them_run_side_by_side(
        self, pool: ThreadPoolExecutor
    ) -> None:
        url = account.create_queue("load.fifo")
        queues = SqsQueues(lambda: account.client("sqs"), pool)
        queues.send(url, ["same"] * 12)
        queues.send(url, ["same"] * 3)
        sent = [message["Attributes"] for message in self.bodies(url)]
        assert len({attributes["MessageDeduplicationId"] for attributes in sent}) == 15
        assert len({attributes["MessageGroupId"] for attributes in sent[:12]}) == 12


def test_messages_refused_for_the_queues_key_need_a_person(pool: ThreadPoolExecutor) -> None:
    failed = {"Id": "0", "SenderFault": True, "Code": "KMS.AccessDeniedException", "Message": "denied"}
    with (
        unchecked("sqs", SendMessageBatch={"Successful": [], "Failed": [failed]}) as client,
        pytest.raises(ConfigError, match=r"KMS\.AccessDeniedException: denied; .* kms:GenerateDataKey"),
    ):
        SqsQueues(lambda: client, pool).send(URL, ["a"])


def test_messages_that_aws_refuses_are_counted_and_the_first_is_shown(pool: ThreadPoolExecutor) -> None:
    answer = {
        "Successful": [],
        "Failed": [
            {"Id": "0", "SenderFault": False, "Code": "InternalError", "Message": "try again"},
            {"Id": "2", "SenderFault": False, "Code": "Other"},
        ],
    }
    with (
        unchecked("sqs", SendMessageBatch=answer) as client,
        pytest.raises(TransientError, match=r"2 of 3 messages refused, the first with InternalError: try ag"),
    ):
        SqsQueues(lambda: client, pool).send(URL, ["a", "b", "c"])
