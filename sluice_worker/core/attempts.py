"""How often a message was started, as far as this process knows: SQS counts receipts, started or not.

Receipts by other processes count as started, and so do those of a process that was killed, because SQS does
not tell them apart. Never calls SQS.
"""

from __future__ import annotations

MAX_MESSAGES = 10_000
"""The maximum of messages remembered; beyond it the oldest is forgotten, and all its receipts count."""


class Attempts:
    """Receipts that ended before their message was started, by message id."""

    def __init__(self) -> None:
        self._unstarted: dict[str, int] = {}

    def record_unstarted(self, message_id: str) -> None:
        """A receipt of this message ended before it was started."""
        self._unstarted[message_id] = self._unstarted.pop(message_id, 0) + 1
        if len(self._unstarted) > MAX_MESSAGES:
            del self._unstarted[next(iter(self._unstarted))]

    def count_started(self, message_id: str, receive_count: int) -> int:
        """How often the message was started, the current attempt included; `receive_count` is SQS's."""
        return max(1, receive_count - self._unstarted.get(message_id, 0))

    def forget(self, message_id: str) -> None:
        """Forget a message that will not be received again."""
        self._unstarted.pop(message_id, None)
