"""Builds the SDK's providers of one process, and implements `ports.Telemetry` with them.

The SDK reads OpenTelemetry's standard variables itself: endpoints, headers, certificates, timeouts, sampler,
limits and intervals.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider

from sluice_worker.core.gauges import Gauges
from sluice_worker.core.model import Outcome
from sluice_worker.message import Message
from sluice_worker.otlp.exporters import MetricExporter, SpanExporter, SpanQueue
from sluice_worker.otlp.instruments import Instruments
from sluice_worker.otlp.signals import Signals
from sluice_worker.otlp.spans import MessageSpans
from sluice_worker.otlp.trace_ids import TraceIds

log = logging.getLogger(__name__)

SERVICE_NAME = "service.name"


def connect(signals: Signals, *, worker_id: str, fleet: str | None, version: str) -> OtlpTelemetry:
    """The telemetry of this process; to be called in the process that works, because the SDK has threads.

    The providers become the global ones unless the handler's module has set its own.
    """
    resource = _resource(worker_id, fleet, version)
    spans = instruments = None
    queue: SpanQueue | None = None
    flushes: list[Callable[[], object]] = []
    if signals.traces:
        queue, trace_ids = SpanQueue(SpanExporter()), TraceIds()
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=trace_ids)
        tracers.add_span_processor(queue)
        spans = MessageSpans(tracers, trace_ids, version)
        flushes.append(tracers.force_flush)
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(tracers)
    if signals.metrics:
        reader = PeriodicExportingMetricReader(MetricExporter())
        meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        instruments = Instruments(meters.get_meter("sluice_worker", version), fleet)
        flushes.append(meters.force_flush)
        if not isinstance(metrics.get_meter_provider(), MeterProvider):
            metrics.set_meter_provider(meters)
    return OtlpTelemetry(spans, instruments, queue, flushes)


def _resource(worker_id: str, fleet: str | None, version: str) -> Resource:
    """Who reports: OTEL_SERVICE_NAME or the fleet; each process is an instance."""
    own = {"service.instance.id": f"{worker_id}:{os.getpid()}", "service.version": version}
    if SERVICE_NAME not in OTELResourceDetector().detect().attributes:
        own[SERVICE_NAME] = fleet or "sluice-worker"
    if fleet is not None:
        own["sluice.fleet"] = fleet
    return Resource.create(own)


class OtlpTelemetry:
    """Implements `ports.Telemetry`."""

    def __init__(
        self,
        spans: MessageSpans | None,
        instruments: Instruments | None,
        queue: SpanQueue | None,
        flushes: Sequence[Callable[[], object]],
    ) -> None:
        self._spans, self._instruments, self._queue, self._flushes = spans, instruments, queue, flushes

    def began(self, batch: Sequence[Message]) -> None:
        """Count the start of each message, and make the handler's span the current one."""
        if self._instruments is not None:
            for message in batch:
                self._instruments.began(message)
        if self._spans is not None:
            self._spans.began(batch)

    def returned(self) -> None:
        """Make no span the current one."""
        if self._spans is not None:
            self._spans.returned()

    def ended(self, message: Message, outcome: Outcome, took_s: float, raised: BaseException | None) -> None:
        """Count the message, and end the handler's span."""
        if self._instruments is not None:
            self._instruments.ended(message, outcome, took_s)
        if self._spans is not None:
            self._spans.ended(message, outcome, raised)

    def settled(self, message: Message, *, confirmed: bool) -> None:
        """End the message's trace."""
        if self._spans is not None:
            self._spans.settled(message, confirmed=confirmed)

    def observe(self, gauges: Gauges) -> None:
        """Set the gauges."""
        if self._instruments is not None:
            self._instruments.observe(gauges)

    def flush(self, timeout_s: float) -> None:
        """Export in threads of their own: the SDK's flush waits for the collector, whatever its timeout."""
        until = time.monotonic() + timeout_s
        if self._spans is not None:
            self._spans.end_all()
        threads = [threading.Thread(target=flush, name="otlp-flush", daemon=True) for flush in self._flushes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        if self._queue is not None and self._queue.missing:
            log.warning("the OTLP collector did not take %d spans, which are lost", self._queue.missing)
