"""Step Functions' rules, as far as our templates need them: plays a definition on the virtual clock.

Task (Lambda's invoke), Choice, Pass, Wait, Succeed and Fail, with retries, catches and the machine's time
limit. A state that is not simulated, and a path that finds nothing, end the execution as AWS does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sluice_sim.clock import VirtualClock

RUNNING = "RUNNING"
INVOKE = ":states:::lambda:invoke"
LATE = 1
"""A time limit comes after all that happens at its moment."""
ABSENT = object()

Invoke = Callable[[str, Any], Any]
"""Invokes the function of this ARN with a payload; returns its answer, raises StateError if it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One deployed state machine."""

    arn: str
    definition: Mapping[str, Any]


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


class Executions:
    """Plays executions: each begins with the clock's next actions, and goes on until it ends."""

    def __init__(
        self, clock: VirtualClock, invoke: Invoke, on_end: Callable[[Execution], None] = lambda _: None
    ) -> None:
        """`on_end` is called with each execution that has ended, however it did."""
        self._clock, self._invoke, self._on_end = clock, invoke, on_end

    def start(self, machine: Machine, execution_arn: str, text: str) -> Execution:
        """Start an execution with this input, a JSON text."""
        execution = Execution(
            arn=execution_arn,
            machine=machine,
            text=text,
            started_at=self._clock.now,
            data=json.loads(text),
        )
        self._tell(execution, "ExecutionStarted", executionStartedEventDetails={"input": text})
        self._clock.at(self._clock.now, partial(self._enter, execution, machine.definition["StartAt"]))
        if limit_s := machine.definition.get("TimeoutSeconds"):
            ends = partial(self.end, execution, "TIMED_OUT", "States.Timeout", None)
            self._clock.at(self._clock.now + float(limit_s), ends, priority=LATE)
        return execution

    def end(
        self, execution: Execution, status: str, error: str | None = None, cause: str | None = None
    ) -> None:
        """End the execution; one that has ended stays as it is."""
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
        self._on_end(execution)

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
                self.end(execution, "SUCCEEDED")
                return None
            case "Fail":
                error, cause = (
                    body.get(key) or self._at(execution, body[f"{key}Path"]) for key in ("Error", "Cause")
                )
                self.end(execution, "FAILED", str(error), str(cause))
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
        returned = self._invoke(asked["FunctionName"], asked.get("Payload", {}))
        answer = {"ExecutedVersion": "$LATEST", "StatusCode": 200, "Payload": returned}
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
        self.end(execution, "FAILED", failure.error, failure.cause)
        return None

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

    def _tell(self, execution: Execution, kind: str, **details: Mapping[str, Any]) -> None:
        number = len(execution.events) + 1
        execution.events.append(
            {
                "timestamp": moment(self._clock.now),
                "type": kind,
                "id": number,
                "previousEventId": number - 1,
                **details,
            }
        )

    def _told_entered(self, execution: Execution, name: str, kind: str) -> None:
        entered = {"name": name, "input": json.dumps(execution.data)}
        self._tell(execution, f"{kind}StateEntered", stateEnteredEventDetails=entered)


def moment(at_s: float) -> datetime:
    """Epoch seconds as UTC."""
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


def substituted(node: Any, values: Mapping[str, str]) -> Any:
    """A definition with these values of its DefinitionSubstitutions put in."""
    if isinstance(node, dict):
        return {key: substituted(child, values) for key, child in node.items()}
    if isinstance(node, list):
        return [substituted(child, values) for child in node]
    if isinstance(node, str):
        for name, value in values.items():
            node = node.replace(f"${{{name}}}", str(value))
    return node
