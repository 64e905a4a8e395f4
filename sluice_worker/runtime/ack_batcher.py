"""Deletes and visibility changes on their way to SQS, in batches of up to ten, sent by size or by time.

No acknowledgement is lost: one that SQS refuses for now is sent again, with a growing pause, for as long as
it is useful. Pollers send full batches between their polls (`send_due_batch`), which saves waking a thread.
Senders, threads of the batcher's own, send what must not wait and what no poller has sent in time.
`InFlightMessages` decides what becomes of a message.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sluice.errors import SluiceError
from sluice_worker.core.model import MAX_BATCH_SIZE
from sluice_worker.message import Message
from sluice_worker.ports import Queues, Refusal
from sluice_worker.runtime.loops import (
    call_logging_defects,
    start_loop,
)

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
MAX_DOUBLINGS = 20
"""Of the pause: an acknowledgement is retried for up to twelve hours, and a float overflows after 1023."""
IDLE_CHECK_S = 1.0
POLLERS_FIRST_S = 0.2
"""How long a full batch is left to the pollers, which look for one after each short poll."""


@dataclass(slots=True, eq=False)
class PendingAck:
    """One delete (`hide_s` None) or one visibility change of `hide_s` seconds.

    `on_done` is called once, with None if SQS did it, else with the reason why not. Times are seconds of
    `time.monotonic()`.
    """

    message: Message
    hide_s: int | None
    useful_until: float
    """From then on it is not retried."""
    on_done: Callable[[PendingAck, str | None], None]
    attempts: int = 0
    added_at: float = 0.0
    """When it was last queued."""
    requested_at: float = 0.0
    """When the request was last sent: SQS hides the message from then or later."""


@dataclass(slots=True)
class _AckQueue:
    """Acknowledgements that wait for one queue and one operation."""

    linger_s: float
    acks: deque[PendingAck] = field(default_factory=deque)

    def due_at(self, full_waits_s: float) -> float:
        """When to send the next batch, where a full one waits for `full_waits_s`."""
        full = len(self.acks) >= MAX_BATCH_SIZE
        return self.acks[0].added_at + min(self.linger_s, full_waits_s if full else math.inf)


class AckBatcher:
    """The acknowledgements of one process that SQS has not confirmed."""

    def __init__(self, queues: Queues, *, linger_s: float, senders: int) -> None:
        self._queues, self._linger_s = queues, linger_s
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        """A separate condition, so that the draining thread cannot consume a wake-up meant for a sender."""
        self._ack_queues: dict[tuple[str, bool], _AckQueue] = {}
        self._retries: list[tuple[float, int, PendingAck]] = []
        self._numbers = itertools.count()
        self._pending = 0
        self._stop_lingering = False
        self._stopped = False
        self._senders = senders

    def start(self) -> None:
        """Start the senders."""
        for number in range(self._senders):
            start_loop(f"sender-{number}", self._send_next)

    @property
    def pending(self) -> int:
        """Acknowledgements that are neither done nor given up."""
        return self._pending

    def add(self, ack: PendingAck) -> None:
        """Take on one acknowledgement."""
        with self._lock:
            self._pending += 1
            self._enqueue(ack, time.monotonic())

    def send_due_batch(self) -> bool:
        """Send one batch that is due, in the caller's thread; returns whether there was one."""
        with self._lock:
            ack_queue, _ = self._due(time.monotonic(), full_waits_s=0.0)
            if ack_queue is None:
                return False
            batch = self._batch(ack_queue)
        self._send(batch)
        return True

    def stop_lingering(self) -> None:
        """From now on send every acknowledgement at once, in batches that may be small."""
        with self._changed:
            self._stop_lingering = True
            self._changed.notify_all()

    def wait_empty(self, deadline: float) -> bool:
        """Wait until nothing is pending, at most until `deadline`; returns whether that is so."""
        with self._changed:
            while self._pending and time.monotonic() < deadline:
                self._emptied.wait(min(IDLE_CHECK_S, max(deadline - time.monotonic(), 0.0)))
            return not self._pending

    def stop(self) -> None:
        """Let the senders end; what is still pending is not sent."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _enqueue(self, ack: PendingAck, now: float) -> None:
        key = (ack.message.queue.url, ack.hide_s is None)
        ack_queue = self._ack_queues.get(key)
        if ack_queue is None:
            # The next message of a FIFO group waits for this delete, so it does not linger. A visibility
            # change does not either: a message that is extended too late is delivered again.
            lingers = ack.hide_s is None and not ack.message.queue.is_fifo
            ack_queue = self._ack_queues[key] = _AckQueue(self._linger_s if lingers else 0.0)
        ack.added_at = now
        ack_queue.acks.append(ack)
        # One that lingers wakes nobody: while anything is pending, a sender looks again in time (`_due`). The
        # first pending one wakes a sender, because without any the senders sleep for IDLE_CHECK_S.
        if len(ack_queue.acks) == 1 and (not ack_queue.linger_s or self._pending == 1):
            self._changed.notify()

    def _send_next(self) -> bool:
        with self._changed:
            batch = self._next_batch()
        if batch is None:
            return False
        self._send(batch)
        return True

    def _next_batch(self) -> list[PendingAck] | None:
        """Wait for the next batch that is due; None once stopped."""
        while not self._stopped:
            now = time.monotonic()
            while self._retries and self._retries[0][0] <= now:
                self._enqueue(heapq.heappop(self._retries)[2], now)
            ack_queue, pause_s = self._due(now, full_waits_s=POLLERS_FIRST_S)
            if ack_queue is not None:
                return self._batch(ack_queue)
            self._changed.wait(pause_s)
        return None

    def _batch(self, ack_queue: _AckQueue) -> list[PendingAck]:
        batch = [ack_queue.acks.popleft() for _ in range(min(MAX_BATCH_SIZE, len(ack_queue.acks)))]
        # `_enqueue` notifies for the first acknowledgement only. Without this, a second batch would wait
        # until the sender of the first one has its answer.
        if ack_queue.acks and not ack_queue.linger_s:
            self._changed.notify()
        return batch

    def _due(self, now: float, *, full_waits_s: float) -> tuple[_AckQueue | None, float]:
        """The queue of acknowledgements to send from now, and the seconds to wait where there is none.

        Of several that are due, the one that has waited longest comes first. Otherwise a queue whose deletes
        always fill a batch would keep the messages of other queues from being extended in time.
        """
        longest: _AckQueue | None = None
        pause_s = min(POLLERS_FIRST_S, self._linger_s or IDLE_CHECK_S) if self._pending else IDLE_CHECK_S
        if self._retries:
            pause_s = min(pause_s, self._retries[0][0] - now)
        for ack_queue in self._ack_queues.values():
            if not ack_queue.acks:
                continue
            due_at = now if self._stop_lingering else ack_queue.due_at(full_waits_s)
            if due_at > now:
                pause_s = min(pause_s, due_at - now)
            elif longest is None or ack_queue.acks[0].added_at < longest.acks[0].added_at:
                longest = ack_queue
        return longest, pause_s

    def _send(self, batch: Sequence[PendingAck]) -> None:
        now = time.monotonic()
        for ack in batch:
            ack.requested_at = now
            # SQS refuses a visibility timeout that ends more than twelve hours after the receipt.
            if ack.hide_s is not None:
                ack.hide_s = min(ack.hide_s, ack.message.max_extension_s(now))
        refused: Mapping[int, Refusal] | None = None
        try:
            refused = self._call(batch)
        except SluiceError as failed:
            refused = _all_refused(batch, str(failed))
        finally:
            if refused is None:
                # A defect broke the call off: the batch is refused for now and sent again, so nothing is
                # lost.
                refused = _all_refused(batch, "the call broke off")
            self._settle(batch, refused)

    def _settle(self, batch: Sequence[PendingAck], refused: Mapping[int, Refusal]) -> None:
        ended = [
            (ack, None if refusal is None else refusal.reason)
            for place, ack in enumerate(batch)
            if (refusal := refused.get(place)) is None or not self._retry_later(ack, refusal)
        ]
        # `on_done` runs outside the lock, because it may add the next acknowledgement of its message. The
        # count falls only afterwards: `wait_empty` must not return between the two.
        for ack, reason in ended:
            call_logging_defects(
                f"what follows the end of {ack.message.message_id}", ack.on_done, ack, reason
            )
        with self._lock:
            self._pending -= len(ended)
            if not self._pending:
                self._emptied.notify_all()

    def _call(self, batch: Sequence[PendingAck]) -> dict[int, Refusal]:
        if batch[0].hide_s is None:
            return self._queues.delete([ack.message for ack in batch])
        return self._queues.hide([(ack.message, ack.hide_s or 0) for ack in batch])

    def _retry_later(self, ack: PendingAck, refusal: Refusal) -> bool:
        """Queue it again after a pause, unless SQS's answer is final or it would be too late to be useful.

        The pause doubles with each attempt, up to half of the time for which the acknowledgement is useful.
        """
        now = time.monotonic()
        longest_s = max(min(MAX_BACKOFF_S, (ack.useful_until - now) / 2), FIRST_BACKOFF_S)
        pause_s = min(FIRST_BACKOFF_S * 2 ** min(ack.attempts, MAX_DOUBLINGS), longest_s)
        due = now + pause_s
        if refusal.final or due > ack.useful_until:
            return False
        if ack.attempts == 0:
            what = "delete" if ack.hide_s is None else "visibility change"
            log.warning(
                "the %s of %s is sent again in %.1f s: %s",
                what,
                ack.message.message_id,
                pause_s,
                refusal.reason,
            )
        ack.attempts += 1
        with self._changed:
            heapq.heappush(self._retries, (due, next(self._numbers), ack))
            self._changed.notify()
        return True


def _all_refused(batch: Sequence[PendingAck], reason: str) -> dict[int, Refusal]:
    return dict.fromkeys(range(len(batch)), Refusal(reason=reason, final=False))
