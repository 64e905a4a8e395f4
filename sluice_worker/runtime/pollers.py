"""The poller pool: threads that receive, as many as the backlog and the buffer's free capacity ask for.

It also reads the depths of the queues. `PollScheduler` chooses the queue of each poll.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from sluice.errors import SluiceError
from sluice_worker.core.model import Poll, Queue
from sluice_worker.core.pool_size import (
    Range,
    desired_pollers,
)
from sluice_worker.message import Message
from sluice_worker.ports import Queues
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.runtime.loops import (
    defects_logged,
    start_loop,
)

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0
NEWEST_WEIGHT = 0.1


class PollerPool:
    """The pollers of one process."""

    def __init__(
        self,
        queues: Sequence[Queue],
        sqs: Queues,
        dispatcher: Dispatcher,
        in_flight: InFlightMessages,
        *,
        pollers: Range,
        interval_s: float,
        visibility_s: int,
    ) -> None:
        self._queues, self._sqs, self._dispatcher, self._in_flight = queues, sqs, dispatcher, in_flight
        self._bounds, self._interval_s, self._visibility_s = pollers, interval_s, visibility_s
        self._lock = threading.Lock()
        self._poller_count = 0
        self._alive = 0
        self._desired = pollers.min
        self._average_s: float | None = None
        self._stopped = threading.Event()
        self._messages_flow = threading.Event()
        """Set when a message was received since the depths were last read."""
        self._unreadable_depths: set[str] = set()
        self._long_polls_end: dict[int, float] = {}
        """The latest time at which each poller's long poll returns, by its thread."""
        self._stepped_at: dict[int, float] = {}
        """When each running poller began its last step, by its thread."""

    @property
    def alive(self) -> int:
        """Pollers that are running."""
        return self._alive

    def longest_poll_remaining_s(self, now: float) -> float:
        """Seconds until the last long poll under way has returned; 0 without any."""
        return max((end - now for end in list(self._long_polls_end.values())), default=0.0)

    def stalled_s(self, now: float) -> float:
        """Seconds since the slowest poller began its last step; 0 without any."""
        return max((now - began for began in list(self._stepped_at.values())), default=0.0)

    def start(self) -> None:
        """Start the minimum number of pollers, and the reading of depths."""
        self._grow()
        start_loop("depths", self._adjust)

    def stop(self) -> None:
        """Poll no more; polls under way return by themselves, and what they bring is released."""
        self._stopped.set()
        self._messages_flow.set()

    def _adjust(self) -> bool:
        """Every interval while messages flow: read the depths, and grow or shrink the pool.

        While all queues are empty it waits for a message, so that an idle worker reads no attributes.
        """
        if self._dispatcher.all_queues_empty:
            self._desired = self._bounds.min
            self._messages_flow.wait()
        if self._stopped.is_set():
            return False
        self._messages_flow.clear()
        for queue in self._queues:
            self._read(queue)
        depths = [depth for depth in self._dispatcher.depths().values() if depth is not None]
        if len(depths) == len(self._queues) and self._average_s is not None:
            self._desired = desired_pollers(
                depths,
                average_s=self._average_s,
                interval_s=self._interval_s,
                buffer_use=self._dispatcher.utilization(),
                pollers=self._bounds,
            )
        self._grow()
        return not self._stopped.wait(self._interval_s)

    def _read(self, queue: Queue) -> None:
        depth = None
        try:
            depth = self._sqs.depth(queue.url)
            self._unreadable_depths.discard(queue.url)
        except SluiceError as failed:
            if queue.url not in self._unreadable_depths:
                log.warning("%s; its depth counts as unknown", failed)
            self._unreadable_depths.add(queue.url)
        self._dispatcher.record_depth(queue, depth)

    def _long_polling(self) -> int:
        """Pollers in a long poll at an empty queue while another queue has messages.

        They do not count towards the desired pollers, which receive now, but they do count towards the
        maximum.
        """
        return 0 if self._dispatcher.all_queues_empty else self._dispatcher.long_polls_in_progress

    def _grow(self) -> None:
        with self._lock:
            missing = min(
                self._desired - (self._alive - self._long_polling()), self._bounds.max - self._alive
            )
            for _ in range(missing):
                self._alive += 1
                self._poller_count += 1
                start_loop(f"poller-{self._poller_count}", self._poll)

    def _poll(self) -> bool:
        """One poll; False ends the poller, if there are more than desired."""
        self._stepped_at[threading.get_ident()] = time.monotonic()
        with self._lock:
            if self._stopped.is_set() or self._alive - self._long_polling() > max(
                self._desired, self._bounds.min
            ):
                self._alive -= 1
                self._stepped_at.pop(threading.get_ident())
                return False
        # A batch of acknowledgements goes first: this thread runs already, so no sender has to be woken.
        if self._in_flight.send_due_batch():
            return True
        poll = self._dispatcher.next_poll(TIMEOUT_S)
        if poll is not None:
            self._receive(poll)
        return True

    def _receive(self, poll: Poll) -> None:
        began = time.monotonic()
        messages = None
        if poll.wait_s:
            self._long_polls_end[threading.get_ident()] = began + poll.wait_s
        try:
            messages = self._sqs.receive(poll, self._visibility_s)
        except SluiceError as failed:
            log.warning("%s", failed)
        finally:
            # Messages are in flight from here on, whatever breaks: they are extended, or released below.
            self._long_polls_end.pop(threading.get_ident(), None)
            self._in_flight.add(messages or ())
            not_kept: Sequence[Message] = messages or ()
            with defects_logged("taking in what a poll brought, which goes back"):
                not_kept = self._dispatcher.poll_finished(poll, messages)
            self._in_flight.release(not_kept)
        if messages:
            if not poll.wait_s:
                self._record_receive_time((time.monotonic() - began) / len(messages))
            self._messages_flow.set()

    def _record_receive_time(self, per_message_s: float) -> None:
        """Update the average seconds that a short poll takes for each message that it brings."""
        before = self._average_s
        self._average_s = (
            per_message_s if before is None else before + NEWEST_WEIGHT * (per_message_s - before)
        )
