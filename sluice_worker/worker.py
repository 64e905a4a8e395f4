"""One worker process: its parts put together, started, watched, and drained.

Owns the order of things. Refuses to know AWS: it gets its world from `wiring`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from sluice_worker.batches import BatchCaller, one_at_a_time
from sluice_worker.consumers import ConsumerGroup
from sluice_worker.core.buffer import MessageBuffer
from sluice_worker.core.gauges import Gauges
from sluice_worker.core.minute import Minute, Tally
from sluice_worker.core.schedule import Schedule
from sluice_worker.custody import Custody
from sluice_worker.handler import Handler
from sluice_worker.intake import Intake
from sluice_worker.outbox import Outbox
from sluice_worker.ports import MetricSink, Queues
from sluice_worker.processor import Processor
from sluice_worker.report import Reporter
from sluice_worker.settings import Settings

log = logging.getLogger(__name__)

MOST_UNTOLD = 1000
"""Messages whose end SQS has not taken yet; beyond what is buffered and runs, no more are received."""
LOOK_S = 0.25
ADJUST_S = 1.0
LAST_WORDS_S = 5.0
"""Kept of the grace for telling SQS what was handed back."""
LEAST_WORDS_S = 1.0
"""The same at the least, however short the grace: unheard, they would stay hidden from everybody."""
LAST_REPORT_S = 5.0
"""The longest that the end waits for CloudWatch to take the last metrics."""


class Worker:
    """Consumes its queues from `run` until `drain`, in this process."""

    def __init__(
        self, settings: Settings, handler: Handler, queues: Queues, sink: MetricSink | None = None
    ) -> None:
        self._settings = settings
        self._draining = threading.Event()
        self._why = ""
        self._exhausted = False
        self._tally = Tally(began_at=time.time(), promise_s=settings.promise_s)
        schedule = Schedule(
            settings.queues,
            time.monotonic(),
            starving_after_s=settings.starving_after_s,
            stale_after_s=3 * settings.interval_s,
        )
        self._intake = Intake(
            settings.queues,
            schedule,
            MessageBuffer(settings.limits, aged_after_s=settings.starving_after_s),
            lambda: 0 if self._custody.full else self._processor.reach(),
            settings.batches,
        )
        self._outbox = Outbox(queues, linger_s=settings.delete_linger_s, couriers=settings.couriers)
        self._custody = Custody(
            queues,
            self._intake,
            self._outbox,
            settings.failure_policy,
            dead_letter_queue=settings.dead_letter_queue,
            visibility_s=settings.visibility_s,
            most_held=sum(settings.limits.values())
            + settings.max_concurrency * settings.batches.size
            + MOST_UNTOLD,
        )
        self._processor = Processor(
            BatchCaller(handler).call if settings.batch else one_at_a_time(handler),
            self._custody,
            self._tally,
            slots=settings.slots,
            batch_reach=settings.batches.reach,
            prefetch_s=settings.prefetch_s,
            max_processing_s=settings.max_processing_s,
            on_exhausted=self._exhaust,
        )
        self._consumers = ConsumerGroup(
            settings.queues,
            queues,
            self._intake,
            self._custody,
            pollers=settings.pollers,
            interval_s=settings.interval_s,
            visibility_s=settings.visibility_s,
        )
        self._flow = (0, 0)
        self._reporter = Reporter(
            settings.worker_id,
            self._tally,
            self._state,
            sink,
            gauges=self._gauges,
            publish_gauges=settings.publish_gauges,
        )

    @property
    def busy(self) -> bool:
        """Whether any message is in this process's hands."""
        return self._custody.count > 0

    @property
    def processed(self) -> int:
        """Messages that ended well, since the start."""
        return self._tally.processed

    @property
    def history(self) -> list[Minute]:
        """The last reports, oldest first; sixty at most."""
        return list(self._tally.history)

    def drain(self, why: str) -> None:
        """Begin to end; `run` returns once that is done. From any thread, and more than once.

        Not from a signal handler: that may have interrupted who holds the same lock.
        """
        if not self._draining.is_set():
            self._why = why
            self._draining.set()

    def run(self) -> int:
        """Work until told to drain; the answer is the exit status, 1 where too many handlers hang."""
        self._outbox.start()
        self._custody.start()
        self._processor.start(self._intake)
        if not self._draining.is_set():  # told before it began
            self._consumers.start()
        adjust_at, report_at = 0.0, time.monotonic() + self._settings.report_s
        while not self._draining.wait(LOOK_S):
            now = time.monotonic()
            if now >= adjust_at:
                self._processor.adjust()
                adjust_at = now + ADJUST_S
            if now >= report_at:
                self._reporter.report(self._processor.close_minute(time.time()))
                report_at += self._settings.report_s
        self._drain()
        return 1 if self._exhausted else 0

    def _drain(self) -> None:
        """Poll no more, hand back what was not begun, finish or hand back what runs, tell SQS, report."""
        ends_at = time.monotonic() + self._settings.grace_s
        last_words_s = min(LAST_WORDS_S, self._settings.grace_s / 2)
        log.info("draining within %g s: %s", self._settings.grace_s, self._why)
        self._consumers.stop()
        self._processor.stop()
        self._outbox.hurry()
        self._custody.hand_back(self._intake.close())
        while self._working() and time.monotonic() < ends_at - last_words_s:
            self._processor.adjust()
            time.sleep(0.05)
        abandoned = self._processor.abandon()
        if abandoned:
            log.warning("%d messages are handed back unfinished", len(abandoned))
            self._custody.hand_back(abandoned)
        if not self._outbox.wait_empty(max(ends_at, time.monotonic() + LEAST_WORDS_S)):
            log.error("%d messages come back by themselves: SQS did not answer", self._outbox.open)
        self._custody.stop()
        self._outbox.stop()
        self._reporter.report(self._processor.close_minute(time.time()), patience_s=LAST_REPORT_S)

    def _working(self) -> bool:
        """Whether a message has not ended, or a poll may still bring one that has to be handed back.

        A slot is not busy yet or no more while it takes a message or settles it: only custody knows them all.
        """
        return self._custody.count > 0 or self._consumers.alive > 0

    def _exhaust(self) -> None:
        """Every slot there may be is held by a handler that hangs: another process has to take over."""
        self._exhausted = True
        self.drain(f"{self._processor.lost} handlers hang")

    def _gauges(self) -> Gauges:
        """Those of a report: what flowed is counted since the one before."""
        depths = self._intake.depths()
        (pushed, popped), self._flow = self._flow, self._intake.flow()
        return Gauges(
            buffered=self._intake.held(),
            buffer_use=self._intake.use(),
            pushed=self._flow[0] - pushed,
            popped=self._flow[1] - popped,
            pollers=self._consumers.alive,
            slots=self._processor.slots,
            busy=self._processor.busy,
            depths={queue.name: depths[queue.url] for queue in self._settings.queues},
        )

    def _state(self) -> Mapping[str, Any]:
        return {
            "hanging": self._processor.lost,
            "held": self._custody.count,
            "handedBack": self._custody.handed_back,
            "expired": self._custody.expired,
            "undeleted": self._custody.given_up,
        }
