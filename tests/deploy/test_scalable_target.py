"""An ECS workload's scalable target over time: it stays, with every policy and scheduled action of others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.deploy.build import ROOT
from tests.deploy.cloudformation.workloads import ScalableTarget
from tests.deploy.deployment import PLANE
from tests.deploy.server import Server
from tests.deploy.shared_deployment import SharedDeployment

ENVIRONMENT, STACK = "e2e-queue-proc", "sluice-e2e-queue-proc"
SERVICE = "service/workers/queue-proc"
PLACE = {"ServiceNamespace": "ecs", "ResourceId": SERVICE, "ScalableDimension": "ecs:service:DesiredCount"}
SUSPENDED = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What hangs on the service."""

    bounds: tuple[int, int]
    suspended: dict[str, bool]
    policies: list[str]
    scheduled: list[str]
    tags: dict[str, str]


def scaling(server: Server) -> Scaling:
    (target,) = targets(server)
    policies = listed(server, "ScalingPolicies")
    return Scaling(
        bounds=(target["MinCapacity"], target["MaxCapacity"]),
        suspended=target["SuspendedState"],
        policies=[policy["PolicyARN"] for policy in policies],
        scheduled=[action["ScheduledActionName"] for action in listed(server, "ScheduledActions")],
        tags=ScalableTarget.tags[SERVICE],
    )


def targets(server: Server, resource_id: str = SERVICE) -> list[dict[str, Any]]:
    return [each for each in listed(server, "ScalableTargets") if each["ResourceId"] == resource_id]


def listed(server: Server, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.aws(
        "application-autoscaling", f"Describe{what}", ServiceNamespace="ecs"
    )[what]
    return found


@pytest.fixture(scope="module")
def registered(shared_deployment: SharedDeployment, server: Server) -> Scaling:
    """The deployed workload; somebody else put a scheduled action on its scalable target."""
    shared_deployment.current()
    shared_deployment.outdated = True
    server.aws(
        "application-autoscaling",
        "PutScheduledAction",
        **PLACE,
        ScheduledActionName="somebody-elses",
        Schedule="cron(0 7 * * ? *)",
        ScalableTargetAction={"MinCapacity": 1},
    )
    before = scaling(server)
    assert (len(before.policies), before.scheduled) == (1, ["somebody-elses"])
    assert before.tags == {"sluice": "managed"}
    assert not any(before.suspended.values())
    return before


@pytest.mark.parametrize("mode", ["paused", "observe"])
def test_a_paused_or_observed_service_keeps_its_suspended_target_and_resumes_unchanged(
    mode: str, registered: Scaling, shared_deployment: SharedDeployment, server: Server
) -> None:
    shared_deployment.deployment.deploy_workload(ENVIRONMENT, Mode=mode, CreateScalableTarget="true")
    resting = scaling(server)
    assert resting.suspended == {**SUSPENDED, "ScheduledScalingSuspended": False}
    assert (resting.policies, resting.scheduled) == ([], ["somebody-elses"])
    assert (resting.tags, resting.bounds) == (registered.tags, registered.bounds)
    shared_deployment.deployment.deploy_workload(ENVIRONMENT, Mode="active")
    assert scaling(server) == registered


def test_an_empty_create_scalable_target_is_refused_and_changes_no_other_target(
    registered: Scaling, server: Server
) -> None:
    parameters = {"Name": "other", "QueueName": "other", "FleetType": "ecs", "ClusterName": "workers"}
    parameters |= {"ServiceName": "other", "MaxCapacity": "5", "ControlPlaneStack": PLANE, "Mode": "observe"}
    with pytest.raises(ClientError, match=r"CreateScalableTarget is empty.*not-yet if it never was"):
        create(server, parameters)
    server.aws("cloudformation", "DeleteStack", StackName="sluice-e2e-other")
    create(server, parameters | {"CreateScalableTarget": "not-yet"})
    assert targets(server, "service/workers/other") == []
    server.aws("cloudformation", "DeleteStack", StackName="sluice-e2e-other")
    assert scaling(server) == registered


def create(server: Server, parameters: dict[str, str]) -> None:
    server.aws(
        "cloudformation",
        "CreateStack",
        StackName="sluice-e2e-other",
        TemplateBody=(ROOT / "workload.yaml").read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    )


def test_renaming_the_workload_keeps_policy_and_target(
    registered: Scaling, shared_deployment: SharedDeployment, server: Server
) -> None:
    shared_deployment.deployment.deploy_workload(ENVIRONMENT, Name="renamed")
    assert scaling(server) == registered
    parameters = server.aws("ssm", "GetParametersByPath", Path="/sluice/workloads")["Parameters"]
    documents = {each["Name"].rsplit("/", 1)[-1]: json.loads(each["Value"]) for each in parameters}
    assert set(documents) == {"transcription", "renamed"}
    assert [documents["renamed"]["policy_arn"]] == registered.policies
    alarms = [alarm["AlarmName"] for alarm in server.aws("cloudwatch", "DescribeAlarms")["MetricAlarms"]]
    assert "sluice-renamed-bootstrap" in alarms
    assert not [name for name in alarms if name.startswith("sluice-queue-proc-")]


def test_handing_the_scalable_target_over_keeps_it_with_its_policies(
    registered: Scaling, shared_deployment: SharedDeployment, server: Server
) -> None:
    shared_deployment.deployment.deploy_workload(ENVIRONMENT, CreateScalableTarget="false")
    resources = server.aws("cloudformation", "ListStackResources", StackName=STACK)
    assert "EcsScalableTarget" not in {
        each["LogicalResourceId"] for each in resources["StackResourceSummaries"]
    }
    assert scaling(server) == registered
