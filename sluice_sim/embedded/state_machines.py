"""Step Functions of the embedded AWS: the account's state machines, their executions, and its API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from moto.stepfunctions.exceptions import (
    ExecutionAlreadyExists,
    ExecutionDoesNotExist,
    StateMachineDoesNotExist,
)
from moto.stepfunctions.responses import StepFunctionResponse

from sluice_sim.account import ACCOUNT_ID, REGION, arn
from sluice_sim.aws_rules.state_machines import (
    Execution,
    Executions,
    Machine,
    StateError,
    moment,
    substituted,
)
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.functions import Lambda, matches
from sluice_sim.embedded.operations import Parameters, answered, page

MAX_RESULTS = 100


class StateMachines:
    """The account's state machines and their executions."""

    def __init__(self, clock: VirtualClock, functions: Lambda) -> None:
        self._clock, self._functions = clock, functions
        self._played = Executions(clock, self._invoke, self._ended)
        self._machines: dict[str, Machine] = {}
        self._patterns: dict[str, tuple[Mapping[str, Any], ...]] = {}
        """ARN of a machine -> the patterns of the rules that start it."""
        self._executions: dict[str, Execution] = {}

    def deploy(self, properties: Mapping[str, Any]) -> None:
        """Create or replace a machine from resolved AWS::Serverless::StateMachine properties."""
        machine_arn = arn("states", f"stateMachine:{properties['Name']}")
        events = properties.get("Events", {}).values()
        if others := {event["Type"] for event in events} - {"EventBridgeRule"}:
            raise ValueError(f"{properties['Name']}: events of type {others} are not simulated")
        self._machines[machine_arn] = Machine(
            arn=machine_arn,
            definition=substituted(properties["Definition"], properties.get("DefinitionSubstitutions", {})),
        )
        self._patterns[machine_arn] = tuple(event["Properties"]["Pattern"] for event in events)

    def on_event(self, event: dict[str, Any]) -> None:
        """Deliver an event of the default bus: every rule whose pattern matches starts its machine."""
        for machine_arn, patterns in self._patterns.items():
            for pattern in patterns:
                if matches(pattern, event):
                    self.start(machine_arn, json.dumps(event))

    def start(self, machine_arn: str, text: str, name: str | None = None) -> Execution:
        """Start an execution, which begins with the clock's next actions."""
        machine = self._machines.get(machine_arn)
        if machine is None:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{machine_arn}'")
        own = name or f"event-{len(self._executions) + 1}"
        execution_arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{own}"
        if execution_arn in self._executions:
            raise ExecutionAlreadyExists(f"Execution Already Exists: '{execution_arn}'")
        execution = self._played.start(machine, execution_arn, text)
        self._executions[execution_arn] = execution
        return execution

    def _invoke(self, function_arn: str, payload: Any) -> Any:
        function = self._functions.find(function_arn.rpartition(":")[2])
        if function is None:
            raise StateError("Lambda.ResourceNotFoundException", f"Function not found: {function_arn}")
        if throttled := self._functions.throttled(function):
            raise StateError("Lambda.TooManyRequestsException", str(throttled))
        outcome = self._functions.run(function, payload)
        if outcome.failure is not None:
            kind = type(outcome.failure).__name__
            cause = json.dumps({"errorMessage": str(outcome.failure), "errorType": kind})
            raise StateError(kind, cause)
        return outcome.answer

    def _ended(self, execution: Execution) -> None:
        """Send the event of its end."""
        event = {
            "version": "0",
            "id": f"{execution.name}-{execution.status}",
            "detail-type": "Step Functions Execution Status Change",
            "source": "aws.states",
            "account": ACCOUNT_ID,
            "time": f"{moment(self._clock.now):%Y-%m-%dT%H:%M:%SZ}",
            "region": REGION,
            "resources": [execution.arn],
            "detail": {
                "executionArn": execution.arn,
                "stateMachineArn": execution.machine.arn,
                "name": execution.name,
                "status": execution.status,
                "startDate": int(1000 * execution.started_at),
                "stopDate": int(1000 * self._clock.now),
                "input": execution.text,
                "inputDetails": {"included": True},
                "output": None,
                "error": execution.error,
                "cause": execution.cause,
            },
        }
        self.on_event(event)
        self._functions.on_event(event)

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
        return {"executionArn": started.arn, "startDate": moment(started.started_at)}

    def _stop_execution(self, asked: Parameters) -> object:
        execution = self._one(asked)
        self._played.end(execution, "ABORTED", asked.get("error"), asked.get("cause"))
        return {"stopDate": moment(execution.stopped_at or self._clock.now)}

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


def _summary(one: Execution) -> dict[str, Any]:
    summary = {
        "executionArn": one.arn,
        "stateMachineArn": one.machine.arn,
        "name": one.name,
        "status": one.status,
        "startDate": moment(one.started_at),
        "stopDate": None if one.stopped_at is None else moment(one.stopped_at),
    }
    return {key: value for key, value in summary.items() if value is not None}
