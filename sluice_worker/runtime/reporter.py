"""The worker's reports: one JSON line for each interval, and the interval's metrics.

An interval that CloudWatch did not accept is published again with the next one. Metrics are published in a
separate thread, so that they never delay the work.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TextIO

from sluice.errors import SluiceError
from sluice_worker import json_lines
from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.gauges import GaugeHistory, Gauges
from sluice_worker.ports import MetricSink
from sluice_worker.runtime.loops import defects_logged
from sluice_worker.runtime.message_events import UNOBSERVED, MessageEvents

log = logging.getLogger(__name__)

MAX_UNPUBLISHED_INTERVALS = 60
"""Intervals that are kept while CloudWatch takes none; older ones are dropped, and that is logged."""
HOUR_S, DAY_S = 3600, 86_400

State = Callable[[], Mapping[str, Any]]
"""Further fields of the line, counted by the worker."""


class Reporter:
    """Writes the line of each report interval and publishes its metrics."""

    def __init__(
        self,
        worker_id: str,
        counters: Counters,
        state: State,
        sink: MetricSink | None,
        *,
        gauges: Callable[[], Gauges],
        publish_gauges: bool = False,
        events: MessageEvents = UNOBSERVED,
        out: TextIO | None = None,
    ) -> None:
        self._worker_id, self._counters, self._state, self._sink = worker_id, counters, state, sink
        self._gauges, self._publish_gauges, self._events = gauges, publish_gauges, events
        self._history = GaugeHistory()
        self._out = out
        self._began_at = counters.began_at
        self._unpublished: deque[ReportInterval] = deque()
        self._publishing = threading.Lock()

    def report(self, interval: ReportInterval, *, timeout_s: float = 0.0) -> None:
        """Write a closed interval's line, and publish its metrics; waits `timeout_s` for those."""
        gauges = self._gauges()
        self._history.add(gauges)
        self._events.observe(gauges)
        with defects_logged("the report's line"):
            self._write_line(interval, gauges)
        if self._publish_gauges:
            interval = replace(interval, gauges=gauges)
        if self._sink is not None and (interval.durations_s or interval.waits_s or interval.gauges):
            self._unpublished.append(interval)
        if self._sink is not None and self._unpublished:
            publisher = threading.Thread(target=self._publish, args=[self._sink], name="publish", daemon=True)
            publisher.start()
            publisher.join(timeout_s)

    def _write_line(self, interval: ReportInterval, gauges: Gauges) -> None:
        try:
            json_lines.write(self.line(interval, gauges), self._out)
        except SluiceError as failed:
            log.warning("the report is lost: %s", failed)

    def line(self, interval: ReportInterval, gauges: Gauges) -> dict[str, Any]:
        """The interval as one JSON object; counts and rates at its top level are since the start."""
        uptime_s = max(interval.began_at + interval.length_s - self._began_at, 1e-9)
        per_second = self._counters.processed / uptime_s
        return {
            "workerId": self._worker_id,
            "messagesProcessed": self._counters.processed,
            "messagesFailed": self._counters.failed,
            "uptimeSeconds": round(uptime_s, 1),
            "throughputPerSecond": round(per_second, 4),
            "throughputPerHour": round(per_second * HOUR_S, 1),
            "throughputPerDay": round(per_second * DAY_S, 1),
            "report": {
                "seconds": round(interval.length_s, 1),
                "processed": interval.processed,
                "failed": interval.failed,
                "perSecond": round(interval.per_second, 4),
                "durationP50Seconds": interval.duration_quantile_s(0.5),
                "durationP95Seconds": interval.duration_quantile_s(0.95),
                "waitP50Seconds": interval.wait_quantile_s(0.5),
                "waitP95Seconds": interval.wait_quantile_s(0.95),
                "promiseKeptShare": interval.within_promise_share
                if self._counters.promise_s is not None
                else None,
            },
            "recentPerSecond": {
                str(reports): round(self._counters.recent_per_second(reports), 4) for reports in (1, 5, 15)
            },
            "trend": self._history.trend(),
            **gauges.line(),
            **self._state(),
        }

    def _publish(self, sink: MetricSink) -> None:
        with self._publishing:
            while self._unpublished:
                # An interval that meets a defect is dropped: it would meet it again, and block those behind
                # it.
                with defects_logged("publishing, which loses this report's metrics"):
                    if not _published(sink, self._unpublished[0]):
                        break
                self._unpublished.popleft()
            while len(self._unpublished) > MAX_UNPUBLISHED_INTERVALS:
                lost = self._unpublished.popleft()
                log.error("%d processing times are lost: CloudWatch took none for an hour", lost.processed)


def _published(sink: MetricSink, interval: ReportInterval) -> bool:
    try:
        sink.put(interval)
    except SluiceError as failed:
        log.warning("%s; put again with the next report", failed)
        return False
    return True
