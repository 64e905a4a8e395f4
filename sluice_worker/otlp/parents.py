"""The span that a message's trace continues: of its `traceparent` attribute, or of its X-Ray header.

`traceparent` wins, because an OpenTelemetry sender put it there for its consumers, while AWS services rewrite
the header on the way. If both are there and of different traces, the other one is linked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.propagators.aws.aws_xray_propagator import TRACE_HEADER_KEY, AwsXRayPropagator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

W3C, X_RAY = TraceContextTextMapPropagator(), AwsXRayPropagator()
NO_PARENT = "ffffffffffffffff"
"""In place of a parent that the header lacks, so that the propagator reads its trace id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What a message's first span begins with."""

    context: Context
    """With the remote parent; empty for a root."""
    trace_id: int | None = None
    """The trace of a header that names no parent: the root span's own."""
    links: Sequence[Link] = ()


def parent(
    attributes: Mapping[str, str | bytes], header: str | None, samples: Callable[[int], bool]
) -> Parent:
    """The parent of a message with these attributes and this AWSTraceHeader.

    `samples` decides by the trace id for a header that leaves that to its receiver (no Sampled, or `?`).
    """
    sent = _w3c(attributes) if "traceparent" in attributes else None
    of_header = None if header is None else _x_ray(header, samples)
    if sent is not None:
        other = of_header is not None and of_header.trace_id != sent.trace_id
        return Parent(context=_with(sent), links=[Link(of_header)] if of_header is not None and other else ())
    if of_header is None:
        return Parent(context=Context())
    if of_header.span_id == int(NO_PARENT, 16) and of_header.trace_flags.sampled:
        return Parent(context=Context(), trace_id=of_header.trace_id)
    return Parent(context=_with(of_header))


def _w3c(attributes: Mapping[str, str | bytes]) -> SpanContext | None:
    carrier = {
        name: value
        for name in ("traceparent", "tracestate")
        if isinstance(value := attributes.get(name), str)
    }
    found = get_current_span(W3C.extract(carrier, Context())).get_span_context()
    return found if found.is_valid else None


def _x_ray(header: str, samples: Callable[[int], bool]) -> SpanContext | None:
    """The header's context; its parent is `NO_PARENT` where it names none."""
    fields = dict(field.strip().split("=", 1) for field in header.split(";") if "=" in field)
    complete = f"Root={fields.get('Root', '')};Parent={fields.get('Parent') or NO_PARENT};Sampled=1"
    found = get_current_span(X_RAY.extract({TRACE_HEADER_KEY: complete}, Context())).get_span_context()
    if not found.is_valid:
        return None
    sampled = fields.get("Sampled")
    is_sampled = sampled == "1" if sampled in ("0", "1") else samples(found.trace_id)
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    return SpanContext(found.trace_id, found.span_id, is_remote=True, trace_flags=flags)


def _with(remote: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(remote), Context())
