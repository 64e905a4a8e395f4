"""Faults between a worker and SQS: refusals, broken connections, slow answers, batches half done.

Owns what goes wrong and how it looks on the wire, drawn by one seeded generator at given rates per operation.
No fault affects the test's own requests, which are signed with a key of their own.
"""

from __future__ import annotations

import io
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Environ = dict[str, Any]
Start = Callable[..., Any]
App = Callable[[Environ, Start], Iterable[bytes]]

SETUP_KEY_ID = "TESTSETUP"
"""The access key whose requests always get through."""
CONTROL = "/chaos"
"""GET returns the counts; PUT replaces the `Plan`."""


class Fault(StrEnum):
    """The faults of one request; a plan's rates use these names."""

    THROTTLED = "throttled"
    TOO_MANY = "too many requests"
    FAILED = "failed (500)"
    UNAVAILABLE = "unavailable (503)"
    RESET_BEFORE = "reset before effect"
    RESET_AFTER = "reset after effect"
    SLOW_BEFORE = "slow before effect"
    SLOW_AFTER = "slow after effect"
    PARTLY_BEFORE = "batch partly refused"
    PARTLY_AFTER = "batch partly refused after effect"


REFUSALS: Mapping[Fault, tuple[str, str, str]] = {
    Fault.THROTTLED: ("400 Bad Request", "RequestThrottled", "Rate exceeded"),
    Fault.TOO_MANY: ("429 Too Many Requests", "ThrottlingException", "Rate exceeded"),
    Fault.FAILED: ("500 Internal Server Error", "InternalFailure", "Unable to complete request"),
}
HARMLESS = (*REFUSALS, Fault.UNAVAILABLE, Fault.RESET_BEFORE, Fault.SLOW_BEFORE, Fault.PARTLY_BEFORE)
"""After these the worker knows the true state of its messages."""
PARTLY = (Fault.PARTLY_BEFORE, Fault.PARTLY_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often each fault happens; `rates` are per request, "*" stands for every other operation."""

    seed: int = 0
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    slow_s: float = 0.5
    outage_every_s: float = 0.0
    """Every so often SQS answers only 503 for `outage_s`; 0: never."""
    outage_s: float = 1.0


RATE = 0.01
"""The probability of each kind of fault, per request."""
BATCH_RATE = 0.05
"""The probability that a part of a batch is refused."""


def every_fault(seed: int) -> Plan:
    """Inject every kind of fault into every operation, and an outage from time to time."""
    return _plan(seed, list(Fault))


def harmless_faults(seed: int) -> Plan:
    """Inject every fault that leaves the worker with the true state of its messages."""
    return _plan(seed, HARMLESS)


def _plan(seed: int, faults: Sequence[Fault]) -> Plan:
    rates = {fault.value: BATCH_RATE if fault in PARTLY else RATE for fault in faults}
    return Plan(seed=seed, rates={"*": rates}, slow_s=0.5, outage_every_s=15.0, outage_s=1.0)


class Faults:
    """A WSGI application around another."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._set(Plan())

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CONTROL:
            return self._control(environ, start)
        operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        if SETUP_KEY_ID in environ.get("HTTP_AUTHORIZATION", ""):
            return self._app(environ, start)
        fault = self._draw(operation)
        if fault is None:
            return self._app(environ, start)
        return self._inject(fault, environ, start)

    def _draw(self, operation: str) -> Fault | None:
        with self._lock:
            self._requests[operation] += 1
            since_s = time.monotonic() - self._began_at
            if self._plan.outage_every_s and since_s % self._plan.outage_every_s > (
                self._plan.outage_every_s - self._plan.outage_s
            ):
                fault = Fault.UNAVAILABLE
            else:
                rates = self._plan.rates.get(operation, self._plan.rates.get("*", {}))
                names: list[str | None] = [*rates, None]
                weights = [*rates.values(), max(0.0, 1 - sum(rates.values()))]
                [drawn] = self._random.choices(names, weights)
                fault = None if drawn is None else Fault(drawn)
            if fault in PARTLY and not operation.endswith("Batch"):
                fault = None
            if fault is not None:
                self._done[operation, fault.value] += 1
            return fault

    # ---- how it looks on the wire --------------------------------------------------------------------------

    def _inject(self, fault: Fault, environ: Environ, start: Start) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(
            int(environ["CONTENT_LENGTH"])
        )  # unread, it would be parsed as the next request
        environ = {**environ, "wsgi.input": io.BytesIO(body)}
        if fault in REFUSALS:
            return _refused(*REFUSALS[fault], start)
        if fault is Fault.UNAVAILABLE:
            return _answered(
                "503 Service Unavailable", b"<html>Service Unavailable</html>", start, "text/html"
            )
        if fault is Fault.RESET_BEFORE:
            _reset(environ)
        if fault is Fault.SLOW_BEFORE:
            time.sleep(self._plan.slow_s)
        if fault is Fault.PARTLY_BEFORE:
            return self._partly(json.loads(body), environ, start)
        if fault is Fault.PARTLY_AFTER:
            response = json.loads(b"".join(self._app(environ, _discard_head)))
            return _batch_response(
                response, self._chosen([entry["Id"] for entry in response.get("Successful", ())]), start
            )
        answer = b"".join(self._app(environ, start))
        if fault is Fault.RESET_AFTER:
            _reset(environ)
        if fault is Fault.SLOW_AFTER:
            time.sleep(self._plan.slow_s)
        return [answer]

    def _partly(self, request: dict[str, Any], environ: Environ, start: Start) -> Iterable[bytes]:
        """Some entries never reach SQS."""
        refused = self._chosen([entry["Id"] for entry in request["Entries"]])
        request["Entries"] = [entry for entry in request["Entries"] if entry["Id"] not in refused]
        response: dict[str, Any] = {"Successful": [], "Failed": []}
        if request["Entries"]:
            body = json.dumps(request).encode()
            environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            response = json.loads(b"".join(self._app(environ, _discard_head)))
        return _batch_response(response, refused, start)

    def _chosen(self, ids: Sequence[str]) -> set[str]:
        with self._lock:
            return set(self._random.sample(ids, self._random.randint(1, len(ids)))) if ids else set()

    # ---- control ------------------------------------------------------------------------------------------

    def _control(self, environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            with self._lock:
                self._set(Plan(**json.loads(body)))
        with self._lock:
            counts = {
                "requests": dict(self._requests),
                "faults": [[*key, times] for key, times in sorted(self._done.items())],
            }
        return _answered("200 OK", json.dumps(counts).encode(), start)

    def _set(self, plan: Plan) -> None:
        self._plan, self._random = plan, random.Random(plan.seed)
        self._began_at = time.monotonic()
        self._requests: Counter[str] = Counter()
        self._done: Counter[tuple[str, str]] = Counter()


def _discard_head(*_: Any) -> None:
    """Ignore the status and headers of a response that another one replaces."""


def _batch_response(response: Mapping[str, Any], refused: set[str], start: Start) -> Iterable[bytes]:
    """The response to a batch in which these entries failed with a server error."""
    answer = {
        "Successful": [entry for entry in response.get("Successful", ()) if entry["Id"] not in refused],
        "Failed": [
            *response.get("Failed", ()),
            *(
                {"Id": each, "SenderFault": False, "Code": "InternalError", "Message": "try again"}
                for each in sorted(refused)
            ),
        ],
    }
    return _answered("200 OK", json.dumps(answer).encode(), start)


def _refused(status: str, code: str, message: str, start: Start) -> Iterable[bytes]:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode()
    return _answered(status, body, start)


def _answered(
    status: str, body: bytes, start: Start, kind: str = "application/x-amz-json-1.0"
) -> Iterable[bytes]:
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _reset(environ: Environ) -> None:
    """Close the connection without a response."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError
