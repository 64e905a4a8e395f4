"""What a check says of facts that the embedded AWS cannot have."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import (
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Bounds,
    Capacity,
    LaunchAttempt,
    Metric,
    MetricSource,
    Mode,
    Tracking,
    Unknown,
)
from sluice_operator.core.checks import CHECKS, fleet, metrics, policy, queue
from sluice_operator.core.checks.facts import (
    Facts,
    FleetSettings,
    QueueSettings,
    ScalingPolicy,
    ScheduledAction,
    WarmPool,
)
from sluice_operator.core.checks.finding import Outcome
from sluice_operator.core.events import Deployment
from sluice_operator.core.readings import Point
from tests.support.builders import backlog, deadline_workload, dynamic_workload, ecs_workload, workload

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY_S = 86400
QUEUE = QueueSettings(
    visibility_timeout_s=120,
    retention_s=4 * DAY_S,
    dead_letter_queue_arn="arn:aws:sqs:eu-west-1:123456789012:dead",
    max_receive_count=5,
    key_id=None,
    backlog=backlog(),
)

CAPACITY = Capacity(desired=2, running=2, bounds=workload().bounds, protected=0)
FLEET = FleetSettings(
    arn="arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:1:autoScalingGroupName/fleet",
    tags={"sluice": "managed"},
    metrics=frozenset({"GroupDesiredCapacity", "GroupInServiceInstances"}),
)
POLICY = ScalingPolicy(
    arn=str(workload().policy_arn),
    name="target",
    kind="TargetTrackingScaling",
    enabled=True,
    target=workload().target.messages_per_instance,
    metrics=(Metric(namespace="Sluice", name="BacklogPerInstance", dimensions=workload().fleet.dimensions),),
    predefined_metric=None,
    scale_in_disabled=False,
    warmup_s=120,
    scale_out_cooldown_s=None,
    scale_in_cooldown_s=None,
    alarms=(),
)

NO_INSIGHTS = replace(FLEET, metrics=frozenset())
FULL = replace(CAPACITY, desired=5, running=5)
BOOTING = replace(CAPACITY, running=1)
SUSPENDED = replace(CAPACITY, scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
POOL = WarmPool(instances=2, min_instances=2, is_deleted=False)
ACTION = ScheduledAction(name="morning", schedule="0 8 * * *", min=None, max=None, desired=None)
FIFO_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"
ECS_OF_POLICY = ecs_workload(policy_arn=POLICY.arn)


def native(served):
    return replace(served, tracking=Tracking(source=MetricSource.NATIVE))


def facts(**read):
    healthy = {
        "now": NOW,
        "workload": workload(),
        "queue": QUEUE,
        "queue_tags": {"sluice": "managed"},
        "queue_key_state": None,
        "dead_letter_queue": replace(QUEUE, dead_letter_queue_arn=None, retention_s=14 * DAY_S),
        "fleet": FLEET,
        "capacity": CAPACITY,
        "deployment": None,
        "launches": (),
        "policies": (POLICY,),
        "scheduled_actions": (),
        "namespace": "Sluice",
        "backlog_per_instance": Point(at=NOW.replace(second=0), value=1.0),
        "longest_processing_s": 60.0,
    }
    return Facts(**(healthy | read))


@pytest.mark.parametrize(("enabled", "outcome"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_a_policy_that_was_disabled_by_hand_fails(enabled, outcome):
    found = policy.enabled(facts(policies=(replace(POLICY, enabled=enabled),)))
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("newest", "outcome"),
    [
        (Point(at=NOW - 3 * MINUTE, value=0.0), Outcome.PASS),
        (Point(at=NOW - 5 * MINUTE, value=0.0), Outcome.FAIL),
        (None, Outcome.FAIL),
    ],
)
def test_a_backlog_that_is_not_published_any_more_fails(newest, outcome):
    assert metrics.published(facts(backlog_per_instance=newest)).outcome is outcome


def test_a_visibility_timeout_of_twice_the_longest_processing_time_passes():
    assert queue.visibility_timeout(facts()).outcome is Outcome.PASS
    assert queue.visibility_timeout(facts(longest_processing_s=61.0)).outcome is Outcome.WARN


def test_no_check_passes_if_everything_that_it_reads_is_unknown():
    unread = Unknown(reason="AWS answered AccessDenied")
    read = dict.fromkeys({field.name for field in fields(Facts)} - {"now", "workload", "namespace"}, unread)
    without_a_reading = {"registration-valid", "mode-active"}
    outcomes = {check(facts(**read)).check: check(facts(**read)).outcome for check in CHECKS}
    assert {check for check, outcome in outcomes.items() if outcome is Outcome.PASS} == without_a_reading


def test_a_fifo_queues_dead_letters_start_anew_and_need_no_longer_retention():
    same = replace(QUEUE, dead_letter_queue_arn=None)
    fifo = workload(queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo")
    assert queue.retention(facts(dead_letter_queue=same)).outcome is Outcome.WARN
    assert queue.retention(facts(dead_letter_queue=same, workload=fifo)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("key_id", "state", "outcome"),
    [
        ("alias/aws/sqs", None, Outcome.PASS),
        ("alias/own", "Enabled", Outcome.PASS),
        ("alias/own", "PendingDeletion", Outcome.FAIL),
        ("alias/own", None, Outcome.FAIL),
    ],
)
def test_a_key_that_kms_cannot_use_fails(key_id, state, outcome):
    found = queue.key(facts(queue=replace(QUEUE, key_id=key_id), queue_key_state=state))
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("check", "outcome", "read"),
    [
        (fleet.metrics, "fail", {"fleet": replace(FLEET, metrics=frozenset())}),
        (fleet.metrics, "fail", {"fleet": NO_INSIGHTS, "workload": native(ecs_workload())}),
        (fleet.metrics, "pass", {"fleet": NO_INSIGHTS, "workload": ecs_workload()}),
        (fleet.metrics, "warn", {"fleet": NO_INSIGHTS, "workload": ecs_workload(queue_url=FIFO_URL)}),
        (fleet.bounds, "fail", {"capacity": replace(CAPACITY, bounds=Bounds(min=6, max=9))}),
        (fleet.bounds, "fail", {"capacity": replace(CAPACITY, bounds=None), "workload": ecs_workload()}),
        (fleet.below_maximum, "fail", {"capacity": FULL, "queue": replace(QUEUE, backlog=backlog(200))}),
        (fleet.below_maximum, "pass", {"capacity": FULL, "queue": replace(QUEUE, backlog=backlog(30))}),
        (
            fleet.below_maximum,
            "fail",
            {"capacity": FULL, "queue": replace(QUEUE, backlog=backlog(1)), "workload": deadline_workload()},
        ),
        (fleet.processes, "pass", {"fleet": replace(FLEET, suspended=("AZRebalance",))}),
        (fleet.processes, "fail", {"capacity": SUSPENDED, "workload": ecs_workload()}),
        (fleet.processes, "pass", {"capacity": SUSPENDED, "workload": ecs_workload(mode=Mode.PAUSED)}),
        (fleet.deployment, "warn", {"deployment": Deployment(started_at=NOW, description="a refresh")}),
        (
            fleet.deployment,
            "fail",
            {"deployment": Deployment(started_at=NOW - 61 * MINUTE, description="a refresh")},
        ),
        (fleet.warm_pool, "pass", {"fleet": replace(FLEET, warm_pool=POOL)}),
        (fleet.warm_pool, "warn", {"fleet": replace(FLEET, warm_pool=replace(POOL, is_deleted=True))}),
        (fleet.weights, "fail", {"capacity": replace(CAPACITY, unsupported_units=("WeightedCapacity 2",))}),
        (
            fleet.scalable,
            "fail",
            {"fleet": replace(NO_INSIGHTS, scheduling_strategy="DAEMON"), "workload": ecs_workload()},
        ),
        (fleet.start, "fail", {"capacity": BOOTING, "launches": (LaunchAttempt(at=NOW, failure="no Spot"),)}),
        (fleet.start, "pass", {"capacity": BOOTING, "launches": (LaunchAttempt(at=NOW),)}),
        (fleet.end, "warn", {"fleet": replace(FLEET, standby_instances=1)}),
        (fleet.end, "warn", {"capacity": replace(CAPACITY, protected=1)}),
        (
            fleet.end,
            "pass",
            {"capacity": replace(CAPACITY, protected=1), "queue": replace(QUEUE, backlog=backlog(1))},
        ),
        (policy.metric, "fail", {"policies": (replace(POLICY, metrics=()),)}),
        (policy.metric, "fail", {"workload": native(workload())}),
        (policy.target, "fail", {"policies": (replace(POLICY, target=None, kind="StepScaling"),)}),
        (policy.target, "warn", {"policies": (replace(POLICY, scale_in_disabled=True),)}),
        (
            policy.target,
            "warn",
            {"policies": (replace(POLICY, target=1e6),), "workload": dynamic_workload()},
        ),
        (
            policy.target,
            "pass",
            {"policies": (replace(POLICY, target=50.0),), "workload": dynamic_workload()},
        ),
        (policy.waits, "warn", {"policies": (replace(POLICY, warmup_s=901),)}),
        (
            policy.waits,
            "warn",
            {"policies": (replace(POLICY, scale_in_cooldown_s=901),), "workload": ECS_OF_POLICY},
        ),
        (policy.scheduled_actions, "warn", {"scheduled_actions": (replace(ACTION, max=4),)}),
        (policy.scheduled_actions, "pass", {"scheduled_actions": (replace(ACTION, min=2),)}),
    ],
)
def test_a_fault_is_told_from_what_is_harmless(check, outcome, read):
    assert check(facts(**read)).outcome.value == outcome
