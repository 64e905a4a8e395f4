"""A queue through which a tick sends slices of the registry to other invocations.

Sending keeps within both limits of SendMessageBatch. Lambda's event source mapping receives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sluice.aws.concurrent_reads import fan_out
from sluice.aws.errors import aws_errors
from sluice.aws.registry import SliceRegistry, SsmRegistry
from sluice.aws.responses import field, optional_list_field
from sluice.aws.sqs import MESSAGES_PER_SEND
from sluice.core.model import Unknown
from sluice.core.shard_slices import slices
from sluice.ports import DelayedMessage, RemainingS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

BYTES_PER_SEND = 262_144
"""The limit for all messages of a call together until August 2025; a million since."""


class SliceQueue:
    """Sends slices of the registry, and gives a message's receiver the registry restricted to its slice."""

    kind: str
    """What the messages are, in error messages."""

    def __init__(
        self,
        client: Callable[[], SQSClient],
        pool: ThreadPoolExecutor,
        queue_url: str,
        registry: SsmRegistry,
        *,
        reserve_s: float,
    ) -> None:
        """`reserve_s` is how long sending may take once the time for reading is over."""
        self._client, self._pool, self._queue_url = client, pool, queue_url
        self._registry, self._reserve_s = registry, reserve_s

    def registry(self, documents: Mapping[str, str]) -> SliceRegistry:
        """The registry restricted to these documents."""
        return SliceRegistry(documents, self._registry.fresh)

    def _send(self, messages: Mapping[str, DelayedMessage], remaining_s: RemainingS) -> Mapping[str, str]:
        """SendMessageBatch, all calls concurrently; a call without a response may have sent its messages."""
        client = self._client()

        def send(names: tuple[str, ...]) -> Mapping[str, str]:
            name_of = {str(index): name for index, name in enumerate(names)}
            with aws_errors(self._sending(names)):
                response = client.send_message_batch(
                    QueueUrl=self._queue_url,
                    Entries=[_entry(each, messages[name]) for each, name in name_of.items()],
                )
                return {
                    field(name_of, field(entry, "Id")): f"SQS refused it with {field(entry, 'Code')}: "
                    f"{entry.get('Message', '')}"
                    for entry in optional_list_field(response, "Failed")
                }

        sizes = {name: len(message.body.encode()) for name, message in messages.items()}
        calls = slices(sizes, max_names=MESSAGES_PER_SEND, max_bytes=BYTES_PER_SEND)
        responses = fan_out(self._pool, send, calls, self._sending, lambda: remaining_s() + self._reserve_s)
        unsent: dict[str, str] = {}
        for names, refused in responses.items():
            unsent |= dict.fromkeys(names, refused.reason) if isinstance(refused, Unknown) else refused
        return unsent

    def _sending(self, names: tuple[str, ...]) -> str:
        return f"SendMessageBatch of {len(names)} {self.kind} to {self._queue_url}"


def _entry(entry_id: str, message: DelayedMessage) -> SendMessageBatchRequestEntryTypeDef:
    entry: SendMessageBatchRequestEntryTypeDef = {"Id": entry_id, "MessageBody": message.body}
    if message.delay_s:
        entry["DelaySeconds"] = message.delay_s
    return entry
