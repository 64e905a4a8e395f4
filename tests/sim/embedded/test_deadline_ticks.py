"""The embedded AWS delivers ticks below a minute: the deadline engine as deployed, from message to launch."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from statistics import median
from typing import Any

import pytest

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.functions import Function
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from tests.templates.stacks import ROOT

pytestmark = pytest.mark.slow

BY_DEADLINE = {
    "Scaling": "deadline",
    "AcceptableLatencySeconds": "300",
    "ProcessingSeconds": "5",
    "BootSeconds": "120",
}
SCENARIO = replace(TRANSCRIPTION, parameters=BY_DEADLINE)
GROUP = "transcription"


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as running:
        yield running


@pytest.fixture
def deployed(aws: EmbeddedAws) -> EmbeddedAws:
    deploy(aws)
    return aws


def deploy(aws: EmbeddedAws) -> None:
    """The control plane and one workload of the deadline engine, with the first minutes behind them."""
    Demo(aws, ROOT).add_workload(SCENARIO)
    aws.clock.run_until(aws.clock.now + 180)


def function(aws: EmbeddedAws, name: str) -> Function:
    return aws.functions.named(f"{CONTROL_PLANE}-{name}")


def record_ticks(aws: EmbeddedAws) -> list[float]:
    """Virtual times of the invocations of deadline_tick from now on."""
    target, times = function(aws, "DeadlineTickFunction"), list[float]()
    handler = target.handler

    def recorded(event: dict[str, Any], context: object) -> object:
        times.append(aws.clock.now)
        return handler(event, context)

    target.handler = recorded
    return times


def desired(aws: EmbeddedAws) -> int:
    groups = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    return int(groups[0]["DesiredCapacity"])


def send(aws: EmbeddedAws, count: int) -> None:
    url = aws.sqs.get_queue_url(QueueName=GROUP)["QueueUrl"]
    for _ in range(count):
        aws.sqs.send_message(QueueUrl=url, MessageBody="{}")


def take_back(aws: EmbeddedAws) -> None:
    """Delete the one message that waits."""
    url = aws.sqs.get_queue_url(QueueName=GROUP)["QueueUrl"]
    [message] = aws.sqs.receive_message(QueueUrl=url)["Messages"]
    aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def reaction_s(aws: EmbeddedAws) -> float:
    """Seconds from sending a message until its fleet is started."""
    sent, before = aws.clock.now, len(aws.log)
    send(aws, 1)
    aws.clock.run_until(sent + 15)
    assert desired(aws) == 1
    return next(line.at for line in aws.log[before:] if line.record.get("outcome") == "acted") - sent


def errors(aws: EmbeddedAws) -> list[Any]:
    return [line.record for line in aws.log if line.record.get("level") == "ERROR"]


def test_ticks_come_every_ten_seconds_and_on_the_minute(deployed: EmbeddedAws) -> None:
    times, start = record_ticks(deployed), deployed.clock.now
    deployed.clock.run_until(start + 300)
    gaps = {round(later - earlier) for earlier, later in pairwise(times)}
    assert len(times) >= 29
    assert max(gaps) <= 11, "SQS delays by whole seconds, so a tick is up to half a second off"
    assert all(min(time % 10, 10 - time % 10) <= 0.5 for time in times)
    assert errors(deployed) == []


def test_ticks_go_on_while_the_minutes_ticks_fail_for_two_minutes(deployed: EmbeddedAws) -> None:
    times, publisher = record_ticks(deployed), function(deployed, "PublishBacklogFunction")
    handler = publisher.handler

    def failing(*_: object) -> None:
        raise RuntimeError("out of order")

    publisher.handler = failing
    deployed.clock.run_until(deployed.clock.now + 120)
    publisher.handler = handler
    deployed.clock.run_until(deployed.clock.now + 180)
    assert max(later - earlier for earlier, later in pairwise(times)) <= 11


SEEDS = range(5)
MESSAGES_PER_SEED = 50


def deployed_at_any_second(aws: EmbeddedAws, drawn: random.Random) -> None:
    """Minutes start as late as the account's seed says, and their ticks fail, at most two in a row."""
    aws.clock.run_until(aws.clock.now + drawn.uniform(0, 60))
    deploy(aws)
    publisher, failed_in_a_row = function(aws, "PublishBacklogFunction"), 0
    handler = publisher.handler

    def fails_sometimes(event: dict[str, Any], context: object) -> object:
        nonlocal failed_in_a_row
        failed_in_a_row = failed_in_a_row + 1 if failed_in_a_row < 2 and drawn.random() < 0.5 else 0
        if failed_in_a_row:
            raise RuntimeError("out of order")
        return handler(event, context)

    publisher.handler = fails_sometimes


def reactions_s(seed: int) -> list[float]:
    """Seconds from each of some messages, sent at any moment, until its fleet is started."""
    reactions, drawn = [], random.Random(seed)
    with embedded_aws(ROOT, seed=seed) as aws:
        deployed_at_any_second(aws, drawn)
        for _ in range(MESSAGES_PER_SEED):
            aws.clock.run_until(aws.clock.now + drawn.uniform(11, 21))
            reactions.append(reaction_s(aws))
            take_back(aws)
            aws.groups.set_desired(GROUP, 0)
    return reactions


def test_messages_start_a_fleet_at_the_next_tick_however_late_minutes_are_and_if_some_fail() -> None:
    reactions = sorted(chain.from_iterable(map(reactions_s, SEEDS)))
    assert len(reactions) == len(SEEDS) * MESSAGES_PER_SEED
    assert median(reactions) <= 6
    assert reactions[math.ceil(0.99 * len(reactions)) - 1] <= 11
    assert reactions[-1] <= 15


@pytest.mark.parametrize("seed", range(2))
def test_a_queue_that_was_idle_for_seven_hours_gets_its_fleet_as_soon(seed: int) -> None:
    """Its metrics in CloudWatch would be up to a quarter of an hour late, and its state is of hours ago.

    No tick runs meanwhile, which would take the test minutes.
    """
    drawn = random.Random(seed)
    with embedded_aws(ROOT, seed=seed) as aws:
        deployed_at_any_second(aws, drawn)
        publisher, idle_until = function(aws, "PublishBacklogFunction"), aws.clock.now + 7 * 3600
        publisher.enabled = False
        aws.clock.run_until(idle_until - 300)
        publisher.enabled = True
        aws.clock.run_until(idle_until + drawn.uniform(0, 10))
        assert reaction_s(aws) <= 11


def test_a_failed_tick_is_delivered_again_after_the_visibility_timeout(deployed: EmbeddedAws) -> None:
    target = function(deployed, "DeadlineTickFunction")
    handler, bodies = target.handler, list[tuple[float, str]]()

    def fails_once(event: dict[str, Any], context: object) -> object:
        for record in event["Records"]:
            bodies.append((deployed.clock.now, record["body"]))
        if len(bodies) == 1:
            raise RuntimeError("not now")
        return handler(event, context)

    target.handler = fails_once
    deployed.clock.run_until(deployed.clock.now + 60)
    first_at, first = bodies[0]
    [again] = [at - first_at for at, body in bodies[1:] if body == first]
    assert 30 <= again <= 31
