"""Least privilege in both directions: what the functions call is allowed, and what is allowed they call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sluice_sim.aws_rules.iam_policies import Request, Statement, decide
from sluice_sim.template import ResolvedStack
from tests.privileges.conftest import Recorded
from tests.privileges.proof import Use, grants, refused, revoked, surplus
from tests.privileges.roles import role_of_functions, roles
from tests.privileges.scenarios import WORKLOADS
from tests.templates import stacks
from tests.templates.stacks import arn

pytestmark = pytest.mark.slow

TAG = "aws:ResourceTag/sluice"
USERS_RESOURCES = ("autoScalingGroup:", "service/", "scalable-target/")
# Application Auto Scaling checks these of its caller with calls that name no alarm: no name can narrow them.
PROBED_WITHOUT_A_NAME = {
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:PutMetricAlarm",
}
# Services are described ten a call, and an untagged one must not fail nine others; nothing is changed by it.
MAY_LOOK_AT_UNTAGGED = {"ecs:DescribeServices"}


def test_every_function_was_observed_with_both_fleet_types(recorded: Recorded, plane: ResolvedStack) -> None:
    failed = {each.scenario.name: each.failure for each in recorded.runs if each.failure}
    assert failed == {}
    requested = {(use.role, use.request.action) for use in recorded.uses}
    assert {role for role, _ in requested} == set(recorded.roles)
    for role in ("PublishBacklogRole", "BootstrapRole", "ShutdownRole", "DeadlineTickRole"):
        assert {(role, "autoscaling:SetDesiredCapacity"), (role, "ecs:UpdateService")} <= requested
    puts = {"autoscaling:PutScalingPolicy", "application-autoscaling:PutScalingPolicy"}
    assert {("RetuneTargetRole", put) for put in puts} <= requested
    described = {"autoscaling:DescribePolicies", "application-autoscaling:DescribeScalingPolicies"}
    assert {("PublishBacklogRole", describe) for describe in described} <= requested
    filled = {use.request.resource for use in recorded.uses if use.request.action == "sqs:SendMessage"}
    assert {queue.endswith(".fifo") for queue in filled} == {True, False}
    assert set(role_of_functions(plane).values()) <= {*recorded.roles, "SwitchRole"}


def test_a_tick_counts_sustained_arrivals_of_each_queue_by_the_current_target(recorded: Recorded) -> None:
    [tick] = [each for each in recorded.runs if each.scenario.name == "tick, messages keep arriving"]
    logged = {line.record["workload"]: line.record for line in tick.log if "arrivals_per_s" in line.record}
    assert logged.keys() == WORKLOADS.keys()
    assert {(each["arrivals_per_s"], each["processing_s"]) for each in logged.values()} == {(1, 45)}
    assert all(
        each["effective_backlog_per_instance"] > each["backlog_per_instance"] for each in logged.values()
    )


def test_every_call_is_allowed_by_the_role_it_is_made_under(recorded: Recorded) -> None:
    assert refused(recorded.roles, recorded.uses) == []


def test_every_grant_is_used_by_a_call_or_by_aws_on_our_behalf(recorded: Recorded) -> None:
    assert [str(grant) for grant in surplus(recorded.roles, recorded.uses)] == []


def test_each_removed_grant_is_needed(recorded: Recorded) -> None:
    taken = list(grants(recorded.roles))
    missed = [grant for grant in taken if refused(revoked(recorded.roles, grant), recorded.uses)]
    assert missed == taken
    assert len(taken) > 50


def test_a_grant_that_nothing_uses_is_found(recorded: Recorded) -> None:
    purge = Statement(actions=("sqs:PurgeQueue",), resources=(arn("sqs", "*"),))
    roles = {**recorded.roles, "ShutdownRole": (*recorded.roles["ShutdownRole"], purge)}
    assert [grant.action for grant in surplus(roles, recorded.uses)] == ["sqs:PurgeQueue"]


def test_what_aws_does_on_our_behalf_is_documented_by_aws(recorded: Recorded) -> None:
    assert {each.request.action for each in recorded.on_behalf} == {
        "application-autoscaling:RegisterScalableTarget",
        "autoscaling:PutScalingPolicy",
        "autoscaling:ResumeProcesses",
        "cloudwatch:DeleteAlarms",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:PutMetricAlarm",
        "ecs:DescribeServices",
        "ecs:UpdateService",
        "iam:PassRole",
        "lambda:InvokeFunction",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "scheduler:UpdateSchedule",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    }
    assert all(each.page.startswith("https://docs.aws.amazon.com/") for each in recorded.on_behalf)


def allowed(recorded: Recorded, requests: list[Request]) -> list[str]:
    """Which of these some role would allow."""
    return [
        str(Use(role=role, request=request))
        for request in requests
        for role, statements in recorded.roles.items()
        if decide(statements, request).allowed
    ]


def of_users(recorded: Recorded) -> list[Request]:
    """Requests on what a user made: queues, groups, services, scalable targets."""
    found = [
        each for each in recorded.requests if each.resource.split(":", 5)[-1].startswith(USERS_RESOURCES)
    ]
    found += [each for each in recorded.requests if each.action.startswith("sqs:") and TAG in each.context]
    return found


def moved(request: Request) -> Iterator[Request]:
    """The same of another partition, region and account."""
    parts = request.resource.split(":", 5)
    for position, elsewhere in ((1, "aws-cn"), (3, "us-east-1"), (4, "210987654321")):
        yield replace(request, resource=":".join([*parts[:position], elsewhere, *parts[position + 1 :]]))


def test_no_role_reaches_into_another_account_or_region(recorded: Recorded) -> None:
    here = [
        each
        for each in recorded.requests
        if each.resource != "*" and each.action not in PROBED_WITHOUT_A_NAME
    ]
    assert allowed(recorded, here) != []
    assert allowed(recorded, [there for each in here for there in moved(each)]) == []


@pytest.mark.parametrize("value", [None, "", "Managed", "managed ", "unmanaged"])
def test_no_role_may_change_a_fleet_or_queue_without_the_tag(recorded: Recorded, value: str | None) -> None:
    tagged = of_users(recorded)
    assert {each.action for each in tagged} == {
        "application-autoscaling:DeleteScheduledAction",
        "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:PutScheduledAction",
        "application-autoscaling:RegisterScalableTarget",
        "autoscaling:DeleteScheduledAction",
        "autoscaling:PutScalingPolicy",
        "autoscaling:PutScheduledUpdateGroupAction",
        "autoscaling:ResumeProcesses",
        "autoscaling:SetDesiredCapacity",
        "autoscaling:UpdateAutoScalingGroup",
        "autoscaling:SuspendProcesses",
        "ecs:DescribeServices",
        "ecs:UpdateService",
        "sqs:GetQueueAttributes",
        "sqs:SendMessage",
    }
    other = {} if value is None else {TAG: value}
    untagged = [
        replace(each, context={key: tag for key, tag in each.context.items() if key != TAG} | other)
        for each in tagged
        if each.action not in MAY_LOOK_AT_UNTAGGED
    ]
    assert allowed(recorded, tagged) != []
    assert allowed(recorded, untagged) == []


def test_a_tag_with_another_name_grants_nothing(recorded: Recorded) -> None:
    renamed = [
        replace(each, context={key.replace(TAG, f"{TAG}-not"): tag for key, tag in each.context.items()})
        for each in of_users(recorded)
        if each.action not in MAY_LOOK_AT_UNTAGGED
    ]
    assert allowed(recorded, renamed) == []


def test_only_test_messages_are_sent_to_a_users_queue(recorded: Recorded) -> None:
    sent = [each for each in of_users(recorded) if each.action == "sqs:SendMessage"]
    assert {each.split(":")[0] for each in allowed(recorded, sent)} == {"SendTestMessagesRole"}


def test_only_the_functions_that_resize_may_resize(recorded: Recorded) -> None:
    resizing = [each for each in recorded.requests if each.action == "autoscaling:SetDesiredCapacity"]
    able = {each.split(":")[0] for each in allowed(recorded, resizing)}
    assert able == {"PublishBacklogRole", "BootstrapRole", "ShutdownRole", "DeadlineTickRole"}


def test_only_a_surge_sets_a_minimum_or_schedules_one(recorded: Recorded) -> None:
    actions = {
        "application-autoscaling:PutScheduledAction",
        "autoscaling:PutScheduledUpdateGroupAction",
        "autoscaling:UpdateAutoScalingGroup",
    }
    asked = [each for each in recorded.requests if each.action in actions]
    assert {each.action for each in asked} == actions
    assert {each.split(":")[0] for each in allowed(recorded, asked)} == {"SurgeRole"}


def test_the_deadline_engine_and_the_guard_write_the_table_of_states_and_what_resizes_reads_it(
    recorded: Recorded,
) -> None:
    requested = [each for each in recorded.requests if each.action.startswith("dynamodb:")]

    def able(action: str) -> set[str]:
        own = [each for each in requested if each.action == action]
        return {each.split(":")[0] for each in allowed(recorded, own)}

    assert {each.action for each in requested} == {"dynamodb:BatchGetItem", "dynamodb:UpdateItem"}
    engine = {"DeadlineTickRole", "RetuneTargetRole", "GuardDownstreamRole"}
    assert able("dynamodb:UpdateItem") == engine
    reading = {"PublishBacklogRole", "BootstrapRole", "ShutdownRole", "SurgeRole"}
    assert able("dynamodb:BatchGetItem") == engine | reading
    others = [replace(each, resource=arn("dynamodb", "table/EngineStateTable2")) for each in requested]
    assert allowed(recorded, others) == []


def test_the_functions_that_decide_put_events_on_the_bus_that_is_named_alone(
    recorded: Recorded, plane: ResolvedStack
) -> None:
    [put] = [each for each in recorded.requests if each.action == "events:PutEvents"]
    able = {each.split(":")[0] for each in allowed(recorded, [put])}
    assert able == set(role_of_functions(plane).values()) - {"SendTestMessagesRole", "SwitchRole"}
    others = ("event-bus/default", "event-bus/decisions2", "event-bus/decisions/more")
    assert allowed(recorded, [replace(put, resource=arn("events", other)) for other in others]) == []


def test_no_function_may_put_events_if_no_bus_is_named() -> None:
    without = stacks.plane()
    assert [str(grant) for grant in grants(roles(without)) if grant.action.startswith("events:")] == []
    assert "PutEventsPolicy" not in without.resources


def test_only_the_registry_is_read_of_the_parameter_store(recorded: Recorded) -> None:
    others = ("sluice", "sluice/secret", "sluice/workloads-of-others/one", "other/sluice/workloads/one")
    requested = [
        Request(action=f"ssm:{action}", resource=arn("ssm", f"parameter/{name}"))
        for action in ("GetParameter", "GetParametersByPath")
        for name in others
    ]
    assert allowed(recorded, requested) == []


def test_a_function_writes_only_its_own_log(recorded: Recorded) -> None:
    logged = [each for each in recorded.on_behalf if each.request.action == "logs:PutLogEvents"]
    assert len(logged) == 8
    for each in logged:
        assert allowed(recorded, [each.request]) == [str(Use(role=each.role, request=each.request))]


@pytest.mark.parametrize("namespace", ["AWS/SQS", "Sluice/ControlPlane", "SluiceOther", "sluice"])
def test_metrics_go_to_the_planes_namespace_only(recorded: Recorded, namespace: str) -> None:
    [put] = [each for each in recorded.requests if each.action == "cloudwatch:PutMetricData"]
    assert allowed(recorded, [replace(put, context={"cloudwatch:namespace": namespace})]) == []
    assert allowed(recorded, [replace(put, context={})]) == []


@pytest.mark.parametrize(
    "alarm",
    ["sluice-transcription-bootstrap", "TargetTracking-transcription-AlarmHigh-1", "TargetTracking-table/t"],
)
@pytest.mark.parametrize("action", sorted(PROBED_WITHOUT_A_NAME))
def test_only_the_retune_role_writes_alarms_and_the_guard_reads_them(
    recorded: Recorded, action: str, alarm: str
) -> None:
    requested = Request(action=action, resource=arn("cloudwatch", f"alarm:{alarm}"))
    readers = ["GuardDownstreamRole"] if action == "cloudwatch:DescribeAlarms" else []
    able = [str(Use(role=role, request=requested)) for role in ["RetuneTargetRole", *readers]]
    assert sorted(allowed(recorded, [requested])) == sorted(able)


def test_nothing_else_about_alarms_is_allowed_to_anybody(recorded: Recorded) -> None:
    """Muting an alarm, or setting its state by hand, would hide what it reports."""
    resource = arn("cloudwatch", "alarm:sluice-transcription-bootstrap")
    requested = [
        Request(action=f"cloudwatch:{action}", resource=resource)
        for action in ("DisableAlarmActions", "EnableAlarmActions", "PutCompositeAlarm", "SetAlarmState")
    ]
    assert allowed(recorded, requested) == []


def test_scalable_targets_of_other_services_keep_their_policies(recorded: Recorded) -> None:
    namespace = "application-autoscaling:service-namespace"
    puts = [each for each in recorded.requests if each.action == "application-autoscaling:PutScalingPolicy"]
    elsewhere = [replace(put, context={**put.context, namespace: "dynamodb"}) for put in puts]
    assert allowed(recorded, puts) != []
    assert allowed(recorded, elsewhere) == []
