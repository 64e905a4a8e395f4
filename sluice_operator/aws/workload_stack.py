"""The parameters of a workload's CloudFormation stack, which hold more than its document does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.core.model import Unknown
from sluice.errors import SluiceError


def parameters(client: Any, stack_id: str, name: str) -> Mapping[str, str] | Unknown:
    """Parameter -> value as deployed; Unknown with the reason if the stack is gone or may not be read.

    The same for a stack that is not of `workload.yaml`, whose Name is the workload's: its parameters may mean
    something else. By its id CloudFormation also describes a deleted stack, for 90 days.
    """
    try:
        with aws_errors(f"DescribeStacks of {stack_id}"):
            stacks = list_field(client.describe_stacks(StackName=stack_id), "Stacks")
            if len(stacks) != 1:
                raise MalformedResponse(f"{len(stacks)} stacks of one id")
            stack = stacks[0]
            if field(stack, "StackStatus") == "DELETE_COMPLETE":
                return Unknown(reason=f"the stack {stack_id} was deleted")
            found = {
                field(each, "ParameterKey"): field(each, "ParameterValue")
                for each in optional_list_field(stack, "Parameters")
            }
            if found.get("Name") != name:
                return Unknown(reason=f"the stack {stack_id} has no parameter Name={name}")
            return found
    except SluiceError as refused:
        return Unknown(reason=str(refused))
