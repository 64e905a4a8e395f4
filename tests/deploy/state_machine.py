"""Executions of the deployed state machine, in moto's interpreter, whose tasks are deployed functions.

No wait passes in real time: the caller is told of each. The machine's role is asked before a function is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any
from unittest import mock

from moto.iam.models import iam_backends
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction

from sluice_sim.account import ACCOUNT_ID
from sluice_sim.aws_rules.iam_policies import Request, decide
from sluice_sim.embedded.roles import PARTITION, statements
from tests.deploy.cloudformation.calls import Aws

LIMIT_S = 60.0
Invoke = Callable[[str, dict[str, Any]], Any]
"""Function's ARN and payload -> what the function answers, a value or an error."""


def run(
    aws: Aws,
    machine: str,
    event: Mapping[str, Any],
    name: str,
    invoke: Invoke,
    wait: Callable[[float], None],
) -> dict[str, Any]:
    """Start an execution of the machine with this ARN, and wait for its end: status, error, cause, ARN."""
    role = aws("stepfunctions", "DescribeStateMachine", stateMachineArn=machine)["roleArn"]

    def invoked(parameters: Mapping[str, Any], region: str, state_credentials: object) -> dict[str, Any]:
        function = parameters["FunctionName"]
        in_force = statements(iam_backends[ACCOUNT_ID][PARTITION].get_role_by_arn(role))
        assert decide(list(in_force), Request(action="lambda:InvokeFunction", resource=function)).allowed
        answer = invoke(function, json.loads(parameters["Payload"]))
        failed = isinstance(answer, dict) and "errorType" in answer
        return {"StatusCode": 200, "Payload": answer} | ({"FunctionError": "Unhandled"} if failed else {})

    def interval(_: object, *, env: Any, wait_seconds: float) -> None:
        if env.is_running():
            wait(wait_seconds)

    with (
        mock.patch.object(WaitFunction, "_wait_interval", interval),
        mock.patch.object(retrier_decl, "time", SimpleNamespace(sleep=wait)),
        mock.patch.object(lambda_eval_utils, "_invoke_lambda_function", invoked),
    ):
        text = json.dumps(event)
        started = aws("stepfunctions", "StartExecution", stateMachineArn=machine, name=name, input=text)
        deadline = time.monotonic() + LIMIT_S
        while (found := described(aws, started["executionArn"]))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"{name} has not ended: {found}"
            time.sleep(0.02)
        return found


def described(aws: Aws, execution: str) -> dict[str, Any]:
    """How an execution stands."""
    found: dict[str, Any] = aws("stepfunctions", "DescribeExecution", executionArn=execution)
    return found
