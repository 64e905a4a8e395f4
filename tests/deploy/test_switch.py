"""The deployed switch of two groups, and of two services: its state machine, its function in the runtime."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from sluice_sim.account import REGION
from sluice_sim.embedded.functions import matches
from sluice_worker.aws.parameter import SsmParameter
from tests.deploy.build import ROOT
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.colors import PAIRS, RETUNED, ColoredAccount, Pair, deployed_pairs
from tests.deploy.deployment import PLANE
from tests.deploy.emulator import RunningFunction
from tests.deploy.inventory import inventory
from tests.deploy.server import Server
from tests.deploy.shared_deployment import SharedDeployment
from tests.deploy.state_machine import run
from tests.deploy.test_permissions import removed

ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"
USED = {
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "application-autoscaling:DescribeScheduledActions",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:RegisterScalableTarget",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeInstanceRefreshes",
    "autoscaling:DescribeLifecycleHooks",
    "autoscaling:DescribePolicies",
    "autoscaling:DescribeScheduledActions",
    "autoscaling:PutScalingPolicy",
    "autoscaling:ResumeProcesses",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:SuspendProcesses",
    "autoscaling:UpdateAutoScalingGroup",
    "dynamodb:BatchGetItem",
    "dynamodb:UpdateItem",
    "ecs:DescribeServices",
    "ecs:GetTaskProtection",
    "ecs:ListTasks",
    "ecs:UpdateService",
    "sqs:GetQueueAttributes",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:PutParameter",
}
"""The actions that a switch of groups and one of services use between them."""
BY_KIND = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.kind)
names = count()


@pytest.fixture(scope="module")
def pairs(
    shared_deployment: SharedDeployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedDeployment]:
    """Both pairs beside the other workloads; the account holds at the end what it held before."""
    deployed = shared_deployment.current()
    deployed.account.reset()
    before = inventory(deployed.deployment.server.aws)
    with deployed_pairs(deployed.deployment, tmp_path_factory.mktemp("colors")):
        yield deployed
    assert inventory(deployed.deployment.server.aws) == before


@pytest.fixture(scope="module")
def function(
    pairs: SharedDeployment, runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningFunction]:
    """The switch function with its role's credentials; it keeps running, as in Lambda."""
    log = tmp_path_factory.mktemp("switch") / "switch.log"
    with pairs.running("SwitchFunction", runtime, log) as function:
        yield function


@dataclass(slots=True, kw_only=True)
class Switch:
    """The deployed state machine over one pair. Its workers work as the steps have it."""

    deployed: SharedDeployment
    function: RunningFunction
    colors: ColoredAccount
    steps: list[str] = field(default_factory=list)
    waited_s: float = 0
    after: Callable[[str], None] = lambda step: None
    """What else happens after a step."""

    @property
    def aws(self) -> Aws:
        return self.deployed.deployment.server.aws

    @property
    def machine(self) -> str:
        return self.deployed.deployment.physical(PLANE, "SwitchStateMachine")

    def play(self, event: dict[str, Any] | None = None) -> dict[str, Any]:
        asked = event or {"workload": self.colors.pair.workload, "to": "green", "by": ALICE}
        return run(self.aws, self.machine, asked, f"e2e-{next(names)}", self._invoke, self._wait)

    def _invoke(self, function_arn: str, payload: dict[str, Any]) -> Any:
        assert function_arn.rsplit(":", 1)[-1] == self.deployed.function("SwitchFunction").name
        answer = self.function.answer(payload)
        step = payload["step"]
        self.steps.append(step)
        if step == "raise":
            self.colors.work("green", 1)
        self.after(step)
        return answer

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds
        assert self.waited_s < 3600, self.steps
        self.colors.pass_time(seconds)
        if self.colors.parameter("draining-color") != "none":
            self.colors.work(self.colors.parameter("draining-color"), 0)


@pytest.fixture
def switch(pair: Pair, pairs: SharedDeployment, server: Server, function: RunningFunction) -> Switch:
    """Blue runs two instances, and 22 messages wait."""
    server.gate.authorizations.clear()
    colors = ColoredAccount(server=server, pair=pair)
    colors.at_first(messages=22)
    return Switch(deployed=pairs, function=function, colors=colors)


def end_of(execution: Mapping[str, Any]) -> dict[str, Any]:
    """The event of an execution that has ended."""
    event: dict[str, Any] = json.loads((ROOT / "events" / "switch-execution-status.json").read_text())
    kept = {key: execution[key] for key in ("executionArn", "stateMachineArn", "name", "status", "input")}
    return event | {"resources": [execution["executionArn"]], "detail": event["detail"] | kept}


