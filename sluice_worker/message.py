"""One received message: what its handler sees of it, and what the worker knows about it.

Owns the handler's view and the message's clock. Refuses to talk to SQS: `Outbox` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from sluice_worker.core.buffer import Lane
from sluice_worker.core.model import LONGEST_HOLD_S, Priority, Queue


class Stage(Enum):
    """Where a message stands between its receipt and its end."""

    BUFFERED = "buffered"
    RUNNING = "running"
    SETTLING = "settling"
    """Processed, and being deleted: still kept hidden."""
    RETURNING = "returning"
    """On its way back to the queue."""
    SETTLED = "settled"


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """What a handler gets; times of the worker are seconds of `time.monotonic()`."""

    queue: Queue
    message_id: str
    body: str
    attributes: Mapping[str, str | bytes] = field(default_factory=dict)
    """The sender's message attributes, by name."""
    receive_count: int = 1
    """How often SQS has delivered it, this time included; never sure to be 1 for a message seen first."""
    sent_at: float
    """When it was sent, in epoch seconds."""
    group_id: str | None = None
    """Its group in a FIFO queue."""
    receipt_handle: str
    received_at: float
    visible_at: float
    """When SQS shows it to others again, if nobody extends it."""
    deadline_at: float = float("inf")
    stage: Stage = Stage.BUFFERED
    extending: bool = False
    """Whether SQS is being asked to keep it hidden."""
    returns_in_s: int = 0
    batch: Sequence[Message] = field(default=(), repr=False)
    """All that its handler was called with, where that were several; they share one deadline."""

    @property
    def priority(self) -> Priority:
        """Its queue's priority."""
        return self.queue.priority

    @property
    def queue_url(self) -> str:
        """Its queue."""
        return self.queue.url

    @property
    def lane(self) -> Lane | None:
        """What it must not overtake."""
        return None if self.group_id is None or not self.queue.is_fifo else (self.queue.url, self.group_id)

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, beyond which the worker gives the message back."""
        return self.deadline_at - time.monotonic()

    @property
    def deadline(self) -> datetime:
        """The deadline as a moment, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.remaining_s)

    def extend(self, seconds: float) -> None:
        """Move the deadline: so many seconds from now, at most twelve hours after the receipt.

        The message's visibility needs no care: it is kept hidden as long as the deadline lasts. In a batch it
        moves the deadline of all of them.
        """
        deadline_at = time.monotonic() + seconds
        for one in self.batch or (self,):
            one.deadline_at = min(deadline_at, one.received_at + LONGEST_HOLD_S)
