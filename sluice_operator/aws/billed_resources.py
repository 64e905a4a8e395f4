"""What of an account is billed, as AWS describes it: stacks, alarms, custom metrics, functions, schedules.

Every list is read by pages of the size that AWS allows. Reads alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from sluice.aws.concurrent_reads import batches
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.core.model import Metric
from sluice_operator.aws.control_plane import NO_STACK

ALARMS_PER_CALL = 100
FUNCTION, SCHEDULE, QUEUE = "AWS::Lambda::Function", "AWS::Scheduler::Schedule", "AWS::SQS::Queue"
LOG_GROUP, DASHBOARD, TABLE = "AWS::Logs::LogGroup", "AWS::CloudWatch::Dashboard", "AWS::DynamoDB::Table"
ALARM = "AWS::CloudWatch::Alarm"
GONE = "DELETE_COMPLETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stack that exists."""

    created_at: datetime
    parameters: Mapping[str, str]


Resources = Mapping[str, Mapping[str, str]]
"""Type -> logical id -> physical id."""


def stack(cloudformation: Any, name_or_id: str) -> Stack | None:
    """The stack; None if it does not exist any more."""
    with aws_errors(f"DescribeStacks of {name_or_id}"):
        try:
            answer = cloudformation.describe_stacks(StackName=name_or_id)
        except ClientError as refused:
            if refused.response.get("Error", {}).get("Code") != NO_STACK:
                raise
            return None
        found = [each for each in list_field(answer, "Stacks") if field(each, "StackStatus") != GONE]
        return _stack(found[0]) if found else None


def stacks(cloudformation: Any) -> dict[str, Stack]:
    """Every stack of the account and region by its id, page by page."""
    with aws_errors("DescribeStacks"):
        pages = cloudformation.get_paginator("describe_stacks").paginate()
        return {field(each, "StackId"): _stack(each) for page in pages for each in list_field(page, "Stacks")}


def resources(cloudformation: Any, name_or_id: str) -> Resources:
    """What the stack has deployed, page by page."""
    with aws_errors(f"ListStackResources of {name_or_id}"):
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name_or_id)
        found: dict[str, dict[str, str]] = {}
        for page in pages:
            for each in list_field(page, "StackResourceSummaries"):
                own = found.setdefault(field(each, "ResourceType"), {})
                own[field(each, "LogicalResourceId")] = each.get("PhysicalResourceId", "")
        return found


def alarms(cloudwatch: Any, prefix: str) -> list[Mapping[str, Any]]:
    """Every metric alarm whose name begins so, a hundred a call."""
    with aws_errors(f"DescribeAlarms of {prefix}..."):
        pages = cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=prefix,
            AlarmTypes=["MetricAlarm"],
            PaginationConfig={"PageSize": ALARMS_PER_CALL},
        )
        return [alarm for page in pages for alarm in list_field(page, "MetricAlarms") if _has_periods(alarm)]


def named_alarms(cloudwatch: Any, names: Collection[str]) -> list[Mapping[str, Any]]:
    """The metric alarms of these names that exist, a hundred a call."""
    found: list[Mapping[str, Any]] = []
    for batch in batches(sorted(names), ALARMS_PER_CALL):
        with aws_errors(f"DescribeAlarms of {len(batch)} alarms"):
            answer = cloudwatch.describe_alarms(AlarmNames=list(batch), MaxRecords=ALARMS_PER_CALL)
            found += [alarm for alarm in list_field(answer, "MetricAlarms") if _has_periods(alarm)]
    return found


def dashboards(cloudwatch: Any, prefix: str) -> list[str]:
    """The names of the dashboards that begin with this."""
    with aws_errors(f"ListDashboards of {prefix}..."):
        pages = cloudwatch.get_paginator("list_dashboards").paginate(DashboardNamePrefix=prefix)
        return [
            field(each, "DashboardName")
            for page in pages
            for each in optional_list_field(page, "DashboardEntries")
        ]


def metrics(cloudwatch: Any, namespace: str) -> list[Metric]:
    """Every metric of the namespace that had values in the last two weeks, five hundred a call."""
    with aws_errors(f"ListMetrics of {namespace}"):
        pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace)
        return [
            Metric(
                namespace=namespace,
                name=field(each, "MetricName"),
                dimensions={
                    field(one, "Name"): field(one, "Value") for one in optional_list_field(each, "Dimensions")
                },
            )
            for page in pages
            for each in list_field(page, "Metrics")
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSize:
    """What a function's GB-seconds depend on."""

    memory_mb: int
    architecture: str


def function_size(functions: Any, name: str) -> FunctionSize:
    """The function's memory and processor."""
    with aws_errors(f"GetFunctionConfiguration of {name}"):
        answer = functions.get_function_configuration(FunctionName=name)
        architectures: Sequence[str] = optional_list_field(answer, "Architectures") or ["x86_64"]
        return FunctionSize(memory_mb=int(field(answer, "MemorySize")), architecture=architectures[0])


def schedule_expression(scheduler: Any, name: str) -> str | None:
    """When the schedule invokes its function; None if it is disabled."""
    with aws_errors(f"GetSchedule of {name}"):
        answer = scheduler.get_schedule(Name=name)
        if field(answer, "State") != "ENABLED":
            return None
        return str(field(answer, "ScheduleExpression"))


def _stack(described: Mapping[str, Any]) -> Stack:
    created_at = field(described, "CreationTime")
    if not isinstance(created_at, datetime):
        raise MalformedResponse(f"CreationTime is {created_at!r}")
    return Stack(
        created_at=created_at,
        parameters={
            field(each, "ParameterKey"): str(each.get("ParameterValue", ""))
            for each in optional_list_field(described, "Parameters")
        },
    )


def _has_periods(alarm: Mapping[str, Any]) -> bool:
    """Whether its metrics are described as a template describes them; raises MalformedResponse if not."""
    queries = optional_list_field(alarm, "Metrics")
    if not queries:
        field(alarm, "Period")
    for query in queries:
        if "MetricStat" in query:
            field(field(query, "MetricStat"), "Period")
    return True
