"""SQS as a worker uses it: batches of ten, long polls, two clients for all threads.

The refused part of a batch is not retried here: `AckBatcher` does that.
"""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from botocore.handlers import add_recursion_detection_header, add_retry_headers

from sluice.aws import clients
from sluice.aws.clients import UNPARSED
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse
from sluice.errors import SluiceError
from sluice_worker.aws import dead_letter
from sluice_worker.aws.kms import QueueKey, queue_key
from sluice_worker.aws.unreadable import unreadable
from sluice_worker.core.model import LONG_POLL_S, Depth, Poll, Queue
from sluice_worker.message import Message
from sluice_worker.ports import Refusal

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

DEPTHS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
FINAL_CODES = ("ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidAddress")
"""The receipt handle is no longer valid: the message was deleted, or its visibility ended."""
NO_ANSWER = Refusal(reason="SQS did not say what became of it", final=False)
ACK_TIMEOUT_S = 5.0
"""How long a delete or a visibility change waits for its response: the messages of a lost request become
visible meanwhile."""
READ: Mapping[str, Any] = {
    "ReceiveMessage": {"Messages": UNPARSED},
    "DeleteMessageBatch": {"Successful": UNPARSED, "Failed": UNPARSED},
    "ChangeMessageVisibilityBatch": {"Successful": UNPARSED, "Failed": UNPARSED},
}
"""Operation -> the parts of its response that are read as sent: parsing ten messages takes a tenth of boto3's
share of a batch."""
SYSTEM_ATTRIBUTES = ("ApproximateReceiveCount", "SentTimestamp", "MessageGroupId", dead_letter.TRACE_HEADER)
BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The exceptions of reading a response that is not as documented."""


def client(
    *,
    connections: int,
    region: str | None = None,
    answers_within_s: float = LONG_POLL_S + 10,
    attempts: int = 3,
) -> SQSClient:
    """A client for so many threads; by default a call returns or fails within a long poll and a margin.

    Without a region, the session's is used.
    """
    made: SQSClient = clients.client(
        boto3,
        "sqs",
        program="sluice-worker",
        read=READ,
        region_name=region,
        max_pool_connections=connections,
        connect_timeout=5,
        read_timeout=answers_within_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        tcp_keepalive=True,
    )
    # These three cost a twentieth of a call's CPU: a header that counts attempts, which SQS ignores; one that
    # only Lambda fills; and the decision whether to retry a call that has one attempt.
    made.meta.events.unregister("request-created", add_retry_headers)
    made.meta.events.unregister("before-call", add_recursion_detection_header)
    if attempts == 1:
        made.meta.events.unregister("needs-retry.sqs", unique_id="retry-config-sqs")
    with suppress(AttributeError):  # a botocore without this method resolves it anew for each call
        _resolve_endpoint_once(made)
    return made


def _resolve_endpoint_once(made: Any) -> None:
    """Keep the endpoint of the first call: it depends on the client's settings alone.

    botocore collects the parameters of its rules for each call, which takes a twenty-fifth of the call's CPU.
    """
    resolver = made._ruleset_resolver  # noqa: SLF001 - there is no public way
    resolve = resolver.construct_endpoint
    resolved: list[Any] = []

    def resolve_once(*given: Any, **named: Any) -> Any:
        if not resolved:
            resolved.append(resolve(*given, **named))
        return resolved[0]

    resolver.construct_endpoint = resolve_once


def connect(*, connections: int, region: str | None = None) -> SqsQueues:
    """Queues for so many threads."""
    return SqsQueues(
        client(connections=connections, region=region),
        client(connections=connections, region=region, answers_within_s=ACK_TIMEOUT_S, attempts=1),
    )


class SqsQueues:
    """Implements `ports.Queues`.

    `ack_client` deletes, hides and sends dead letters, with a single attempt: its callers retry.
    """

    def __init__(self, client: SQSClient, ack_client: SQSClient | None = None) -> None:
        self._client, self._ack_client = client, ack_client or client

    def receive(self, poll: Poll, visibility_s: int) -> list[Message]:
        """One ReceiveMessage; for a FIFO queue with an attempt id, so that a retry finds a lost response."""
        queue = poll.queue
        attempt: dict[str, str] = {"ReceiveRequestAttemptId": uuid.uuid4().hex} if queue.is_fifo else {}
        requested_at = time.monotonic()
        with aws_errors(f"receiving from {queue.name}"), _unchecked():
            answer: Mapping[str, Any] = self._client.receive_message(
                QueueUrl=queue.url,
                MaxNumberOfMessages=poll.max_messages,
                WaitTimeSeconds=poll.wait_s,
                VisibilityTimeout=visibility_s,
                MessageSystemAttributeNames=list(SYSTEM_ATTRIBUTES),  # type: ignore[arg-type]
                MessageAttributeNames=["All"],
                **attempt,  # type: ignore[arg-type]  # one more keyword, typed with all the others
            )
            # SQS hides a message when it delivers it. A short poll may deliver as early as the request, a
            # long poll waits and delivers just before it returns.
            now = time.monotonic()
            hidden_from = now if poll.wait_s else requested_at
            return list(_messages(queue, answer.get("Messages", ()), now, hidden_from + visibility_s))

    def delete(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        """One DeleteMessageBatch."""
        entries = [
            {"Id": str(place), "ReceiptHandle": message.receipt_handle}
            for place, message in enumerate(messages)
        ]
        queue = messages[0].queue
        with aws_errors(f"deleting from {queue.name}"), _unchecked():
            answer = self._ack_client.delete_message_batch(QueueUrl=queue.url, Entries=entries)  # type: ignore[arg-type]
            return _refusals(answer, len(entries))

    def hide(self, messages: Sequence[tuple[Message, int]]) -> dict[int, Refusal]:
        """One ChangeMessageVisibilityBatch."""
        entries = [
            {"Id": str(place), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": seconds}
            for place, (message, seconds) in enumerate(messages)
        ]
        queue = messages[0][0].queue
        with aws_errors(f"changing the visibility of messages of {queue.name}"), _unchecked():
            answer = self._ack_client.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)  # type: ignore[arg-type]
            return _refusals(answer, len(entries))

    def depth(self, url: str) -> Depth:
        """One GetQueueAttributes."""
        with aws_errors(f"reading the attributes of {url}"), _unchecked():
            counts: Mapping[str, str] = self._client.get_queue_attributes(
                QueueUrl=url,
                AttributeNames=list(DEPTHS),  # type: ignore[arg-type]
            )["Attributes"]  # type: ignore[assignment]
            visible, in_flight = (int(counts[name]) for name in DEPTHS)
            return Depth(visible=visible, in_flight=in_flight)

    def key(self, url: str) -> QueueKey | None:
        """One GetQueueAttributes: the customer's key that encrypts the queue, if one does."""
        with aws_errors(f"reading the key of {url}"), _unchecked():
            said: Mapping[str, str] = self._client.get_queue_attributes(
                QueueUrl=url,
                AttributeNames=["QueueArn", "KmsMasterKeyId"],
            )["Attributes"]  # type: ignore[assignment]
            key = said.get("KmsMasterKeyId")
            return queue_key(said["QueueArn"], key) if key else None

    def max_receive_count(self, url: str) -> int | None:
        """One GetQueueAttributes: receipts after which the redrive policy moves a message, or None."""
        with aws_errors(f"reading the redrive policy of {url}"), _unchecked():
            said: Mapping[str, Any] = self._client.get_queue_attributes(
                QueueUrl=url,
                AttributeNames=["RedrivePolicy"],
            )
            policy = (said.get("Attributes") or {}).get("RedrivePolicy")
            return int(json.loads(policy)["maxReceiveCount"]) if policy else None

    def send_to_dead_letter_queue(self, url: str, message: Message, reason: str) -> None:
        """One SendMessage, or two where the queue takes less than SQS: its refusal says how much."""
        with aws_errors(f"sending message {message.message_id} to the dead-letter queue {url}"):
            request = dead_letter.request(url, message, reason)
            try:
                self._ack_client.send_message(**request)
            except ClientError as refused:
                max_bytes = dead_letter.max_bytes_said(str(refused))
                shorter = dead_letter.request(
                    url, message, reason, max_bytes or dead_letter.MAX_MESSAGE_BYTES
                )
                if shorter == request:
                    raise
                self._ack_client.send_message(**shorter)


