"""One worker process: its parts are built, started, watched and drained here.

It starts and drains the parts in order. `wiring` passes the ports in.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.failed_group_heads import FailedHeads
from sluice_worker.core.gauges import Gauges
from sluice_worker.core.model import MAX_MESSAGE_BYTES
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import PollScheduler
from sluice_worker.ports import MetricSink, Queues, Telemetry
from sluice_worker.runtime.ack_batcher import AckBatcher
from sluice_worker.runtime.batches import (
    BatchCaller,
    one_at_a_time,
)
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.handler_pool import HandlerPool
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.heartbeat import Heartbeat
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.runtime.loops import (
    defects_logged,
    start_loop,
)
from sluice_worker.runtime.message_events import MessageEvents
from sluice_worker.runtime.pollers import PollerPool
from sluice_worker.runtime.reporter import Reporter
from sluice_worker.settings import Settings

log = logging.getLogger(__name__)

MAX_UNACKNOWLEDGED = 1000
"""Messages whose end SQS has yet to confirm, beside those buffered and running; above, none are received."""
MAX_UNACKNOWLEDGED_BYTES = 2**26
"""The same in bytes."""
CHECK_INTERVAL_S = 0.05
"""Between two checks of a drain for messages that have not ended."""
ADJUST_S = 1.0
SIGNAL_CHECK_S = 1.0
"""The longest that a signal waits for its handler."""
RELEASE_RESERVE_S = 5.0
"""The part of the grace period that is kept for releasing messages to SQS."""
MIN_RELEASE_S = 1.0
"""Its minimum, however short the grace period: messages not released stay hidden from every consumer."""
MAX_LAST_REPORT_S = 5.0
"""How long the end waits for CloudWatch to take the last metrics, within the grace period."""
LAST_LINE_S = 0.2
"""What telemetry has left of the last report's time to say that something was lost."""
MIN_LAST_REPORT_S = 1.0
"""Its minimum, however short the grace period."""


