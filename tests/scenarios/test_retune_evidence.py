"""What the retune makes of measurements gone wrong and of policies changed by hand, and how it explains it.

One scenario has every problem at once, each in a separate workload, and one retune meets them all. The
scenarios begin late in the hour, so that the hourly retune comes soon.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.function_logs import LogLine
from sluice_sim.embedded.scenarios import QUEUE_PROC
from sluice_sim.embedded.services import DIMENSION
from sluice_sim.embedded.timeline import (
    Scenario,
    SteadyArrivals,
    Timeline,
)
from tests.scenarios.conftest import ROOT

pytestmark = pytest.mark.slow

HOUR_MINUTES = 60
RETUNE_AT = 10  # in minutes of the run: the pill is done in the eighth, and can be read half a minute later
BY_HAND_AT = 4
GROUPS = ("group", "gone-group")  # the others are ECS services

# Seven messages a minute for six minutes, done before the retune. Every policy begins at the target of the
# template, 30 messages per task, which is right for messages of 2 s (60 s / 2 s).
QUICK = replace(
    QUEUE_PROC,
    durations=((0, 2),),
    visibility_timeout_s=900,
    steady=SteadyArrivals(first=0, last=5, per_minute=7),
    quiet_minutes=99,
    max_minutes=RETUNE_AT + 2,
)
SLOW = replace(QUICK, durations=((0, 4),))
QUIET = replace(QUICK, steady=None)
ARRIVED = 42
PILL_S = 240
SCENARIOS: Mapping[str, Scenario] = {
    "service": SLOW,
    "group": SLOW,
    "missing": QUIET,
    "sparse": replace(SLOW, steady=None, bursts={0: 10}),
    "sparse-hour": replace(SLOW, steady=None, bursts={0: 10}),
    "silent": SLOW,
    "zero": SLOW,
    "wild": QUICK,
    "poisoned": replace(QUICK, batch=1),
    "gone-service": SLOW,
    "gone-group": SLOW,
    "edited": QUICK,
    "nudged": QUICK,
}
TOO_FEW = "retune holds: too few processing times were published; the current target stays"
REFUSED = "retune holds: the measured processing time is not a positive finite number"
FOLLOWS = "the target follows the measured processing time"
SLOWED = "[target moved by at most the allowed factor]"
AT_THE_FLOOR = "[target raised to its lower bound; target moved by at most the allowed factor]"


@dataclass(frozen=True, kw_only=True)
class Round:
    """A run around one or more hourly retunes: each workload's policies, and every log line."""

    timelines: Mapping[str, Timeline]
    log: list[LogLine]
    policies: Mapping[str, Mapping[str, Any]]
    """Service -> its policy's configuration as the API describes it in the end."""

    def retunes(self, workload: str) -> list[dict[str, Any]]:
        """The hourly decisions about a workload."""
        return [
            line.record
            for line in self.log
            if line.record.get("workload") == workload
            and line.record.get("decision") == "retune"
            and line.record["trigger"] == "schedule"
        ]

    def retune(self, workload: str) -> dict[str, Any]:
        """The one hourly decision about a workload."""
        (record,) = self.retunes(workload)
        return record

    def target(self, workload: str, minute: int) -> float | None:
        """The policy's target at the end of that minute of the run."""
        return self.timelines[workload].minutes[minute].target


