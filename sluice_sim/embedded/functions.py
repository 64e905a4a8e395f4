"""Lambda: runs the functions of a template in this process, as deployed.

Loads `app.handler` from each function's folder with its environment, and implements schedules, asynchronous
retries, alarm permissions, event rules and event source mappings. What a handler prints becomes its log, line
by line, as in CloudWatch Logs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import boto3

from sluice_sim.account import arn
from sluice_sim.aws_rules.scheduler import Scheduler
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded import lambda_api
from sluice_sim.embedded.embedded_metrics import is_embedded, metric_data
from sluice_sim.embedded.event_sources import EventSources
from sluice_sim.embedded.schedules import Schedules

INVOCATIONS, ERRORS, THROTTLES = "Invocations", "Errors", "Throttles"
DURATION_MS = 75.0
RETRY_DELAYS_S = (60, 120)
"""Failed asynchronous invocations are retried after one and two minutes (documented)."""

Handler = Callable[[dict[str, Any], Any], object]


@dataclass(slots=True, kw_only=True)
class Function:
    """One deployed function."""

    name: str
    handler: Handler
    environment: Mapping[str, str]
    timeout_s: float
    retries: int
    log_group: str
    failure_queue: str | None
    """ARN of the queue that gets the events which failed in every attempt."""
    enabled: bool = True
    invoked_by: list[tuple[str, str]] = field(default_factory=list)
    """(principal, source ARN pattern) pairs that the function's resource policy allows."""

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return arn("lambda", f"function:{self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The Lambda context object."""

    function_name: str
    invoked_function_arn: str
    timeout_s: float
    memory_limit_in_mb: int = 512
    aws_request_id: str = ""

    def get_remaining_time_in_millis(self) -> int:
        """The whole timeout: virtual time does not advance during an invocation."""
        return int(self.timeout_s * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one invocation ended."""

    answer: object
    """What the handler returned."""
    failure: Exception | None
    request_id: str
    printed: str


class Lambda:
    """The account's functions."""

    def __init__(
        self, clock: VirtualClock, scheduler: Scheduler, on_log: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._clock, self._on_log = clock, on_log
        self.schedules = Schedules(clock, scheduler, self._start_scheduled)
        self._by_arn: dict[str, Function] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        """(function's name, metric) -> count since it was last sampled."""
        self._rules: list[tuple[Mapping[str, Any], Function]] = []
        self.polled_queues: set[str] = set()
        """Names of the queues that Lambda polls for the functions."""
        self._event_sources, self._sqs = EventSources(clock), boto3.client("sqs")
        self._cloudwatch = boto3.client("cloudwatch")

    def create(self, name: str, properties: Mapping[str, Any], root: Path) -> Function:
        """Create a function from resolved AWS::Serverless::Function properties, with its events."""
        environment = properties.get("Environment", {}).get("Variables", {})
        asynchronous = properties.get("EventInvokeConfig", {})
        function = Function(
            name=name,
            handler=_load(root / properties["CodeUri"], properties["Handler"], environment),
            environment=environment,
            timeout_s=float(properties["Timeout"]),
            log_group=properties.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
            retries=int(asynchronous.get("MaximumRetryAttempts", 2)),
            failure_queue=asynchronous.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
        )
        self._by_arn[function.arn] = function
        self._rules = [(pattern, other) for pattern, other in self._rules if other.name != name]
        lambda_api.put_function(name, properties)
        for event_name, event in properties.get("Events", {}).items():
            self._subscribe(function, event_name, event["Type"], event["Properties"])
        return function

    @contextmanager
    def patched_moto(self, concurrency: Callable[[], float]) -> Iterator[None]:
        """Within the context, schedules invoke functions, and the account's settings can be read.

        `concurrency` is the account's quota of invocations at once.
        """
        with self.schedules.patched_moto(), lambda_api.account_settings(concurrency):
            yield

    def metrics(self) -> Iterator[tuple[str, str, float]]:
        """(function's name, metric, value) of AWS/Lambda since the previous call, for each that was asked.

        A handler takes no virtual time; its Duration is what benchmarks/bill.py measured of a warm one.
        """
        counts, self._counts = self._counts, Counter()
        for name in {name for name, _ in counts}:
            for metric in (INVOCATIONS, ERRORS, THROTTLES):
                yield name, metric, counts[name, metric]
            if counts[name, INVOCATIONS]:
                yield name, "Duration", DURATION_MS * counts[name, INVOCATIONS]

    def named(self, name: str) -> Function:
        """The function with this name; KeyError if there is none."""
        return self._by_arn[arn("lambda", f"function:{name}")]

    def find(self, name: str) -> Function | None:
        """The function with this name; None if there is none."""
        return self._by_arn.get(arn("lambda", f"function:{name}"))

    def permit(self, function_name: str, principal: str, source_arn: str) -> None:
        """Add an AWS::Lambda::Permission."""
        self.named(function_name).invoked_by.append((principal, source_arn))

    def on_alarm_action(self, function_arn: str, alarm_arn: str, payload: dict[str, Any]) -> str | None:
        """Invoke the function of an alarm action, if a permission allows this alarm; log an error otherwise.

        Actions with other targets, such as SNS topics, are ignored here. Returns why it failed, or None.
        """
        if ":lambda:" not in function_arn:
            return None
        function = self._by_arn.get(function_arn)
        admitted = function is not None and any(
            principal == "lambda.alarms.cloudwatch.amazonaws.com" and fnmatchcase(alarm_arn, pattern)
            for principal, pattern in function.invoked_by
        )
        if function is None or not admitted:
            self._on_log(
                function_arn, {"level": "ERROR", "message": f"{alarm_arn} may not invoke this function"}
            )
            return "CloudWatch Alarms is not authorized to perform: lambda:InvokeFunction on the resource"
        self.invoke_async(function, payload)
        return None

    def on_event(self, event: dict[str, Any]) -> None:
        """Deliver an event of the default bus: every rule whose pattern matches invokes its function."""
        for pattern, function in self._rules:
            if matches(pattern, event):
                self.invoke_async(function, event)

    def invoke_async(self, function: Function, event: dict[str, Any], attempt: int = 0) -> None:
        """Invoke now; retry a failure later, as often as the function's event configuration says.

        What fails in every attempt goes to the failure queue, without a retry if the concurrency reserved for
        the function is 0 (documented).
        """
        if not function.enabled:
            return
        throttled = self.throttled(function)
        failure = throttled or self.invoke(function, event)
        if failure is None:
            return
        if throttled is None and attempt < min(function.retries, len(RETRY_DELAYS_S)):
            self._clock.at(
                self._clock.now + RETRY_DELAYS_S[attempt],
                lambda: self.invoke_async(function, event, attempt + 1),
            )
        elif function.failure_queue is not None:
            self._send_failed(function, event, failure, attempts=attempt + 1)

    def invoke(self, function: Function, event: dict[str, Any]) -> Exception | None:
        """Run the handler once; returns the exception it raised, or None."""
        return self.run(function, event).failure

    def run(self, function: Function, event: object) -> Outcome:
        """Run the handler once with its own environment, and count the invocation."""
        printed, answer, failure = io.StringIO(), None, None
        context = Context(
            function_name=function.name,
            invoked_function_arn=function.arn,
            timeout_s=function.timeout_s,
            aws_request_id=str(uuid.uuid4()),
        )
        with mock.patch.dict(os.environ, function.environment), contextlib.redirect_stdout(printed):
            try:
                answer = function.handler(json.loads(json.dumps(event)), context)
            except Exception as raised:  # noqa: BLE001 - the runtime records any failure of a function
                failure = raised
        for line in _log_lines(printed.getvalue()):
            self._log(function, line)
        if failure is not None:
            self._on_log(function.name, {"level": "ERROR", "message": f"{type(failure).__name__}: {failure}"})
        self._counts[function.name, INVOCATIONS] += 1
        self._counts[function.name, ERRORS] += failure is not None
        self._event_sources.schedule_polls()
        return Outcome(
            answer=answer, failure=failure, request_id=context.aws_request_id, printed=printed.getvalue()
        )

    def _log(self, function: Function, line: dict[str, Any]) -> None:
        """Keep a line; CloudWatch takes metrics from one in the embedded metric format."""
        if not is_embedded(line):
            self._on_log(function.name, line)
            return
        for request in metric_data(line):
            self._cloudwatch.put_metric_data(**request)

    def _deliver(self, function: Function, event: dict[str, Any]) -> Exception | None:
        """Invoke for a queue; a function that is switched off drops what it is sent."""
        if not function.enabled:
            return None
        return self.throttled(function) or self.invoke(function, event)

    def throttled(self, function: Function) -> Exception | None:
        """Why Lambda rejects an invocation, which it counts; only a reservation of 0 is simulated."""
        if lambda_api.reserved_concurrency(function.name) != 0:
            return None
        self._counts[function.name, THROTTLES] += 1
        return RuntimeError("TooManyRequestsException: the function's reserved concurrency is 0")

    def _send_failed(
        self, function: Function, event: dict[str, Any], failure: Exception, *, attempts: int
    ) -> None:
        """Send the record of an asynchronous invocation that failed, as far as an operator reads it."""
        record = {
            "version": "1.0",
            "timestamp": f"{datetime.fromtimestamp(self._clock.now, UTC):%Y-%m-%dT%H:%M:%S.000Z}",
            "requestContext": {"functionArn": function.arn, "approximateInvokeCount": attempts},
            "requestPayload": event,
            "responsePayload": {"errorType": type(failure).__name__, "errorMessage": str(failure)},
        }
        name = str(function.failure_queue).rpartition(":")[2]
        url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        self._sqs.send_message(QueueUrl=url, MessageBody=json.dumps(record))

    def _start_scheduled(self, function_arn: str, event: dict[str, Any]) -> None:
        if function := self._by_arn.get(function_arn):
            self.invoke_async(function, event)

    def _subscribe(
        self, function: Function, event_name: str, kind: str, properties: Mapping[str, Any]
    ) -> None:
        if kind == "EventBridgeRule":
            self._rules.append((properties["Pattern"], function))
            return
        if kind == "SQS":
            self.polled_queues.add(str(properties["Queue"]).rpartition(":")[2])
            # Shards report their failures one by one; too few workloads run here for a tick to send any.
            if "FunctionResponseTypes" not in properties:
                self._event_sources.add(properties, partial(self._deliver, function))
            return
        if kind != "ScheduleV2":
            raise ValueError(f"function {function.name}: events of type {kind} are not simulated")
        self.schedules.deploy(f"{function.name}{event_name}", properties, function.arn)


class _CurrentStdout(io.TextIOBase):
    """Writes to the current stdout: a logger keeps the stream that it was created with."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def _load(folder: Path, handler: str, environment: Mapping[str, str]) -> Handler:
    """Import the function's module under a unique name, with its own environment."""
    module_name, function_name = handler.split(".")
    path = folder / f"{module_name}.py"
    spec = importlib.util.spec_from_file_location(f"deployed_{folder.name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path}: the template's CodeUri and Handler name no module")
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(os.environ, environment):
        spec.loader.exec_module(module)
    stdout = _CurrentStdout()
    for log_handler in module.logger.handlers:
        log_handler.setStream(stdout)
    loaded: Handler = getattr(module, function_name)
    return loaded


def _log_lines(printed: str) -> Iterator[dict[str, Any]]:
    """Printed lines as records; what is no JSON is the message of one."""
    for text in printed.splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            yield {"level": "INFO", "message": text}


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """EventBridge's matching: the event has, for each key of the pattern, one of the listed values.

    Of EventBridge's comparisons only `anything-but` with a prefix is simulated.
    """
    return all(
        matches(accepted, event.get(key) or {})
        if isinstance(accepted, Mapping)
        else any(_is_accepted(one, event.get(key)) for one in accepted)
        for key, accepted in pattern.items()
    )


def _is_accepted(accepted: object, value: object) -> bool:
    if not isinstance(accepted, Mapping):
        return value == accepted
    return isinstance(value, str) and not value.startswith(accepted["anything-but"]["prefix"])
