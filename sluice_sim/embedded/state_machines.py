"""Step Functions, as far as our templates need it: plays state machines on the virtual clock.

Task (Lambda's invoke), Choice, Pass, Wait, Succeed and Fail, with retries, catches and the machine's time
limit. A state that is not simulated, and a path that finds nothing, end the execution as AWS does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.stepfunctions.exceptions import (
    ExecutionAlreadyExists,
    ExecutionDoesNotExist,
    StateMachineDoesNotExist,
)
from moto.stepfunctions.responses import StepFunctionResponse

from sluice_sim.account import ACCOUNT_ID, REGION, arn
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.functions import Lambda, matches
from sluice_sim.embedded.operations import Parameters, answered, page

RUNNING = "RUNNING"
INVOKE = ":states:::lambda:invoke"
LATE = 1
"""A time limit comes after all that happens at its moment."""
ABSENT = object()
MAX_RESULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One deployed state machine, and the rules that start it."""

    arn: str
    definition: Mapping[str, Any]
    patterns: tuple[Mapping[str, Any], ...]


@dataclass(slots=True, kw_only=True)
class Execution:
    """One execution; `data` is the input of its present state."""

    arn: str
    machine: Machine
    text: str
    """Its input as it was given."""
    started_at: float
    data: Any
    status: str = RUNNING
    stopped_at: float | None = None
    error: str | None = None
    cause: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    attempts: dict[int, int] = field(default_factory=dict)
    """Place of a retrier of the present state -> how often it has retried."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.arn.rpartition(":")[2]


class StateError(Exception):
    """A state that failed, with Step Functions' name of the error."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


