"""What the doctor and the status say of a workload with a downstream guard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.core.guard import AlarmState
from sluice.core.model import Backlog, Bounds, Capacity, Observation, Unknown
from sluice_operator.core.checks.finding import Check, Outcome
from sluice_operator.core.conditions import Kind, Status, conditions
from sluice_operator.core.readings import Readings
from tests.operator.core.test_checks import POLICY, QUEUE
from tests.operator.core.test_pause_checks import found
from tests.support.builders import NOW, guard, guard_settings, workload

DEAD = replace(QUEUE, dead_letter_queue_arn="arn:aws:sqs:eu-west-1:123456789012:dead")


def judged(settings=None, **read):
    served = workload(guard=guard_settings(**(settings or {})), policy_arn=POLICY.arn)
    given = {"workload": served, "ended_messages": 100.0} | read
    return found(**given)[Check.DOWNSTREAM_GUARD]


def test_a_workload_without_a_guard_and_one_that_watches_pass():
    assert found(workload=workload())[Check.DOWNSTREAM_GUARD].outcome is Outcome.PASS
    assert judged().outcome is Outcome.PASS
    assert judged({"alarm_name": "db"}, guard_alarm=AlarmState.OK).outcome is Outcome.PASS


def test_a_guard_without_its_function_fails_with_the_parameter():
    finding = judged(has_guard_function=False)
    assert finding.outcome is Outcome.FAIL
    assert "DownstreamGuard=true" in finding.fix


def test_a_guard_that_holds_is_said_with_its_reason():
    finding = judged(guard=guard())
    assert (finding.outcome, finding.message) == (Outcome.WARN, str(guard()))


def test_an_alarm_that_does_not_exist_fails():
    finding = judged({"alarm_name": "db"}, guard_alarm=Unknown(reason="the alarm db does not exist"))
    assert finding.outcome is Outcome.FAIL
    assert finding.message.startswith("the alarm db does not exist")


@pytest.mark.parametrize(
    ("queue", "outcome"),
    [
        (DEAD, Outcome.PASS),
        (replace(DEAD, dead_letter_queue_arn=None), Outcome.FAIL),
        (replace(DEAD, dead_letter_queue_arn="arn:aws:sqs:eu-west-1:123456789012:other"), Outcome.FAIL),
        (Unknown(reason="throttled"), Outcome.UNKNOWN),
    ],
)
def test_the_dead_letter_queue_that_it_watches_is_the_queues_own(queue, outcome):
    settings = {"dead_letters_per_minute": 1, "dead_letter_queue": "dead"}
    assert judged(settings, queue=queue).outcome is outcome


def test_workers_that_publish_no_outcome_are_a_warning():
    assert judged(ended_messages=0.0).outcome is Outcome.WARN
    assert judged(ended_messages=Unknown(reason="throttled")).outcome is Outcome.UNKNOWN


def test_a_policy_that_the_guard_holds_is_no_finding_of_its_own():
    disabled = replace(POLICY, enabled=False)
    served = workload(policy_arn=POLICY.arn, guard=guard_settings())
    given = {"workload": served, "policies": [disabled]}
    assert found(**given, guard=guard())[Check.POLICY_ENABLED].outcome is Outcome.PASS
    assert found(**given)[Check.POLICY_ENABLED].outcome is Outcome.FAIL


def test_the_status_says_that_the_guard_limits_scaling_and_why():
    [limited] = [
        each for each in conditions(readings(guard=guard()), NOW) if each.kind is Kind.SCALING_LIMITED
    ]
    assert (limited.status, limited.reason, limited.wrong) == (Status.TRUE, "Guarded", True)
    assert limited.message == f"the downstream fails: {guard()}"
    [open_] = [each for each in conditions(readings(), NOW) if each.kind is Kind.SCALING_LIMITED]
    assert (open_.status, open_.reason) == (Status.FALSE, "WithinBounds")


def readings(**changes):
    """A workload with ten messages and one of five instances."""
    facts = {
        "workload": workload(),
        "observation": Observation(
            backlog=Backlog(visible=10, in_flight=0, delayed=0),
            capacity=Capacity(desired=1, running=1, bounds=Bounds(min=0, max=5)),
        ),
        **dict.fromkeys(
            ("oldest_age_s", "backlog_per_instance", "tracked", "target", "margin_s", "arrivals_per_s",
             "deletions_per_s", "starts", "last_decision")
        ),
    }  # fmt: skip
    return Readings(**(facts | changes))
