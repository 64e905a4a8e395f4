"""Builders with defaults: queues of each priority, and messages as the buffer sees them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from sluice_worker.core.model import Depth, Priority, Queue
from sluice_worker.core.priority_buffer import MessageGroup
from tests.support.builders import queue_url

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One received message; `number` is unique."""

    priority: Priority = Priority.MEDIUM
    message_group: MessageGroup | None = None
    queue_url: str = "queue"
    received_at: float = 0.0
    size_bytes: int = 1
    number: int = field(default_factory=lambda: next(_numbers))


def queue(name: str = "work", priority: Priority = Priority.MEDIUM, weight: float = 1.0) -> Queue:
    return Queue(url=queue_url(name), priority=priority, weight=weight)


HIGH = queue("urgent", Priority.HIGH)
MEDIUM = queue("usual", Priority.MEDIUM)
LOW = queue("someday", Priority.LOW)


def room(*queues: Queue, messages: int = 100) -> dict[str, int]:
    return {queue.url: messages for queue in queues}


def depth(visible: int = 0, in_flight: int = 0) -> Depth:
    return Depth(visible=visible, in_flight=in_flight)


def message_group(group: str = "a") -> MessageGroup:
    return (queue_url("work.fifo"), group)
