"""SQS queues: how many messages they hold, and sending test messages.

It never receives: reading a queue must not raise a message's receive count.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sluice.aws.concurrent_reads import (
    batches,
    fan_out,
)
from sluice.aws.errors import WAYS_OUT, aws_errors
from sluice.aws.responses import count, field, optional_list_field
from sluice.core.model import Backlog, Unknown
from sluice.errors import ConfigError, TransientError
from sluice.ports import RemainingS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

VISIBLE: QueueAttributeNameType = "ApproximateNumberOfMessages"
IN_FLIGHT: QueueAttributeNameType = "ApproximateNumberOfMessagesNotVisible"
DELAYED: QueueAttributeNameType = "ApproximateNumberOfMessagesDelayed"
MESSAGES_PER_SEND = 10


class SqsQueues:
    """Implements `ports.Queues`."""

    def __init__(self, client: Callable[[], SQSClient], pool: ThreadPoolExecutor) -> None:
        self._client, self._pool = client, pool

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:
        """One live reading per queue, all concurrently over one connection pool."""
        client = self._client()

        def backlog(queue_url: str) -> Backlog:
            with aws_errors(_read(queue_url)):
                response = client.get_queue_attributes(
                    QueueUrl=queue_url, AttributeNames=[VISIBLE, IN_FLIGHT, DELAYED]
                )
                attributes = field(response, "Attributes")
                return Backlog(
                    visible=count(field(attributes, VISIBLE)),
                    in_flight=count(field(attributes, IN_FLIGHT)),
                    delayed=count(field(attributes, DELAYED)),
                )

        return fan_out(self._pool, backlog, queue_urls, _read, remaining_s)

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        """Send every body, ten a call; in a FIFO queue each body gets a message group of its own."""
        client, refused = self._client(), []
        for batch in batches(enumerate(bodies), MESSAGES_PER_SEND):
            entries = [_entry(index, body, fifo=queue_url.endswith(".fifo")) for index, body in batch]
            with aws_errors(f"SendMessageBatch to {queue_url}"):
                response = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
                refused += [
                    (field(entry, "Code"), entry.get("Message", ""))
                    for entry in optional_list_field(response, "Failed")
                ]
        if refused:
            code, message = refused[0]
            text = (
                f"SendMessageBatch to {queue_url}: {len(refused)} of {len(bodies)} messages refused, "
                f"the first with {code}: {message}"
            )
            raise ConfigError(f"{text}; {WAYS_OUT[code]}") if code in WAYS_OUT else TransientError(text)


def _read(queue_url: str) -> str:
    return f"GetQueueAttributes of {queue_url}"


def _entry(index: int, body: str, *, fifo: bool) -> SendMessageBatchRequestEntryTypeDef:
    entry: SendMessageBatchRequestEntryTypeDef = {"Id": str(index), "MessageBody": body}
    if fifo:
        entry["MessageGroupId"] = f"group-{index}"
        entry["MessageDeduplicationId"] = uuid.uuid4().hex
    return entry