class StateMachines:
    """The account's state machines and their executions."""

    def __init__(self, clock: VirtualClock, functions: Lambda) -> None:
        self._clock, self._functions = clock, functions
        self._machines: dict[str, Machine] = {}
        self._executions: dict[str, Execution] = {}

    def deploy(self, properties: Mapping[str, Any]) -> None:
        """Create or replace a machine from resolved AWS::Serverless::StateMachine properties."""
        machine_arn = arn("states", f"stateMachine:{properties['Name']}")
        events = properties.get("Events", {}).values()
        if others := {event["Type"] for event in events} - {"EventBridgeRule"}:
            raise ValueError(f"{properties['Name']}: events of type {others} are not simulated")
        self._machines[machine_arn] = Machine(
            arn=machine_arn,
            definition=_substituted(properties["Definition"], properties.get("DefinitionSubstitutions", {})),
            patterns=tuple(event["Properties"]["Pattern"] for event in events),
        )

    def on_event(self, event: dict[str, Any]) -> None:
        """Deliver an event of the default bus: every rule whose pattern matches starts its machine."""
        for machine in self._machines.values():
            for pattern in machine.patterns:
                if matches(pattern, event):
                    self.start(machine.arn, json.dumps(event))

    def start(self, machine_arn: str, text: str, name: str | None = None) -> Execution:
        """Start an execution, which begins with the clock's next actions."""
        machine = self._machines.get(machine_arn)
        if machine is None:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{machine_arn}'")
        own = name or f"event-{len(self._executions) + 1}"
        execution_arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{own}"
        if execution_arn in self._executions:
            raise ExecutionAlreadyExists(f"Execution Already Exists: '{execution_arn}'")
        execution = Execution(
            arn=execution_arn,
            machine=machine,
            text=text,
            started_at=self._clock.now,
            data=json.loads(text),
        )
        self._executions[execution_arn] = execution
        self._tell(execution, "ExecutionStarted", executionStartedEventDetails={"input": text})
        self._clock.at(self._clock.now, partial(self._enter, execution, machine.definition["StartAt"]))
        if limit_s := machine.definition.get("TimeoutSeconds"):
            ends = partial(self._end, execution, "TIMED_OUT", "States.Timeout", None)
            self._clock.at(self._clock.now + float(limit_s), ends, priority=LATE)
        return execution

    # ---- the states ----------------------------------------------------------------------------------------

    def _enter(self, execution: Execution, state: str) -> None:
        """Play the states from this one on, until one waits or the execution ends."""
        name: str | None = state
        while name is not None and execution.status == RUNNING:
            body = execution.machine.definition["States"][name]
            execution.attempts.clear()
            self._told_entered(execution, name, body["Type"])
            name = self._play(execution, name, body)

    def _play(self, execution: Execution, name: str, body: Mapping[str, Any]) -> str | None:
        """Play a state; returns the next one, None if the execution waits or has ended."""
        try:
            following = self._next(execution, name, body)
        except StateError as failure:
            return self._failed(execution, name, body, failure)
        if following is not None:
            output = json.dumps(execution.data)
            left = {"name": name, "output": output}
            self._tell(execution, f"{body['Type']}StateExited", stateExitedEventDetails=left)
        return following

    def _next(self, execution: Execution, name: str, body: Mapping[str, Any]) -> str | None:
        kind = body["Type"]
        match kind:
            case "Pass":
                given = body.get("Parameters")
                result = execution.data if given is None else self._parameters(execution, given)
                execution.data = _put(execution.data, body, result)
            case "Choice":
                rules = (rule for rule in body["Choices"] if self._holds(execution, rule))
                chosen = next((rule["Next"] for rule in rules), body.get("Default"))
                if chosen is None:
                    raise StateError("States.NoChoiceMatched", f"{name}: no choice matches")
                return str(chosen)
            case "Wait":
                seconds = body.get("Seconds") or self._at(execution, body["SecondsPath"])
                self._clock.at(self._clock.now + float(seconds), partial(self._leave, execution, name, body))
                return None
            case "Task":
                execution.data = _put(execution.data, body, self._task(execution, body))
            case "Succeed":
                self._end(execution, "SUCCEEDED")
                return None
            case "Fail":
                error, cause = (
                    body.get(key) or self._at(execution, body[f"{key}Path"]) for key in ("Error", "Cause")
                )
                self._end(execution, "FAILED", str(error), str(cause))
                return None
            case _:
                raise ValueError(f"{name}: states of type {kind} are not simulated")
        return str(body["Next"])

    def _leave(self, execution: Execution, name: str, body: Mapping[str, Any]) -> None:
        """The end of a wait."""
        if execution.status == RUNNING:
            left = {"name": name, "output": json.dumps(execution.data)}
            self._tell(execution, "WaitStateExited", stateExitedEventDetails=left)
            self._enter(execution, body["Next"])

    def _again(self, execution: Execution, name: str, body: Mapping[str, Any]) -> None:
        """The next attempt of a task."""
        if execution.status == RUNNING and (following := self._play(execution, name, body)) is not None:
            self._enter(execution, following)

    def _task(self, execution: Execution, body: Mapping[str, Any]) -> Any:
        if not body["Resource"].endswith(INVOKE):
            raise ValueError(f"tasks of {body['Resource']} are not simulated")
        asked = self._parameters(execution, body["Parameters"])
        function = self._functions.find(asked["FunctionName"].rpartition(":")[2])
        if function is None:
            cause = f"Function not found: {asked['FunctionName']}"
            raise StateError("Lambda.ResourceNotFoundException", cause)
        if throttled := self._functions.throttled(function):
            raise StateError("Lambda.TooManyRequestsException", str(throttled))
        outcome = self._functions.run(function, asked.get("Payload", {}))
        if outcome.failure is not None:
            kind = type(outcome.failure).__name__
            cause = json.dumps({"errorMessage": str(outcome.failure), "errorType": kind})
            raise StateError(kind, cause)
        answer = {"ExecutedVersion": "$LATEST", "StatusCode": 200, "Payload": outcome.answer}
        result = json.loads(json.dumps(answer))
        selector = body.get("ResultSelector")
        return result if selector is None else self._parameters(execution, selector, result)

    def _failed(
        self, execution: Execution, name: str, body: Mapping[str, Any], failure: StateError
    ) -> str | None:
        """Try again later, go where a catch says, or end."""
        told = {
            "error": failure.error,
            "cause": failure.cause,
            "resource": "invoke",
            "resourceType": "lambda",
        }
        self._tell(execution, "TaskFailed", taskFailedEventDetails=told)
        for place, retrier in enumerate(body.get("Retry", ())):
            if not _covers(retrier, failure):
                continue
            tried = execution.attempts.get(place, 0)
            if tried < int(retrier.get("MaxAttempts", 3)):
                execution.attempts[place] = tried + 1
                pause_s = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** tried
                pause_s = min(pause_s, retrier.get("MaxDelaySeconds", pause_s))
                self._clock.at(self._clock.now + pause_s, partial(self._again, execution, name, body))
                return None
            break
        for catcher in body.get("Catch", ()):
            if _covers(catcher, failure):
                execution.data = _put(
                    execution.data, catcher, {"Error": failure.error, "Cause": failure.cause}
                )
                left = {"name": name, "output": json.dumps(execution.data)}
                self._tell(execution, f"{body['Type']}StateExited", stateExitedEventDetails=left)
                return str(catcher["Next"])
        self._end(execution, "FAILED", failure.error, failure.cause)
        return None

    def _end(
        self, execution: Execution, status: str, error: str | None = None, cause: str | None = None
    ) -> None:
        """End the execution, and send its event."""
        if execution.status != RUNNING:
            return
        execution.status, execution.stopped_at = status, self._clock.now
        execution.error, execution.cause = error, cause
        ended = "".join(part.title() for part in status.split("_"))
        key = f"execution{ended}EventDetails"
        details = {name: text for name, text in (("error", error), ("cause", cause)) if text}
        if status == "SUCCEEDED":
            details = {"output": json.dumps(execution.data)}
        self._tell(execution, f"Execution{ended}", **{key: details})
        event = {
            "version": "0",
            "id": f"{execution.name}-{status}",
            "detail-type": "Step Functions Execution Status Change",
            "source": "aws.states",
            "account": ACCOUNT_ID,
            "time": f"{datetime.fromtimestamp(self._clock.now, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": REGION,
            "resources": [execution.arn],
            "detail": {
                "executionArn": execution.arn,
                "stateMachineArn": execution.machine.arn,
                "name": execution.name,
                "status": status,
                "startDate": int(1000 * execution.started_at),
                "stopDate": int(1000 * self._clock.now),
                "input": execution.text,
                "inputDetails": {"included": True},
                "output": None,
                "error": error,
                "cause": cause,
            },
        }
        self.on_event(event)
        self._functions.on_event(event)

    # ---- paths ---------------------------------------------------------------------------------------------

    def _at(self, execution: Execution, path: str, data: object = ABSENT) -> Any:
        found = self._found(execution, path, data)
        if found is ABSENT:
            raise StateError("States.Runtime", f"The JSONPath '{path}' could not be found in the input")
        return found

    def _found(self, execution: Execution, path: str, data: object = ABSENT) -> Any:
        """What a path names; ABSENT for nothing."""
        if path.startswith("States.StringToJson(") and path.endswith(")"):
            return json.loads(self._at(execution, path.removeprefix("States.StringToJson(")[:-1], data))
        node: Any = execution.data if data is ABSENT else data
        if path.startswith("$$"):
            path, node = path[1:], {"Execution": {"Id": execution.arn, "Name": execution.name}}
        for key in path.removeprefix("$").split(".")[1:]:
            if not isinstance(node, dict) or key not in node:
                return ABSENT
            node = node[key]
        return node

    def _parameters(self, execution: Execution, given: Any, data: object = ABSENT) -> Any:
        """A payload template: a key that ends with `.$` names where its value is."""
        if not isinstance(given, dict):
            return given
        return {
            key.removesuffix(".$"): self._at(execution, value, data)
            if key.endswith(".$")
            else self._parameters(execution, value, data)
            for key, value in given.items()
        }

    def _holds(self, execution: Execution, rule: Mapping[str, Any]) -> bool:
        if "IsPresent" in rule:
            return (self._found(execution, rule["Variable"]) is not ABSENT) is rule["IsPresent"]
        if "StringEquals" in rule:
            return bool(self._at(execution, rule["Variable"]) == rule["StringEquals"])
        raise ValueError(f"the choice {rule} is not simulated")

    # ---- the API -------------------------------------------------------------------------------------------

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, the operations on executions are answered here."""
        with answered(
            StepFunctionResponse,
            start_execution=self._start_execution,
            stop_execution=self._stop_execution,
            describe_execution=self._describe_execution,
            list_executions=self._list_executions,
            get_execution_history=self._history,
        ):
            yield

    def _start_execution(self, asked: Parameters) -> object:
        started = self.start(asked["stateMachineArn"], asked.get("input", "{}"), asked.get("name"))
        return {"executionArn": started.arn, "startDate": _moment(started.started_at)}

    def _stop_execution(self, asked: Parameters) -> object:
        execution = self._one(asked)
        self._end(execution, "ABORTED", asked.get("error"), asked.get("cause"))
        return {"stopDate": _moment(execution.stopped_at or self._clock.now)}

    def _describe_execution(self, asked: Parameters) -> object:
        one = self._one(asked)
        described = {
            **_summary(one),
            "input": one.text,
            "inputDetails": {"included": True},
            "error": one.error,
            "cause": one.cause,
        }
        if one.status == "SUCCEEDED":
            described["output"] = json.dumps(one.data)
        return {key: value for key, value in described.items() if value is not None}

    def _list_executions(self, asked: Parameters) -> object:
        if asked["stateMachineArn"] not in self._machines:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{asked['stateMachineArn']}'")
        found = [
            _summary(one)
            for one in reversed(self._executions.values())
            if one.machine.arn == asked["stateMachineArn"]
            and asked.get("statusFilter", one.status) == one.status
        ]
        some, token = page(found, asked.get("maxResults", MAX_RESULTS), asked.get("nextToken"), "nextToken")
        return {"executions": some, **token}

    def _history(self, asked: Parameters) -> object:
        events = self._one(asked).events
        ordered = events[::-1] if asked.get("reverseOrder") else events
        some, token = page(ordered, asked.get("maxResults", MAX_RESULTS), asked.get("nextToken"), "nextToken")
        return {"events": some, **token}

    def _one(self, asked: Parameters) -> Execution:
        found = self._executions.get(asked["executionArn"])
        if found is None:
            raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{asked['executionArn']}'")
        return found

    def _tell(self, execution: Execution, kind: str, **details: Mapping[str, Any]) -> None:
        number = len(execution.events) + 1
        execution.events.append(
            {
                "timestamp": _moment(self._clock.now),
                "type": kind,
                "id": number,
                "previousEventId": number - 1,
                **details,
            }
        )

    def _told_entered(self, execution: Execution, name: str, kind: str) -> None:
        entered = {"name": name, "input": json.dumps(execution.data)}
        self._tell(execution, f"{kind}StateEntered", stateEnteredEventDetails=entered)


def _summary(one: Execution) -> dict[str, Any]:
    summary = {
        "executionArn": one.arn,
        "stateMachineArn": one.machine.arn,
        "name": one.name,
        "status": one.status,
        "startDate": _moment(one.started_at),
        "stopDate": None if one.stopped_at is None else _moment(one.stopped_at),
    }
    return {key: value for key, value in summary.items() if value is not None}


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _covers(rule: Mapping[str, Any], failure: StateError) -> bool:
    """Whether a retrier or a catcher is for this error."""
    return bool({"States.ALL", failure.error} & set(rule["ErrorEquals"]))


def _put(data: Any, body: Mapping[str, Any], result: Any) -> Any:
    """The data with the result where ResultPath says: in place of all of it without one, nowhere for null."""
    path = body.get("ResultPath", "$")
    if path is None:
        return data
    if path == "$":
        return result
    return {**data, path.removeprefix("$."): result}


def _substituted(node: Any, values: Mapping[str, str]) -> Any:
    """A definition with DefinitionSubstitutions put in."""
    if isinstance(node, dict):
        return {key: _substituted(child, values) for key, child in node.items()}
    if isinstance(node, list):
        return [_substituted(child, values) for child in node]
    if isinstance(node, str):
        for name, value in values.items():
            node = node.replace(f"${{{name}}}", str(value))
    return node
