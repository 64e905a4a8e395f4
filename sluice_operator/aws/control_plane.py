"""The deployed control plane, by the outputs of its CloudFormation stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.errors import ConfigError

NO_STACK = "ValidationError"
"""CloudFormation's code for a stack that does not exist, and for a name that no stack can have."""
REGISTRY_EXPORT = "-RegistryPrefix"
"""What follows the stack's name in the name of the export that each workload's stack imports."""
LOGGING_FUNCTIONS = ("publish_backlog", "deadline_tick", "retune_target", "bootstrap", "shutdown", "surge")
"""Functions whose log lines are about workloads, by the last part of their log groups' names."""
GUARD_FUNCTION, SWITCH_FUNCTION = "guard_downstream", "switch"
"""Two more; their log groups exist only with them, and a query of one that does not exist fails."""

ALARM_FUNCTIONS = {"bootstrap": "BootstrapFunctionArn", "shutdown": "ShutdownFunctionArn"}
"""Kind of alarm -> the output with the ARN of the function that it starts."""


class NoControlPlaneError(ConfigError):
    """The region has no stack of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """One deployed control plane."""

    stack: str
    stack_arn: str
    release: str | None
    """The release that is deployed; None for one whose stack does not name it."""
    registry_prefix: str
    """Path in SSM Parameter Store that holds the workload documents."""
    namespace: str
    """CloudWatch namespace of BacklogPerInstance."""
    state_table: str | None
    """Table of what the deadline engine remembers; None for a release whose stack does not name it."""
    pause_group: str | None
    """Schedule group of the ends of pauses; None for a release that knows no pause."""
    pause_role_arn: str | None
    """The role under which EventBridge Scheduler ends a pause."""
    surge_function_arn: str | None
    """The function that `sluice surge` invokes; None for a release that knows no surge."""
    switch_machine_arn: str | None
    """The state machine that `sluice switch` starts; None for a release that knows no switch."""
    guard_group: str | None
    """Schedule group of the ends of the downstream guard's holds; None for a release that knows none."""
    has_guard: bool
    """Whether the function of the downstream guard is deployed."""
    alarm_functions: Mapping[str, str]
    """The ARN of each function that a workload's alarm starts, by `bootstrap` and `shutdown`."""

    @property
    def log_groups(self) -> tuple[str, ...]:
        """The log groups of the functions that log decisions, as template.yaml names them."""
        functions = (
            *LOGGING_FUNCTIONS,
            *([GUARD_FUNCTION] if self.has_guard else []),
            *([SWITCH_FUNCTION] if self.switch_machine_arn else []),
        )
        return tuple(f"/aws/lambda/{self.stack}/{function}" for function in functions)

    @property
    def account_id(self) -> str:
        """The AWS account that it is deployed in."""
        return self.stack_arn.split(":")[4]


def find(client: Any, stack: str) -> ControlPlane:
    """The control plane that this stack deployed; raises ConfigError if it is none.

    Without a stack of that name it raises NoControlPlaneError.
    """
    what, region = f"DescribeStacks of {stack}", client.meta.region_name
    with aws_errors(what):
        try:
            response = client.describe_stacks(StackName=stack)
        except ClientError as refused:
            if refused.response.get("Error", {}).get("Code") != NO_STACK:
                raise
            raise NoControlPlaneError(
                f"no control plane: CloudFormation finds no stack {stack} in {region}: give --region and "
                "--profile of its account, or --stack if it was deployed under another name"
            ) from refused
        described = _described(response)
        stack_arn, outputs = field(described, "StackId"), _outputs(described)
    if not {"RegistryPrefix", "MetricNamespace"} <= outputs.keys():
        raise ConfigError(
            f"the stack {stack} in {region} is no control plane: it lacks the outputs of template.yaml; "
            "give its name with --stack"
        )
    return ControlPlane(
        stack=stack,
        stack_arn=stack_arn,
        release=outputs.get("Release"),
        registry_prefix=outputs["RegistryPrefix"],
        namespace=outputs["MetricNamespace"],
        state_table=outputs.get("EngineStateTable"),
        pause_group=outputs.get("PauseScheduleGroup"),
        pause_role_arn=outputs.get("PauseEndRoleArn"),
        surge_function_arn=outputs.get("SurgeFunctionArn"),
        switch_machine_arn=outputs.get("SwitchStateMachineArn"),
        guard_group=outputs.get("GuardScheduleGroup"),
        has_guard="GuardFunctionName" in outputs,
        alarm_functions={
            kind: outputs[output] for kind, output in ALARM_FUNCTIONS.items() if output in outputs
        },
    )


def stack_names(client: Any, pattern: str) -> list[str]:
    """The names of this region's control planes that match a shell's pattern, by what their stacks export.

    So those of a stack set are found, whose names end in an id. Raises SluiceError.
    """
    found = set()
    with aws_errors("ListExports"):
        for page in client.get_paginator("list_exports").paginate():
            for export in optional_list_field(page, "Exports"):
                stack, suffix, _ = field(export, "Name").rpartition(REGISTRY_EXPORT)
                if suffix and fnmatchcase(stack, pattern):
                    found.add(stack)
    return sorted(found)


def _described(response: Mapping[str, Any]) -> Mapping[str, Any]:
    stacks = list_field(response, "Stacks")
    if len(stacks) != 1:
        raise MalformedResponse(f"{len(stacks)} stacks of one name")
    described: Mapping[str, Any] = stacks[0]
    return described


def _outputs(described: Mapping[str, Any]) -> dict[str, str]:
    return {
        field(output, "OutputKey"): field(output, "OutputValue")
        for output in optional_list_field(described, "Outputs")
    }
