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
from sluice_operator.core.checks import CHECKS, alarms, failures, fleet, messages, metrics, policy, queue
from sluice_operator.core.checks.facts import (
    AlarmSettings,
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
    alarms=("TargetTracking-transcription-AlarmHigh",),
)
FUNCTIONS = {"bootstrap": "arn:bootstrap", "shutdown": "arn:shutdown"}
ALARM = AlarmSettings(actions_enabled=True, actions=())
ALARMS = {
    "sluice-transcription-bootstrap": replace(ALARM, actions=("arn:bootstrap",)),
    "sluice-transcription-shutdown": replace(ALARM, actions=("arn:shutdown",)),
    "sluice-transcription-silent": ALARM,
    "TargetTracking-transcription-AlarmHigh": ALARM,
}

NO_INSIGHTS = replace(FLEET, metrics=frozenset())
FULL = replace(CAPACITY, desired=5, running=5)
BOOTING = replace(CAPACITY, running=1)
SUSPENDED = replace(CAPACITY, scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
POOL = WarmPool(instances=2, min_instances=2, is_deleted=False)
ACTION = ScheduledAction(name="morning", schedule="0 8 * * *", min=None, max=None, desired=None)
FIFO_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"
ECS_OF_POLICY = ecs_workload(policy_arn=POLICY.arn)
WAITING = {"queue": replace(QUEUE, backlog=backlog(9))}
FIFO = {"workload": workload(queue_url=FIFO_URL)}
DEAD = replace(QUEUE, dead_letter_queue_arn=None, backlog=backlog(4))


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
        "alarms": ALARMS,
        "mute_rules": {},
        "functions": FUNCTIONS,
        "namespace": "Sluice",
        "published": Point(at=NOW.replace(second=0), value=1.0),
        "longest_processing_s": 60.0,
        "waits": 0.0,
        "received": {NOW - 5 * MINUTE: 10.0},
        "deleted": {NOW - 5 * MINUTE: 10.0},
        "dead_letters": {},
        "groups_in_flight": None,
        "oldest_age_s": None,
        "failures": (),
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
    assert metrics.published(facts(published=newest)).outcome is outcome


def test_a_visibility_timeout_of_twice_the_longest_processing_time_passes():
    assert queue.visibility_timeout(facts()).outcome is Outcome.PASS
    assert queue.visibility_timeout(facts(longest_processing_s=61.0)).outcome is Outcome.WARN


def test_no_check_passes_if_everything_that_it_reads_is_unknown():
    unread = Unknown(reason="AWS answered AccessDenied")
    read = dict.fromkeys(
        {field.name for field in fields(Facts)} - {"now", "workload", "namespace", "functions"}, unread
    )
    without_a_reading = {"registration-valid", "mode-active", "message-groups"}
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
        (fleet.exists, "fail", {"fleet": None}),
        (fleet.exists, "pass", {}),
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
        (alarms.exist, "pass", {}),
        (alarms.exist, "fail", {"alarms": {**ALARMS, "sluice-transcription-age": None}}),
        (alarms.exist, "fail", {"policies": (replace(POLICY, alarms=()),)}),
        (alarms.enabled, "fail", {"alarms": {"a": replace(ALARM, actions_enabled=False)}}),
        (alarms.enabled, "warn", {"mute_rules": {"sluice-transcription-silent": ("night",)}}),
        (alarms.start_functions, "pass", {}),
        (alarms.start_functions, "fail", {"functions": {**FUNCTIONS, "bootstrap": "arn:new"}}),
        (alarms.start_functions, "unknown", {"functions": {}}),
        (metrics.durations, "warn", {"longest_processing_s": None}),
        (metrics.durations, "fail", {"longest_processing_s": None, "workload": dynamic_workload()}),
        (metrics.durations, "pass", {"longest_processing_s": None, "deleted": {}}),
        (metrics.waits, "fail", {"workload": deadline_workload()}),
        (metrics.waits, "pass", {"workload": deadline_workload(), "waits": 3.0}),
        (metrics.waits, "pass", {"workload": deadline_workload(), "deleted": {}}),
        (messages.received, "fail", {**WAITING, "received": {NOW - 20 * MINUTE: 5.0}}),
        (messages.received, "pass", {**WAITING, "received": {NOW - 10 * MINUTE: 5.0}}),
        (messages.received, "pass", {**WAITING, "received": {}, "capacity": replace(CAPACITY, running=0)}),
        (messages.deleted, "warn", {"received": {NOW: 30.0}, "deleted": {NOW: 10.0}}),
        (messages.deleted, "fail", {"received": {NOW: 30.0}, "deleted": {}}),
        (
            messages.deleted,
            "pass",
            {"received": {NOW: 3.0}, "deleted": {}, "queue": replace(QUEUE, backlog=backlog(0, 3))},
        ),
        (messages.groups, "warn", {**WAITING, **FIFO, "groups_in_flight": 1.0}),
        (messages.groups, "pass", {**WAITING, **FIFO, "groups_in_flight": 2.0}),
        (messages.oldest, "fail", {**WAITING, "oldest_age_s": 901.0}),
        (messages.oldest, "pass", {**WAITING, "oldest_age_s": 899.0}),
        (messages.oldest, "pass", {"oldest_age_s": 901.0}),
        (messages.dead_letters, "warn", {"dead_letter_queue": DEAD, "dead_letters": {NOW: 4.0}}),
        (messages.dead_letters, "fail", {"dead_letter_queue": DEAD, "dead_letters": {NOW: 3.0}}),
        (failures.none, "fail", {"failures": ("ActionFailed, 3 times: AccessDenied",)}),
    ],
)
def test_a_fault_is_told_from_what_is_harmless_and_has_a_fix(check, outcome, read):
    found = check(facts(**read))
    assert found.outcome.value == outcome
    assert bool(found.fix) == (outcome in ("warn", "fail"))
