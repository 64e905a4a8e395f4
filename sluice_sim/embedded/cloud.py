"""The embedded AWS as a whole: one account, one virtual clock, everything wired together.

Owns starting and stopping it. While it runs, boto3 in this process reaches it and nothing else, and the wall
clock of the process is the virtual one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import time_machine
from moto import mock_aws

from sluice import wiring
from sluice_sim.alarms import MetricQuery
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.account import ENVIRONMENT, REGION
from sluice_sim.embedded.functions import Lambda
from sluice_sim.embedded.groups import Groups
from sluice_sim.embedded.instances import Instance
from sluice_sim.embedded.monitoring import Monitoring, Scaled
from sluice_sim.embedded.stacks import Stacks

START = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line a function logged, at its virtual time (epoch seconds)."""

    at: float
    function: str
    record: dict[str, Any]


class EmbeddedAws:
    """One running embedded account; get one from `embedded_aws()`."""

    def __init__(self, root: Path, clock: VirtualClock) -> None:
        self.clock = clock
        self.log: list[LogLine] = []
        self.scaled: list[tuple[float, Scaled]] = []
        self.on_log: Callable[[LogLine], None] = lambda _: None
        self.on_scaled: Callable[[Scaled], None] = lambda _: None
        self.sqs, self.autoscaling = boto3.client("sqs"), boto3.client("autoscaling")
        self.cloudwatch, self.ssm = boto3.client("cloudwatch"), boto3.client("ssm")
        self.groups = Groups(clock)
        self.functions = Lambda(clock, self._logged)
        self.monitoring = Monitoring(
            clock,
            self.cloudwatch,
            self.autoscaling,
            self.groups,
            on_action=self.functions.on_alarm_action,
            on_scaled=self._scaled,
        )
        self.stacks = Stacks(root, self.functions, self.monitoring, self.ssm, self.autoscaling)

    def create_queue(self, name: str, *, visibility_timeout_s: int) -> str:
        """A standard queue with a dead-letter queue, and its native metrics; the answer is its URL."""
        dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        dead_arn = self.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        url = self.sqs.create_queue(
            QueueName=name,
            Attributes={
                "VisibilityTimeout": str(visibility_timeout_s),
                "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "3"}),
            },
        )["QueueUrl"]

        def sample() -> Iterable[tuple[MetricQuery, float]]:
            attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for metric, count in (
                ("ApproximateNumberOfMessagesVisible", attributes["ApproximateNumberOfMessages"]),
                (
                    "ApproximateNumberOfMessagesNotVisible",
                    attributes["ApproximateNumberOfMessagesNotVisible"],
                ),
                ("ApproximateNumberOfMessagesDelayed", attributes["ApproximateNumberOfMessagesDelayed"]),
            ):
                yield _native("AWS/SQS", metric, "QueueName", name), float(count)

        self.monitoring.sample(sample)
        return url

    def create_group(
        self, name: str, *, minimum: int, maximum: int, boot_s: float, start: Callable[[], Instance]
    ) -> None:
        """An Auto Scaling group at its minimum whose instances run `start`, with group metrics on."""
        self.autoscaling.create_launch_configuration(
            LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="g5.xlarge"
        )
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchConfigurationName=name,
            MinSize=minimum,
            MaxSize=maximum,
            DesiredCapacity=minimum,
            AvailabilityZones=[f"{REGION}a"],
        )
        self.groups.run(name, boot_s=boot_s, start=start)

        def sample() -> Iterable[tuple[MetricQuery, float]]:
            size = self.groups.size(name)
            for metric, value in (
                ("GroupDesiredCapacity", size.desired),
                ("GroupInServiceInstances", size.running),
            ):
                yield _native("AWS/AutoScaling", metric, "AutoScalingGroupName", name), float(value)

        self.monitoring.sample(sample)

    def _logged(self, function: str, record: dict[str, Any]) -> None:
        line = LogLine(at=self.clock.now, function=function, record=record)
        self.log.append(line)
        self.on_log(line)

    def _scaled(self, scaled: Scaled) -> None:
        self.scaled.append((self.clock.now, scaled))
        self.on_scaled(scaled)


@contextmanager
def embedded_aws(root: Path) -> Iterator[EmbeddedAws]:
    """An empty account at a fixed virtual time; `root` is where the templates and functions lie."""
    with ExitStack() as running:
        running.enter_context(
            mock.patch.dict(os.environ, ENVIRONMENT | {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"})
        )
        running.enter_context(mock_aws())
        traveller = running.enter_context(time_machine.travel(START, tick=False))
        clock = VirtualClock(START.timestamp(), on_advance=traveller.move_to)
        wiring.cold_start()
        running.callback(wiring.cold_start)
        aws = EmbeddedAws(root, clock)
        running.enter_context(aws.groups.installed())
        yield aws


def _native(namespace: str, name: str, dimension: str, value: str) -> MetricQuery:
    return MetricQuery(
        id=name, namespace=namespace, name=name, dimensions=((dimension, value),), stat="Average", period_s=60
    )
