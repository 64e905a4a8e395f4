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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from sluice_sim.account import arn
from sluice_sim.aws_rules.scheduler import (
    Schedule,
    Scheduler,
)
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.event_sources import EventSources

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


class Lambda:
    """The account's functions."""

    def __init__(
        self, clock: VirtualClock, scheduler: Scheduler, on_log: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._clock, self._scheduler, self._on_log = clock, scheduler, on_log
        self._by_arn: dict[str, Function] = {}
        self._rules: list[tuple[Mapping[str, Any], Function]] = []
        self._event_sources = EventSources(clock)

    def create(self, name: str, properties: Mapping[str, Any], root: Path) -> Function:
        """Create a function from resolved AWS::Serverless::Function properties, with its events."""
        environment = properties.get("Environment", {}).get("Variables", {})
        function = Function(
            name=name,
            handler=_load(root / properties["CodeUri"], properties["Handler"], environment),
            environment=environment,
            timeout_s=float(properties["Timeout"]),
            log_group=properties.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
            retries=int(properties.get("EventInvokeConfig", {}).get("MaximumRetryAttempts", 2)),
        )
        self._by_arn[function.arn] = function
        for event in properties.get("Events", {}).values():
            self._subscribe(function, event["Type"], event["Properties"])
        return function

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
            if _matches(pattern, event):
                self.invoke_async(function, event)

    def invoke_async(self, function: Function, event: dict[str, Any], attempt: int = 0) -> None:
        """Invoke now; retry a failure later, as often as the function's event configuration says."""
        if not function.enabled or self.invoke(function, event) is None:
            return
        if attempt < min(function.retries, len(RETRY_DELAYS_S)):
            self._clock.at(
                self._clock.now + RETRY_DELAYS_S[attempt],
                lambda: self.invoke_async(function, event, attempt + 1),
            )

    def invoke(self, function: Function, event: dict[str, Any]) -> Exception | None:
        """Run the handler once with its own environment; returns the exception it raised, or None."""
        printed, failure = io.StringIO(), None
        context = Context(
            function_name=function.name,
            invoked_function_arn=function.arn,
            timeout_s=function.timeout_s,
            aws_request_id=str(uuid.uuid4()),
        )
        with mock.patch.dict(os.environ, function.environment), contextlib.redirect_stdout(printed):
            try:
                function.handler(json.loads(json.dumps(event)), context)
            except Exception as raised:  # noqa: BLE001 - the runtime records any failure of a function
                failure = raised
        for line in _log_lines(printed.getvalue()):
            self._on_log(function.name, line)
        if failure is not None:
            self._on_log(function.name, {"level": "ERROR", "message": f"{type(failure).__name__}: {failure}"})
        self._event_sources.schedule_polls()
        return failure

    def _deliver(self, function: Function, event: dict[str, Any]) -> Exception | None:
        """Invoke for a queue; a function that is switched off drops what it is sent."""
        return self.invoke(function, event) if function.enabled else None

    def _subscribe(self, function: Function, kind: str, properties: Mapping[str, Any]) -> None:
        if kind == "EventBridgeRule":
            self._rules.append((properties["Pattern"], function))
            return
        if kind == "SQS":
            # Shards report their failures one by one; too few workloads run here for a tick to send any.
            if "FunctionResponseTypes" not in properties:
                self._event_sources.add(properties, partial(self._deliver, function))
            return
        if kind != "ScheduleV2":
            raise ValueError(f"function {function.name}: events of type {kind} are not simulated")
        if properties.get("State", "ENABLED") == "DISABLED":
            return
        schedule = Schedule.parse(properties["ScheduleExpression"])

        def fire(scheduled: datetime) -> None:
            text = properties["Input"].replace(
                "<aws.scheduler.scheduled-time>", f"{scheduled:%Y-%m-%dT%H:%M:%SZ}"
            )
            self.invoke_async(function, json.loads(text))

        self._scheduler.start(function.name, schedule, fire)


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
    """Printed lines as records; embedded metric format (EMF) lines are skipped."""
    for text in printed.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            line = {"level": "INFO", "message": text}
        if "_aws" not in line:
            yield line


def _matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """EventBridge's exact matching: the event has, for each key of the pattern, one of the listed values."""
    return all(
        _matches(accepted, event.get(key) or {})
        if isinstance(accepted, Mapping)
        else event.get(key) in accepted
        for key, accepted in pattern.items()
    )
