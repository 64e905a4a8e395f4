"""What a blue/green workload costs is what both its colors do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from sluice.core.model import BACKLOG_PER_INSTANCE, AutoScalingGroup, Color, ColoredFleet, Metric, Unknown
from sluice_operator.aws.billed_resources import Stack
from sluice_operator.core.account_usage import Window
from sluice_operator.core.hardware import Ec2Instances
from sluice_operator.cost import workloads
from tests.support.builders import workload

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(start=START, end=START + timedelta(hours=2))
BLUE, GREEN = AutoScalingGroup(name="transcription"), AutoScalingGroup(name="transcription-green")
SWITCHED = workload(
    fleet=GREEN,
    policy_arn="arn:green",
    idle=ColoredFleet(color=Color.BLUE, fleet=BLUE, policy_arn="arn:blue"),
    duration_metric=replace(workload().duration_metric, dimensions=GREEN.dimensions),
)
READS = SimpleNamespace(account=SimpleNamespace(ports=SimpleNamespace(namespace="Sluice")))
PUBLISHED = [
    Metric(namespace="Sluice", name=BACKLOG_PER_INSTANCE, dimensions=fleet.dimensions)
    for fleet in (BLUE, GREEN)
]
DURATIONS = [replace(SWITCHED.duration_metric, dimensions=fleet.dimensions) for fleet in (BLUE, GREEN)]
TRACKING = [
    {"AlarmName": f"TargetTracking-{fleet.name}-AlarmHigh", "AlarmActions": [arn]}
    for fleet, arn in ((BLUE, "arn:blue"), (GREEN, "arn:green"))
]


def readings(**changed):
    return workloads.WorkloadReadings(
        **{
            "stacks": {SWITCHED.stack_id: Stack(created_at=START, parameters={})},
            "alarms": [],
            "tracking_alarms": TRACKING,
            "dashboards": (),
            "metrics": {"Sluice": [*PUBLISHED, *DURATIONS]},
            "hardware": {fleet: Ec2Instances(types=["r7g.medium"]) for fleet in (BLUE, GREEN)},
        }
        | changed
    )


def cost(sizes=((BLUE, (3.0, 0.0)), (GREEN, (0.0, 2.0))), **changed):
    """Blue ran three instances for an hour, green two in the next one."""
    read = readings(**changed)
    found = workloads.attributed(READS, read, [SWITCHED], {SWITCHED.name})
    values = {fleet: {START + timedelta(hours=h): size for h, size in enumerate(of)} for fleet, of in sizes}
    series = {}
    for key, query in workloads.queries(found).items():
        fleet = BLUE if query.metric.dimensions == BLUE.dimensions else GREEN
        sized = values.get(fleet, {})
        series[key] = sized if query.statistic == "Average" else dict.fromkeys(sized, 60.0)
    [result] = workloads.costs(read, found, series, WINDOW, "eu-west-1")
    return result


def test_the_instances_of_both_colors_are_counted():
    assert cost().fleet.instance_hours == pytest.approx(5.0)
    assert cost().fleet.known_h == pytest.approx(2.0)


def test_the_size_of_a_color_that_cloudwatch_does_not_tell_is_not_zero():
    found = cost(sizes=((GREEN, (2.0, 2.0)),)).fleet
    assert isinstance(found, Unknown)
    assert "Auto Scaling group transcription:" in found.reason


def test_the_alarms_of_both_policies_and_the_metrics_of_both_colors_are_billed():
    usage = cost().usage
    assert usage.alarms == TRACKING or usage.alarms == TRACKING[::-1]
    assert {name.split("=")[1] for name in usage.metric_hours} == {BLUE.name, GREEN.name}
    assert {name.split("=")[1] for name in usage.worker_metric_hours} == {BLUE.name, GREEN.name}


def test_a_policy_of_the_idle_color_without_alarms_is_unknown():
    assert isinstance(cost(tracking_alarms=TRACKING[1:]).usage.alarms, Unknown)


def test_a_color_that_was_never_active_has_published_nothing_and_is_not_missed():
    assert len(cost(metrics={"Sluice": [PUBLISHED[1]]}).usage.metric_hours) == 1


@pytest.mark.parametrize(
    ("blue", "types"),
    [
        (Ec2Instances(types=["r7g.medium"]), {"r7g.medium"}),
        (Ec2Instances(types=["r8g.medium"]), {"r7g.medium", "r8g.medium"}),
    ],
)
def test_instances_of_both_colors_have_one_price_only_if_they_are_alike(blue, types):
    hardware = {BLUE: blue, GREEN: Ec2Instances(types=["r7g.medium"])}
    assert set(cost(hardware=hardware).hardware.types) == types


def test_the_alarms_of_two_policies_are_listed_once(monkeypatch):
    """The name of one group begins with that of the other."""
    monkeypatch.setattr(
        workloads.aws,
        "alarms",
        lambda _, prefix: [each for each in TRACKING if each["AlarmName"].startswith(prefix)],
    )
    assert workloads.tracking_alarms(None, (GREEN, BLUE)) == TRACKING[::-1]
    assert workloads.tracking_alarms(None, None) == TRACKING