class Worker:
    """Consumes its queues from `run` until `drain`, in this process."""

    def __init__(
        self,
        settings: Settings,
        handler: Handler,
        queues: Queues,
        sink: MetricSink | None = None,
        *,
        is_receiving: Callable[[], bool] = lambda: True,
        telemetry: Telemetry | None = None,
    ) -> None:
        """While `is_receiving` returns False no poll begins, and what was received is finished.

        It is called very often, from several threads and under a lock: it must return at once.
        """
        # Long because it only connects the parts, each of which needs those before it.
        self._settings, self._is_receiving = settings, is_receiving
        self._events = MessageEvents(telemetry)
        self._draining = threading.Event()
        self._ended = threading.Event()
        self._reason = ""
        self._exhausted = False
        self._counters = Counters(began_at=time.time(), promise_s=settings.promise_s)
        scheduler = PollScheduler(
            settings.queues,
            time.monotonic(),
            starving_after_s=settings.starving_after_s,
            stale_after_s=3 * settings.interval_s,
        )
        self._dispatcher = Dispatcher(
            settings.queues,
            scheduler,
            MessageBuffer(
                settings.limits,
                aged_after_s=settings.starving_after_s,
                max_bytes=settings.buffer_bytes,
            ),
            self._prefetch_limit,
            FailedHeads(
                min_backoff_s=settings.failure_policy.min_backoff_s, max_backoff_s=settings.max_backoff_s
            ),
            settings.batches,
        )
        self._ack_batcher = AckBatcher(queues, linger_s=settings.delete_linger_s, senders=settings.senders)
        self._in_flight = InFlightMessages(
            queues,
            self._dispatcher,
            self._ack_batcher,
            settings.failure_policy,
            dead_letter_queue=settings.dead_letter_queue,
            visibility_s=settings.visibility_s,
            max_held=sum(settings.limits.values())
            + settings.max_concurrency * settings.batches.size
            + MAX_UNACKNOWLEDGED,
            max_held_bytes=len(settings.limits) * settings.buffer_bytes
            + settings.max_concurrency * settings.batches.size * MAX_MESSAGE_BYTES
            + MAX_UNACKNOWLEDGED_BYTES,
            events=self._events,
        )
        self._handler_pool = HandlerPool(
            BatchCaller(handler).call if settings.batch else one_at_a_time(handler),
            self._in_flight,
            self._counters,
            slots=settings.slots,
            prefetch_per_slot=settings.batches.prefetch_per_slot,
            prefetch_s=settings.prefetch_s,
            max_processing_s=settings.max_processing_s,
            on_exhausted=self._exhaust,
            events=self._events,
        )
        self._pollers = PollerPool(
            settings.queues,
            queues,
            self._dispatcher,
            self._in_flight,
            pollers=settings.pollers,
            interval_s=settings.interval_s,
            visibility_s=settings.visibility_s,
        )
        self._flow = (0, 0)
        path = settings.heartbeat_file
        self._heartbeat = None if path is None else Heartbeat(path)
        self._reporter = Reporter(
            settings.worker_id,
            self._counters,
            self._state,
            sink,
            gauges=self._gauges,
            publish_gauges=settings.publish_gauges,
            events=self._events,
        )

    @property
    def busy(self) -> bool:
        """Whether any message is in this process's hands."""
        return self._in_flight.count > 0

    @property
    def is_drained(self) -> bool:
        """Whether it receives nothing for now, holds no message, and no poll can bring one any more."""
        # In this order: a poll counts before its messages do, and none begins while nothing is received.
        if self._is_receiving() or self._dispatcher.polls_in_progress > 0:
            return False
        return self._in_flight.count == 0

    @property
    def processed(self) -> int:
        """Messages that succeeded since the start."""
        return self._counters.processed

    @property
    def history(self) -> list[ReportInterval]:
        """The last reports, oldest first, at most sixty."""
        return list(self._counters.history)

    def drain(self, reason: str) -> None:
        """Start to drain; `run` returns when that is done. May be called from any thread, more than once.

        Never call it in a signal handler, which may have interrupted the thread that holds the event's lock.
        """
        if not self._draining.is_set():
            self._reason = reason
            self._draining.set()

    def run(self) -> int:
        """Work until `drain` is called; returns the exit status, 1 if too many handlers hang.

        This thread only waits for the drain and then directs the others. It makes no call that may take long,
        so that the drain keeps to the grace period whatever AWS does.
        """
        self._ack_batcher.start()
        self._in_flight.start()
        self._handler_pool.start(self._dispatcher)
        if not self._draining.is_set():  # `drain` may have been called before `run`
            self._pollers.start()
        start_loop("adjusting", self._adjust)
        self._report_at = time.monotonic() + self._settings.report_s
        start_loop("reports", self._report)
        # A signal that another thread receives does not end a wait, and is handled when this thread runs.
        while not self._draining.wait(SIGNAL_CHECK_S):
            pass
        self._drain()
        return 1 if self._exhausted else 0

    def _prefetch_limit(self) -> int:
        """Messages of one priority that may be held; 0 lets no poll begin, and batches begin unfilled."""
        if self._in_flight.is_full or not self._is_receiving():
            return 0
        return self._handler_pool.prefetch_limit()

    def _adjust(self) -> bool:
        """Every second until the end: resize the handler pool, and detach slots past their deadline.

        A defect or a deadlock there also ends the heartbeat.
        """
        self._handler_pool.adjust()
        if self._heartbeat is not None:
            self._heartbeat.beat(self._pollers.stalled_s(time.monotonic()))
        return not self._ended.wait(ADJUST_S)

    def _report(self) -> bool:
        """Report after each interval while it works; the drain makes the last report."""
        if self._draining.wait(max(self._report_at - time.monotonic(), 0.0)):
            return False
        self._report_at += self._settings.report_s
        self._reporter.report(self._handler_pool.close_interval(time.time()))
        return True

    def _drain(self) -> None:
        """Stop polling, release what was not started, finish or release what runs, wait for SQS, report."""
        ends_at = time.monotonic() + self._settings.grace_s
        log.info("draining within %g s: %s", self._settings.grace_s, self._reason)
        for step in (self._stop_beginning, self._await_ends, self._release_the_rest, self._end_report):
            with defects_logged("the drain"):
                step(ends_at)
        self._ended.set()
        self._in_flight.stop()
        self._ack_batcher.stop()

    def _stop_beginning(self, _: float) -> None:
        self._pollers.stop()
        self._handler_pool.stop()
        self._ack_batcher.stop_lingering()
        self._in_flight.release(self._dispatcher.close())

    def _await_ends(self, ends_at: float) -> None:
        until = ends_at - min(RELEASE_RESERVE_S, self._settings.grace_s / 2)
        now = time.monotonic()
        wait_s = min(self._pollers.longest_poll_remaining_s(now), until - now)
        if wait_s > 0:
            log.info(
                "waiting for up to %d s: SQS may hand a message to a receive that is under way. "
                "Ctrl-C again, or SIGKILL, ends at once, and leaves such a message hidden for %d s",
                math.ceil(wait_s),
                self._settings.visibility_s,
            )
        self._wait_while(self._working, until)

    def _release_the_rest(self, ends_at: float) -> None:
        abandoned = self._handler_pool.abandon()
        if abandoned:
            log.warning("%d messages are released unfinished", len(abandoned))
            self._in_flight.release(abandoned)
        self._in_flight.stop_dead_letters()
        until = max(ends_at, time.monotonic() + MIN_RELEASE_S)
        self._wait_while(lambda: self._in_flight.pending_dead_letters > 0, until)
        if not self._ack_batcher.wait_empty(until):
            log.error(
                "%d messages are redelivered after their visibility timeout: SQS did not answer",
                self._ack_batcher.pending,
            )

    def _end_report(self, ends_at: float) -> None:
        """Report for the last time in separate threads: stdout may block, CloudWatch and a collector hang."""
        left_s = max(MIN_LAST_REPORT_S, min(MAX_LAST_REPORT_S, ends_at - time.monotonic()))
        until = time.monotonic() + left_s
        interval = self._handler_pool.close_interval(time.time())
        for ending in (
            start_loop("last-report", lambda: self._reporter.report(interval, timeout_s=left_s)),
            start_loop("last-telemetry", lambda: self._events.flush(left_s - LAST_LINE_S)),
        ):
            ending.join(max(until - time.monotonic(), 0.0))

    def _wait_while(self, condition: Callable[[], bool], until: float) -> None:
        while condition() and time.monotonic() < until:
            time.sleep(CHECK_INTERVAL_S)

    def _working(self) -> bool:
        """Whether a message has not ended, or a poll under way may bring one that has to be released.

        Busy slots do not tell: a slot counts as idle while it takes a message and while it settles one. Only
        `InFlightMessages` knows them all.
        """
        return self._in_flight.count > 0 or self._pollers.alive > 0

    def _exhaust(self) -> None:
        """Drain: hung handlers hold as many threads as there may be slots, and a new process takes over."""
        self._exhausted = True
        self.drain(f"{self._handler_pool.hung} handlers hang")

    def _gauges(self) -> Gauges:
        """The gauges of a report; messages pushed and popped are counted since the report before."""
        depths = self._dispatcher.depths()
        (pushed, popped), self._flow = self._flow, self._dispatcher.pushed_and_popped()
        return Gauges(
            buffered=self._dispatcher.buffered(),
            buffer_use=self._dispatcher.utilization(),
            pushed=self._flow[0] - pushed,
            popped=self._flow[1] - popped,
            pollers=self._pollers.alive,
            slots=self._handler_pool.slots,
            busy=self._handler_pool.busy,
            depths={queue.name: depths[queue.url] for queue in self._settings.queues},
        )

    def _state(self) -> Mapping[str, Any]:
        return {
            "receiving": self._is_receiving(),
            "hanging": self._handler_pool.hung,
            "held": self._in_flight.count,
            "handedBack": self._in_flight.released,
            "expired": self._in_flight.expired,
            "undeleted": self._in_flight.undeleted,
        }
