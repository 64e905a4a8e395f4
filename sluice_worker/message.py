"""One received message: what its handler sees, and what the worker knows about it.

Its methods never call SQS: the heartbeat keeps it hidden until the deadline that `extend` sets.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from numbers import Real

from sluice_worker.core.model import MAX_VISIBILITY_S, VISIBILITY_MARGIN_S, Priority, Queue, Settlement
from sluice_worker.core.priority_buffer import MessageGroup


class Stage(Enum):
    """The stage of a message between its receipt and its end."""

    BUFFERED = "buffered"
    RUNNING = "running"
    SETTLING = "settling"
    """Processed and being deleted, or being sent to the dead-letter queue: still kept hidden."""
    RETURNING = "returning"
    """On its way back to the queue."""
    SETTLED = "settled"


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """The handler's argument; times without epoch are seconds of `time.monotonic()`."""

    queue: Queue
    message_id: str
    body: str
    attributes: Mapping[str, str | bytes] = field(default_factory=dict)
    """The sender's message attributes, by name."""
    attribute_types: Mapping[str, str] = field(default_factory=dict)
    """SQS's type of each: String, Number or Binary, and the sender's label, if any (Number.float)."""
    receive_count: int = 1
    """How often SQS has delivered it, this time included; it may exceed 1 on the first delivery to a
    handler."""
    sent_at: float
    """When it was sent, in epoch seconds."""
    group_id: str | None = None
    """Its group in a FIFO queue; in a standard queue the tenant, as fair queues distinguish them."""
    trace_header: str | None = None
    """The AWS X-Ray trace that it belongs to (AWSTraceHeader)."""
    receipt_handle: str
    received_at: float
    visible_at: float
    """When SQS shows it to other consumers again, unless its visibility is extended."""
    deadline_at: float = float("inf")
    stage: Stage = Stage.BUFFERED
    settlement: Settlement = Settlement.FORGOTTEN
    """What is done with it at its end; decided when its settlement begins."""
    unreadable: str | None = None
    """What was wrong with SQS's response, if anything: then it goes back, and no handler sees it."""
    extending: bool = False
    """Whether an extension of its visibility is under way."""
    returns_in_s: int = 0
    group_unblocked: bool = False
    """Whether it has let the next message of its group begin, or go back, which happens once."""
    batch: Sequence[Message] = field(default=(), repr=False)
    """All messages of its handler's batch, where there are several; they share one deadline."""
    size_bytes: int = field(init=False)
    """The memory that body and attributes take."""

    def __post_init__(self) -> None:
        self.size_bytes = sys.getsizeof(self.body)
        if self.attributes:
            self.size_bytes += sum(map(sys.getsizeof, self.attributes.values()))

    @property
    def priority(self) -> Priority:
        """Its queue's priority."""
        return self.queue.priority

    @property
    def queue_url(self) -> str:
        """Its queue."""
        return self.queue.url

    @property
    def message_group(self) -> MessageGroup | None:
        """Its queue and group in a FIFO queue, within which messages must stay in order; else None."""
        return None if self.group_id is None or not self.queue.is_fifo else (self.queue.url, self.group_id)

    @property
    def visibility_limit_at(self) -> float:
        """Until when SQS can hide it; no deadline is later."""
        return self.received_at + MAX_VISIBILITY_S - VISIBILITY_MARGIN_S

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, after which the worker returns the message to its queue."""
        return self.deadline_at - time.monotonic()

    @property
    def deadline(self) -> datetime:
        """The deadline as a datetime in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.remaining_s)

    def max_extension_s(self, now: float) -> int:
        """Seconds for which SQS can still hide it; 0 once its twelve hours are over."""
        return max(0, int(self.visibility_limit_at - now))

    def extend(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now, at most twelve hours after the receipt.

        The worker keeps the message hidden until the deadline. In a batch it moves the deadline of all
        messages. ValueError if `seconds` is not a finite number of at least 0.
        """
        # This also rejects NaN: `min` and `>` with a NaN deadline would never find it overdue.
        if not (isinstance(seconds, Real) and 0 <= seconds < math.inf):
            raise ValueError(f"extend({seconds!r}): give the seconds from now, a finite number of at least 0")
        deadline_at = time.monotonic() + seconds
        for one in self.batch or (self,):
            one.deadline_at = min(deadline_at, one.visibility_limit_at)
