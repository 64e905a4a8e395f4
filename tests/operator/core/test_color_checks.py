"""What the doctor and the status say of a workload of two colors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.core.model import AutoScalingGroup, Bounds, Color, ColoredFleet, EcsService, Unknown
from sluice.core.switch_record import Step, Switch, Was
from sluice_operator.core.checks.finding import Check, Outcome
from tests.operator.core.test_checks import CAPACITY, FLEET, POLICY
from tests.operator.core.test_pause_checks import found
from tests.support.builders import NOW, workload

GREEN = ColoredFleet(
    color=Color.GREEN, fleet=AutoScalingGroup(name="transcription-green"), policy_arn="arn:green"
)
EMPTY, UP = (replace(CAPACITY, desired=size, running=size) for size in (0, 3))
SWITCH = Switch(
    to=Color.GREEN,
    by="arn:alice",
    execution="arn:aws:states:eu-west-1:123456789012:execution:sluice-switch:one",
    since=NOW,
    step=Step.READY,
    was={
        color: Was(fleet="Auto Scaling group transcription", minimum=0, desired=2, fields={})
        for color in Color
    },
)


def judged(**read):
    served = workload(policy_arn=POLICY.arn, idle=GREEN)
    given = {"workload": served, "idle_capacity": EMPTY, "registry_prefix": "/sluice/workloads"} | read
    return found(**given)[Check.COLORS_SETTLED]


def test_a_single_fleet_and_two_settled_colors_pass():
    assert found(workload=workload())[Check.COLORS_SETTLED].outcome is Outcome.PASS
    assert judged().outcome is Outcome.PASS


def test_workers_that_are_left_drained_fail_with_the_parameter_to_put():
    finding = judged(draining="blue")
    assert finding.outcome is Outcome.FAIL
    assert "--value none --name /sluice/workloads/transcription/draining-color" in finding.fix


def test_an_idle_color_that_runs_instances_costs_and_receives():
    finding = judged(idle_capacity=UP)
    assert finding.outcome is Outcome.WARN
    assert "green, Auto Scaling group transcription-green, is not active and has 3" in finding.message
    assert "`sluice switch transcription`" in finding.fix


def test_a_switch_that_runs_is_said_with_who_and_since_when():
    finding = judged(switch=SWITCH, switch_runs=True, draining="blue", idle_capacity=UP)
    assert finding.outcome is Outcome.WARN
    assert "a switch to green by arn:alice since" in finding.message


def test_a_lock_without_an_execution_fails_with_the_way_out():
    finding = judged(switch=SWITCH, switch_runs=False)
    assert (finding.outcome, finding.fix) == (Outcome.FAIL, "sluice switch transcription --abort")


@pytest.mark.parametrize(
    "read",
    [
        {"switch": Unknown(reason="throttled")},
        {"switch": SWITCH, "switch_runs": Unknown(reason="throttled")},
        {"draining": Unknown(reason="throttled")},
        {"idle_capacity": Unknown(reason="throttled")},
    ],
)
def test_what_is_not_read_is_unknown_and_no_pass(read):
    finding = judged(**read)
    assert (finding.outcome, finding.message) == (Outcome.UNKNOWN, "throttled")


def judged_by(check, **read):
    served = workload(policy_arn=POLICY.arn, idle=GREEN)
    return found(**{"workload": served, "idle_capacity": EMPTY, "idle_fleet": FLEET} | read)[check]


def test_an_idle_color_without_the_tag_fails_before_a_switch_to_it_does():
    assert judged_by(Check.FLEET_TAGGED).outcome is Outcome.PASS
    finding = judged_by(Check.FLEET_TAGGED, idle_fleet=replace(FLEET, tags={}))
    assert finding.outcome is Outcome.FAIL
    assert "Auto Scaling group transcription-green lacks the tag sluice = managed" in finding.message
    assert "ResourceId=transcription-green," in finding.fix


def test_an_idle_color_that_does_not_exist_fails():
    finding = judged_by(Check.FLEET_EXISTS, idle_fleet=None)
    assert finding.outcome is Outcome.FAIL
    assert "transcription-green does not exist" in finding.message
    assert "GreenAutoScalingGroupName" in finding.fix


def test_an_idle_color_that_could_not_be_read_is_no_pass():
    for check in (Check.FLEET_EXISTS, Check.FLEET_TAGGED):
        assert judged_by(check, idle_fleet=Unknown(reason="throttled")).outcome is Outcome.UNKNOWN


def test_the_bounds_of_the_active_one_of_two_services_are_put_right_without_an_update_of_the_stack():
    """The stack registers each color with the bounds that it had at first, whichever is active."""
    blue, green = (EcsService(cluster="c", service=f"web-{color}") for color in ("blue", "green"))
    served = workload(
        min_instances=1,
        policy_arn=POLICY.arn,
        fleet=green,
        idle=ColoredFleet(color=Color.BLUE, fleet=blue, policy_arn="arn:blue"),
    )
    read = {"workload": served, "capacity": replace(CAPACITY, bounds=Bounds(min=0, max=5))}
    finding = found(**read)[Check.BOUNDS_AGREE]
    assert finding.outcome is Outcome.WARN
    assert "web-green" in finding.fix
    assert finding.fix.endswith("--min-capacity 1 --max-capacity 5")