@contextmanager
def late_in_the_hour(minutes_to_retune: int) -> Iterator[EmbeddedAws]:
    """An empty account, this many minutes before the full hour."""
    with embedded_aws(ROOT) as aws:
        hour_s = HOUR_MINUTES * 60
        aws.clock.run_until((aws.clock.now // hour_s + 1) * hour_s - minutes_to_retune * 60)
        yield aws


def enter(demo: Demo, name: str, scenario: Scenario) -> None:
    """A workload with queue-proc's settings and its own name."""
    fleet = {"FleetType": "asg", "AutoScalingGroupName": name} if name in GROUPS else {"ServiceName": name}
    demo.add_workload(scenario, {"Name": name, "QueueName": name, **fleet})


def finish(aws: EmbeddedAws, demo: Demo) -> Round:
    timelines = {timeline.summary.name: timeline for timeline in demo.run()}
    policies = aws.scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    return Round(
        timelines=timelines,
        log=aws.log,
        policies={
            policy["ResourceId"].rsplit("/", 1)[-1]: policy["TargetTrackingScalingPolicyConfiguration"]
            for policy in policies
        },
    )


# ---- What people and workers do wrong ----------------------------------------------------------------------


def dimensions(service: str) -> list[dict[str, str]]:
    return [{"Name": "ClusterName", "Value": "workers"}, {"Name": "ServiceName", "Value": service}]


def publish(aws: EmbeddedAws, service: str, *seconds: float, minutes_from_now: int) -> None:
    """Samples that were, or will be, published for a service, besides those of its simulated workers."""
    at = aws.clock.now + minutes_from_now * 60

    def put() -> None:
        datum = {"MetricName": "MsgProcessingDuration", "Dimensions": dimensions(service)}
        values = {"Values": list(seconds), "Timestamp": datetime.fromtimestamp(at, UTC), "Unit": "Seconds"}
        aws.cloudwatch.put_metric_data(Namespace="Sluice", MetricData=[datum | values])

    aws.clock.at(max(at, aws.clock.now), put)


def publishing(aws: EmbeddedAws, service: str, instead: Callable[[dict], list[dict]]) -> None:
    """Make this service's workers publish other values than they measured."""

    def rewrite(params: dict[str, Any], **_: object) -> None:
        params["MetricData"] = [
            put
            for datum in params["MetricData"]
            for put in (
                instead(datum)
                if datum["MetricName"] == "MsgProcessingDuration"
                and datum["Dimensions"] == dimensions(service)
                else [datum]
            )
        ]

    aws.cloudwatch.meta.events.register("provide-client-params.cloudwatch.PutMetricData", rewrite)


def delete_service_policy(aws: EmbeddedAws, service: str) -> None:
    aws.scaling.delete_scaling_policy(
        PolicyName=f"sluice-{service}",
        ServiceNamespace="ecs",
        ResourceId=f"service/workers/{service}",
        ScalableDimension=DIMENSION,
    )


def delete_group_policy(aws: EmbeddedAws, group: str) -> None:
    (policy,) = aws.autoscaling.describe_policies(AutoScalingGroupName=group)["ScalingPolicies"]
    aws.autoscaling.delete_policy(AutoScalingGroupName=group, PolicyName=policy["PolicyName"])


def edit_policy(aws: EmbeddedAws, service: str, **changes: float) -> None:
    """PutScalingPolicy as a person does in the console: these fields change, the others stay."""
    resource = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/workers/{service}",
        "ScalableDimension": DIMENSION,
    }
    (policy,) = aws.scaling.describe_scaling_policies(**resource)["ScalingPolicies"]
    configuration = policy["TargetTrackingScalingPolicyConfiguration"] | changes
    aws.scaling.put_scaling_policy(
        **resource,
        PolicyName=policy["PolicyName"],
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=configuration,
    )


@pytest.fixture(scope="module")
def finished_run() -> Round:
    """Every fault at once, and one retune."""
    with late_in_the_hour(RETUNE_AT) as aws:
        demo = Demo(aws, ROOT)
        for name, scenario in SCENARIOS.items():
            enter(demo, name, scenario)

        def by_hand(change: Callable[[], None]) -> None:
            aws.clock.at(aws.clock.now + BY_HAND_AT * 60, change)

        publish(aws, "sparse-hour", *[3] * 40, minutes_from_now=-5 * HOUR_MINUTES)
        publishing(aws, "silent", lambda _: [])
        publishing(aws, "zero", lambda datum: [datum | {"Values": [0.0] * len(datum["Values"])}])
        publish(aws, "wild", 1e9, minutes_from_now=3)
        queue = aws.sqs.get_queue_url(QueueName="poisoned")["QueueUrl"]
        aws.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"duration_s": PILL_S}))
        by_hand(lambda: delete_service_policy(aws, "gone-service"))
        by_hand(lambda: delete_group_policy(aws, "gone-group"))
        by_hand(lambda: edit_policy(aws, "edited", TargetValue=45, ScaleInCooldown=600))
        by_hand(lambda: edit_policy(aws, "nudged", TargetValue=32))
        return finish(aws, demo)


