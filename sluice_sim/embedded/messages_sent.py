"""Counts NumberOfMessagesSent, which moto does not.

Every message that SendMessage or SendMessageBatch adds to a queue counts, a delayed one when it is sent. A
FIFO queue's duplicate is not added, and a message that SQS moves to a dead-letter queue is not sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto.sqs.models import Message, SQSBackend


class SentMessages:
    """Messages sent to each queue since its count was last read."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()

    def pop_count(self, queue_name: str) -> int:
        """The count since the last call, which resets it."""
        return self._sent.pop(queue_name, 0)

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Count within the context; moto sends a batch message by message."""
        send = SQSBackend.send_message

        def counted(backend: SQSBackend, queue_name: str, *more: Any, **named: Any) -> Message:
            message = send(backend, queue_name, *more, **named)
            added = backend.get_queue(queue_name)._messages  # noqa: SLF001 - the public list omits delayed ones
            self._sent[queue_name] += bool(added) and added[-1] is message
            return message

        with mock.patch.object(SQSBackend, "send_message", counted):
            yield
