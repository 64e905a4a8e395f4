import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.model import StructureShape

from sluice.aws import clients
from sluice.aws.asg import AutoScalingGroups
from sluice.aws.ecs import EcsServices
from sluice.core.model import Bounds, Capacity
from tests.sluice.aws import account
from tests.support.builders import (
    GROUP,
    SERVICE,
)

GROUPS = """
<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups><member>
  <AutoScalingGroupName>transcription</AutoScalingGroupName><HealthCheckType>EC2</HealthCheckType>
  <MinSize>1</MinSize><MaxSize>7</MaxSize><DesiredCapacity>3</DesiredCapacity>
  <Instances>
    <member><InstanceId>i-1</InstanceId><LifecycleState>InService</LifecycleState>
      <ProtectedFromScaleIn>true</ProtectedFromScaleIn></member>
    <member><LifecycleState>Pending</LifecycleState><WeightedCapacity>3</WeightedCapacity></member>
  </Instances>
  <SuspendedProcesses><member><ProcessName>Launch</ProcessName></member></SuspendedProcesses>
  <Status>Delete in progress</Status><DesiredCapacityType>vcpu</DesiredCapacityType>
  <MixedInstancesPolicy><LaunchTemplate><Overrides>
    <member><InstanceType>c5.large</InstanceType><WeightedCapacity>2</WeightedCapacity></member>
  </Overrides></LaunchTemplate></MixedInstancesPolicy>
</member></AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>
"""
SERVICES = """
{"services": [{"serviceName": "queue-proc", "status": "ACTIVE", "desiredCount": 3, "runningCount": 2,
  "createdAt": 1768478400.0, "events": [{"id": "1", "createdAt": 1768478400.0, "message": "steady"}],
  "deployments": [{"id": "1", "rolloutState": "IN_PROGRESS"}]}], "failures": []}
"""
TARGETS = """
{"ScalableTargets": [{"ResourceId": "service/workers/queue-proc", "MinCapacity": 1, "MaxCapacity": 7,
  "SuspendedState": {"DynamicScalingOutSuspended": true}}]}
"""
Answering = Callable[[str, str], Callable[[], Any]]


class Body:
    def __init__(self, text: str) -> None:
        self._bytes = text.encode()

    def stream(self) -> list[bytes]:
        return [self._bytes]


@pytest.fixture
def answering() -> Answering:
    """A client as the functions make it, whose service sends this text back."""

    def made(service: str, text: str) -> Callable[[], Any]:
        client = clients.client(account.session(), service)

        def answer(request: Any, **_: Any) -> AWSResponse:
            return AWSResponse(request.url, 200, {}, Body(text))

        client.meta.events.register("before-send", answer)
        return lambda: client

    return made


def test_everything_that_a_decision_needs_of_a_group_is_read(answering: Answering) -> None:
    with account.threads() as pool:
        groups = AutoScalingGroups(answering("autoscaling", GROUPS), pool)
        assert groups.read([GROUP], lambda: 10)[GROUP] == Capacity(
            desired=3,
            running=1,
            bounds=Bounds(min=1, max=7),
            scale_out_blocked_by=("Launch is suspended", "Delete in progress"),
            scale_in_blocked_by=("Delete in progress",),
            unsupported_units=("WeightedCapacity 2", "WeightedCapacity 3", "DesiredCapacityType vcpu"),
            booting=1,
            protected=1,
        )


def test_everything_that_a_decision_needs_of_a_service_is_read(answering: Answering) -> None:
    with account.threads() as pool:
        services = EcsServices(
            answering("ecs", SERVICES), answering("application-autoscaling", TARGETS), pool
        )
        assert services.read([SERVICE], lambda: 10)[SERVICE] == Capacity(
            desired=3,
            running=2,
            bounds=Bounds(min=1, max=7),
            scale_out_blocked_by=("DynamicScalingOut is suspended",),
            scale_in_blocked_by=("a deployment is rolling",),
        )


@pytest.mark.parametrize(
    ("service", "text", "method", "field"),
    [
        ("ecs", SERVICES, "describe_services", "services"),
        ("autoscaling", GROUPS, "describe_auto_scaling_groups", "AutoScalingGroups"),
    ],
)
def test_fields_that_nothing_reads_are_not_parsed(
    answering: Answering, service: str, text: str, method: str, field: str
) -> None:
    parameters = {"services": ["queue-proc"]} if service == "ecs" else {}
    found = getattr(answering(service, text)(), method)(**parameters)[field][0]
    assert not found.keys() & {"events", "createdAt", "HealthCheckType"}


def test_nothing_is_parsed_of_a_service_that_was_updated(answering: Answering) -> None:
    """Its last hundred events would take longer than the call."""
    text = json.dumps({"service": json.loads(SERVICES)["services"][0]})
    found = answering("ecs", text)().update_service(service="queue-proc", desiredCount=3)
    assert found.keys() == {"ResponseMetadata"}


def test_one_client_spares_what_another_of_the_same_session_reads() -> None:
    clients.client(account.session(), "ecs")
    described = account.session().client("ecs").meta.service_model.operation_model("DescribeServices")
    assert "events" in described.output_shape.members["services"].member.members


def test_a_boto3_that_cannot_be_trimmed_can_still_read(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = StructureShape.__dict__["members"]
    fixed = property(lambda shape: MappingProxyType(members.__get__(shape, StructureShape)))
    monkeypatch.setattr(StructureShape, "members", fixed)
    (found,) = answering("ecs", SERVICES)().describe_services(services=["queue-proc"])["services"]
    assert found["desiredCount"] == 3
    assert found["events"]
