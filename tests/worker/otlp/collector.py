"""An OTLP collector on this machine: an HTTP server that keeps what is exported to it, or misbehaves."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
ERROR = 2


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """One span as it came in."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    resource: dict[str, Any]
    scope: str


@dataclass(frozen=True, kw_only=True)
class ReceivedPoint:
    """One data point: a histogram's count and sum, or a value."""

    attributes: dict[str, Any]
    resource: dict[str, Any]
    count: int = 0
    total: float = 0.0
    boundaries: tuple[float, ...] = ()
    value: float = 0.0


@dataclass
class Collector:
    """Answers with `status`, after `hangs` is set if there is one."""

    status: int = 200
    hangs: threading.Event | None = None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def spans(self) -> list[ReceivedSpan]:
        """Everything that came to /v1/traces, by its start."""
        found = []
        for path, _, body in list(self.requests):
            if path.endswith("/v1/traces"):
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    resource = _attributes(group.resource.attributes)
                    for scope in group.scope_spans:
                        found += [_span(one, resource, scope.scope.name) for one in scope.spans]
        return sorted(found, key=lambda span: (span.start_ns, span.end_ns))

    def points(self, name: str) -> list[ReceivedPoint]:
        """The newest data points of a metric, of every process: they are sums since its start."""
        newest: dict[tuple[Any, ...], ReceivedPoint] = {}
        for path, _, body in list(self.requests):
            if path.endswith("/v1/metrics"):
                for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    resource = _attributes(group.resource.attributes)
                    for metric in (each for scope in group.scope_metrics for each in scope.metrics):
                        if metric.name == name:
                            for point in _points(metric, resource):
                                of = (resource["service.instance.id"], *sorted(point.attributes.items()))
                                newest[of] = point
        return list(newest.values())

    def metric_names(self) -> set[str]:
        return {
            metric.name
            for path, _, body in list(self.requests)
            if path.endswith("/v1/metrics")
            for group in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
        }


def _span(one: Any, resource: dict[str, Any], scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=one.name,
        kind=KINDS[one.kind],
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_id=one.parent_span_id.hex(),
        start_ns=one.start_time_unix_nano,
        end_ns=one.end_time_unix_nano,
        is_error=one.status.code == ERROR,
        attributes=_attributes(one.attributes),
        events=[(event.name, _attributes(event.attributes)) for event in one.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in one.links],
        resource=resource,
        scope=scope,
    )


def _points(metric: Any, resource: dict[str, Any]) -> Iterator[ReceivedPoint]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        attributes = _attributes(point.attributes)
        if kind == "histogram":
            boundaries = tuple(point.explicit_bounds)
            yield ReceivedPoint(
                attributes=attributes,
                resource=resource,
                count=point.count,
                total=point.sum,
                boundaries=boundaries,
            )
        else:
            value = getattr(point, point.WhichOneof("value"))
            yield ReceivedPoint(attributes=attributes, resource=resource, value=value)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collecting(collector: Collector) -> Iterator[str]:
    """Serve it at a free port; yields the endpoint, without a signal's path."""

    class Receiving(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if collector.hangs is not None:
                collector.hangs.wait()
            if collector.status == 200:
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.requests.append((self.path, headers, body))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiving)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        if collector.hangs is not None:
            collector.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join()