# ---- One retune meets them all -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "before", "after", "reason", "limits", "message"),
    [
        ("service", 30, 15, "retuned", [], f"retune 30 -> 15 per instance: {FOLLOWS} (60 s x 1 / 4 s = 15)"),
        ("group", 30, 15, "retuned", [], f"retune 30 -> 15 per instance: {FOLLOWS} (60 s x 1 / 4 s = 15)"),
        ("missing", 30, 30, "too_few_samples", [], f"{TOO_FEW} (0 of 30 needed)"),
        ("silent", 30, 30, "too_few_samples", [], f"{TOO_FEW} (0 of 30 needed)"),
        ("sparse", 30, 30, "too_few_samples", [], f"{TOO_FEW} (10 of 30 needed)"),
        (
            "sparse-hour",
            30,
            18.75,
            "retuned",
            [],
            f"retune 30 -> 18.75 per instance: {FOLLOWS} (60 s x 1 / 3.2 s = 18.75)",
        ),
        (
            "zero",
            30,
            30,
            "duration_refused",
            [],
            f"{REFUSED} (0 s over 42 samples)",
        ),
        (
            "wild",
            30,
            15,
            "retuned",
            ["min_target", "max_factor"],
            f"retune 30 -> 15 per instance: {FOLLOWS} (60 s x 1 / 2.326e+07 s = 2.58e-06) {AT_THE_FLOOR}",
        ),
        (
            "poisoned",
            30,
            15,
            "retuned",
            ["max_factor"],
            f"retune 30 -> 15 per instance: {FOLLOWS} (60 s x 1 / 7.535 s = 7.963) {SLOWED}",
        ),
        ("edited", 45, 30, "retuned", [], f"retune 45 -> 30 per instance: {FOLLOWS} (60 s x 1 / 2 s = 30)"),
        (
            "nudged",
            32,
            32,
            "within_deadband",
            [],
            "retune holds: the target moved less than the deadband (30 against 32)",
        ),
    ],
)
def test_a_retune_says_what_it_did_to_the_target_and_why(
    finished_run: Round,
    workload: str,
    before: float,
    after: float,
    reason: str,
    limits: list[str],
    message: str,
) -> None:
    assert finished_run.target(workload, RETUNE_AT - 1) == before
    # AWS looks at the policy once a minute, before or after the retune of that minute.
    assert finished_run.target(workload, RETUNE_AT + 1) == pytest.approx(after)
    record = finished_run.retune(workload)
    assert (record["reason"], record["limits"], record["message"]) == (reason, limits, message)
    assert record["outcome"] == ("acted" if after != before else "held")
    assert record["present_target"] == before
    assert record.get("target") == (pytest.approx(after) if after != before else None)


def test_workers_without_metrics_processed_messages_and_the_sample_count_shows_it(
    finished_run: Round,
) -> None:
    assert finished_run.timelines["silent"].summary.processed == ARRIVED
    assert finished_run.timelines["missing"].summary.processed == 0
    for workload in ("silent", "missing"):
        assert finished_run.retune(workload)["processing"] == {
            "seconds": None,
            "samples": 0,
            "window_s": 86_400,
        }


def test_a_quiet_hour_is_measured_over_the_day_and_the_decision_says_so(finished_run: Round) -> None:
    busy, quiet = (
        finished_run.retune("service")["processing"],
        finished_run.retune("sparse-hour")["processing"],
    )
    assert (busy["window_s"], busy["samples"]) == (3600, ARRIVED)
    assert (quiet["window_s"], quiet["samples"]) == (86_400, 50)


def test_a_poison_pill_went_through_the_queue_like_any_message(finished_run: Round) -> None:
    assert finished_run.timelines["poisoned"].summary.left == 0
    measured = finished_run.retune("poisoned")["processing"]
    assert measured["samples"] == ARRIVED + 1
    assert measured["seconds"] == pytest.approx((ARRIVED * 2 + PILL_S) / (ARRIVED + 1))


@pytest.mark.parametrize("workload", ["wild", "poisoned"])
def test_one_absurd_sample_moves_the_target_by_no_more_than_the_factor_and_within_the_bounds(
    finished_run: Round, workload: str
) -> None:
    record = finished_run.retune(workload)
    assert record["target"] == record["present_target"] / 2
    assert 5 <= record["target"] <= 60


def test_a_corrected_target_keeps_other_manual_changes_of_the_policy(finished_run: Round) -> None:
    edited, untouched = finished_run.policies["edited"], finished_run.policies["nudged"]
    assert (edited["TargetValue"], edited["ScaleInCooldown"]) == (30, 600)
    assert untouched["ScaleInCooldown"] == 300
    metric = "CustomizedMetricSpecification"
    assert edited[metric] | {"Dimensions": []} == untouched[metric] | {"Dimensions": []}
    assert edited[metric]["Dimensions"] == dimensions("edited")


