"""Records every call that a handler makes to AWS, and injects the fault of a cell into one of them.

It hooks into botocore in two places: below the retries and the parser, at the HTTP request, for a call that
gets no response; above them for a response that is parsed, but wrong.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.model import OperationModel
from botocore.retries import standard
from botocore.retries.quota import RetryQuota
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

from tests.faults.responses import Path, recording
from tests.faults.timeline import Timeline
from tests.sluice.aws import account


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Call:
    """One call of an invocation: operation, the workloads it concerns, and its number among equal ones."""

    operation: str
    workloads: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    """The metric names in a GetMetricData request."""
    nth: int = 1

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.operation.startswith(("Get", "Describe", "BatchGet"))

    def __str__(self) -> str:
        about = ",".join(self.workloads) or "all"
        about += "".join(f" {metric}" for metric in self.metrics)
        return f"{self.operation}({about})" + (f"#{self.nth}" if self.nth > 1 else "")


def _metrics(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    queries = parameters.get("MetricDataQueries", [])
    return tuple(sorted({query["MetricStat"]["Metric"]["MetricName"] for query in queries}))


class Fault(Protocol):
    """What happens to one call."""

    @property
    def kind(self) -> str:
        """The fault's name in tables."""
        ...

    def send(
        self, attempt: int, request: AWSPreparedRequest, operation: OperationModel
    ) -> AWSResponse | None:
        """At each HTTP attempt: a response, an exception, or None to let the request pass to AWS."""
        ...

    def receive(self, parsed: dict[str, Any]) -> None:
        """For the parsed response, which may be changed in place."""
        ...


@dataclass
class RecordedCalls:
    """The calls of one invocation, in the order in which they began."""

    calls: list[Call] = field(default_factory=list)
    responses: dict[Call, dict[str, Any]] = field(default_factory=dict)
    read: dict[Call, set[Path]] = field(default_factory=dict)
    attempts: Counter[Call] = field(default_factory=Counter)

    def snapshot(self) -> "RecordedCalls":
        """A copy: a read that was no longer waited for may still complete."""
        return RecordedCalls(list(self.calls), dict(self.responses), dict(self.read), Counter(self.attempts))


@dataclass(frozen=True, slots=True)
class _CachedResponse:
    """A cached response of the account."""

    status: int
    headers: dict[str, str]
    body: bytes

    def to(self, request: AWSPreparedRequest) -> AWSResponse:
        return AWSResponse(request.url, self.status, self.headers, MockRawResponse(self.body))


class FaultInjector:
    """All calls of a process pass through it; it is inactive unless an invocation runs."""

    def __init__(self, workloads: Sequence[str], timeline: Timeline) -> None:
        self._workloads, self._timeline = workloads, timeline
        self._lock, self._local = threading.Lock(), threading.local()
        self._quotas: list[RetryQuota] = []
        self._clients: dict[tuple[str, int, float], Any] = {}
        self._handed_out: Counter[str] = Counter()
        self._made: RecordedCalls | None = None
        self._target: tuple[Call, Fault] | None = None
        self._cached: dict[Hashable, _CachedResponse] = {}
        self.situation: Callable[[], Hashable] = object
        """Everything that a response depends on: the same request in one situation comes from a cache."""
        self.session = boto3.Session()
        # Every handler of the event runs, whatever an earlier one returned, so moto is called from here.
        self.session.events.unregister("before-send", botocore_stubber)
        self.session.events.register("before-send", self._before_send)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Route botocore through here; the handlers' clients are created once and keep their settings."""
        original: Callable[..., Any] = BaseClient._make_api_call

        def make(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            return self._call(original, client, operation, parameters)

        def quota(*settings: Any) -> RetryQuota:
            self._quotas.append(RetryQuota(*settings))
            return self._quotas[-1]

        account.session()  # the one that tests use stays their own
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", make)
            patch.setattr(standard.quota, "RetryQuota", quota)
            # Others make sessions too, of other kinds: what the handlers ask of theirs is a client.
            patch.setattr(self.session, "client", self.client)
            patch.setattr("boto3.Session", lambda: self.session)
            yield

    def cold_start(self) -> None:
        """Give a new process the clients of the previous one, in the same order."""
        self._handed_out.clear()

    def client(self, service: str, **settings: Any) -> Any:
        """As `boto3.Session.client`; a process may have several clients of one service."""
        key = (service, self._handed_out[service], settings["config"].read_timeout)
        self._handed_out[service] += 1
        if key not in self._clients:
            self._clients[key] = boto3.session.Session.client(self.session, service, **settings)
        return self._clients[key]

    @contextmanager
    def listening(self, target: tuple[Call, Fault] | None = None) -> Iterator[RecordedCalls]:
        """Record the calls meanwhile, and inject the fault into the target."""
        for quota in self._quotas:
            quota.release(RetryQuota.INITIAL_CAPACITY)
        self._made, self._target = RecordedCalls(), target
        try:
            yield self._made
        finally:
            self._made = self._target = None

    def _call(
        self, original: Callable[..., Any], client: BaseClient, operation: str, parameters: dict[str, Any]
    ) -> Any:
        made, target = self._made, self._target
        if made is None or client not in self._clients.values():
            return original(client, operation, parameters)
        about = json.dumps(parameters, default=str)
        call = Call(
            operation=operation,
            workloads=tuple(name for name in self._workloads if name in about),
            metrics=_metrics(parameters),
        )
        with self._lock:
            call = replace(call, nth=1 + sum(replace(one, nth=1) == call for one in made.calls))
            made.calls.append(call)
        fault = target[1] if target and target[0] == call else None
        self._local.now = (call, fault, client.meta.service_model.operation_model(operation), made)
        try:
            parsed = original(client, operation, parameters)
        finally:
            self._local.now = None
        made.responses[call] = parsed
        if fault:
            fault.receive(parsed)
        return recording(parsed, made.read.setdefault(call, set()))

    def _before_send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        call, fault, operation, made = self._local.now
        made.attempts[call] += 1
        self._timeline.take_a_moment()
        faulted = fault.send(made.attempts[call], request, operation) if fault else None
        return faulted or self._account_response(call, request)

    def _account_response(self, call: Call, request: AWSPreparedRequest) -> AWSResponse:
        # What the table holds is no part of the situation.
        is_cached = call.reads and call.operation != "BatchGetItem"
        key = (self.situation(), call.operation, str(request.body)) if is_cached else None
        if key is None or key not in self._cached:
            status, headers, body = botocore_stubber.process_request(request)
            self._cached[key] = _CachedResponse(
                status, headers, body if isinstance(body, bytes) else body.encode()
            )
        return self._cached[key].to(request)