def read_as(server: Server, credentials: Mapping[str, str], name: str) -> str:
    """The value of a parameter, as a worker with these credentials reads it."""
    session = boto3.Session(
        credentials["AWS_ACCESS_KEY_ID"],
        credentials["AWS_SECRET_ACCESS_KEY"],
        credentials["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )
    client = session.client("ssm", endpoint_url=server.endpoint, config=Config(proxies={}))
    try:
        return SsmParameter(client, name).value()
    finally:
        client.close()


@BY_KIND
def test_both_fleets_are_in_the_document_with_a_policy_each_and_blue_is_active(
    pair: Pair, pairs: SharedDeployment, server: Server
) -> None:
    colors = ColoredAccount(server=server, pair=pair)
    fleet, key = colors.document()["fleet"], "name" if pair.kind == "asg" else "service"
    assert fleet["type"] == "blue_green"
    assert tuple(fleet[color]["fleet"][key] for color in ("blue", "green")) == pair.fleets
    arns = {fleet[color]["policy_arn"] for color in ("blue", "green")}
    assert len(arns) == 2
    assert arns <= {
        each["PolicyARN"]
        for found in (
            server.aws("autoscaling", "DescribePolicies"),
            server.aws("application-autoscaling", "DescribeScalingPolicies", ServiceNamespace="ecs"),
        )
        for each in found["ScalingPolicies"]
    }
    assert colors.parameter("first-color") == "blue"


@BY_KIND
def test_the_workers_of_each_color_may_read_which_color_drains(
    pair: Pair, pairs: SharedDeployment, server: Server
) -> None:
    for name in pair.fleets:
        role = pairs.deployment.physical(
            f"sluice-{name}-fleet", "WorkerRole" if pair.kind == "asg" else "TaskRole"
        )
        arn = server.aws("iam", "GetRole", RoleName=role)["Role"]["Arn"]
        credentials = pairs.deployment.credentials(arn)
        assert read_as(server, credentials, f"/sluice/workloads/{pair.workload}/draining-color") == "none"
    assert server.gate.refused == []


@BY_KIND
def test_a_switch_hands_over_to_green_under_load(switch: Switch, server: Server) -> None:
    ended = switch.play()
    assert (ended["status"], ended.get("cause")) == ("SUCCEEDED", None)
    assert list(dict.fromkeys(switch.steps)) == [
        *("begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish")
    ]
    state = switch.colors.state()
    assert (state["active-color"], state["draining-color"], state["record"]) == ("green", "none", None)
    minimum = switch.colors.document()["capacity"]["min"]
    # 22 messages and one that is worked on, at seven an instance, beside the two that blue ran.
    assert state["green"] == (minimum, 4, False)
    assert state["blue"] == (0, 0, False)
    assert switch.colors.target("green") == RETUNED
    assert switch.waited_s > 60
    assert server.gate.refused == []


@BY_KIND
def test_a_stopped_switch_is_undone_by_the_execution_that_its_end_starts(
    switch: Switch, server: Server
) -> None:
    before = switch.colors.state()

    def stop(step: str) -> None:
        if step == "raise":
            started = switch.aws(
                "stepfunctions", "ListExecutions", stateMachineArn=switch.machine, statusFilter="RUNNING"
            )
            (execution,) = [each["executionArn"] for each in started["executions"]]
            switch.aws("stepfunctions", "StopExecution", executionArn=execution, cause="stopped by alice")

    switch.after = stop
    stopped = switch.play()
    assert stopped["status"] == "ABORTED"
    assert switch.colors.state() != before
    event = end_of(stopped)
    rules = switch.aws("events", "ListRules")["Rules"]
    (rule,) = [rule for rule in rules if matches(json.loads(rule["EventPattern"]), event)]
    (target,) = switch.aws("events", "ListTargetsByRule", Rule=rule["Name"])["Targets"]
    assert target["Arn"] == switch.machine
    switch.after = lambda step: None
    restored = switch.play(event)
    assert (restored["status"], restored.get("cause")) == ("SUCCEEDED", None)
    assert switch.colors.state() == before
    assert switch.steps[-1] == "restore"
    assert server.gate.refused == []


@pytest.mark.parametrize("pair", PAIRS[1:], ids=lambda pair: pair.kind)
def test_a_switch_whose_new_color_takes_no_message_is_undone_and_fails(switch: Switch) -> None:
    before = switch.colors.state()
    switch.after = lambda step: switch.colors.work("green", 0)
    ended = switch.play()
    assert (ended["status"], ended["error"]) == ("FAILED", "RolledBack")
    assert switch.colors.state() == before


@pytest.mark.parametrize("pair", PAIRS[:1], ids=lambda pair: pair.kind)
def test_a_role_that_may_not_raise_greens_minimum_undoes_the_switch_and_says_which_action_it_lacks(
    switch: Switch, pairs: SharedDeployment
) -> None:
    before, role = switch.colors.state(), pairs.function("SwitchFunction").role
    with removed(switch.aws, role, "autoscaling:UpdateAutoScalingGroup"):
        ended = switch.play()
    assert ended["status"] == "FAILED"
    assert "not authorized to perform: autoscaling:UpdateAutoScalingGroup" in ended["cause"]
    assert switch.colors.state() == before


def test_the_switch_functions_role_is_never_refused_and_all_of_this_is_used(
    pairs: SharedDeployment, server: Server, function: RunningFunction
) -> None:
    server.gate.authorizations.clear()
    for pair in PAIRS:
        colors = ColoredAccount(server=server, pair=pair)
        colors.at_first(messages=22)
        Switch(deployed=pairs, function=function, colors=colors).play()
    role = pairs.function("SwitchFunction").role
    used = {each.request.action for each in server.gate.authorizations if each.role == role}
    assert used == USED
    assert server.gate.refused == []
