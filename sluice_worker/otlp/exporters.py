"""The SDK's exporters over HTTP, which log once if the collector does not take what they send.

They send in threads of the SDK with a queue that is bounded, so a collector that hangs costs spans and no
message. The SDK would log every attempt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

log = logging.getLogger(__name__)

SDK_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.sdk._shared_internal",
)


class _Quiet(logging.Filter):
    """Keeps the SDK's lines of this thread out of the log while `on`, and remembers why an export failed."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()
        for name in SDK_LOGGERS:
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is another's: of a handler with exporters of its own."""
        if not getattr(self.here, "on", False):
            return True
        # Not the text: it may quote the endpoint's URL, which may have a token.
        for said in record.args if isinstance(record.args, tuple) else ():
            if isinstance(said, BaseException):
                self.here.reason = type(said).__name__
            elif isinstance(said, int):
                self.here.reason = f"HTTP {said}"
        return False


QUIET = _Quiet()


class _Collector:
    """Whether the collector takes one signal; logs when that changes."""

    def __init__(self, what: str, endpoint: str) -> None:
        self._what, self._host = what, urlsplit(endpoint).hostname
        self._refused = False

    def record(self, *, taken: bool) -> None:
        """After each export, in the exporter's thread."""
        if not taken and not self._refused:
            reason = getattr(QUIET.here, "reason", "no answer")
            log.warning(
                "the OTLP collector at %s takes no %s (%s), which is logged once: messages are not affected",
                self._host,
                self._what,
                reason,
            )
        elif taken and self._refused:
            log.info("the OTLP collector at %s takes %s again", self._host, self._what)
        self._refused = not taken


class SpanExporter(OTLPSpanExporter):
    """Exports spans."""

    def __init__(self) -> None:
        super().__init__()
        self._collector = _Collector("spans", self._endpoint)
        self.taken = 0
        """Spans that the collector took."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """One request, repeated within the SDK's timeout."""
        QUIET.here.on = True
        result = super().export(spans)
        taken = result is SpanExportResult.SUCCESS
        self._collector.record(taken=taken)
        if taken:
            self.taken += len(spans)
        return result


class SpanQueue(BatchSpanProcessor):
    """The SDK's bounded queue of spans, which drops the oldest when it is full; counts those that ended."""

    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(exporter)
        self._exporter = exporter
        self._counting = threading.Lock()
        self._ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Queue it."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._counting:
            self._ended += 1
        QUIET.here.on = True
        super().on_end(span)
        QUIET.here.on = False

    @property
    def missing(self) -> int:
        """Spans that ended and that the collector has not taken."""
        return self._ended - self._exporter.taken


class MetricExporter(OTLPMetricExporter):
    """Exports metrics. They are sums since the start, so the next export makes up for one that failed."""

    def __init__(self) -> None:
        super().__init__()
        self._collector = _Collector("metrics", self._endpoint)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """One request, repeated within the SDK's timeout."""
        QUIET.here.on = True
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self._collector.record(taken=result is MetricExportResult.SUCCESS)
        return result
