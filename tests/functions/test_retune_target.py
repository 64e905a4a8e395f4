import pytest

from sluice.errors import TransientError
from tests.functions.conftest import Plane, sample
from tests.sluice.aws import account
from tests.support.builders import (
    document,
    dynamic_section,
)


def test_the_hourly_round_moves_both_targets_to_what_was_measured(plane: Plane) -> None:
    plane.processed("asg", seconds=48)
    plane.processed("ecs", seconds=80)
    plane.invoke("retune_target", sample("schedule"))
    assert (plane.target("asg"), plane.target("ecs")) == (12.5, 7.5)
    decisions = {line["workload"]: line for line in plane.lines() if "decision" in line}
    assert (
        decisions["transcription"].items()
        >= {
            "decision": "retune",
            "trigger": "schedule",
            "outcome": "acted",
            "reason": "retuned",
            "present_target": 10,
            "target": 12.5,
            "processing": {"seconds": 48, "samples": 40, "window_s": 3600},
        }.items()
    )


def test_one_hour_moves_a_target_by_at_most_a_factor_of_two(plane: Plane) -> None:
    plane.processed("asg", seconds=6)
    plane.invoke("retune_target", sample("schedule-manual"))
    assert plane.target("asg") == 20


def test_a_changed_stack_retunes_its_own_workload_alone_and_at_once(plane: Plane) -> None:
    plane.processed("asg", seconds=6)
    plane.processed("ecs", seconds=6)
    plane.invoke("retune_target", sample("stack-status"))
    assert (plane.target("asg"), plane.target("ecs")) == (100, 10)
    [line] = [line for line in plane.lines() if "decision" in line]
    assert (line["workload"], line["trigger"]) == ("transcription", "stack")


def test_another_stacks_change_is_acknowledged_and_touches_nothing(plane: Plane) -> None:
    plane.processed("asg", seconds=6)
    event = sample("stack-status")
    event["detail"]["stack-id"] = event["detail"]["stack-id"].replace("sluice-transcription", "other")
    plane.invoke("retune_target", event)
    assert plane.target("asg") == 10
    assert not [line for line in plane.lines() if "decision" in line]


def test_without_measured_messages_the_target_stays_and_the_line_is_valid_json(plane: Plane) -> None:
    plane.invoke("retune_target", sample("schedule"))
    assert (plane.target("asg"), plane.target("ecs")) == (10, 10)
    decisions = [line for line in plane.lines() if "decision" in line]
    assert [line["reason"] for line in decisions] == ["too_few_samples"] * 2
    assert decisions[0]["processing"] == {"seconds": None, "samples": 0, "window_s": 86_400}


def test_a_missing_policy_is_logged_and_fails_the_round_after_the_other_target_moved(plane: Plane) -> None:
    plane.processed("asg", seconds=48)
    plane.processed("ecs", seconds=48)
    account.client("autoscaling").delete_policy(
        AutoScalingGroupName="transcription", PolicyName="sluice-transcription"
    )
    with pytest.raises(TransientError, match="retune failed for transcription"):
        plane.invoke("retune_target", sample("schedule"))
    assert plane.target("ecs") == 12.5
    lines = plane.lines()
    [failed, ended] = [line for line in lines if line.get("failure")]
    assert (failed["failure"], ended["failure"]) == ("RetuneFailed", "InvocationFailed")
    assert "has no scaling policy" in failed["message"]
    [counted] = [line for line in lines if "_aws" in line]
    assert counted["RetuneFailed"] == [1]


def test_observe_computes_and_logs_and_leaves_the_policy(plane: Plane) -> None:
    account.register(document(mode="observe", policy_arn="", target=dynamic_section()))
    plane.processed("asg", seconds=48)
    plane.invoke("retune_target", sample("stack-status"))
    assert plane.target("asg") == 10
    [line] = [line for line in plane.lines() if "decision" in line]
    assert (line["outcome"], line["target"]) == ("observed", 12.5)
