"""What SQS refuses of a message and moto takes: too many attributes, or a body too long with them."""

from __future__ import annotations

from typing import Any

import pytest
from moto.sqs.exceptions import InvalidParameterValue
from moto.sqs.models import Message, SQSBackend

MAX_ATTRIBUTES = 10


def enforced(patch: pytest.MonkeyPatch) -> None:
    """From now on moto refuses as SQS does."""
    send = SQSBackend.send_message

    def send_message(
        backend: SQSBackend,
        queue_name: str,
        message_body: str,
        *,
        message_attributes: dict[str, Any] | None = None,
        **more: Any,
    ) -> Message:
        attributes = message_attributes or {}
        queue: Any = backend.get_queue(queue_name)
        limit = queue.maximum_message_size
        if len(message_body.encode()) + sum(map(_size_bytes, attributes.items())) > limit:
            raise InvalidParameterValue(
                f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            )
        if len(attributes) > MAX_ATTRIBUTES:
            raise InvalidParameterValue(
                f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10]."
            )
        return send(backend, queue_name, message_body, message_attributes=message_attributes, **more)

    patch.setattr(SQSBackend, "send_message", send_message)


def _size_bytes(attribute: tuple[str, dict[str, Any]]) -> int:
    name, content = attribute
    value: str | bytes = content.get("BinaryValue") or content.get("StringValue") or ""
    parts = (name, content["DataType"], value)
    return sum(len(part if isinstance(part, bytes) else part.encode()) for part in parts)
