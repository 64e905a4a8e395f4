"""Which queue to poll next: the one with the highest score, unless another one starves.

Owns the last known state of each queue (from polls and from its attributes), and when that is too old to
count. Never polls: it only says what to ask for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sluice_worker.core.model import LONG_POLL_S, MAX_BATCH_SIZE, Depth, Poll, Priority, Queue

FACTOR = {Priority.HIGH: 10_000, Priority.MEDIUM: 1_000, Priority.LOW: 100}
MAX_BOOST = {Priority.HIGH: 2.0, Priority.MEDIUM: 1.5, Priority.LOW: 1.2}
BOOST_PER_S = 1 / 30
MIN_PENALTY = 0.5
MAX_POLLS_PER_MINUTE = 300
"""Polls within a minute at which the penalty would reach 100 %, if it had no limit."""
MINUTE_S = 60.0
EMPTY_RECHECK_S = 1.0
"""An empty queue is polled again after this long."""
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
"""A queue whose polls fail is not polled for FIRST_BACKOFF_S, doubled with each failure up to this."""
ASSUMED_MESSAGES = 1
"""The messages with which a queue of unknown depth is scored: unknown is not zero."""


def score(messages: int, queue: Queue, waited_s: float, polls_last_minute: int) -> float:
    """The score of a queue; the highest one is polled next.

    score = messages x weight x priority factor x wait boost x poll-count penalty, where
    boost = min(1 + waited_s / 30, the priority's largest), penalty = max(0.5, 1 - polls_last_minute / 300).
    """
    boost = min(1 + waited_s * BOOST_PER_S, MAX_BOOST[queue.priority])
    penalty = max(MIN_PENALTY, 1 - polls_last_minute / MAX_POLLS_PER_MINUTE)
    return messages * queue.weight * FACTOR[queue.priority] * boost * penalty


@dataclass(slots=True, kw_only=True)
class _QueueState:
    """The last known state of one queue; times in seconds of the worker's clock."""

    queue: Queue
    polled_at: float
    visible: int | None = None
    visible_until: float = 0.0
    """When `visible` is too old to count."""
    depth: Depth | None = None
    depth_at: float = 0.0
    seen_empty: bool = False
    """Whether it was empty when it was last polled or read, however long ago."""
    long_polls: int = 0
    failures: int = 0
    """Consecutive failed polls; those that failed at the same time count as one."""
    paused_until: float = 0.0
    polls: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_POLLS_PER_MINUTE))
    """When it was polled within the last minute, limited to as many as the score counts."""

    def messages(self, now: float) -> int:
        """Visible messages where that is known and recent, else ASSUMED_MESSAGES."""
        known = self.visible is not None and now < self.visible_until
        return self.visible if known and self.visible is not None else ASSUMED_MESSAGES

    def failed(self, now: float) -> None:
        if self.paused_until <= now:
            pause_s = min(FIRST_BACKOFF_S * 2 ** min(self.failures, 10), MAX_BACKOFF_S)
            self.failures, self.paused_until = self.failures + 1, now + pause_s

    def polls_last_minute(self, now: float) -> int:
        self.forget_polls(now)
        return len(self.polls)

    def forget_polls(self, now: float) -> None:
        while self.polls and self.polls[0] <= now - MINUTE_S:
            self.polls.popleft()


class PollScheduler:
    """The queues of one worker; `now` is a monotonic clock's seconds."""

    def __init__(
        self,
        queues: Sequence[Queue],
        now: float,
        *,
        starving_after_s: float = 60.0,
        stale_after_s: float = 15.0,
    ) -> None:
        self._states = {queue.url: _QueueState(queue=queue, polled_at=now) for queue in queues}
        self._starving_after_s, self._stale_after_s = starving_after_s, stale_after_s

    @property
    def all_queues_empty(self) -> bool:
        """Whether every queue was empty when it was last polled or read."""
        return all(state.seen_empty for state in self._states.values())

    def next_poll(
        self, now: float, free_capacity: Mapping[str, int], unclaimed: Mapping[str, int] | None = None
    ) -> Poll | None:
        """The next poll, or None if no queue with messages has free capacity.

        `free_capacity` is in messages, by queue URL. `unclaimed` is the part of it that more urgent messages
        do not claim (all of it where not given); only a queue that starves may ask for more. Long polls are
        made only while every queue is empty: a poller that waits at an empty queue receives nothing
        elsewhere.
        """
        states = [
            state
            for state in self._states.values()
            if free_capacity[state.queue.url] > 0 and state.paused_until <= now
        ]
        if not states:
            return None
        if self.all_queues_empty:
            chosen = min(states, key=lambda state: (state.long_polls, state.polled_at))
            return self._poll(chosen, now, free_capacity, LONG_POLL_S)
        with_work = [state for state in states if state.messages(now)]
        if not with_work:
            return None
        longest = min(with_work, key=lambda state: state.polled_at)
        if now - longest.polled_at >= self._starving_after_s:
            return self._poll(longest, now, free_capacity, 0)
        unclaimed = free_capacity if unclaimed is None else unclaimed
        unclaimed_states = [state for state in with_work if unclaimed[state.queue.url] > 0]
        if not unclaimed_states:
            return None
        best = max(
            unclaimed_states,
            key=lambda state: score(
                state.messages(now), state.queue, now - state.polled_at, state.polls_last_minute(now)
            ),
        )
        return self._poll(best, now, unclaimed, 0)

    def record_poll(self, poll: Poll, received: int | None, now: float) -> None:
        """Take in a poll's result: messages received, or None if it failed and the queue backs off."""
        state = self._states[poll.queue.url]
        state.long_polls -= poll.wait_s > 0
        if received is None:
            state.failed(now)
            return
        state.failures, state.paused_until = 0, 0.0
        state.seen_empty = received == 0
        if received == 0:
            state.visible, state.visible_until = 0, now + EMPTY_RECHECK_S
        else:
            at_least = MAX_BATCH_SIZE if received == poll.max_messages else 1
            state.visible = max(state.messages(now) - received, at_least)
            state.visible_until = now + self._stale_after_s

    def record_depth(self, queue: Queue, depth: Depth | None, now: float) -> None:
        """Take in the queue's attributes; None if they could not be read."""
        state = self._states[queue.url]
        state.depth, state.depth_at = depth, now
        if depth is not None:
            # Zero visible messages is an approximation of AWS's: as after an empty poll, the queue is polled
            # again soon.
            expires_after_s = self._stale_after_s if depth.visible else EMPTY_RECHECK_S
            state.visible, state.visible_until = depth.visible, now + expires_after_s
            state.seen_empty = depth.visible == 0

    def depths(self, now: float) -> dict[str, Depth | None]:
        """Each queue's depth by its URL; None if its last reading failed or is stale."""
        return {
            url: state.depth if now - state.depth_at <= self._stale_after_s else None
            for url, state in self._states.items()
        }

    def _poll(self, state: _QueueState, now: float, free_capacity: Mapping[str, int], wait_s: int) -> Poll:
        state.polled_at = now
        state.forget_polls(now)
        state.polls.append(now)
        state.long_polls += wait_s > 0
        return Poll(
            queue=state.queue, max_messages=min(MAX_BATCH_SIZE, free_capacity[state.queue.url]), wait_s=wait_s
        )
