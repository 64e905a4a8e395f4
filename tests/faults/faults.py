"""The ways in which a call fails.

One class per kind of failure: no response, or a wrong one. `assertions` checks that nothing unsafe
follows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from botocore.model import OperationModel
from moto.core.models import botocore_stubber

from tests.faults import wire
from tests.faults.responses import Corruption
from tests.faults.timeline import Timeline

ALWAYS = 99

Sent = Callable[[AWSPreparedRequest, OperationModel, Timeline], AWSResponse | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """The first `times` HTTP attempts get something other than AWS's answer."""

    kind: str
    sent: Sent
    timeline: Timeline
    times: int = ALWAYS

    def __str__(self) -> str:
        return self.kind

    def send(
        self, attempt: int, request: AWSPreparedRequest, operation: OperationModel
    ) -> AWSResponse | None:
        return self.sent(request, operation, self.timeline) if attempt <= self.times else None

    def receive(self, parsed: dict[str, Any]) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongAnswer:
    """AWS responds, and something in the response is wrong."""

    spoiling: Corruption

    @property
    def kind(self) -> str:
        return self.spoiling.kind

    def __str__(self) -> str:
        return str(self.spoiling)

    def send(self, attempt: int, request: AWSPreparedRequest, operation: OperationModel) -> None:
        return None

    def receive(self, parsed: dict[str, Any]) -> None:
        self.spoiling.apply(parsed)


def _timed_out(request: AWSPreparedRequest, operation: OperationModel, timeline: Timeline) -> AWSResponse:
    timeline.advance(timeline.limits.read_s)
    raise ReadTimeoutError(endpoint_url=request.url)


def _unreachable(request: AWSPreparedRequest, operation: OperationModel, timeline: Timeline) -> AWSResponse:
    raise EndpointConnectionError(endpoint_url=request.url)


def _reset(request: AWSPreparedRequest, operation: OperationModel, timeline: Timeline) -> AWSResponse:
    """AWS executes the request, and the connection closes before the response."""
    botocore_stubber.process_request(request)
    raise ConnectionClosedError(endpoint_url=request.url)


def _garbled(request: AWSPreparedRequest, operation: OperationModel, timeline: Timeline) -> AWSResponse:
    """AWS executes the request, and the response is damaged in transit."""
    botocore_stubber.process_request(request)
    return wire.garbled(request, operation)


def _slow(request: AWSPreparedRequest, operation: OperationModel, timeline: Timeline) -> None:
    timeline.linger()


def _answering(shape: Callable[[AWSPreparedRequest, OperationModel], AWSResponse]) -> Sent:
    return lambda request, operation, _: shape(request, operation)


SENT: dict[str, Sent] = {
    "throttled": _answering(wire.throttled),
    "timed out": _timed_out,
    "5xx": _answering(wire.broken),
    "bad gateway": _answering(wire.bad_gateway),
    "access denied": _answering(wire.denied),
    "not found": _answering(wire.not_found),
    "unreachable": _unreachable,
    "connection reset": _reset,
    "garbled": _garbled,
    "slow": _slow,
}
PASSING = {
    "throttled once": _answering(wire.throttled),
    "connection reset once": _reset,
}
"""Faults that the second attempt overcomes: the outcome must be the same."""
NO_ANSWER = (*SENT, *PASSING)


def no_answer(kind: str, timeline: Timeline) -> NoAnswer:
    if kind in PASSING:
        return NoAnswer(kind=kind, sent=PASSING[kind], timeline=timeline, times=1)
    return NoAnswer(kind=kind, sent=SENT[kind], timeline=timeline)
