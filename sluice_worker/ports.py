"""The ports of a worker: queues, metrics, scale-in protection, a parameter, the instance's lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sluice_worker.core.counters import ReportInterval
from sluice_worker.core.gauges import Gauges
from sluice_worker.core.instance_state import OutOfService
from sluice_worker.core.model import Depth, Outcome, Poll
from sluice_worker.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """SQS refused a request for one message; `final` if repeating it cannot help."""

    reason: str
    final: bool


class Queues(Protocol):
    """SQS. Every call raises a SluiceError if AWS failed, and waits no longer than its timeout."""

    def receive(self, poll: Poll, visibility_s: int) -> list[Message]:
        """Receive up to `poll.max_messages`, hidden from others for `visibility_s`."""
        ...

    def delete(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        """Delete up to ten messages of one queue; returns the refusals by position."""
        ...

    def hide(self, messages: Sequence[tuple[Message, int]]) -> dict[int, Refusal]:
        """Hide up to ten messages of one queue for the given seconds from now (0: visible at once).

        Returns the refusals by position.
        """
        ...

    def depth(self, url: str) -> Depth:
        """The queue's messages visible and in flight."""
        ...

    def send_to_dead_letter_queue(self, url: str, message: Message, reason: str) -> None:
        """Send a copy of a message to a dead-letter queue, with the reason as an attribute."""
        ...


class MetricSink(Protocol):
    """Where the metrics of a report interval go."""

    def put(self, interval: ReportInterval) -> None:
        """Publish one interval; SluiceError if that failed."""
        ...


class Telemetry(Protocol):
    """Traces of messages, and metrics as they occur. Only `flush` waits for who receives them."""

    def began(self, batch: Sequence[Message]) -> None:
        """The handler is about to be called with this batch, in this thread: its spans join the trace."""
        ...

    def returned(self) -> None:
        """The handler has returned or raised, in this thread."""
        ...

    def ended(self, message: Message, outcome: Outcome, took_s: float, raised: BaseException | None) -> None:
        """The processing of a message ended, or its deadline passed; `took_s` is its share of the batch."""
        ...

    def settled(self, message: Message, *, confirmed: bool) -> None:
        """The message left this process as `message.settlement` says; whether SQS confirmed that."""
        ...

    def observe(self, gauges: Gauges) -> None:
        """The worker's gauges at a report."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Export everything so far; give up after `timeout_s`."""
        ...


class Protection(Protocol):
    """Scale-in protection of this instance or task."""

    expires_after_s: float
    """Seconds after which a protection expires; infinity if it does not."""

    def protect(self) -> None:
        """Set the protection; SluiceError if that failed."""
        ...

    def release(self) -> None:
        """Remove the protection; SluiceError if that failed."""
        ...


class Parameter(Protocol):
    """A parameter that others change."""

    name: str

    def value(self) -> str:
        """The current value; SluiceError if it could not be read."""
        ...


class InstanceLifecycle(Protocol):
    """The lifecycle of this instance in its Auto Scaling group, and Spot interruptions."""

    def out_of_service(self) -> OutOfService | None:
        """Why this instance must not work, or None while it may; SluiceError if that is unknown."""
        ...

    def complete_launch_hook(self) -> None:
        """Complete the launch hook if it waits: a worker runs here; SluiceError if that failed."""
        ...

    def extend_hook(self) -> None:
        """Restart the timeout of the termination hook while draining; SluiceError if that failed."""
        ...

    def complete_hook(self) -> None:
        """Complete the termination hook: nothing runs here any more; SluiceError if that failed."""
        ...
