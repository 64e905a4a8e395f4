"""What a worker says of itself: one JSON line a minute, and the minute's metrics.

Owns the line's fields. Refuses to lose a minute that CloudWatch did not take: it is put again with the next;
and to hold up the work: metrics go out in a thread of their own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TextIO

from sluice.errors import SluiceError
from sluice_worker import lines
from sluice_worker.core.counters import (
    Minute,
    Tally,
)
from sluice_worker.core.gauges import GaugeHistory, Gauges
from sluice_worker.ports import MetricSink
from sluice_worker.runtime.loops import surviving

log = logging.getLogger(__name__)

KEPT_MINUTES = 60
"""Minutes that are kept for CloudWatch while it takes none; older ones are dropped and told."""
HOUR_S, DAY_S = 3600, 86_400

State = Callable[[], Mapping[str, Any]]
"""What else the worker counts, for the line."""


class Reporter:
    """Tells a minute and publishes it."""

    def __init__(
        self,
        worker_id: str,
        tally: Tally,
        state: State,
        sink: MetricSink | None,
        *,
        gauges: Callable[[], Gauges],
        publish_gauges: bool = False,
        out: TextIO | None = None,
    ) -> None:
        self._worker_id, self._tally, self._state, self._sink = worker_id, tally, state, sink
        self._gauges, self._publish_gauges = gauges, publish_gauges
        self._history = GaugeHistory()
        self._out = out
        self._began_at = tally.began_at
        self._unpublished: deque[Minute] = deque()
        self._publishing = threading.Lock()

    def report(self, minute: Minute, *, patience_s: float = 0.0) -> None:
        """Tell a closed minute: its line now, its metrics meanwhile; `patience_s` waits for those."""
        gauges = self._gauges()
        self._history.add(gauges)
        with surviving("the report's line"):
            self._tell(minute, gauges)
        if self._publish_gauges:
            minute = replace(minute, gauges=gauges)
        if self._sink is not None and (minute.durations_s or minute.waits_s or minute.gauges):
            self._unpublished.append(minute)
        if self._sink is not None and self._unpublished:
            publisher = threading.Thread(target=self._publish, args=[self._sink], name="publish", daemon=True)
            publisher.start()
            publisher.join(patience_s)

    def _tell(self, minute: Minute, gauges: Gauges) -> None:
        try:
            lines.write(self.line(minute, gauges), self._out)
        except SluiceError as unheard:
            log.warning("the report is lost: %s", unheard)

    def line(self, minute: Minute, gauges: Gauges) -> dict[str, Any]:
        """The minute as one JSON object; counts and rates at its top are since the start."""
        uptime_s = max(minute.began_at + minute.length_s - self._began_at, 1e-9)
        per_second = self._tally.processed / uptime_s
        return {
            "workerId": self._worker_id,
            "messagesProcessed": self._tally.processed,
            "messagesFailed": self._tally.failed,
            "uptimeSeconds": round(uptime_s, 1),
            "throughputPerSecond": round(per_second, 4),
            "throughputPerHour": round(per_second * HOUR_S, 1),
            "throughputPerDay": round(per_second * DAY_S, 1),
            "report": {
                "seconds": round(minute.length_s, 1),
                "processed": minute.processed,
                "failed": minute.failed,
                "perSecond": round(minute.per_second, 4),
                "durationP50Seconds": minute.duration_quantile_s(0.5),
                "durationP95Seconds": minute.duration_quantile_s(0.95),
                "waitP50Seconds": minute.wait_quantile_s(0.5),
                "waitP95Seconds": minute.wait_quantile_s(0.95),
                "promiseKeptShare": minute.kept_share if self._tally.promise_s is not None else None,
            },
            "recentPerSecond": {
                str(reports): round(self._tally.recent_per_second(reports), 4) for reports in (1, 5, 15)
            },
            "trend": self._history.trend(),
            **gauges.line(),
            **self._state(),
        }

    def _publish(self, sink: MetricSink) -> None:
        with self._publishing:
            while self._unpublished:
                # A minute that meets a defect would meet it again, and keep back those after it.
                with surviving("publishing, which loses this report's metrics"):
                    if not _taken(sink, self._unpublished[0]):
                        break
                self._unpublished.popleft()
            while len(self._unpublished) > KEPT_MINUTES:
                lost = self._unpublished.popleft()
                log.error("%d processing times are lost: CloudWatch took none for an hour", lost.processed)


def _taken(sink: MetricSink, minute: Minute) -> bool:
    try:
        sink.put(minute)
    except SluiceError as failed:
        log.warning("%s; put again with the next report", failed)
        return False
    return True
