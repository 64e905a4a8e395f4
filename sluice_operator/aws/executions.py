"""The executions of the state machine of a switch between two colors, as Step Functions tells of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field
from sluice.errors import ConfigError
from sluice_operator.core.switching import Execution, Happened, Kind

ENTERED, EXITED = "StateEntered", "StateExited"
FAILED = {
    "TaskFailed": "taskFailedEventDetails",
    "TaskStartFailed": "taskStartFailedEventDetails",
    "TaskTimedOut": "taskTimedOutEventDetails",
    "LambdaFunctionFailed": "lambdaFunctionFailedEventDetails",
}
"""Type of an event of a task that failed -> the key of its details."""
EVENTS_PER_CALL = 200
GONE = "ExecutionDoesNotExist"
"""AWS keeps an execution for 90 days after its end, and no longer than its state machine."""


def start(client: Any, machine_arn: str, name: str, asked: Mapping[str, object]) -> str:
    """Start an execution with this name and input; returns its ARN."""
    with aws_errors("StartExecution of the switch"):
        started: str = field(
            client.start_execution(stateMachineArn=machine_arn, name=name, input=json.dumps(asked)),
            "executionArn",
        )
    return started


def stop(client: Any, execution_arn: str, cause: str) -> None:
    """Stop the execution; a rule of the control plane starts another one, which undoes it."""
    with aws_errors("StopExecution of the switch"):
        client.stop_execution(executionArn=execution_arn, error="Aborted", cause=cause)


def running(client: Any, machine_arn: str) -> Iterator[tuple[str, str]]:
    """(name, ARN) of each execution that runs, the newest first."""
    with aws_errors("ListExecutions of the switch"):
        pages = client.get_paginator("list_executions").paginate(
            stateMachineArn=machine_arn, statusFilter="RUNNING"
        )
        for page in pages:
            for found in list_field(page, "executions"):
                yield field(found, "name"), field(found, "executionArn")


def describe(client: Any, execution_arn: str) -> Execution:
    """How the execution stands."""
    with aws_errors("DescribeExecution of the switch"):
        told = client.describe_execution(executionArn=execution_arn)
        return Execution(
            arn=execution_arn,
            status=field(told, "status"),
            started_at=field(told, "startDate"),
            ended_at=told.get("stopDate"),
            asked=_object(told.get("input")),
            error=told.get("error"),
            cause=told.get("cause"),
        )


def runs(client: Any, execution_arn: str) -> bool:
    """Whether the execution has not ended; one that AWS knows no more has."""
    try:
        return describe(client, execution_arn).runs
    except ConfigError as failure:
        if GONE in str(failure):
            return False
        raise


def history(client: Any, execution_arn: str, after: int) -> list[Happened]:
    """What has happened after the event with this id, in order; the newest events are read first."""
    found: list[Happened] = []
    with aws_errors("GetExecutionHistory of the switch"):
        pages = client.get_paginator("get_execution_history").paginate(
            executionArn=execution_arn,
            reverseOrder=True,
            includeExecutionData=True,
            PaginationConfig={"PageSize": EVENTS_PER_CALL},
        )
        for page in pages:
            for event in list_field(page, "events"):
                if field(event, "id") <= after:
                    return found[::-1]
                if happened := _happened(event):
                    found.append(happened)
    return found[::-1]


def _happened(event: Mapping[str, Any]) -> Happened | None:
    """What an event says of a step; None for any other event."""
    number, at, kind = field(event, "id"), field(event, "timestamp"), str(field(event, "type"))
    if kind.endswith(ENTERED):
        state = field(field(event, "stateEnteredEventDetails"), "name")
        return Happened(id=number, at=at, kind=Kind.BEGAN, state=state)
    if kind.endswith(EXITED):
        left = field(event, "stateExitedEventDetails")
        result = _object(left.get("output")).get("result")
        answer = result if isinstance(result, dict) else {}
        return Happened(
            id=number,
            at=at,
            kind=Kind.ENDED,
            state=field(left, "name"),
            detail=str(answer.get("detail", "")),
            outcome=str(answer.get("outcome", "")),
        )
    if kind in FAILED:
        failed = event.get(FAILED[kind]) or {}
        detail = failure_text(failed.get("error"), failed.get("cause"))
        return Happened(id=number, at=at, kind=Kind.FAILED, state="", detail=detail)
    return None


def failure_text(error: object, cause: object) -> str:
    """What a failed task says: a function's own message, which Step Functions hands on as JSON."""
    told = _object(cause).get("errorMessage")
    return str(told or cause or error or "it does not say why")


def _object(text: object) -> Mapping[str, Any]:
    """A JSON object in a text; empty for anything else, such as a text that AWS has cut."""
    try:
        found = json.loads(str(text))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
