"""The control plane's functions, schedules and failure queue, and the quotas of its account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from sluice.aws.errors import aws_errors
from sluice.aws.responses import count, field, list_field, positive
from sluice_operator.core.checks.plane import Concurrency, FailureQueue

FUNCTION, SCHEDULE, QUEUE = "AWS::Lambda::Function", "AWS::Scheduler::Schedule", "AWS::SQS::Queue"
ALARM_QUOTA = {"ServiceCode": "monitoring", "QuotaCode": "L-2FF78D7B"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneResources:
    """What the stack has deployed: names by logical ids."""

    functions: Mapping[str, str]
    schedules: Mapping[str, str]
    failure_queue_url: str


def resources(cloudformation: Any, stack: str) -> PlaneResources:
    """The stack's resources; raises SluiceError if they cannot be read."""
    with aws_errors(f"ListStackResources of {stack}"):
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        found = [each for page in pages for each in list_field(page, "StackResourceSummaries")]

        def of(kind: str) -> dict[str, str]:
            return {
                field(each, "LogicalResourceId"): field(each, "PhysicalResourceId")
                for each in found
                if field(each, "ResourceType") == kind
            }

        return PlaneResources(
            functions=of(FUNCTION),
            schedules=of(SCHEDULE),
            failure_queue_url=field(of(QUEUE), "FailureQueue"),
        )


def schedule_state(scheduler: Any, name: str) -> str | None:
    """ENABLED or DISABLED; None if the schedule was deleted."""
    with aws_errors(f"GetSchedule of {name}"):
        answer = _unless("ResourceNotFoundException", lambda: scheduler.get_schedule(Name=name))
        return None if answer is None else str(field(answer, "State"))


def reserved_concurrency(functions: Any, name: str) -> int | None:
    """The invocations at once that are reserved for a function; None if none are."""
    with aws_errors(f"GetFunctionConcurrency of {name}"):
        reserved = functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
        return None if reserved is None else count(reserved)


def account_concurrency(functions: Any) -> Concurrency:
    """The quota of the account and region."""
    with aws_errors("GetAccountSettings"):
        limit = field(functions.get_account_settings(), "AccountLimit")
        return Concurrency(
            limit=count(field(limit, "ConcurrentExecutions")),
            unreserved=count(field(limit, "UnreservedConcurrentExecutions")),
        )


def failure_queue(sqs: Any, url: str) -> FailureQueue:
    """How many events wait in it."""
    with aws_errors(f"GetQueueAttributes of {url}"):
        name = "ApproximateNumberOfMessages"
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return FailureQueue(url=url, events=count(field(field(answer, "Attributes"), name)))


def alarms(cloudwatch: Any) -> int:
    """All alarms of the account and region, 100 a call."""
    with aws_errors("DescribeAlarms"):
        kinds = ("MetricAlarms", "CompositeAlarms")
        pages = cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmTypes=["MetricAlarm", "CompositeAlarm"], PaginationConfig={"PageSize": 100}
        )
        return sum(len(list_field(page, kind)) for page in pages for kind in kinds)


def alarm_quota(quotas: Any) -> float:
    """The most alarms: what was applied to the account, or else AWS's default."""
    with aws_errors("GetServiceQuota of CloudWatch alarms"):
        answer = _unless("NoSuchResourceException", lambda: quotas.get_service_quota(**ALARM_QUOTA))
        if answer is None:
            answer = quotas.get_aws_default_service_quota(**ALARM_QUOTA)
        return positive(field(field(answer, "Quota"), "Value"))


def standard_parameters(ssm: Any) -> int:
    """All standard parameters of the account and region, 50 a call."""
    with aws_errors("DescribeParameters"):
        pages = ssm.get_paginator("describe_parameters").paginate(PaginationConfig={"PageSize": 50})
        found = (each for page in pages for each in list_field(page, "Parameters"))
        return sum(each.get("Tier", "Standard") == "Standard" for each in found)


def _unless(code: str, call: Any) -> Any:
    """AWS's answer; None if it is this error."""
    try:
        return call()
    except ClientError as refused:
        if refused.response.get("Error", {}).get("Code") == code:
            return None
        raise
