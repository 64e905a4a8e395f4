"""AWS's own scaling of a fleet: the fields that hold it, and the calls that change them.

A group's policies are held by its process AlarmNotification, by `Enabled` or by `DisableScaleIn`, a service's
by the suspended state of its scalable target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore import xform_name

from sluice.aws.ecs import DIMENSION, resource_id
from sluice.aws.errors import aws_errors
from sluice.aws.policies import ASG_CONFIGURATION, as_request
from sluice.aws.responses import MAX_COUNT, MalformedResponse, list_field, optional_list_field, positive
from sluice.aws.responses import field as required
from sluice.core.held_fields import PROCESS, Fields
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, Workload
from sluice.core.pause import (
    ALARM_NOTIFICATION,
    DISABLE_SCALE_IN,
    ENABLED,
    IN_SUSPENDED,
    OUT_SUSPENDED,
)
from sluice.errors import ConfigError, TransientError


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to AWS, and how EventBridge Scheduler names it."""

    service: str
    operation: str
    parameters: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The part of a universal target's ARN after `aws-sdk:`, such as `autoscaling:resumeProcesses`."""
        name = self.operation[0].lower() + self.operation[1:]
        return f"{self.service.replace('-', '')}:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScaling:
    """AWS's own scaling of one workload's fleet."""

    fleet: AutoScalingGroup | EcsService
    fields: Fields
    request: Mapping[str, Any] = field(default_factory=dict)
    """What puts a group's policy as it is; all of the suspended state of a service's scalable target."""

    def changes(self, to: Fields, now: Fields | None = None) -> Iterator[Call]:
        """The calls that bring the fields to these values, first what holds and last what releases."""
        now = self.fields if now is None else now
        changed = {name: value for name, value in to.items() if now.get(name) != value}
        if isinstance(self.fleet, EcsService):
            if changed and self.fields:  # without a scalable target there is nothing to hold
                state = {**self.request, **{name: to[name] for name in (OUT_SUSPENDED, IN_SUSPENDED)}}
                yield Call(
                    service="application-autoscaling",
                    operation="RegisterScalableTarget",
                    parameters={
                        "ServiceNamespace": "ecs",
                        "ResourceId": resource_id(self.fleet),
                        "ScalableDimension": DIMENSION,
                        "SuspendedState": state,
                    },
                )
            return
        group = {"AutoScalingGroupName": self.fleet.name, "ScalingProcesses": [PROCESS]}
        if changed.get(ALARM_NOTIFICATION) is True:
            yield Call(service="autoscaling", operation="SuspendProcesses", parameters=group)
        if changed.keys() & {ENABLED, DISABLE_SCALE_IN}:
            tracking = {**self.request[ASG_CONFIGURATION], DISABLE_SCALE_IN: to[DISABLE_SCALE_IN]}
            policy = {**self.request, ENABLED: to[ENABLED], ASG_CONFIGURATION: tracking}
            yield Call(service="autoscaling", operation="PutScalingPolicy", parameters=policy)
        if changed.get(ALARM_NOTIFICATION) is False:
            yield Call(service="autoscaling", operation="ResumeProcesses", parameters=group)


def read(clients: Callable[[str], Any], workload: Workload) -> OwnScaling:
    """The fields of the workload's fleet as they are now; raises SluiceError if AWS does not tell them."""
    return read_fleet(clients, workload.fleet, workload.policy_arn)


def read_fleet(clients: Callable[[str], Any], fleet: Fleet, policy_arn: str | None = None) -> OwnScaling:
    """The same of any fleet; without a policy's ARN, a group's fields are without those of a policy."""
    if isinstance(fleet, EcsService):
        return _service(clients("application-autoscaling"), fleet)
    return _group(clients("autoscaling"), fleet, policy_arn)


def make(clients: Callable[[str], Any], call: Call) -> None:
    """Make the call; raises SluiceError if AWS refuses it."""
    client = clients(call.service)
    with aws_errors(f"{call.operation} of {call.parameters.get('ResourceId') or _named(call)}"):
        getattr(client, xform_name(call.operation))(**call.parameters)


def _named(call: Call) -> str:
    return f"Auto Scaling group {call.parameters['AutoScalingGroupName']}"


def _group(client: Any, group: AutoScalingGroup, policy_arn: str | None) -> OwnScaling:
    with aws_errors(f"DescribeAutoScalingGroups of {group.name}"):
        found = list_field(
            client.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name]), "AutoScalingGroups"
        )
        if not found:
            raise ConfigError(f"{group} does not exist")
        suspended = {
            required(process, "ProcessName")
            for process in optional_list_field(found[0], "SuspendedProcesses")
        }
    fields = {ALARM_NOTIFICATION: PROCESS in suspended}
    if policy_arn is None:
        return OwnScaling(fleet=group, fields=fields)
    with aws_errors(f"DescribePolicies of {group}"):
        pages = client.get_paginator("describe_policies").paginate(AutoScalingGroupName=group.name)
        for page in pages:
            for policy in list_field(page, "ScalingPolicies"):
                if required(policy, "PolicyARN") == policy_arn:
                    request = as_request(client, policy)
                    tracking = required(request, ASG_CONFIGURATION)
                    # A put sends all of it, and without a type it would make another policy.
                    required(request, "PolicyType")
                    if positive(required(tracking, "TargetValue")) > MAX_COUNT:
                        raise MalformedResponse(f"a target of {tracking['TargetValue']}")
                    fields |= {
                        ENABLED: request.get(ENABLED, True) is True,
                        DISABLE_SCALE_IN: tracking.get(DISABLE_SCALE_IN) is True,
                    }
                    return OwnScaling(fleet=group, fields=fields, request=request)
    raise TransientError(
        f"AWS names no scaling policy {policy_arn} of {group}, so nothing can hold it: try again, and if it "
        "was deleted, update the workload's stack, which makes it anew"
    )


def _service(client: Any, service: EcsService) -> OwnScaling:
    with aws_errors(f"DescribeScalableTargets of {service}"):
        found = list_field(
            client.describe_scalable_targets(
                ServiceNamespace="ecs", ResourceIds=[resource_id(service)], ScalableDimension=DIMENSION
            ),
            "ScalableTargets",
        )
        if not found:
            return OwnScaling(fleet=service, fields={})
        state = dict(found[0].get("SuspendedState") or {})
    fields = {name: state.get(name) is True for name in (OUT_SUSPENDED, IN_SUSPENDED)}
    return OwnScaling(fleet=service, fields=fields, request=state)
