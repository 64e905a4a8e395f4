"""The spans of one message, from its SentTimestamp until SQS has confirmed its end.

    consume QUEUE              CONSUMER  sent .................................... confirmed
      queued QUEUE             INTERNAL  sent ... received
      buffered QUEUE           INTERNAL            received ... begun
      process QUEUE            CONSUMER                         begun ... ended
      delete|return|... QUEUE  CLIENT                                     ended ... confirmed

The handler's own spans are children of `process`. A batch has a `process` span of its own besides, which is
linked with those of its messages. No span has a body, an attribute of the message or an exception's text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass

from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context

from sluice_worker.core.model import Outcome, Queue, Settlement
from sluice_worker.core.retry_policy import Reject
from sluice_worker.message import Message
from sluice_worker.otlp.parents import parent
from sluice_worker.otlp.trace_ids import TraceIds

SETTLES = {
    Settlement.DELETED: "delete",
    Settlement.DEAD_LETTERED: "dead-letter",
    Settlement.RETURNED: "return",
    Settlement.RELEASED: "release",
    Settlement.EXPIRED: "expire",
}
"""What is done -> the name of its operation."""
OUTCOME = "sluice.outcome"
ERROR_TYPE = "error.type"
UNCONFIRMED = "unconfirmed"
"""The error of a settlement that SQS refused or did not answer."""


@dataclass(slots=True)
class _Open:
    """The spans of a message that have not ended."""

    message: Message
    consume: Span
    process: Span
    batch: Span | None
    ended_ns: int = 0
    outcome: str = ""


class MessageSpans:
    """The spans of the messages that one process holds."""

    def __init__(self, provider: TracerProvider, trace_ids: TraceIds, version: str) -> None:
        self._tracer = provider.get_tracer("sluice_worker", version)
        self._sampler, self._trace_ids = provider.sampler, trace_ids
        self._open: dict[int, _Open | None] = {}
        """By the identity of the message, from its beginning; None for a message that is not sampled."""
        self._attached = threading.local()

    def began(self, batch: Sequence[Message]) -> None:
        """Start the spans of each message, and make that of the handler the current one of this thread."""
        now_ns = time.time_ns()
        begun = [self._begin(message, now_ns) for message in batch]
        current = begun[0]
        if len(batch) > 1:
            current = self._begin_batch(batch, begun, now_ns) or current
        self._attached.token = attach(set_span_in_context(current, Context()))

    def returned(self) -> None:
        """Make no span the current one of this thread."""
        token: Token[Context] | None = self._attached.__dict__.pop("token", None)
        if token is not None:
            detach(token)

    def ended(self, message: Message, outcome: Outcome, raised: BaseException | None) -> None:
        """End the handler's span."""
        spans = self._open.get(id(message))
        if spans is None:
            return
        spans.ended_ns = time.time_ns()
        spans.outcome = "rejected" if isinstance(raised, Reject) else outcome.value
        failed = (
            None if outcome is Outcome.SUCCESS else _type(raised) if raised is not None else outcome.value
        )
        if raised is not None:
            # Without its message and stack trace, which may quote the body.
            spans.process.add_event("exception", {"exception.type": _type(raised)})
        _end(spans.process, spans.ended_ns, spans.outcome, failed)
        if spans.batch is not None and spans.batch.is_recording():
            spans.batch.end(spans.ended_ns)

    def settled(self, message: Message, *, confirmed: bool) -> None:
        """End the trace of a message that left the process."""
        now_ns = time.time_ns()
        if id(message) in self._open:
            spans = self._open.pop(id(message))
            if spans is not None:
                self._end(spans, now_ns, confirmed=confirmed)
            return
        consume, context = self._consume(message)
        if consume.is_recording():  # it was never begun
            received_ns = self._waited(message, context, now_ns)
            self._span("buffered", message.queue, context, received_ns).end(now_ns)
            self._settle(message, context, now_ns, now_ns, confirmed=confirmed)
            _end(consume, now_ns, message.settlement.value, None)

    def end_all(self) -> None:
        """End the traces of messages whose settlement SQS has not confirmed: the process ends."""
        while self._open:
            _, spans = self._open.popitem()
            if spans is not None:
                self._end(spans, time.time_ns(), confirmed=False)

    # ---- the spans -----------------------------------------------------------------------------------------

    def _begin(self, message: Message, now_ns: int) -> Span:
        consume, context = self._consume(message)
        if not consume.is_recording():
            self._open[id(message)] = None
            return consume
        received_ns = self._waited(message, context, now_ns)
        self._span("buffered", message.queue, context, received_ns).end(now_ns)
        process = self._span(
            "process", message.queue, context, now_ns, SpanKind.CONSUMER, type_="process", message=message
        )
        self._open[id(message)] = _Open(message, consume, process, None)
        return process

    def _begin_batch(self, batch: Sequence[Message], begun: Sequence[Span], now_ns: int) -> Span | None:
        """The span of a batch, a root that is linked with its messages; None if none of them is sampled."""
        opened = [spans for message in batch if (spans := self._open[id(message)]) is not None]
        if not opened:
            return None
        links = [Link(spans.process.get_span_context()) for spans in opened]
        more = {"messaging.batch.message_count": len(begun)}
        span = self._span(
            "process",
            batch[0].queue,
            Context(),
            now_ns,
            SpanKind.CONSUMER,
            type_="process",
            more=more,
            links=links,
        )
        for spans in opened:
            spans.batch = span
            spans.process.add_link(span.get_span_context())
        return span

    def _consume(self, message: Message) -> tuple[Span, Context]:
        """The span of the message's whole stay, and the context for its children."""
        name = f"consume {message.queue.name}"

        def samples(trace_id: int) -> bool:
            result = self._sampler.should_sample(None, trace_id, name, SpanKind.CONSUMER)
            return result.decision is Decision.RECORD_AND_SAMPLE

        before = parent(message.attributes, message.trace_header, samples)
        more: dict[str, str | int] = {
            "sluice.priority": message.priority.value,
            "sluice.receive_count": message.receive_count,
        }
        if message.message_group is not None and message.group_id is not None:
            more["sluice.message_group.id"] = message.group_id
        with self._trace_ids.next_is(before.trace_id):
            span = self._span(
                "consume",
                message.queue,
                before.context,
                round(message.sent_at * 1000) * 1_000_000,
                SpanKind.CONSUMER,
                message=message,
                more=more,
                links=before.links,
            )
        return span, set_span_in_context(span, Context())

    def _waited(self, message: Message, context: Context, now_ns: int) -> int:
        """The span of its time in the queue; returns when it was received, in epoch nanoseconds."""
        sent_ns = round(message.sent_at * 1000) * 1_000_000
        received_ns = now_ns - round((time.monotonic() - message.received_at) * 1e9)
        received_ns = max(received_ns, sent_ns)  # SQS's clock and this one differ
        self._span("queued", message.queue, context, sent_ns).end(received_ns)
        return received_ns

    def _end(self, spans: _Open, now_ns: int, *, confirmed: bool) -> None:
        message, outcome = spans.message, spans.outcome
        if not outcome:  # its handler is still running
            outcome = message.settlement.value
            _end(spans.process, now_ns, outcome, None)
            if spans.batch is not None and spans.batch.is_recording():
                spans.batch.end(now_ns)
        elif message.settlement is Settlement.DEAD_LETTERED:
            outcome = message.settlement.value
        context = set_span_in_context(spans.consume, Context())
        self._settle(message, context, spans.ended_ns or now_ns, now_ns, confirmed=confirmed)
        failed = spans.outcome if spans.outcome not in ("", Outcome.SUCCESS.value) else None
        _end(spans.consume, now_ns, outcome, failed)

    def _settle(
        self, message: Message, context: Context, began_ns: int, now_ns: int, *, confirmed: bool
    ) -> None:
        if message.settlement in SETTLES:
            name = SETTLES[message.settlement]
            span = self._span(
                name, message.queue, context, began_ns, SpanKind.CLIENT, type_="settle", message=message
            )
            _end(span, now_ns, None, None if confirmed else UNCONFIRMED)

    def _span(
        self,
        operation: str,
        queue: Queue,
        context: Context,
        start_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        type_: str | None = None,
        message: Message | None = None,
        more: Mapping[str, str | int] | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        attributes: dict[str, str | int] = {
            "messaging.system": "aws_sqs",
            "messaging.destination.name": queue.name,
            "messaging.operation.name": operation,
        }
        if type_ is not None:
            attributes["messaging.operation.type"] = type_
        if message is not None:
            attributes["messaging.message.id"] = message.message_id
        return self._tracer.start_span(
            f"{operation} {queue.name}",
            context,
            kind,
            {**attributes, **(more or {})},
            links,
            start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )


def _end(span: Span, now_ns: int, outcome: str | None, failed: str | None) -> None:
    if outcome is not None:
        span.set_attribute(OUTCOME, outcome)
    if failed is not None:
        span.set_attribute(ERROR_TYPE, failed)
        span.set_status(Status(StatusCode.ERROR))
    span.end(now_ns)


def _type(raised: BaseException) -> str:
    of = type(raised)
    return of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"
