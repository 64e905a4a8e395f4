"""The ends of holds: one-time schedules of EventBridge Scheduler, which release what AWS holds.

The target is a universal one: AWS makes the call by itself, under a role of the control plane's stack.
Scheduler deletes a schedule after its end.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from sluice.aws.errors import aws_errors
from sluice.aws.own_scaling import Call
from sluice.core.held_fields import RELEASE_RETRIED_FOR


def put(client: Any, name: str, group: str, role_arn: str, at: datetime, call: Call) -> None:
    """Have AWS make the call at that time, in place of what was scheduled under this name."""
    partition = role_arn.split(":")[1]
    schedule: dict[str, Any] = {
        "Name": name,
        "GroupName": group,
        "Description": f"Releases the scaling policy of the Sluice workload {name}.",
        "ScheduleExpression": f"at({at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:{call.target}",
            "RoleArn": role_arn,
            "Input": json.dumps(call.parameters),
            "RetryPolicy": {
                "MaximumEventAgeInSeconds": int(RELEASE_RETRIED_FOR.total_seconds()),
                "MaximumRetryAttempts": 185,
            },
        },
    }
    with aws_errors(f"CreateSchedule of {group}/{name}"):
        try:
            client.create_schedule(**schedule)
        except ClientError as refused:
            if _code(refused) != "ConflictException":
                raise
            client.update_schedule(**schedule)


def delete(client: Any, name: str, group: str) -> None:
    """Delete the schedule; one that is not there, or has ended, is no failure."""
    with aws_errors(f"DeleteSchedule of {group}/{name}"):
        try:
            client.delete_schedule(Name=name, GroupName=group)
        except ClientError as refused:
            if _code(refused) != "ResourceNotFoundException":
                raise


def _code(refused: ClientError) -> str:
    code: str = refused.response.get("Error", {}).get("Code", "")
    return code
