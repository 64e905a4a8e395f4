"""The embedded AWS: one account on one virtual clock, with all its services.

While it runs, boto3 in this process reaches this account and nothing else, and the process's clock is the
virtual one.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import time_machine
from moto import mock_aws
from moto.sqs.models import sqs_backends

from sluice import wiring
from sluice_sim.account import ACCOUNT_ID, ENVIRONMENT, REGION
from sluice_sim.aws_rules.action_runs import ActionRuns
from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.alarms import (
    MetricQuery,
    State,
)
from sluice_sim.aws_rules.monitoring import (
    CUSTOM_METRIC_DELAY_S,
    POISON_PILL_RECEIVES,
    Monitoring,
)
from sluice_sim.aws_rules.policy_runner import ScalingActivity
from sluice_sim.aws_rules.scheduler import Scheduler
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.alarms import Alarms, alarm_arn
from sluice_sim.embedded.cloudwatch import (
    MotoMetrics,
    action_payload,
    delayed_custom_metrics,
)
from sluice_sim.embedded.fleet import EmbeddedFleet
from sluice_sim.embedded.function_logs import FunctionLogs, LogLine
from sluice_sim.embedded.functions import Lambda
from sluice_sim.embedded.group_actions import GroupActions
from sluice_sim.embedded.groups import AutoScalingGroups
from sluice_sim.embedded.invocations import Invocations
from sluice_sim.embedded.message_counts import DELETED, RECEIVED, SENT, MessageCounts
from sluice_sim.embedded.moto_shortcuts import install_shortcuts
from sluice_sim.embedded.quotas import CONCURRENCY, ServiceQuotas
from sluice_sim.embedded.redrive import MessageMoveTasks, oldest_dead_letter_s
from sluice_sim.embedded.roles import create_instance_profile, create_worker_role, simulated_policies
from sluice_sim.embedded.services import EcsServices
from sluice_sim.embedded.stack_records import StackRecords
from sluice_sim.embedded.stacks import Account, Stacks
from sluice_sim.embedded.state_machines import StateMachines
from sluice_sim.embedded.table_units import TableUnits
from sluice_sim.embedded.target_actions import TargetActions
from sluice_sim.embedded.task_protection import simulated_tasks
from sluice_sim.embedded.worker_protocol import Worker

LAMBDA_POLLERS, LONG_POLLS_A_MINUTE = 5, 3
"""Lambda keeps five long polls of 20 s at an event source's queue (documented)."""
REPORTED_WHEN_ZERO = ("ApproximateNumberOfMessagesVisible",)
"""Message counts that SQS reports when they are 0; it omits the others while there are no such messages."""
NAMESPACE = "Sluice"
"""Where the workers publish."""
MANAGED = {"sluice": "managed"}
"""The tag by which the functions' roles admit a queue and a fleet."""
DEAD_LETTER_RETENTION_S = 14 * 86400
"""As in the example fleets' templates."""
START = datetime(2026, 1, 15, 12, 20, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One alarm notification to a topic, with its virtual time (epoch seconds)."""

    at: float
    topic: str
    alarm: str
    state: State


class EmbeddedAws:
    """A running embedded account; `embedded_aws()` creates one."""

    def __init__(self, root: Path, clock: VirtualClock, *, seed: int) -> None:
        self.clock = clock
        self.pace = 1.0
        """Virtual seconds per second of SQS and the workers; above 1 with real worker processes."""
        self.reports_zero_counts = False
        """Whether SQS reports zeros of messages in flight and delayed to CloudWatch; AWS says it does not."""
        self.log: list[LogLine] = []
        self._logged_bytes: Counter[str] = Counter()
        """By log group, since it was last sampled."""
        self.notifications: list[Notification] = []
        self.scaled: list[tuple[float, ScalingActivity]] = []
        self.on_log: Callable[[LogLine], None] = lambda _: None
        self.on_scaled: Callable[[ScalingActivity], None] = lambda _: None
        self.flush_metrics: Callable[[], None] = lambda: None
        self.sqs, self.cloudwatch, self.ecs = _client("sqs"), _client("cloudwatch"), _client("ecs")
        self.autoscaling, self.scaling = _client("autoscaling"), _client("application-autoscaling")
        self.groups, self.services = AutoScalingGroups(clock), EcsServices(clock)
        runs = ActionRuns(clock, seed=seed)
        self.group_actions = GroupActions(clock, self.groups, runs)
        self.target_actions = TargetActions(clock, self.services, runs)
        self.message_counts, self.table_units = MessageCounts(), TableUnits()
        self.quotas = ServiceQuotas()
        self.functions = Lambda(clock, Scheduler(clock, seed=seed), self._on_log_line)
        self.machines = StateMachines(clock, self.functions)
        self.monitoring = Monitoring(
            clock, MotoMetrics(self.cloudwatch), on_action=self._on_alarm_action, on_scaled=self._scaled
        )
        self.monitoring.add_source(self._function_metrics)
        self.monitoring.add_source(self._log_metrics)
        self.monitoring.add_source(self._polled_queue_metrics)
        self.monitoring.add_source(self._table_metrics)
        self.logs = FunctionLogs(self.log, self.functions)
        account = Account(
            functions=self.functions,
            machines=self.machines,
            logs=self.logs,
            monitoring=self.monitoring,
            groups=self.groups,
            services=self.services,
            ssm=_client("ssm"),
            sqs=self.sqs,
            dynamodb=_client("dynamodb"),
            cloudwatch=self.cloudwatch,
            autoscaling=self.autoscaling,
            scaling=self.scaling,
        )
        self.stacks = Stacks(root, account, StackRecords(lambda: clock.now))

    def create_queue(self, name: str, *, visibility_timeout_s: int) -> str:
        """Create a managed queue (FIFO by its name) with a dead-letter queue and metrics; returns its URL.

        The visibility timeout is in virtual seconds.
        """
        fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "false"} if name.endswith(".fifo") else {}
        kept: Any = {"MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_S), **fifo}
        dead = self.sqs.create_queue(QueueName=f"dead-{name}", Attributes=kept)["QueueUrl"]
        dead_arn = self.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "3"})
        attributes = {
            "VisibilityTimeout": str(math.ceil(visibility_timeout_s / self.pace)),
            "RedrivePolicy": redrive,
            **fifo,
        }
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes, tags=MANAGED)["QueueUrl"]
        self.monitoring.add_source(partial(self._queue_metrics, name, url))
        self.monitoring.add_source(partial(self._dead_letter_metrics, f"dead-{name}"))
        return url

    def create_group(
        self, name: str, *, minimum: int, maximum: int, boot_s: float, start: Callable[[], Worker]
    ) -> EmbeddedFleet:
        """Create a managed Auto Scaling group at its minimum, with group metrics; `start` starts a worker."""
        role = f"{name}-worker"
        create_worker_role(role, "ec2.amazonaws.com", NAMESPACE)
        create_instance_profile(role)
        _client("ec2").create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={
                "ImageId": "ami-12c6146b",
                "InstanceType": "g5.xlarge",
                "IamInstanceProfile": {"Name": role},
            },
        )
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateName": name, "Version": "$Default"},
            MinSize=0,  # the embedded fleet creates the instances, not moto
            MaxSize=maximum,
            DesiredCapacity=0,
            AvailabilityZones=[f"{REGION}a"],
            Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": False} for key, value in MANAGED.items()],
        )
        metrics = (
            "GroupDesiredCapacity",
            "GroupInServiceInstances",
            "GroupPendingInstances",
            "GroupMaxSize",
        )
        self.autoscaling.enable_metrics_collection(
            AutoScalingGroupName=name, Metrics=list(metrics), Granularity="1Minute"
        )
        fleet = self.groups.run(name, minimum=minimum, boot_s=boot_s, start=start)

        def published() -> Iterable[tuple[MetricQuery, float]]:
            if not self.groups.exists(name):
                return
            size, (_, max_size) = fleet.size(), self.groups.bounds(name)
            values = (size.desired, size.running, size.booting, max_size)
            for metric, value in zip(metrics, values, strict=True):
                if metric in self.groups.metrics(name):
                    yield _native("AWS/AutoScaling", metric, {"AutoScalingGroupName": name}), float(value)

        self.monitoring.add_source(published)
        return fleet

    def create_service(
        self,
        cluster: str,
        service: str,
        *,
        boot_s: float,
        start: Callable[[], Worker],
        controller: str = "ECS",
    ) -> EmbeddedFleet:
        """Create a managed ECS service without tasks, with Container Insights; `start` starts workers."""
        insights: Any = [{"name": "containerInsights", "value": "enabled"}]
        self.ecs.create_cluster(clusterName=cluster, settings=insights)
        self.ecs.register_task_definition(
            family=service,
            taskRoleArn=create_worker_role(f"{service}-worker", "ecs-tasks.amazonaws.com", NAMESPACE),
            containerDefinitions=[{"name": "worker", "image": "worker", "memory": 512}],
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            runtimePlatform={"cpuArchitecture": "ARM64"},
        )
        self.ecs.create_service(
            cluster=cluster,
            serviceName=service,
            taskDefinition=service,
            desiredCount=0,
            launchType="FARGATE",
            deploymentController={"type": controller},
            tags=[{"key": key, "value": value} for key, value in MANAGED.items()],
        )
        fleet = self.services.run(f"service/{cluster}/{service}", boot_s=boot_s, start=start)
        dimensions = {"ClusterName": cluster, "ServiceName": service}

        def published() -> Iterable[tuple[MetricQuery, float]]:
            size = fleet.size()
            yield _native("ECS/ContainerInsights", "DesiredTaskCount", dimensions), float(size.desired)
            yield _native("ECS/ContainerInsights", "RunningTaskCount", dimensions), float(size.running)
            yield _native("ECS/ContainerInsights", "PendingTaskCount", dimensions), float(size.booting)

        self.monitoring.add_source(published)
        return fleet

    def _queue_metrics(self, name: str, url: str) -> Iterable[tuple[MetricQuery, float]]:
        counts = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for metric, count in (
            ("ApproximateNumberOfMessagesVisible", counts["ApproximateNumberOfMessages"]),
            ("ApproximateNumberOfMessagesNotVisible", counts["ApproximateNumberOfMessagesNotVisible"]),
            ("ApproximateNumberOfMessagesDelayed", counts["ApproximateNumberOfMessagesDelayed"]),
        ):
            if int(count) or metric in REPORTED_WHEN_ZERO or self.reports_zero_counts:
                yield _native("AWS/SQS", metric, {"QueueName": name}), float(count)
        for metric in (SENT, RECEIVED, DELETED):
            counted = float(self.message_counts.pop(metric, name))
            yield _native("AWS/SQS", metric, {"QueueName": name}), counted
        age_s = _oldest_age_s(name, self.clock.now)
        if age_s is not None or self.reports_zero_counts:
            yield _native("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": name}), age_s or 0.0
        if name.endswith(".fifo"):
            pending = tuple(sqs_backends[ACCOUNT_ID][REGION].queues[name].pending_messages)
            groups = len({message.group_id for message in pending})
            metric = "ApproximateNumberOfGroupsWithInflightMessages"
            yield _native("AWS/SQS", metric, {"QueueName": name}), float(groups)

    def _dead_letter_metrics(self, name: str) -> Iterable[tuple[MetricQuery, float]]:
        """The age of a dead letter counts from its move (documented)."""
        visible = sqs_backends[ACCOUNT_ID][REGION].queues[name].approximate_number_of_messages
        metric = "ApproximateNumberOfMessagesVisible"
        yield _native("AWS/SQS", metric, {"QueueName": name}), float(visible)
        since_s = oldest_dead_letter_s(name)
        if since_s is not None:
            age_s = self.clock.now - since_s
            yield _native("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": name}), age_s

    def _function_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        for function, metric, value in self.functions.metrics():
            yield _native("AWS/Lambda", metric, {"FunctionName": function}), value

    def _log_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        logged, self._logged_bytes = self._logged_bytes, Counter()
        for group, size in logged.items():
            yield _native("AWS/Logs", "IncomingBytes", {"LogGroupName": group}), float(size)

    def _table_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        for (metric, table), units in self.table_units.take().items():
            yield _native("AWS/DynamoDB", metric, {"TableName": table}), float(units)

    def _polled_queue_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        for name in sorted(self.functions.polled_queues):
            for metric in (SENT, RECEIVED, DELETED):
                counted = float(self.message_counts.pop(metric, name))
                yield _native("AWS/SQS", metric, {"QueueName": name}), counted
            empty = _native("AWS/SQS", "NumberOfEmptyReceives", {"QueueName": name})
            yield empty, float(LAMBDA_POLLERS * LONG_POLLS_A_MINUTE)

    def _on_log_line(self, function: str, record: dict[str, Any]) -> None:
        line = LogLine(at=self.clock.now, function=function, record=record)
        if logging := self.functions.find(function):
            self._logged_bytes[logging.log_group] += len(json.dumps(record))
        self.log.append(line)
        self.on_log(line)

    def _on_alarm_action(self, action: str, change: AlarmChange) -> str | None:
        if ":sns:" in action:
            note = Notification(at=self.clock.now, topic=action, alarm=change.alarm.name, state=change.state)
            self.notifications.append(note)
        return self.functions.on_alarm_action(action, alarm_arn(change.alarm.name), action_payload(change))

    def _scaled(self, scaled: ScalingActivity) -> None:
        self.scaled.append((self.clock.now, scaled))
        self.on_scaled(scaled)


@contextmanager
def embedded_aws(
    root: Path, *, seed: int = 0, custom_metric_delay_s: float = CUSTOM_METRIC_DELAY_S
) -> Iterator[EmbeddedAws]:
    """An empty account at a fixed virtual time; `root` is the folder of templates and functions.

    The seed decides how late each schedule starts. Custom metrics are readable `custom_metric_delay_s` after
    they were put.
    """
    install_shortcuts()
    with ExitStack() as running:
        running.enter_context(
            mock.patch.dict(os.environ, ENVIRONMENT | {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"})
        )
        running.enter_context(mock_aws())
        traveller = running.enter_context(time_machine.travel(START, tick=False))
        clock = VirtualClock(START.timestamp(), on_advance=traveller.move_to)
        wiring.cold_start()
        running.callback(wiring.cold_start)
        aws = EmbeddedAws(root, clock, seed=seed)
        running.enter_context(aws.groups.patched_moto(aws.monitoring))
        running.enter_context(aws.group_actions.patched_moto())
        running.enter_context(aws.services.patched_moto(aws.monitoring))
        running.enter_context(simulated_tasks(aws.services.fleets))
        running.enter_context(aws.target_actions.patched_moto())
        running.enter_context(aws.message_counts.patched_moto())
        running.enter_context(aws.table_units.patched_moto())
        running.enter_context(simulated_policies())
        running.enter_context(MessageMoveTasks(clock).patched_moto())
        running.enter_context(aws.stacks.records.patched_moto())
        running.enter_context(aws.logs.patched_moto())
        running.enter_context(aws.quotas.patched_moto())
        running.enter_context(aws.functions.patched_moto(lambda: aws.quotas.applied[CONCURRENCY.code]))
        running.enter_context(aws.machines.patched_moto())
        running.enter_context(Invocations(clock, aws.functions).patched_moto())
        running.enter_context(Alarms(aws.monitoring).patched_moto())
        aws.flush_metrics = running.enter_context(delayed_custom_metrics(clock, custom_metric_delay_s))
        yield aws


def _client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload]  # the name is a literal at each call


def _oldest_age_s(queue_name: str, now: float) -> float | None:
    """ApproximateAgeOfOldestMessage in seconds; None for an empty queue."""
    queue = sqs_backends[ACCOUNT_ID][REGION].queues[queue_name]
    sent_s = [
        float(message.sent_timestamp or 0) / 1000
        for message in queue._messages  # noqa: SLF001 - moto's public list omits messages in flight
        if queue_name.endswith(".fifo") or message.approximate_receive_count < POISON_PILL_RECEIVES
    ]
    return now - min(sent_s) if sent_s else None


def _native(namespace: str, name: str, dimensions: Mapping[str, str]) -> MetricQuery:
    return MetricQuery(
        id=name,
        namespace=namespace,
        name=name,
        dimensions=tuple(dimensions.items()),
        stat="Average",
        period_s=60,
    )
