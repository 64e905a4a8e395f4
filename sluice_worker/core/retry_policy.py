"""What follows a failure: back to the queue after a back-off, or to the dead-letter queue.

Owns the policy. Never counts attempts itself: they are an argument.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from sluice_worker.core.model import MAX_VISIBILITY_S

JITTER = 0.2
"""The share of a back-off by which the returns of messages that failed together are spread."""


class Reject(Exception):  # noqa: N818 - a handler's decision about a message, not an error in it
    """Raised by a handler for a message that will never succeed: it goes to the dead-letter queue at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Return the message to its queue, hidden for `after_s` seconds."""

    after_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Send the message to the dead-letter queue of the settings, and delete it from its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePolicy:
    """When to retry; `max_attempts` None leaves poison messages to the queue's own redrive policy."""

    backoff_s: float = 10.0
    max_backoff_s: float = 900.0
    max_attempts: int | None = None
    dead_letters: bool = False

    @property
    def min_backoff_s(self) -> float:
        """The shortest time for which a failed message is hidden."""
        return min(self.backoff_s, self.max_backoff_s) * (1 - JITTER)

    def after(self, message_id: str, attempts: int, *, rejected: bool) -> Retry | DeadLetter:
        """A dead letter where it was rejected or failed `max_attempts` times, else a retry."""
        exhausted = self.max_attempts is not None and attempts >= self.max_attempts
        if self.dead_letters and (rejected or exhausted):
            return DeadLetter()
        return self.back_off(message_id, attempts)

    def back_off(self, message_id: str, attempts: int) -> Retry:
        """A retry in min(backoff_s x 2^(attempts - 1), max_backoff_s), less a jitter derived from its id."""
        doublings = min(max(attempts, 1) - 1, 30)
        full_s = min(self.backoff_s * 2**doublings, self.max_backoff_s, MAX_VISIBILITY_S)
        share = zlib.crc32(message_id.encode()) / 2**32
        return Retry(after_s=round(full_s * (1 - JITTER * share)))
