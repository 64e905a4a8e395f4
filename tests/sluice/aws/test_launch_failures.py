"""AWS's responses when launches fail, and when they do not."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from sluice.aws import clients
from sluice.aws.launch_failures import (
    EVENT_FIELDS,
    MAX_ACTIVITIES,
    AwsLaunches,
)
from sluice.core.model import AutoScalingGroup, EcsService, Fleet, LaunchAttempt, Unknown
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    Call,
    refusal,
    stubbed,
)
from tests.sluice.aws.test_clients import Body
from tests.support.builders import (
    GROUP,
    NOW,
    SERVICE,
)

SPOT = (
    "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your "
    "request configuration. Please adjust your request and try again. Launching EC2 instance failed."
)
ON_DEMAND = (
    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have "
    "sufficient r7g.medium capacity in the Availability Zone you requested (eu-west-1a). Our system will be "
    "working on provisioning additional capacity. Launching EC2 instance failed."
)
QUOTA = (
    "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. "
    "Launching EC2 instance failed."
)
ARCHITECTURE = (
    "The architecture 'x86_64' of the specified instance type does not match the architecture 'arm64' of "
    "the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again. "
    "Launching EC2 instance failed."
)
ABANDONED = (
    "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token "
    "5f0c9a4e-6a0b-4b5e-8a3f-0f0f6a7d1c11 was abandoned: Heartbeat Timeout"
)
PLACEMENT = (
    "(service queue-proc) was unable to place a task because no container instance met all of its "
    "requirements. The closest matching container-instance 1f2e has insufficient memory available. For more "
    "information, see the Troubleshooting section of the Amazon ECS Developer Guide."
)
FARGATE = (
    "(service queue-proc) was unable to place a task. Reason: Capacity is unavailable at this time. Please "
    "try again later or in a different availability zone. For more information, see the Troubleshooting "
    "section of the Amazon ECS Developer Guide."
)
LIMIT = (
    "(service queue-proc) was unable to place a task. Reason: You've reached the limit on the number of "
    "vCPUs you can run concurrently."
)
INCONSISTENT = (
    "(service queue-proc) is unable to consistently start tasks successfully. For more information, see the "
    "Troubleshooting section of the Amazon ECS Developer Guide."
)
THROTTLED = "(service queue-proc) operations are being throttled. Will try again later."
STARTED = "(service queue-proc) has started 1 tasks: (task 8c80e79cdc7f4879a24f799236c9b87b)."
STOPPED = "(service queue-proc) has stopped 1 running tasks: (task 8c80e79cdc7f4879a24f799236c9b87b)."
STEADY = "(service queue-proc) has reached a steady state."


def plenty() -> float:
    return 30


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def activity(minutes: float, status: str, words: str | None = None, **changes: Any) -> dict[str, Any]:
    described = {
        "ActivityId": "a" * 36,
        "AutoScalingGroupName": GROUP.name,
        "Description": "Launching a new EC2 instance.  Status Reason: ...",
        "Cause": "At ... an instance was started in response to a difference between desired and actual",
        "StartTime": ago(minutes),
        "StatusCode": status,
    } | changes
    return described | ({"StatusMessage": words} if words else {})


def activities(*found: dict[str, Any], of: AutoScalingGroup = GROUP) -> Call:
    request = {"AutoScalingGroupName": of.name, "MaxRecords": MAX_ACTIVITIES}
    return "describe_scaling_activities", request, {"Activities": list(found), "NextToken": "more"}


def event(minutes: float, message: str) -> dict[str, Any]:
    return {"id": "1", "createdAt": ago(minutes), "message": message}


def events(*found: dict[str, Any], of: EcsService = SERVICE) -> Call:
    request = {"cluster": of.cluster, "services": [of.service]}
    return "describe_services", request, {"services": [{"serviceName": of.service, "events": list(found)}]}


@contextmanager
def launches(
    pool: ThreadPoolExecutor, *, groups: tuple[Call, ...] = (), services: tuple[Call, ...] = ()
) -> Iterator[AwsLaunches]:
    with stubbed("autoscaling", *groups) as autoscaling, stubbed("ecs", *services) as ecs:
        yield AwsLaunches(lambda: autoscaling, lambda: ecs, pool)


def of_group(pool: ThreadPoolExecutor, *found: dict[str, Any]) -> Any:
    with launches(pool, groups=(activities(*found),)) as port:
        return port.read([GROUP], plenty)[GROUP]


def of_service(pool: ThreadPoolExecutor, *found: dict[str, Any]) -> Any:
    with launches(pool, services=(events(*found),)) as port:
        return port.read([SERVICE], plenty)[SERVICE]


class TestGroups:
    @pytest.mark.parametrize("status", ["Failed", "Cancelled"])
    @pytest.mark.parametrize("words", [SPOT, ON_DEMAND, QUOTA, ARCHITECTURE, ABANDONED])
    def test_a_launch_that_failed_has_the_words_of_aws(
        self, pool: ThreadPoolExecutor, status: str, words: str
    ) -> None:
        assert of_group(pool, activity(2, status, words)) == [LaunchAttempt(at=ago(2), failure=words)]

    @pytest.mark.parametrize("status", ["Successful", "InProgress", "PreInService", "WaitingForInstanceId"])
    def test_a_launch_that_did_not_fail_has_no_message(self, pool: ThreadPoolExecutor, status: str) -> None:
        found = of_group(pool, activity(1, status), activity(2, "Failed", SPOT))
        assert found == [LaunchAttempt(at=ago(1)), LaunchAttempt(at=ago(2), failure=SPOT)]

    def test_a_termination_is_no_launch(self, pool: ThreadPoolExecutor) -> None:
        going = activity(1, "Successful", Description="Terminating EC2 instance: i-0123456789abcdef0")
        stuck = activity(2, "Failed", "no", Description="Terminating EC2 instance: i-0123456789abcdef0")
        assert of_group(pool, going, stuck) == []

    def test_a_launch_cancelled_without_a_message_is_no_failure(self, pool: ThreadPoolExecutor) -> None:
        assert of_group(pool, activity(1, "Cancelled")) == []

    def test_one_call_a_group_and_one_that_fails_is_unknown_for_itself(
        self, pool: ThreadPoolExecutor
    ) -> None:
        other = AutoScalingGroup(name="other")
        calls = (
            activities(activity(1, "Failed", SPOT)),
            (
                "describe_scaling_activities",
                {"AutoScalingGroupName": "other", "MaxRecords": MAX_ACTIVITIES},
                refusal("AccessDenied", "not authorized to perform: autoscaling:DescribeScalingActivities"),
            ),
        )
        with launches(pool, groups=calls) as port:
            found = port.read([GROUP, other], plenty)
        assert found[GROUP] == [LaunchAttempt(at=ago(1), failure=SPOT)]
        assert isinstance(found[other], Unknown)
        assert "DescribeScalingActivities of Auto Scaling group other" in found[other].reason
        assert "AccessDenied" in found[other].reason


class TestServices:
    @pytest.mark.parametrize("words", [PLACEMENT, FARGATE, LIMIT, INCONSISTENT, THROTTLED])
    def test_an_event_of_a_task_that_cannot_start_has_the_words_of_aws(
        self, pool: ThreadPoolExecutor, words: str
    ) -> None:
        assert of_service(pool, event(2, words)) == [LaunchAttempt(at=ago(2), failure=words)]

    @pytest.mark.parametrize("words", [STARTED, STEADY])
    def test_a_start_or_a_steady_state_is_no_failure(self, pool: ThreadPoolExecutor, words: str) -> None:
        assert of_service(pool, event(2, words)) == [LaunchAttempt(at=ago(2))]

    @pytest.mark.parametrize(
        "words", [STOPPED, "(service queue-proc) registered 1 targets in (target-group x)", "anything new"]
    )
    def test_other_events_are_no_attempts(self, pool: ThreadPoolExecutor, words: str) -> None:
        assert of_service(pool, event(2, words)) == []

    def test_tasks_that_end_at_once_do_not_count_as_started(self, pool: ThreadPoolExecutor) -> None:
        """An image for another architecture: ECS starts a task again and again, and says so once."""
        failing = [event(1, STARTED), event(2, STOPPED), event(3, STARTED), event(4, INCONSISTENT)]
        assert of_service(pool, *failing) == [LaunchAttempt(at=ago(4), failure=INCONSISTENT)]
        mended = of_service(pool, event(0, STARTED), event(0.5, STEADY), *failing)
        assert mended[-2:] == [LaunchAttempt(at=ago(0.5)), LaunchAttempt(at=ago(0))]

    def test_ten_services_of_a_cluster_are_one_call(self, pool: ThreadPoolExecutor) -> None:
        names = [f"s{index:02}" for index in range(11)]
        fleets = [EcsService(cluster="workers", service=name) for name in names]

        def described(part: list[str]) -> Call:
            found = [{"serviceName": name, "events": [event(1, FARGATE)]} for name in part]
            return "describe_services", {"cluster": "workers", "services": part}, {"services": found}

        with launches(pool, services=(described(names[:10]), described(names[10:]))) as port:
            found = port.read(fleets, plenty)
        assert found == {fleet: [LaunchAttempt(at=ago(1), failure=FARGATE)] for fleet in fleets}

    def test_a_service_that_aws_does_not_know_has_no_attempt(self, pool: ThreadPoolExecutor) -> None:
        request = {"cluster": "workers", "services": ["queue-proc"]}
        with launches(pool, services=(("describe_services", request, {"services": []}),)) as port:
            assert port.read([SERVICE], plenty) == {SERVICE: []}


class TestBoth:
    def test_a_fleet_type_without_fleets_costs_no_call(self, pool: ThreadPoolExecutor) -> None:
        def no_client() -> Any:
            raise AssertionError("a client is made that is not needed")

        assert AwsLaunches(no_client, no_client, pool).read([], plenty) == {}

    def test_a_value_that_is_not_read_in_time_is_unknown(self, pool: ThreadPoolExecutor) -> None:
        fleets: list[Fleet] = [GROUP, SERVICE]
        with stubbed("autoscaling") as autoscaling, stubbed("ecs") as ecs:
            pool.submit(lambda: __import__("time").sleep(0.2))  # its one thread is busy
            found = AwsLaunches(lambda: autoscaling, lambda: ecs, pool).read(fleets, lambda: 0)
        assert [isinstance(found[fleet], Unknown) for fleet in fleets] == [True, True]


def answering(service: str, text: str, **settings: Any) -> Any:
    """A client as the functions make it, whose service sends this text back."""
    client = clients.client(account.session(), service, **settings)

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 200, {}, Body(text))

    client.meta.events.register("before-send", answer)
    return client


ACTIVITIES = f"""
<DescribeScalingActivitiesResponse><DescribeScalingActivitiesResult><Activities><member>
  <ActivityId>1</ActivityId><AutoScalingGroupName>transcription</AutoScalingGroupName><Progress>100</Progress>
  <Description>Launching a new EC2 instance.  Status Reason: {SPOT}</Description><Cause>At ...</Cause>
  <StartTime>2026-01-15T11:58:30.251Z</StartTime><EndTime>2026-01-15T11:58:30Z</EndTime>
  <StatusCode>Failed</StatusCode><StatusMessage>{SPOT}</StatusMessage>
