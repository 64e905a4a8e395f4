"""A message as SendMessage takes it for a dead-letter queue: as it came, and the reason where there is room.

Owns how much room a reason has. Refuses to change anything of the sender's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sluice_worker.message import Message

MAX_MESSAGE_BYTES = 1_048_576
"""Of a body with the names, types and values of its attributes (documented); a queue may allow less."""
MAX_ATTRIBUTES = 10
"""Attributes that SQS lets a message carry (documented)."""
REASON = "SluiceWorkerFailure"
MAX_REASON_LENGTH = 1000
TRACE_HEADER = "AWSTraceHeader"
"""The one system attribute that can be sent; it has no part in a message's size (documented)."""
UNSENDABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters for which SQS refuses a message (documented)."""
_TOO_LONG = re.compile(r"must be shorter than (\d+) bytes")


def request(url: str, message: Message, why: str, max_bytes: int = MAX_MESSAGE_BYTES) -> dict[str, Any]:
    """SendMessage's arguments; the reason is shortened to what `max_bytes` leave it, then left out."""
    attributes = {
        name: _attribute(value, message.attribute_types.get(name))
        for name, value in message.attributes.items()
        if name != REASON  # of an earlier burial
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
        # Not the sender's: it may have come again after five minutes, and the queue would drop the later one.
        said["MessageDeduplicationId"] = message.message_id
    return said


def max_bytes_said(refusal: str) -> int | None:
    """The queue's own MaximumMessageSize, where SQS refused a message for it."""
    found = _TOO_LONG.search(refusal)
    return int(found[1]) if found else None


def _reason(why: str, room_bytes: int) -> str:
    """As much of it as there is room for beside its name and type; empty where there is none."""
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
