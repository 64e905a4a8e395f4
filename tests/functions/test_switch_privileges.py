"""Least privilege of a switch in both directions: its calls are allowed, and what is allowed is called.

A whole switch of two groups and of two services is recorded and evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.model import OperationModel
from moto.core.responses import ActionResult
from moto.ecs.responses import EC2ContainerServiceResponse

from sluice_sim.aws_rules.iam_policies import Request, decide
from tests.functions.conftest import NOON, Plane
from tests.functions.test_switch import STEPS, register_colors, step
from tests.privileges.authorization import Call, opaque_id, requests
from tests.privileges.inventory import EverythingTagged
from tests.privileges.proof import Use, grants, refused, surplus
from tests.privileges.roles import roles
from tests.sluice.aws import account
from tests.templates import stacks
from tests.templates.stacks import arn

TASK = arn("ecs", "task/workers/0d5a2c1e")
READS_AND_OWN = (
    "dynamodb:",
    "ssm:",
    "sqs:Get",
    "ecs:Describe",
    "ecs:Get",
    "ecs:List",
    "cloudwatch:",
    "logs:",
)
ROLE, MACHINE = "SwitchRole", "SwitchStateMachineRole"


class Recorder:
    """The calls of the function alone, as its role is asked for them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.listens = False

    def __call__(self, params: Mapping[str, Any], model: OperationModel, **_: object) -> None:
        if self.listens:
            call = Call(
                signing_name=model.service_model.signing_name, operation=model.name, parameters=dict(params)
            )
            self.requests += requests(call, EverythingTagged())


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    found, events = Recorder(), account.session().events
    events.register("before-parameter-build", found)
    yield found
    events.unregister("before-parameter-build", found)


@pytest.fixture
def used(plane: Plane, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> list[Use]:
    """What the function asked for in a whole switch of each kind, and what follows from it."""
    protected = {"is": True}
    told = {"protectedTasks": [{"taskArn": TASK, "protectionEnabled": True}], "failures": []}

    def told_now(_: object) -> ActionResult:
        task = {"taskArn": TASK, "protectionEnabled": protected["is"]}
        return ActionResult(told | {"protectedTasks": [task]})

    monkeypatch.setattr(
        EC2ContainerServiceResponse, "list_tasks", lambda _: ActionResult({"taskArns": [TASK]})
    )
    monkeypatch.setattr(EC2ContainerServiceResponse, "get_task_protection", told_now, raising=False)
    now = NOON
    for kind in ("asg", "ecs"):
        register_colors(kind)
        set_minimum(kind, 1)
        plane.ask_for(kind, 2)
        account.send(plane.queues[kind], 30)
        for name in STEPS:
            protected["is"] = name == "ready"
            if kind == "asg" and name == "ready":  # moto protects no instance: an empty queue is enough
                account.client("sqs").purge_queue(QueueUrl=plane.queues[kind])
            while True:
                recorder.listens = True
                answer = step(plane, kind, name)
                recorder.listens = False
                if answer["outcome"] != "wait":
                    break
                now += timedelta(seconds=answer["wait_s"])
                plane.at(now)
            assert answer["outcome"] == "next", answer
    # The account's table has a name of its own.
    made = [
        replace(each, resource=each.resource.replace("table/states", "table/EngineStateTable"))
        for each in recorder.requests
    ]
    asked = [*made, *on_behalf(made)]
    return list({str(each): Use(role=ROLE, request=each) for each in asked}.values())


def set_minimum(kind: str, minimum: int) -> None:
    if kind == "asg":
        account.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName="transcription", MinSize=minimum
        )
        return
    account.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/workers/queue-proc",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=minimum,
    )


def on_behalf(made: list[Request]) -> Iterator[Request]:
    """What Lambda writes, and what Application Auto Scaling checks of the caller of PutScalingPolicy."""
    stream = "log-group:/aws/lambda/sluice/switch:log-stream:2026/01/15/[$LATEST]0d5a"
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        yield Request(action=action, resource=arn("logs", stream))
    assert {"application-autoscaling:PutScalingPolicy"} <= {each.action for each in made}
    alarm = arn("cloudwatch", f"alarm:TargetTracking-service-AlarmHigh-{opaque_id('service')}")
    for action in ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms"):
        yield Request(action=action, resource=alarm)
        yield Request(action=action, resource="*")
    yield Request(action="ssm:GetParametersByPath", resource=arn("ssm", "parameter/sluice/workloads"))


def test_every_call_is_allowed_every_grant_is_used_and_nothing_is_changed_without_the_tag(
    used: list[Use],
) -> None:
    own = {ROLE: roles(stacks.plane())[ROLE]}
    assert refused(own, used) == []
    assert [str(grant) for grant in surplus(own, used)] == []
    changing = [
        use.request
        for use in used
        if any(key.startswith("aws:ResourceTag/") for key in use.request.context)
        and not use.request.action.startswith(READS_AND_OWN)
    ]
    assert {request.action for request in changing} == {
        "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:RegisterScalableTarget",
        "autoscaling:PutScalingPolicy",
        "autoscaling:ResumeProcesses",
        "autoscaling:SetDesiredCapacity",
        "autoscaling:SuspendProcesses",
        "autoscaling:UpdateAutoScalingGroup",
        "ecs:UpdateService",
    }
    for request in changing:
        namespace = {key: value for key, value in request.context.items() if "ResourceTag" not in key}
        untagged = Request(action=request.action, resource=request.resource, context=namespace)
        assert not decide(own[ROLE], untagged).allowed, request


def test_a_switch_changes_no_document_and_no_other_parameter() -> None:
    statements = roles(stacks.plane())[ROLE]
    for path in ("sluice/workloads/transcription", "sluice/workloads/transcription/other", "active-color"):
        request = Request(action="ssm:PutParameter", resource=arn("ssm", f"parameter/{path}"))
        assert not decide(statements, request).allowed


def test_the_state_machine_invokes_its_function_and_the_rule_starts_the_state_machine() -> None:
    plane = stacks.plane()
    invoked = [
        grant for grant in grants({MACHINE: roles(plane)[MACHINE]}) if grant.action.startswith("lambda")
    ]
    assert [grant.statement.resources for grant in invoked] == [(arn("lambda", "function:SwitchFunction"),)]
    starting = "SwitchStateMachineEndedInTheMiddleRole"
    assert {
        (grant.action, grant.statement.resources) for grant in grants({starting: roles(plane)[starting]})
    } == {("states:StartExecution", (arn("states", "stateMachine:sluice-switch"),))}