@pytest.mark.parametrize(
    ("workload", "fleet"),
    [("gone-service", "ECS service workers/gone-service"), ("gone-group", "Auto Scaling group gone-group")],
)
def test_a_manually_deleted_policy_is_reported_with_the_way_out_and_counted(
    finished_run: Round, workload: str, fleet: str
) -> None:
    assert finished_run.target(workload, BY_HAND_AT - 1) == 30
    assert finished_run.target(workload, BY_HAND_AT) is None
    assert finished_run.retunes(workload) == []
    failures = [
        line.record
        for line in finished_run.log
        if line.record.get("workload") == workload and line.record["level"] == "ERROR"
    ]
    # The tick, which reads the target, logs it too.
    assert Counter(failure["failure"] for failure in failures)["RetuneFailed"] == 1
    assert {failure["failure"] for failure in failures} <= {"RetuneFailed", "ObservationFailed"}
    for failure in failures:
        assert failure["message"].startswith(f"workload {workload}: {fleet} has no scaling policy arn:aws:")
        assert failure["message"].endswith(
            "it was deleted by hand; update the workload's stack with any change to create it again"
        )


@pytest.mark.parametrize("workload", ["gone-service", "gone-group"])
def test_a_fleet_without_its_policy_still_does_its_work(finished_run: Round, workload: str) -> None:
    summary = finished_run.timelines[workload].summary
    assert (summary.processed, summary.left) == (ARRIVED, 0)


def test_two_failures_fail_the_round_after_the_others_are_served(
    finished_run: Round,
) -> None:
    log = [line for line in finished_run.log if line.function.endswith("RetuneTargetFunction")]
    (round_at,) = {line.at for line in log if line.record.get("trigger") == "schedule"}
    lines = [line.record for line in log if line.at == round_at]
    assert lines[0]["message"] == "WorkloadsServed: retune by schedule"
    assert lines[0]["count"] == len(SCENARIOS)
    decided = {record["workload"] for record in lines if "decision" in record}
    assert decided == set(SCENARIOS) - {"gone-service", "gone-group"}
    ended = "retune failed for gone-group, gone-service; the log line of each says why"
    errors = [record for record in lines if record["level"] == "ERROR"]
    assert [record.get("failure") for record in errors] == [
        "RetuneFailed",
        "RetuneFailed",
        "InvocationFailed",
        None,  # the runtime's own record of what the handler raised
    ]
    assert errors[2]["message"] == ended
    assert errors[3]["message"] == f"TransientError: {ended}"


def test_no_other_function_failed_because_of_it(finished_run: Round) -> None:
    ended = {line.function for line in finished_run.log if line.record.get("failure") == "InvocationFailed"}
    assert ended == {"sluice-RetuneTargetFunction"}
    counted = {
        (line.record["workload"], line.record["failure"])
        for line in finished_run.log
        if line.record["level"] == "ERROR" and line.function == "sluice-PublishBacklogFunction"
    }
    assert counted <= {("gone-service", "ObservationFailed"), ("gone-group", "ObservationFailed")}


# ---- An hour later -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_hours() -> Round:
    """Two retunes, an hour apart, over queues in which nothing happens: only the samples are there."""
    first = 3
    idle = replace(QUIET, max_minutes=first + HOUR_MINUTES + 2)
    with late_in_the_hour(first) as aws:
        demo = Demo(aws, ROOT)
        for name in ("poisoned", "edited"):
            enter(demo, name, idle)
            publish(aws, name, *[2] * 40, minutes_from_now=-30)
            publish(aws, name, *[2] * 40, minutes_from_now=30)
        publish(aws, "poisoned", PILL_S, minutes_from_now=-20)
        aws.clock.at(aws.clock.now + 60, lambda: edit_policy(aws, "edited", TargetValue=500))
        return finish(aws, demo)


def test_a_poison_pill_is_forgotten_an_hour_later(two_hours: Round) -> None:
    steps = [(record["present_target"], record["target"]) for record in two_hours.retunes("poisoned")]
    assert steps == [(30, 15), (15, 30)]


def test_a_target_edited_far_out_of_bounds_is_within_them_after_one_retune_and_exact_after_two(
    two_hours: Round,
) -> None:
    retunes = two_hours.retunes("edited")
    assert [(record["present_target"], record["target"]) for record in retunes] == [(500, 60), (60, 30)]
    assert [record["limits"] for record in retunes] == [["max_factor"], []]
    assert two_hours.policies["edited"]["TargetValue"] == 30
