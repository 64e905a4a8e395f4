"""What the doctor says of a workload that an operator has paused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Unknown,
)
from sluice.core.pause import BOTH, IN, OUT, Pause
from sluice_operator.core.checks import findings
from sluice_operator.core.checks.finding import Check, Outcome
from tests.operator.core.test_checks import CAPACITY, FLEET, NOW, POLICY, facts
from tests.support.builders import ecs_workload, workload

GROUP = {"AlarmNotificationSuspended": False, "Enabled": True, "DisableScaleIn": False}
SERVICE = {"DynamicScalingOutSuspended": False, "DynamicScalingInSuspended": False}
SUSPENDED = replace(FLEET, suspended=("AlarmNotification",))
DISABLED, IN_DISABLED = replace(POLICY, enabled=False), replace(POLICY, scale_in_disabled=True)


def pause(directions, before=GROUP):
    return Pause(directions=directions, by="arn:alice", at=NOW, reason="a deploy", before=before)


def found(**read):
    return {finding.check: finding for finding in findings(facts(**read))}


@pytest.mark.parametrize(
    ("directions", "read", "check"),
    [
        (BOTH, {"fleet": SUSPENDED}, Check.PROCESSES_RUN),
        (OUT, {"policies": [DISABLED]}, Check.POLICY_ENABLED),
        (IN, {"policies": [IN_DISABLED]}, Check.POLICY_TARGET),
    ],
    ids=["both", "out", "in"],
)
def test_what_a_pause_holds_of_a_group_is_no_finding_of_its_own(directions, read, check):
    served = workload(policy_arn=POLICY.arn)
    given = {"workload": served, "policies": [POLICY]} | read
    judged = found(pause=pause(directions), **given)
    assert judged[check].outcome is Outcome.PASS
    not_paused = judged[Check.NOT_PAUSED]
    assert (not_paused.outcome, not_paused.fix) == (Outcome.WARN, "sluice resume transcription")
    assert "by arn:alice since" in not_paused.message
    assert found(pause=None, **given)[check].outcome is not Outcome.PASS


@pytest.mark.parametrize("directions", [BOTH, OUT, IN], ids=["both", "out", "in"])
def test_a_policy_that_an_update_of_the_stack_has_released_fails(directions):
    served = workload(policy_arn=POLICY.arn)
    finding = found(pause=pause(directions), workload=served, policies=[POLICY])[Check.NOT_PAUSED]
    assert finding.outcome is Outcome.FAIL
    assert "AWS's own policy is not held any more" in finding.message
    assert "`sluice pause transcription`" in finding.fix


def test_a_service_is_held_by_its_scalable_target():
    blocked = replace(
        CAPACITY,
        scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,),
        scale_in_blocked_by=(DYNAMIC_SCALING_IN_SUSPENDED,),
    )
    given = {"workload": ecs_workload(), "pause": pause(BOTH, SERVICE)}
    judged = found(capacity=blocked, **given)
    assert judged[Check.NOT_PAUSED].outcome is Outcome.WARN
    assert judged[Check.PROCESSES_RUN].outcome is Outcome.PASS
    assert found(capacity=CAPACITY, **given)[Check.NOT_PAUSED].outcome is Outcome.FAIL


def test_a_pause_that_cannot_be_read_is_unknown():
    assert found(pause=Unknown(reason="throttled"))[Check.NOT_PAUSED].outcome is Outcome.UNKNOWN


def test_nobody_has_paused_a_workload_without_a_pause():
    assert found()[Check.NOT_PAUSED].outcome is Outcome.PASS
