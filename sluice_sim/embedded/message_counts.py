"""Counts NumberOfMessagesSent, NumberOfMessagesReceived and NumberOfMessagesDeleted, which moto does not.

Every message that SendMessage or SendMessageBatch adds to a queue counts, a delayed one when it is sent. A
FIFO queue's duplicate is not added, and a message that SQS moves to a dead-letter queue is not sent. Every
successful deletion counts, a repeated one too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto.sqs.models import Message, SQSBackend

SENT = "NumberOfMessagesSent"
RECEIVED = "NumberOfMessagesReceived"
DELETED = "NumberOfMessagesDeleted"


class MessageCounts:
    """Messages sent to, received from and deleted from each queue since its counts were last read."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def pop(self, metric: str, queue_name: str) -> int:
        """The count since the last call, which resets it."""
        return self._counts.pop((metric, queue_name), 0)

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Count within the context; moto sends and deletes a batch message by message."""
        send, delete = SQSBackend.send_message, SQSBackend.delete_message
        receive = SQSBackend.receive_message

        def counted(backend: SQSBackend, queue_name: str, *more: Any, **named: Any) -> Message:
            message = send(backend, queue_name, *more, **named)
            added = backend.get_queue(queue_name)._messages  # noqa: SLF001 - the public list omits delayed ones
            self._counts[SENT, queue_name] += bool(added) and added[-1] is message
            return message

        def received(backend: SQSBackend, queue_name: str, *more: Any, **named: Any) -> list[Message]:
            messages = receive(backend, queue_name, *more, **named)
            self._counts[RECEIVED, queue_name] += len(messages)
            return messages

        def deleted(backend: SQSBackend, queue_name: str, receipt_handle: str) -> None:
            delete(backend, queue_name, receipt_handle)
            self._counts[DELETED, queue_name] += 1

        with (
            mock.patch.object(SQSBackend, "send_message", counted),
            mock.patch.object(SQSBackend, "receive_message", received),
            mock.patch.object(SQSBackend, "delete_message", deleted),
        ):
            yield
