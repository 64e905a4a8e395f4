"""One received message: what its handler sees of it, and what the worker knows about it.

Owns the handler's view and the message's clock. Refuses to talk to SQS: `Outbox` does.
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

from sluice_worker.core.model import MAX_VISIBILITY_S, VISIBILITY_MARGIN_S, Priority, Queue
from sluice_worker.core.priority_buffer import MessageGroup


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
    attribute_types: Mapping[str, str] = field(default_factory=dict)
    """SQS's type of each: String, Number or Binary, and the sender's label, if any (Number.float)."""
    receive_count: int = 1
    """How often SQS has delivered it, this time included; never sure to be 1 for a message seen first."""
    sent_at: float
    """When it was sent, in epoch seconds."""
    group_id: str | None = None
    """Its group in a FIFO queue; in a standard queue the tenant that fair queues tell apart."""
    trace_header: str | None = None
    """The trace of AWS X-Ray that it belongs to (AWSTraceHeader)."""
    receipt_handle: str
    received_at: float
    visible_at: float
    """When SQS shows it to others again, if nobody extends it."""
    deadline_at: float = float("inf")
    stage: Stage = Stage.BUFFERED
    unreadable: str | None = None
    """What was wrong with SQS's answer about it; then it goes back and no handler sees it."""
    extending: bool = False
    """Whether SQS is being asked to keep it hidden."""
    returns_in_s: int = 0
    group_unblocked: bool = False
    """Whether the next message of its group may begin, or has gone back: once for each message."""
    batch: Sequence[Message] = field(default=(), repr=False)
    """All that its handler was called with, where that were several; they share one deadline."""
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
        """What it must not overtake."""
        return None if self.group_id is None or not self.queue.is_fifo else (self.queue.url, self.group_id)

    @property
    def visibility_limit_at(self) -> float:
        """Until when SQS can be asked to hide it; no deadline lies beyond."""
        return self.received_at + MAX_VISIBILITY_S - VISIBILITY_MARGIN_S

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, beyond which the worker gives the message back."""
        return self.deadline_at - time.monotonic()

    @property
    def deadline(self) -> datetime:
        """The deadline as a moment, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.remaining_s)

    def max_extension_s(self, now: float) -> int:
        """Seconds for which SQS can still be asked to hide it; 0 once its twelve hours are over."""
        return max(0, int(self.visibility_limit_at - now))

    def extend(self, seconds: float) -> None:
        """Move the deadline: so many seconds from now, at most twelve hours after the receipt.

        The message's visibility needs no care: it is kept hidden as long as the deadline lasts. In a batch it
        moves the deadline of all of them. ValueError where `seconds` is no finite number of at least 0.
        """
        # Also NaN, which would pass any comparison, and with it the deadline.
        if not (isinstance(seconds, Real) and 0 <= seconds < math.inf):
            raise ValueError(f"extend({seconds!r}): give the seconds from now, a finite number of at least 0")
        deadline_at = time.monotonic() + seconds
        for one in self.batch or (self,):
            one.deadline_at = min(deadline_at, one.visibility_limit_at)
