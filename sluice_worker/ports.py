"""What a worker needs from the world: queues, a place for metrics, protection, notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sluice_worker.core.counters import ReportInterval
from sluice_worker.core.lifecycle import OutOfService
from sluice_worker.core.model import Depth, Poll
from sluice_worker.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """SQS did not do what was asked for one message; `final` where asking again cannot help."""

    reason: str
    final: bool


class Queues(Protocol):
    """SQS. Each call raises a SluiceError where AWS did not answer; no call waits longer than its timeout."""

    def receive(self, poll: Poll, visibility_s: int) -> list[Message]:
        """Receive up to `poll.max_messages`, hidden from others for `visibility_s`."""
        ...

    def delete(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        """Delete up to ten messages of one queue; the answer holds those refused, by their place."""
        ...

    def hide(self, messages: Sequence[tuple[Message, int]]) -> dict[int, Refusal]:
        """Hide up to ten messages of one queue for so many seconds each, from now; 0 shows them at once."""
        ...

    def depth(self, url: str) -> Depth:
        """What is visible and in flight."""
        ...

    def send_to_dead_letter_queue(self, url: str, message: Message, reason: str) -> None:
        """Send a copy of a message to a dead-letter queue, with the reason as an attribute."""
        ...


class MetricSink(Protocol):
    """Where a minute's metrics go."""

    def put(self, interval: ReportInterval) -> None:
        """Publish one minute; SluiceError where it could not be."""
        ...


class Protection(Protocol):
    """What keeps AWS from choosing this instance or task for scale-in."""

    expires_after_s: float
    """How long one protection holds; infinite where it has no expiry."""

    def protect(self) -> None:
        """Protect; SluiceError where it could not be."""
        ...

    def release(self) -> None:
        """Give the protection up; SluiceError where it could not be."""
        ...


class InstanceLifecycle(Protocol):
    """What AWS tells an instance about its service and its end."""

    def out_of_service(self) -> OutOfService | None:
        """Why this instance must not work, or None while it may; SluiceError where that is not known."""
        ...

    def extend_hook(self) -> None:
        """Ask for more time, while draining; SluiceError where refused."""
        ...

    def complete_hook(self) -> None:
        """Say that nothing runs here any more; SluiceError where refused."""
        ...
