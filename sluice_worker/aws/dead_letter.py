"""A message as SendMessage's arguments for a dead-letter queue: as it came, with the reason where it fits.

The reason is shortened to the size that is left; nothing of the sender's is changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sluice_worker.message import Message

MAX_MESSAGE_BYTES = 1_048_576
"""The maximum of a body with the names, types and values of its attributes (documented); a queue may allow
less."""
MAX_ATTRIBUTES = 10
"""The maximum of attributes of a message (documented)."""
REASON = "SluiceWorkerFailure"
MAX_REASON_LENGTH = 1000
TRACE_HEADER = "AWSTraceHeader"
"""The only system attribute that can be sent; it does not count towards a message's size (documented)."""
UNSENDABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters for which SQS refuses a message (documented)."""
_TOO_LONG = re.compile(r"must be shorter than (\d+) bytes")


def request(url: str, message: Message, why: str, max_bytes: int = MAX_MESSAGE_BYTES) -> dict[str, Any]:
    """SendMessage's arguments; the reason is shortened to fit into `max_bytes`, or left out."""
    attributes = {
        name: _attribute(value, message.attribute_types.get(name))
        for name, value in message.attributes.items()
        if name != REASON  # from an earlier dead-letter queue
    }
    said: dict[str, Any] = {"QueueUrl": url, "MessageBody": message.body}
    reason = _reason(why, max_bytes - _size_bytes(message.body, attributes))
    if reason and len(attributes) < MAX_ATTRIBUTES:
        attributes[REASON] = _attribute(reason, None)
    if attributes:
        said["MessageAttributes"] = attributes
    if message.trace_header is not None:
        said["MessageSystemAttributes"] = {TRACE_HEADER: _attribute(message.trace_header, None)}
    if message.group_id is not None:
        said["MessageGroupId"] = message.group_id
    if url.endswith(".fifo"):
        said.setdefault("MessageGroupId", message.message_id)
        # Not the sender's deduplication id: the sender may use it again after five minutes, and the
        # dead-letter queue would then drop the later message.
        said["MessageDeduplicationId"] = message.message_id
    return said


def max_bytes_said(refusal: str) -> int | None:
    """The queue's own MaximumMessageSize, where SQS's refusal names it."""
    found = _TOO_LONG.search(refusal)
    return int(found[1]) if found else None


def _reason(why: str, room_bytes: int) -> str:
    """As much of the reason as fits beside its name and type; empty if none does."""
    sendable = UNSENDABLE.sub("\ufffd", why[:MAX_REASON_LENGTH]) or "no reason"
    return sendable.encode()[: max(room_bytes - len(REASON) - len("String"), 0)].decode(errors="ignore")


def _size_bytes(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    texts = [body, *attributes, *(one["DataType"] for one in attributes.values())]
    values = [one.get("BinaryValue") or one["StringValue"].encode() for one in attributes.values()]
    return sum(len(text.encode()) for text in texts) + sum(map(len, values))


def _attribute(value: str | bytes, data_type: str | None) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"DataType": data_type or "Binary", "BinaryValue": value}
    return {"DataType": data_type or "String", "StringValue": value}
