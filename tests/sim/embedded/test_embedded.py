"""The embedded AWS enforces bounds, suspensions, retries, permissions and event rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice_sim.account import arn
from sluice_sim.aws_rules.scheduler import MAX_LATENESS_S
from sluice_sim.embedded.cloud import EmbeddedAws, _oldest_age_s, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.functions import Function
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.services import DIMENSION
from sluice_sim.embedded.timeline import (
    Component,
    Scenario,
)

ROOT = Path(__file__).resolve().parents[3]
ALARMS = "lambda.alarms.cloudwatch.amazonaws.com"
SERVICE = "service/workers/queue-proc"
EVENT = {"news": 1}
OUT_MINUTES, IN_MINUTES = 5, 17


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as account:
        yield account


def wait(aws: EmbeddedAws, seconds: float) -> None:
    aws.clock.run_until(aws.clock.now + seconds)


class Idle:
    """A worker without a message in flight."""

    alive, protected = True, False

    def drain(self, when_drained: Callable[[], None]) -> None:
        when_drained()


# ---- Queues ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "age_s"), [("work", 60), ("work.fifo", 180)], ids=["a standard queue", "a FIFO queue"]
)
def test_the_oldest_message_ages_until_it_is_deleted_or_was_received_three_times(
    aws: EmbeddedAws, name: str, age_s: float
) -> None:
    url = aws.create_queue(name, visibility_timeout_s=30)
    assert _oldest_age_s(name, aws.clock.now) is None
    fifo = {"MessageGroupId": "one", "MessageDeduplicationId": "first"} if name.endswith(".fifo") else {}
    aws.sqs.send_message(QueueUrl=url, MessageBody="first", **fifo)
    for received in range(3):
        assert _oldest_age_s(name, aws.clock.now) == received * 40  # in flight or not
        aws.sqs.receive_message(QueueUrl=url)
        wait(aws, 40)
    fifo |= {"MessageGroupId": "two", "MessageDeduplicationId": "second"} if fifo else {}
    aws.sqs.send_message(QueueUrl=url, MessageBody="second", **fifo)
    wait(aws, 60)
    assert _oldest_age_s(name, aws.clock.now) == age_s


def sent_by_minute(aws: EmbeddedAws, queue: str, statistic: str = "Sum") -> list[float]:
    return counted_by_minute(aws, queue, "NumberOfMessagesSent", statistic)


def counted_by_minute(aws: EmbeddedAws, queue: str, name: str, statistic: str = "Sum") -> list[float]:
    """The readable values of a metric of the queue of the last ten minutes, oldest first."""
    now = datetime.fromtimestamp(aws.clock.now, UTC)
    metric = {
        "Namespace": "AWS/SQS",
        "MetricName": name,
        "Dimensions": [{"Name": "QueueName", "Value": queue}],
    }
    query = {"Id": "sent", "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}
    [answer] = aws.cloudwatch.get_metric_data(
        MetricDataQueries=[query],
        StartTime=now - timedelta(minutes=10),
        EndTime=now,
        ScanBy="TimestampAscending",
    )["MetricDataResults"]
    return [float(value) for value in answer["Values"]]


def test_what_is_deleted_counts_in_its_minute_alone_or_in_a_batch_and_a_repeated_deletion_too(
    aws: EmbeddedAws,
) -> None:
    url = aws.create_queue("work", visibility_timeout_s=30)
    entries = [{"Id": str(number), "MessageBody": "one"} for number in range(3)]
    aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    wait(aws, 5)
    messages = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    first, *others = (message["ReceiptHandle"] for message in messages)
    aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=first)
    wait(aws, 60)
    batch = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate([first, *others])]
    aws.sqs.delete_message_batch(QueueUrl=url, Entries=batch)
    wait(aws, 125)
    assert counted_by_minute(aws, "work", "NumberOfMessagesDeleted") == [1, 3]


def test_what_is_sent_counts_in_its_minute_delayed_or_not_and_a_minute_without_is_zero(
    aws: EmbeddedAws,
) -> None:
    url = aws.create_queue("work", visibility_timeout_s=30)
    aws.sqs.send_message(QueueUrl=url, MessageBody="one")
    entries = [{"Id": str(number), "MessageBody": "more", "DelaySeconds": 600} for number in range(7)]
    aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    wait(aws, 130)
    aws.sqs.send_message(QueueUrl=url, MessageBody="later")
    wait(aws, 60)
    assert sent_by_minute(aws, "work") == [8, 0]  # what was sent a minute ago cannot be read yet
    wait(aws, 60)
    assert sent_by_minute(aws, "work") == sent_by_minute(aws, "work", "Average") == [8, 0, 1]


def test_a_message_that_returns_or_is_dead_lettered_counts_as_sent_once(aws: EmbeddedAws) -> None:
    url = aws.create_queue("work", visibility_timeout_s=30)
    aws.monitoring.add_source(partial(aws._queue_metrics, "dead-work", url.replace("work", "dead-work")))
    aws.sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(5):
        aws.sqs.receive_message(QueueUrl=url)
        wait(aws, 60)
    counts = aws.sqs.get_queue_attributes(QueueUrl=url.replace("work", "dead-work"), AttributeNames=["All"])
    assert counts["Attributes"]["ApproximateNumberOfMessages"] == "1"
    assert sum(sent_by_minute(aws, "work")) == 1
    assert sum(sent_by_minute(aws, "dead-work")) == 0


def test_a_duplicate_that_a_fifo_queue_drops_is_not_counted_as_sent(aws: EmbeddedAws) -> None:
    url = aws.create_queue("work.fifo", visibility_timeout_s=30)
    for name in ("one", "one", "two"):
        aws.sqs.send_message(
            QueueUrl=url, MessageBody=name, MessageGroupId="group", MessageDeduplicationId=name
        )
    wait(aws, 120)
    assert sent_by_minute(aws, "work.fifo") == [2]


# ---- Groups ------------------------------------------------------------------------------------------------


def group_of(aws: EmbeddedAws) -> dict[str, Any]:
    (group,) = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    return group


def test_a_group_refuses_less_than_its_minimum_and_nothing_changes(aws: EmbeddedAws) -> None:
    aws.create_group("group", minimum=1, maximum=4, boot_s=0, start=Idle)
    with pytest.raises(ClientError, match="0 is below min value 1"):
        aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=0)
    assert group_of(aws)["DesiredCapacity"] == 1


def test_a_group_with_suspended_terminations_keeps_its_instances_until_they_are_resumed(
    aws: EmbeddedAws,
) -> None:
    fleet = aws.create_group("group", minimum=0, maximum=4, boot_s=0, start=Idle)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=3)
    wait(aws, 60)
    aws.autoscaling.suspend_processes(AutoScalingGroupName="group", ScalingProcesses=["Terminate"])
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=1)
    wait(aws, 600)
    assert (group_of(aws)["DesiredCapacity"], len(group_of(aws)["Instances"])) == (1, 3)
    assert (fleet.size().desired, fleet.size().running) == (1, 3)
    aws.autoscaling.resume_processes(AutoScalingGroupName="group", ScalingProcesses=["Terminate"])
    wait(aws, 60)
    assert len(group_of(aws)["Instances"]) == fleet.size().running == 1


# ---- Functions ---------------------------------------------------------------------------------------------


@pytest.fixture
def control_plane(aws: EmbeddedAws) -> EmbeddedAws:
    aws.stacks.deploy("template.yaml", "sluice", {})
    return aws


def function(aws: EmbeddedAws, name: str) -> Function:
    return aws.functions.named(f"sluice-{name}Function")


def record_events(aws: EmbeddedAws, target: Function, *, failures: int = 0) -> list[tuple[float, Any]]:
    """(seconds from now, event) of every attempt from now on; the first so many attempts at NEWS fail."""
    start, received = aws.clock.now, []

    def handler(event: dict[str, Any], _: object) -> None:
        received.append((aws.clock.now - start, event))
        if event == EVENT and [name for _, name in received].count(EVENT) <= failures:
            raise RuntimeError("not now")

    target.handler = handler
    return received


@pytest.mark.parametrize(
    ("name", "attempts_at"),
    [
        ("Bootstrap", [0, 60, 180]),
        ("Shutdown", [0, 60, 180]),
        ("PublishBacklog", [0]),
        ("RetuneTarget", [0]),
        ("SendTestMessages", [0]),
    ],
)
@pytest.mark.slow
def test_a_failed_invocation_is_retried_as_often_as_configured(
    control_plane: EmbeddedAws, name: str, attempts_at: list[float]
) -> None:
    received = record_events(control_plane, function(control_plane, name), failures=99)
    control_plane.functions.invoke_async(function(control_plane, name), EVENT)
    wait(control_plane, 900)
    assert [at for at, event in received if event == EVENT] == attempts_at
    failed = [line for line in control_plane.log if line.record["message"] == "RuntimeError: not now"]
    assert len(failed) == len(attempts_at)


def test_an_attempt_that_succeeds_is_the_last(control_plane: EmbeddedAws) -> None:
    received = record_events(control_plane, function(control_plane, "Bootstrap"), failures=1)
    control_plane.functions.invoke_async(function(control_plane, "Bootstrap"), EVENT)
    wait(control_plane, 900)
    assert [at for at, _ in received] == [0, 60]


@pytest.mark.parametrize(
    ("name", "alarm", "invoked"),
    [
        ("Bootstrap", "sluice-transcription-bootstrap", True),
        ("Bootstrap", "other-transcription-bootstrap", False),
        ("Shutdown", "sluice-transcription-shutdown", True),
        ("PublishBacklog", "sluice-transcription-bootstrap", False),
    ],
)
def test_only_an_alarm_with_a_permission_invokes(
    control_plane: EmbeddedAws, name: str, alarm: str, invoked: bool
) -> None:
    received = record_events(control_plane, function(control_plane, name))
    alarm_arn = arn("cloudwatch", f"alarm:{alarm}")
    control_plane.functions.on_alarm_action(function(control_plane, name).arn, alarm_arn, EVENT)
    assert [event for _, event in received] == ([EVENT] if invoked else [])
    refused = [line for line in control_plane.log if "may not invoke" in line.record["message"]]
    assert bool(refused) is not invoked


@pytest.mark.parametrize(("principal", "invoked"), [(ALARMS, 1), ("events.amazonaws.com", 0)])
def test_a_permission_applies_to_its_principal_only(
    control_plane: EmbeddedAws, principal: str, invoked: int
) -> None:
    target, alarm_arn = function(control_plane, "PublishBacklog"), arn("cloudwatch", "alarm:any")
    received = record_events(control_plane, target)
    control_plane.functions.permit(target.name, principal, alarm_arn)
    control_plane.functions.on_alarm_action(target.arn, alarm_arn, EVENT)
    assert len(received) == invoked


def test_a_schedule_fires_every_minute_and_a_disabled_one_never(control_plane: EmbeddedAws) -> None:
    enabled = record_events(control_plane, function(control_plane, "PublishBacklog"))
    disabled = record_events(control_plane, function(control_plane, "SendTestMessages"))
    wait(control_plane, 3 * 60 + MAX_LATENESS_S)
    assert [event for _, event in enabled] == [
        {"scheduled_time": f"2026-01-15T12:2{minute}:00Z"} for minute in (1, 2, 3)
    ]
    late = [at - 60 * minute for minute, (at, _) in enumerate(enabled, start=1)]
    assert all(0 <= each <= MAX_LATENESS_S for each in late)
    assert len(set(late)) == 3
    assert disabled == []


@pytest.mark.parametrize(
    ("status", "invoked"),
    [
        ("CREATE_COMPLETE", 1),
        ("UPDATE_COMPLETE", 1),
        ("UPDATE_ROLLBACK_COMPLETE", 1),
        ("IMPORT_COMPLETE", 1),
        ("UPDATE_IN_PROGRESS", 0),
        ("DELETE_COMPLETE", 0),
        ("ROLLBACK_COMPLETE", 0),
    ],
)
@pytest.mark.slow
def test_the_rule_matches_its_own_statuses_only(
    control_plane: EmbeddedAws, status: str, invoked: int
) -> None:
    received = record_events(control_plane, function(control_plane, "RetuneTarget"))
    control_plane.functions.on_event(stack_event(status))
    assert len(received) == invoked


@pytest.mark.parametrize("key", ["source", "detail-type", "detail"])
def test_the_rule_requires_every_key_of_its_pattern(control_plane: EmbeddedAws, key: str) -> None:
    received = record_events(control_plane, function(control_plane, "RetuneTarget"))
    event = stack_event("CREATE_COMPLETE")
    control_plane.functions.on_event({name: value for name, value in event.items() if name != key})
    control_plane.functions.on_event(event | {key: {} if key == "detail" else "aws.other"})
    assert received == []


def stack_event(status: str) -> dict[str, Any]:
    return {
        "source": "aws.cloudformation",
        "detail-type": "CloudFormation Stack Status Change",
        "detail": {"stack-id": "any", "status-details": {"status": status, "status-reason": ""}},
    }


# ---- Target tracking ---------------------------------------------------------------------------------------


class Tracked:
    """A fleet that is scaled by its policy only; the test sets the tracked metric."""

    def __init__(self, aws: EmbeddedAws, scenario: Scenario, dimensions: dict[str, str]) -> None:
        self.aws, self.value = aws, 0.0
        demo = Demo(aws, ROOT)
        demo.add_workload(replace(scenario, boot_s=0))
        for part in (
            Component.PUBLISHER,
            Component.BOOTSTRAP_ALARM,
            Component.SHUTDOWN_ALARM,
            Component.RETUNE,
        ):
            demo.disable(part)
        self._dimensions = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        aws.clock.every(60, self._put, first=aws.clock.now + 5)

    def desired_after(self, minutes: int, *, value: float) -> int:
        """The desired count after so many minutes at this value."""
        self.value = value
        wait(self.aws, minutes * 60)
        return self.desired

    @property
    def desired(self) -> int:
        raise NotImplementedError

    def _put(self) -> None:
        minute = datetime.fromtimestamp(self.aws.clock.now // 60 * 60, UTC)
        point = {"MetricName": "EffectiveBacklogPerInstance", "Timestamp": minute, "Value": self.value}
        self.aws.cloudwatch.put_metric_data(
            Namespace="Sluice", MetricData=[point | {"Dimensions": self._dimensions}]
        )


class TrackedGroup(Tracked):
    """Target 8, maximum 5."""

    def __init__(self, aws: EmbeddedAws) -> None:
        super().__init__(aws, TRANSCRIPTION, {"AutoScalingGroupName": "transcription"})

    @property
    def desired(self) -> int:
        return int(group_of(self.aws)["DesiredCapacity"])

    def set_desired(self, desired: int) -> None:
        self.aws.autoscaling.set_desired_capacity(
            AutoScalingGroupName="transcription", DesiredCapacity=desired
        )

    def put_target(self, target: float) -> None:
        (policy,) = self.aws.autoscaling.describe_policies()["ScalingPolicies"]
        self.aws.autoscaling.put_scaling_policy(
            AutoScalingGroupName="transcription",
            PolicyName=policy["PolicyName"],
            PolicyType="TargetTrackingScaling",
            EstimatedInstanceWarmup=180,
            TargetTrackingConfiguration=policy["TargetTrackingConfiguration"] | {"TargetValue": target},
        )

    @property
    def target(self) -> float | None:
        return self.aws.monitoring.target("transcription")


class TrackedService(Tracked):
    """Target 30, maximum 10."""

    def __init__(self, aws: EmbeddedAws) -> None:
        super().__init__(aws, QUEUE_PROC, {"ClusterName": "workers", "ServiceName": "queue-proc"})

    @property
    def desired(self) -> int:
        (service,) = self.aws.ecs.describe_services(cluster="workers", services=["queue-proc"])["services"]
        return int(service["desiredCount"])

    def set_desired(self, desired: int) -> None:
        self.aws.ecs.update_service(cluster="workers", service="queue-proc", desiredCount=desired)

    def put_target(self, target: float) -> None:
        (policy,) = self.aws.scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
        key = "TargetTrackingScalingPolicyConfiguration"
        self.aws.scaling.put_scaling_policy(
            PolicyName=policy["PolicyName"],
            ServiceNamespace="ecs",
            ResourceId=SERVICE,
            ScalableDimension=DIMENSION,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=policy[key] | {"TargetValue": target},
        )

    def suspend(self, **directions: bool) -> None:
        self.aws.scaling.register_scalable_target(
            ServiceNamespace="ecs",
            ScalableDimension=DIMENSION,
            ResourceId=SERVICE,
            MinCapacity=0,
            MaxCapacity=10,
            SuspendedState={f"DynamicScaling{way}Suspended": held for way, held in directions.items()},
        )

    @property
    def target(self) -> float | None:
        return self.aws.monitoring.target(SERVICE)


@pytest.mark.parametrize(
    ("tracked", "raised", "lowered"),
    [(TrackedGroup, 20, 5), (TrackedService, 50, 10)],
    ids=["group", "service"],
)
def test_target_tracking_follows_the_target_that_was_put_last(
    aws: EmbeddedAws, tracked: type[TrackedGroup | TrackedService], raised: float, lowered: float
) -> None:
    fleet = tracked(aws)
    fleet.set_desired(1)
    between = raised - 1  # above the template's target
    fleet.put_target(raised)
    assert fleet.desired_after(OUT_MINUTES, value=between) == 1
    assert fleet.target == raised
    fleet.put_target(lowered)
    assert fleet.desired_after(OUT_MINUTES, value=between) > 1
    assert fleet.target == lowered


def test_suspended_alarm_notifications_hold_a_groups_target_tracking(aws: EmbeddedAws) -> None:
    group = TrackedGroup(aws)
    group.set_desired(1)
    names = {"AutoScalingGroupName": "transcription", "ScalingProcesses": ["AlarmNotification"]}
    aws.autoscaling.suspend_processes(**names)
    assert group.desired_after(2 * OUT_MINUTES, value=24) == 1
    aws.autoscaling.resume_processes(**names)
    assert group.desired_after(1, value=24) == 3


def test_suspended_scale_out_holds_a_service_while_it_may_scale_in(aws: EmbeddedAws) -> None:
    service = TrackedService(aws)
    service.set_desired(2)
    service.suspend(Out=True)
    assert service.desired_after(2 * OUT_MINUTES, value=60) == 2
    assert service.desired_after(IN_MINUTES, value=10) == 1
    service.suspend(Out=False)
    assert service.desired_after(OUT_MINUTES, value=60) > 1


@pytest.mark.slow
def test_suspended_scale_in_holds_a_service_while_it_may_scale_out(aws: EmbeddedAws) -> None:
    service = TrackedService(aws)
    service.set_desired(2)
    service.suspend(In=True)
    assert service.desired_after(IN_MINUTES + 3, value=10) == 2
    more = service.desired_after(OUT_MINUTES, value=45)
    assert more > 2
    service.suspend(In=False)
    assert service.desired_after(IN_MINUTES + 3, value=10) < more
