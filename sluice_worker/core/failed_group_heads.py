"""FIFO groups whose first message has failed and will come back, and what a poll may ask for meanwhile.

A receive counts as an attempt of every message that it brings, also of those behind one that fails, which all
go back with it. While SQS hides the failed message, it blocks its group. When that message is visible again,
a poll for a single message brings it alone, and its group is blocked again. So polls ask for one message from
shortly before its return until this process receives a message of its group: the failed one, or one behind it
once it has ended elsewhere. Never reads a clock or calls SQS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sluice_worker.core.model import Poll
from sluice_worker.core.priority_buffer import MessageGroup

SENT_WITHIN_S = 2.0
"""The longest time from the choice of a poll to its arrival at SQS."""
MARGIN_S = 60.0
MAX_GROUPS = 1000
"""Failed groups remembered for each queue; beyond, the oldest is forgotten."""


@dataclass(slots=True)
class _Return:
    """When a failed message may be visible again, and until when it is expected."""

    at: float
    until: float


class FailedHeads:
    """The failed first messages of groups; times are seconds of the worker's clock.

    `min_backoff_s` and `max_backoff_s` are how long a failed message is hidden at least and at most. Others
    may receive it and fail too: it is expected until `max_backoff_s`, and a minute, after its return.
    """

    def __init__(self, *, min_backoff_s: float, max_backoff_s: float) -> None:
        self._min_backoff_s = min_backoff_s
        self._remembered_s = max_backoff_s + MARGIN_S
        self._returns: dict[str, dict[str, _Return]] = {}
        """By queue URL and group, oldest first."""

    def record_failure(self, message_group: MessageGroup, now: float) -> None:
        """The group's first message goes back; until more is known it may be visible at once."""
        url, group = message_group
        groups = self._returns.setdefault(url, {})
        groups.pop(group, None)
        groups[group] = _Return(now, now + self._remembered_s)
        if len(groups) > MAX_GROUPS:
            del groups[next(iter(groups))]

    def record_hidden(self, message_group: MessageGroup, until: float) -> None:
        """SQS hides the failed message until then."""
        url, group = message_group
        known = self._returns.get(url, {}).get(group)
        if known is not None:
            known.at, known.until = until, until + self._remembered_s

    def record_receipt(self, message_group: MessageGroup) -> None:
        """A message of the group was received: the failed one, or one behind it."""
        url, group = message_group
        groups = self._returns.get(url)
        if groups is not None:
            groups.pop(group, None)

    def limit_poll(self, poll: Poll, now: float, *, holds_groups: bool) -> Poll:
        """The poll as it may be made: for one message while a failed one may be visible.

        A long poll for more returns before that. Where messages of the queue's groups are held
        (`holds_groups`), one of them may fail during the poll, so the poll also returns before that one could
        be visible.
        """
        if not poll.queue.is_fifo:
            return poll
        free_s = self._returns_at(poll.queue.url, now) - now - SENT_WITHIN_S
        if free_s < min(poll.wait_s, 1):
            return replace(poll, max_messages=1)
        if holds_groups:
            free_s = min(free_s, max(self._min_backoff_s, 1))
        return replace(poll, wait_s=int(min(poll.wait_s, free_s)))

    def _returns_at(self, url: str, now: float) -> float:
        """When the first failed message may be visible; forgets those that are no longer expected."""
        groups = self._returns.get(url)
        if groups is None:
            return math.inf
        for group in [group for group, known in groups.items() if known.until <= now]:
            del groups[group]
        return min((known.at for known in groups.values()), default=math.inf)
