"""What a check says of facts that the embedded AWS cannot have."""

from __future__ import annotations

import json
import shlex
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
from sluice_operator.core.checks import (
    CHECKS,
    alarms,
    failures,
    fleet,
    key_policy,
    messages,
    metrics,
    permissions,
    policy,
    queue,
)
from sluice_operator.core.checks.facts import (
    AlarmSettings,
    Facts,
    FleetSettings,
    KmsKey,
    Permission,
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
    arn="arn:aws:sqs:eu-west-1:123456789012:transcription",
    has_policy=False,
    visibility_timeout_s=120,
    retention_s=4 * DAY_S,
    dead_letter_queue_arn="arn:aws:sqs:eu-west-1:123456789012:dead",
    max_receive_count=5,
    key_id=None,
    backlog=backlog(),
)
KEY = KmsKey(arn="arn:aws:kms:eu-west-1:123456789012:key/1", state="Enabled")
ROLE = "arn:aws:iam::123456789012:role/work/worker"
ALLOWED = Permission(is_allowed=True)
LACKING = Permission(is_allowed=False)
DENIED = Permission(is_allowed=False, is_denied=True)
PERMISSIONS = dict.fromkeys(
    (*permissions.NEEDED, *permissions.OURS, permissions.PUT_METRICS, permissions.DECRYPT), ALLOWED
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


OF_SOME = ("downstream-guard", "colors-settled")
"""Checks of what a workload may lack; it lacks both here."""


def depths(**thresholds):
    """The stack's alarms, and those of its optional alarms on the depth."""
    optional = {
        f"sluice-transcription-depth-{kind}": replace(ALARM, threshold=value)
        for kind, value in thresholds.items()
    }
    return ALARMS | optional


def native(served):
    return replace(served, tracking=Tracking(source=MetricSource.NATIVE))


def facts(**read):
    healthy = {
        "now": NOW,
        "workload": workload(),
        "pause": None,
        "queue": QUEUE,
        "queue_tags": {"sluice": "managed"},
        "queue_key": None,
        "queue_key_policy": None,
        "dead_letter_queue": replace(QUEUE, dead_letter_queue_arn=None, retention_s=14 * DAY_S),
        "fleet": FLEET,
        "worker_role": ROLE,
        "worker_permissions": PERMISSIONS,
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
    without_a_reading = {
        "registration-valid",
        "mode-active",
        "message-groups",
        "downstream-guard",
        "schedules",
        *OF_SOME,
    }
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
    found = queue.key(
        facts(queue=replace(QUEUE, key_id=key_id), queue_key=state and replace(KEY, state=state))
    )
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
        (alarms.thresholds, "pass", {}),
        (alarms.thresholds, "pass", {"alarms": depths(warning=9, critical=10)}),
        (alarms.thresholds, "pass", {"alarms": depths(warning=9, critical=None)}),
        (alarms.thresholds, "warn", {"alarms": depths(warning=10, critical=10)}),
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


RECEIVE, DELETE = permissions.NEEDED
CHANGE, ATTRIBUTES = permissions.OURS


def may(**changes):
    """The outcome and the message about the role's permissions, with these changed by their operation."""
    names = {action.split(":")[1]: action for action in PERMISSIONS}
    changed = {names[operation]: permission for operation, permission in changes.items()}
    return {"worker_permissions": {**PERMISSIONS, **changed}}


@pytest.mark.parametrize(
    ("read", "outcome", "said"),
    [
        ({}, "pass", f"the policies of {ROLE} allow"),
        (may(ReceiveMessage=LACKING), "fail", f"no policy of {ROLE} allows {RECEIVE}"),
        (
            may(ReceiveMessage=LACKING, DeleteMessage=LACKING, GetQueueAttributes=DENIED),
            *(
                "fail",
                f"no policy of {ROLE} allows {RECEIVE} and {DELETE}; a policy of {ROLE} denies {ATTRIBUTES}",
            ),
        ),
        (may(DeleteMessage=DENIED), "fail", f"a policy of {ROLE} denies {DELETE}"),
        (
            may(DeleteMessage=replace(DENIED, by_organization=False)),
            *("fail", f"the organization's service control policies do not allow {DELETE}"),
        ),
        (
            may(DeleteMessage=replace(LACKING, by_boundary=False)),
            *("fail", f"the permissions boundary of {ROLE} does not allow {DELETE}"),
        ),
        (
            may(DeleteMessage=replace(LACKING, missing_keys=("aws:SourceVpce",))),
            *("unknown", "unless conditions hold that only a request shows: aws:SourceVpce"),
        ),
        (
            {**may(DeleteMessage=LACKING), "queue": replace(QUEUE, has_policy=True)},
            *("unknown", "unless the queue's policy does"),
        ),
        (
            {**may(DeleteMessage=DENIED), "queue": replace(QUEUE, has_policy=True)},
            *("fail", f"a policy of {ROLE} denies {DELETE}"),
        ),
        (may(GetQueueAttributes=LACKING), "warn", f"allows {ATTRIBUTES}, which sluice_worker asks for"),
        (may(PutMetricData=LACKING), "pass", "allow what a worker asks for"),
        ({**may(PutMetricData=LACKING), "longest_processing_s": None}, "warn", permissions.PUT_METRICS),
        ({"worker_role": None, "worker_permissions": {}}, "warn", "without a role"),
        (may(ReceiveMessage=Unknown(reason="AccessDenied")), "unknown", "AccessDenied"),
    ],
)
def test_what_keeps_the_workers_role_from_its_queue_is_named(read, outcome, said):
    found = permissions.worker(facts(**read))
    assert (found.outcome.value, bool(found.fix)) == (outcome, outcome in ("warn", "fail"))
    assert said in found.message


def test_the_fix_is_a_command_that_allows_what_is_lacking_and_no_more():
    lacking = {**may(ReceiveMessage=LACKING, GetQueueAttributes=LACKING, PutMetricData=LACKING)}
    arguments = shlex.split(permissions.worker(facts(**lacking, longest_processing_s=None)).fix)
    assert arguments[:5] == ["aws", "iam", "put-role-policy", "--role-name", "worker"]
    assert json.loads(arguments[-1])["Statement"] == [
        {"Effect": "Allow", "Action": [RECEIVE, ATTRIBUTES], "Resource": QUEUE.arn},
        {
            "Effect": "Allow",
            "Action": [permissions.PUT_METRICS],
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": workload().duration_metric.namespace}},
        },
    ]


ROOT = "arn:aws:iam::123456789012:root"


def allows(principal, action="kms:*", **more):
    return {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", **more}


DELEGATES = allows({"AWS": ROOT})
NAMES = allows(
    {"AWS": ["arn:aws:iam::123456789012:role/other", ROLE]}, ["kms:Decrypt", "kms:GenerateDataKey"]
)
VIA_SQS = {"Condition": {"StringEquals": {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}}}


@pytest.mark.parametrize(
    ("statements", "permission", "outcome", "said"),
    [
        ([DELEGATES], ALLOWED, "pass", f"the policies of {ROLE}"),
        ([allows({"AWS": "123456789012"}, "kms:Dec*")], ALLOWED, "pass", "which the key's lets decide"),
        (
            [DELEGATES],
            LACKING,
            "fail",
            f"no policy of {ROLE} allows kms:Decrypt with the queue's key {KEY.arn}",
        ),
        ([DELEGATES, NAMES], LACKING, "pass", "the policy of the key allows kms:Decrypt"),
        ([NAMES], ALLOWED, "pass", "the policy of the key"),
        ([allows("*")], LACKING, "pass", "the policy of the key"),
        ([allows({"AWS": ROLE}, "kms:GenerateDataKey")], LACKING, "fail", "and the key's does not either"),
        ([allows({"AWS": "arn:aws:iam::1:root"})], ALLOWED, "fail", "do not count"),
        ([allows({"Service": "sqs.amazonaws.com"})], ALLOWED, "fail", "do not count"),
        ([DELEGATES, NAMES], DENIED, "fail", f"a policy of {ROLE} denies kms:Decrypt"),
        ([NAMES], replace(LACKING, by_organization=False), "fail", "service control policies"),
        ([NAMES], replace(LACKING, by_boundary=False), "fail", "the permissions boundary"),
        ([DELEGATES, NAMES | {"Effect": "Deny"}], ALLOWED, "unknown", "may deny kms:Decrypt"),
        ([DELEGATES, allows({"AWS": ROLE}, **VIA_SQS)], LACKING, "unknown", "only under conditions"),
        ([DELEGATES, allows({"AWS": ROLE}, **VIA_SQS)], ALLOWED, "pass", "which the key's lets decide"),
        ([allows({"AWS": ROOT}, **VIA_SQS)], ALLOWED, "unknown", "only under conditions"),
        ([DELEGATES], replace(LACKING, missing_keys=("aws:SourceVpc",)), "unknown", "aws:SourceVpc"),
    ],
)
def test_decrypting_needs_the_roles_policies_and_the_keys_or_the_keys_alone(
    statements, permission, outcome, said
):
    found = permissions.key(
        facts(
            queue=replace(QUEUE, key_id="alias/own"),
            queue_key=KEY,
            queue_key_policy=key_policy.parse({"Statement": statements}),
            **may(Decrypt=permission),
        )
    )
    assert (found.outcome.value, bool(found.fix)) == (outcome, outcome == "fail")
    assert said in found.message


@pytest.mark.parametrize("key_id", [None, "alias/aws/sqs", "arn:aws:kms:eu-west-1:1:alias/aws/sqs"])
def test_a_queue_without_a_key_of_ones_own_needs_no_permission(key_id):
    found = permissions.key(facts(queue=replace(QUEUE, key_id=key_id), **may(Decrypt=LACKING)))
    assert found.outcome is Outcome.PASS


@pytest.mark.parametrize(
    "read",
    [
        {"queue_key_policy": Unknown(reason="AWS answered AccessDenied")},
        {"queue_key": None, "queue_key_policy": None},
        {"worker_role": None, "worker_permissions": {}},
        may(Decrypt=Unknown(reason="AWS answered AccessDenied")),
    ],
)
def test_without_the_key_its_policy_or_the_role_nothing_is_said_of_decrypting(read):
    delegating = {"queue_key": KEY, "queue_key_policy": key_policy.parse({"Statement": DELEGATES})}
    found = permissions.key(facts(queue=replace(QUEUE, key_id="alias/own"), **(delegating | read)))
    assert found.outcome is Outcome.UNKNOWN
