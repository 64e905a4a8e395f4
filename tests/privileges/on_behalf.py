"""What AWS does under the roles of Sluice without a call from Sluice: each with the page that documents it.

Owns the list, as requests that follow from what is deployed and from the calls that were made: they are
evaluated like those. A granted action that neither a call nor this list uses has no reason to be granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sluice_sim.account import arn
from sluice_sim.aws_rules.iam_policies import Request
from sluice_sim.template import ResolvedStack
from tests.privileges.authorization import Tags, opaque_id, request
from tests.privileges.gate import RecordedCall
from tests.privileges.roles import role_of_functions
from tests.templates.stacks import of_type

LOGS_OF_A_FUNCTION = "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html"
FAILED_EVENTS = "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"
SCHEDULED_STARTS = "https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html"
EVENT_SOURCES = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"
PUT_POLICIES = (
    "https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html"
)
CHECKED_PERMISSIONS = (
    "https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html"
)
UNIVERSAL_TARGETS = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html"
ENDS_OF_PAUSES = {
    ":autoScalingGroup:": ("autoscaling:ResumeProcesses", "autoscaling:PutScalingPolicy"),
    ":scalable-target/": ("application-autoscaling:RegisterScalableTarget",),
    ":service/": ("ecs:DescribeServices", "ecs:UpdateService"),
}
"""Part of a fleet's ARN -> what is asked of it; of a service by Application Auto Scaling, which checks."""
UNNAMED = "*"
"""What IAM evaluates a call against that names no resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpliedRequest:
    """One request that AWS makes under a role of Sluice, and the page that documents it."""

    role: str
    request: Request
    page: str


def exercised(plane: ResolvedStack, calls: Iterable[RecordedCall], tags: Tags) -> list[ImpliedRequest]:
    """Everything AWS does under the roles of this control plane after these calls."""
    return [
        *_by_lambda(plane),
        *_by_scheduler(plane),
        *_by_ends_of_pauses(tags),
        *_by_application_auto_scaling(calls, tags),
        *_by_registering(calls, tags),
        *_by_scheduling(calls),
    ]


def _by_lambda(plane: ResolvedStack) -> Iterator[ImpliedRequest]:
    """Lambda writes a function's log, puts aside what no attempt could serve, and empties its queue."""
    role_of = role_of_functions(plane)
    for name, function in of_type(plane, "AWS::Lambda::Function").items():
        stream = f"2026/01/15/{name}[$LATEST]{opaque_id(name)}"
        group = function["LoggingConfig"]["LogGroup"]
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            resource = arn("logs", f"log-group:{group}:log-stream:{stream}")
            request = Request(action=action, resource=resource)
            yield ImpliedRequest(role=role_of[name], request=request, page=LOGS_OF_A_FUNCTION)
    for settings in of_type(plane, "AWS::Lambda::EventInvokeConfig").values():
        queue = settings["DestinationConfig"]["OnFailure"]["Destination"]
        request = Request(action="sqs:SendMessage", resource=queue)
        yield ImpliedRequest(role=role_of[settings["FunctionName"]], request=request, page=FAILED_EVENTS)
    for source in of_type(plane, "AWS::Lambda::EventSourceMapping").values():
        for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
            request = Request(action=action, resource=source["EventSourceArn"])
            yield ImpliedRequest(role=role_of[source["FunctionName"]], request=request, page=EVENT_SOURCES)


def _by_scheduler(plane: ResolvedStack) -> Iterator[ImpliedRequest]:
    for schedule in of_type(plane, "AWS::Scheduler::Schedule").values():
        role, function = schedule["Target"]["RoleArn"].removesuffix(".Arn"), schedule["Target"]["Arn"]
        request = Request(action="lambda:InvokeFunction", resource=function)
        yield ImpliedRequest(role=role, request=request, page=SCHEDULED_STARTS)


def _by_ends_of_pauses(tags: Tags) -> Iterator[ImpliedRequest]:
    """What `sluice pause --for` schedules: each fleet gets back what AWS held."""
    for fleet in tags:
        for part, actions in ENDS_OF_PAUSES.items():
            for action in actions if part in fleet else ():
                service = {"application-autoscaling:service-namespace": "ecs"}
                context = service if action.startswith("application") else {}
                asked = request(action, fleet, tags, **context)
                yield ImpliedRequest(role="PauseEndRole", request=asked, page=UNIVERSAL_TARGETS)


def _by_registering(calls: Iterable[RecordedCall], tags: Tags) -> Iterator[ImpliedRequest]:
    """The caller of RegisterScalableTarget needs the permissions for what AWS then does with the service."""
    for call in calls:
        if call.request.action == "application-autoscaling:RegisterScalableTarget":
            for action in ("ecs:DescribeServices", "ecs:UpdateService"):
                service = arn("ecs", call.call.parameters["ResourceId"])
                yield ImpliedRequest(
                    role=call.role, request=request(action, service, tags), page=PUT_POLICIES
                )


def _by_scheduling(calls: Iterable[RecordedCall]) -> Iterator[ImpliedRequest]:
    """Who makes a schedule passes it the role of its target; a schedule that exists is updated."""
    for call in calls:
        if call.request.action == "scheduler:CreateSchedule":
            passed = Request(
                action="iam:PassRole",
                resource="PauseEndRole.Arn",
                context={"iam:PassedToService": "scheduler.amazonaws.com"},
            )
            yield ImpliedRequest(role=call.role, request=passed, page=SCHEDULED_STARTS)
            updated = Request(action="scheduler:UpdateSchedule", resource=call.request.resource)
            yield ImpliedRequest(role=call.role, request=updated, page=SCHEDULED_STARTS)


def _by_application_auto_scaling(calls: Iterable[RecordedCall], tags: Tags) -> Iterator[ImpliedRequest]:
    """The caller of PutScalingPolicy needs the permissions for what AWS then does with its alarms."""
    for call in calls:
        if call.request.action != "application-autoscaling:PutScalingPolicy":
            continue
        service = call.call.parameters["ResourceId"]
        alarm = arn("cloudwatch", f"alarm:TargetTracking-{service}-AlarmHigh-{opaque_id(service)}")
        for action, resource, page in (
            ("ecs:DescribeServices", arn("ecs", service), PUT_POLICIES),
            ("ecs:UpdateService", arn("ecs", service), PUT_POLICIES),
            ("cloudwatch:PutMetricAlarm", alarm, PUT_POLICIES),
            ("cloudwatch:DeleteAlarms", alarm, PUT_POLICIES),
            # First it asks for each of the three without naming an alarm, whether the caller may.
            ("cloudwatch:PutMetricAlarm", UNNAMED, CHECKED_PERMISSIONS),
            ("cloudwatch:DeleteAlarms", UNNAMED, CHECKED_PERMISSIONS),
            ("cloudwatch:DescribeAlarms", UNNAMED, CHECKED_PERMISSIONS),
        ):
            yield ImpliedRequest(role=call.role, request=request(action, resource, tags), page=page)