def is_denied(refused: SluiceError) -> bool:
    """Whether AWS refused for want of a permission, which it also says of queues that are not there."""
    cause = refused.__cause__
    return isinstance(cause, ClientError) and "AccessDenied" in cause.response.get("Error", {}).get(
        "Code", ""
    )


@contextmanager
def _unchecked() -> Iterator[None]:
    """What breaks on an answer is the answer's fault: JSON as SQS sent it (`UNPARSED`) is not checked."""
    try:
        yield
    except BROKEN as broken:
        raise MalformedResponse(repr(broken)) from broken


def _messages(
    queue: Queue, answered: Iterable[Mapping[str, Any]], now: float, visible_at: float
) -> Iterator[Message]:
    """Each read by itself: one that cannot be read keeps none of the others from their handlers."""
    for sent in answered:
        try:
            yield _message(queue, sent, now, visible_at)
        except BROKEN as broken:
            rest = unreadable(queue, sent, now, visible_at, repr(broken))
            if rest is None:
                return
            yield rest


def _message(queue: Queue, sent: Mapping[str, Any], now: float, visible_at: float) -> Message:
    said = _said(sent)
    system = said["Attributes"]
    attributes = {name: _said(value) for name, value in said.get("MessageAttributes", {}).items()}
    return Message(
        queue=queue,
        message_id=said["MessageId"],
        body=said["Body"],
        attributes={
            name: value["StringValue"] if "StringValue" in value else _binary(value["BinaryValue"])
            for name, value in attributes.items()
        },
        attribute_types={name: value["DataType"] for name, value in attributes.items()},
        receive_count=int(system["ApproximateReceiveCount"]),
        sent_at=int(system["SentTimestamp"]) / 1000,
        group_id=system.get("MessageGroupId"),
        trace_header=system.get(dead_letter.TRACE_HEADER),
        receipt_handle=said["ReceiptHandle"],
        received_at=now,
        visible_at=visible_at,
    )


def _said(sent: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what is null: in JSON that is the same as not there."""
    return (
        {name: value for name, value in sent.items() if value is not None} if None in sent.values() else sent
    )


def _binary(sent: str | bytes) -> bytes:
    """A value in base64, as JSON has it; a boto3 that parses it all the same has decoded it."""
    return sent if isinstance(sent, bytes) else b64decode(sent)


def _refusals(answer: Mapping[str, Any], asked: int) -> dict[int, Refusal]:
    """By place in the batch; what SQS says nothing of is not done."""
    refused = {}
    for failed in map(_said, answer.get("Failed") or ()):
        refused[int(failed["Id"])] = Refusal(
            reason=f"{failed['Code']}: {failed.get('Message', '')}",
            final=any(code in failed["Code"] for code in FINAL_CODES),
        )
    unknown = (
        set(range(asked)) - refused.keys() - {int(done["Id"]) for done in answer.get("Successful") or ()}
    )
    return refused | dict.fromkeys(unknown, NO_ANSWER)
