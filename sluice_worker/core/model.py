"""The worker's model: queues with a priority, polls, depths and outcomes, without any rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_BATCH_SIZE = 10
"""The maximum of messages in one call to SQS (documented)."""
MAX_MESSAGE_BYTES = 1_048_576
"""The maximum size of a message (documented)."""
LONG_POLL_S = 20
"""The longest that ReceiveMessage waits (documented)."""
MAX_VISIBILITY_S = 43_200
"""SQS hides a message for at most twelve hours from its receipt, extensions included (documented)."""
VISIBILITY_MARGIN_S = 30
"""Subtracted from those twelve hours, which SQS counts from the receive request: a long poll may have waited
before it returned."""
IN_FLIGHT_QUOTA = 120_000
"""Messages of one queue in flight, beyond which SQS delivers nothing (documented)."""


class Priority(StrEnum):
    """How urgent a queue's messages are; the order of the members is the order of service."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue to consume; `weight` ranks it among the queues of its priority."""

    url: str
    priority: Priority = Priority.MEDIUM
    weight: float = 1.0

    @property
    def name(self) -> str:
        """The queue's name, which its URL ends with."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue, whose messages of one group are processed one after the other."""
        return self.url.endswith(".fifo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One ReceiveMessage to make: `wait_s` 0 is a short poll."""

    queue: Queue
    max_messages: int
    wait_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """One reading of a queue, in messages."""

    visible: int
    in_flight: int


class Settlement(StrEnum):
    """What the worker does with a message that it gives up."""

    DELETED = "deleted"
    DEAD_LETTERED = "dead-lettered"
    """A copy is in the dead-letter queue, and it is deleted from its own."""
    RETURNED = "returned"
    """It failed, and goes back to its queue, hidden for its back-off."""
    RELEASED = "released"
    """It goes back without having failed, visible at once."""
    EXPIRED = "expired"
    """Its visibility timeout ended before its handler was called."""
    FORGOTTEN = "forgotten"
    """A defect was met: it is no longer kept hidden, and SQS delivers it again."""


class Outcome(StrEnum):
    """How the handler of a message ended; the values are those of the metric's dimension Outcome."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    """The handler had not returned at the message's deadline."""