</member></Activities></DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>
"""
EVENTS = json.dumps(
    {
        "services": [
            {
                "serviceName": "queue-proc",
                "createdAt": 1768478400.0,
                "events": [{"id": "1", "createdAt": 1768478310.251, "message": FARGATE}],
            }
        ]
    }
)


def test_answers_on_the_wire_are_read_with_the_clients_that_the_functions_make(
    pool: ThreadPoolExecutor,
) -> None:
    autoscaling = answering("autoscaling", ACTIVITIES)
    ecs = answering("ecs", EVENTS, read=EVENT_FIELDS)
    found = AwsLaunches(lambda: autoscaling, lambda: ecs, pool).read([GROUP, SERVICE], plenty)
    at = datetime(2026, 1, 15, 11, 58, 30, 251000, tzinfo=UTC)
    assert found == {
        GROUP: [LaunchAttempt(at=at, failure=SPOT)],
        SERVICE: [LaunchAttempt(at=at, failure=FARGATE)],
    }
    [parsed] = autoscaling.describe_scaling_activities(AutoScalingGroupName="transcription")["Activities"]
    assert parsed.keys() == {"Description", "StartTime", "StatusCode", "StatusMessage"}


@pytest.mark.parametrize("created_at", ["NaN", 1e18, -1e18])
def test_an_absurd_time_is_an_answer_that_cannot_be_read(pool: ThreadPoolExecutor, created_at: Any) -> None:
    text = EVENTS.replace("1768478310.251", json.dumps(created_at))
    ecs = answering("ecs", text, read=EVENT_FIELDS)
    found = AwsLaunches(lambda: None, lambda: ecs, pool).read([SERVICE], plenty)  # type: ignore[arg-type,return-value]
    assert isinstance(found[SERVICE], Unknown)
    assert "cannot be read" in found[SERVICE].reason
