"""Whether the messages of each group of a FIFO queue are processed in the order in which they were sent."""

from __future__ import annotations


class GroupOrder:
    """Counts messages that end after a later one of their group; those of a standard queue have no group."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[str, int]] = {}
        """Message id -> its group, and its place among all messages."""
        self._newest: dict[str, int] = {}
        """Group -> the place of its newest message that has ended."""
        self.out_of_order = 0

    def sent(self, message_id: str, group: str) -> None:
        """Remember a message of a group; in the order of sending."""
        self._sent[message_id] = group, len(self._sent)

    def processed(self, message_id: str) -> None:
        """Compare a message that has ended with those of its group before it."""
        if message_id not in self._sent:
            return
        group, place = self._sent[message_id]
        self.out_of_order += place < self._newest.get(group, -1)
        self._newest[group] = max(place, self._newest.get(group, -1))
