"""How often a message was begun, as far as this process knows: SQS counts receipts, begun or not.

Receipts by other processes count as begun, and so do those of a process that was killed, because SQS does not
tell them apart. Never calls SQS.
"""

from __future__ import annotations

MAX_MESSAGES = 10_000
"""The maximum of messages remembered; beyond it the oldest is forgotten, and all its receipts count."""


class Attempts:
    """Receipts that ended before their message was begun, by message id."""

    def __init__(self) -> None:
        self._not_begun: dict[str, int] = {}

    def record_unstarted(self, message_id: str) -> None:
        """A receipt of this message ended before it was begun."""
        self._not_begun[message_id] = self._not_begun.pop(message_id, 0) + 1
        if len(self._not_begun) > MAX_MESSAGES:
            del self._not_begun[next(iter(self._not_begun))]

    def count_started(self, message_id: str, receive_count: int) -> int:
        """How often the message was begun, the current attempt included; `receive_count` is SQS's."""
        return max(1, receive_count - self._not_begun.get(message_id, 0))

    def forget(self, message_id: str) -> None:
        """Forget a message that will not be received again."""
        self._not_begun.pop(message_id, None)
