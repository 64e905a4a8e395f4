"""What a check of the control plane says of its facts."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import Unknown
from sluice_operator.core.checks.finding import Outcome, PlaneCheck
from sluice_operator.core.checks.plane import (
    CHECKS,
    Concurrency,
    FailureQueue,
    Invocations,
    PlaneFacts,
    Schedule,
    plane_findings,
)

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
UNREAD = Unknown(reason="AWS answered AccessDenied")
TICKS = Schedule(name="sluice-ticks", state="ENABLED", is_trial=False)
TRIAL = Schedule(name="sluice-trial", state="DISABLED", is_trial=True)
RAN = Invocations(started=60, errors=0, throttles=0)
HEALTHY = PlaneFacts(
    now=NOW,
    schedules=[TICKS, TRIAL],
    last_tick=NOW - timedelta(minutes=1),
    invocations={"publisher": RAN, "bootstrap": Invocations(started=0, errors=0, throttles=0)},
    reserved={"publisher": None, "bootstrap": 5},
    concurrency=Concurrency(limit=1000, unreserved=995),
    used_concurrency=3.0,
    failure_queue=FailureQueue(url="https://sqs.eu-west-1.amazonaws.com/1/failures", events=0),
    alarms=100,
    alarm_quota=5000.0,
    standard_parameters=10,
)


def outcome(check, **read):
    found = {finding.check: finding for finding in plane_findings(replace(HEALTHY, **read))}
    assert set(found) == set(PlaneCheck)
    assert all(bool(each.fix) == (each.outcome in {Outcome.WARN, Outcome.FAIL}) for each in found.values())
    return found[check].outcome


def test_a_healthy_control_plane_passes_every_check():
    assert {finding.outcome for finding in plane_findings(HEALTHY)} == {Outcome.PASS}


@pytest.mark.parametrize(
    ("check", "read", "expected"),
    [
        (PlaneCheck.SCHEDULES, {"schedules": [replace(TICKS, state="DISABLED"), TRIAL]}, Outcome.FAIL),
        (PlaneCheck.SCHEDULES, {"schedules": [replace(TICKS, state=None), TRIAL]}, Outcome.FAIL),
        (PlaneCheck.SCHEDULES, {"schedules": [TICKS, replace(TRIAL, state="ENABLED")]}, Outcome.WARN),
        (PlaneCheck.SCHEDULES, {"schedules": [TICKS, replace(TRIAL, state=None)]}, Outcome.PASS),
        (PlaneCheck.TICKS, {"last_tick": NOW - timedelta(minutes=3)}, Outcome.PASS),
        (PlaneCheck.TICKS, {"last_tick": NOW - timedelta(minutes=3, seconds=1)}, Outcome.FAIL),
        (PlaneCheck.TICKS, {"last_tick": None}, Outcome.FAIL),
        (PlaneCheck.ERRORS, {"invocations": {"publisher": replace(RAN, errors=29)}}, Outcome.WARN),
        (PlaneCheck.ERRORS, {"invocations": {"publisher": replace(RAN, errors=30)}}, Outcome.FAIL),
        (PlaneCheck.THROTTLES, {"invocations": {"publisher": replace(RAN, throttles=1)}}, Outcome.WARN),
        (PlaneCheck.THROTTLES, {"reserved": {"publisher": 0}}, Outcome.FAIL),
        (PlaneCheck.CONCURRENCY, {"used_concurrency": 799.0}, Outcome.PASS),
        (PlaneCheck.CONCURRENCY, {"used_concurrency": 800.0}, Outcome.WARN),
        (PlaneCheck.CONCURRENCY, {"concurrency": Concurrency(limit=10, unreserved=10)}, Outcome.WARN),
        (PlaneCheck.CONCURRENCY, {"concurrency": Concurrency(limit=1000, unreserved=11)}, Outcome.PASS),
        (PlaneCheck.FAILURE_QUEUE, {"failure_queue": FailureQueue(url="of/it", events=1)}, Outcome.WARN),
        (PlaneCheck.ALARM_QUOTA, {"alarms": 3999}, Outcome.PASS),
        (PlaneCheck.ALARM_QUOTA, {"alarms": 4000}, Outcome.WARN),
        (PlaneCheck.ALARM_QUOTA, {"alarms": 5000}, Outcome.FAIL),
        (PlaneCheck.PARAMETER_QUOTA, {"standard_parameters": 7999}, Outcome.PASS),
        (PlaneCheck.PARAMETER_QUOTA, {"standard_parameters": 8000}, Outcome.WARN),
        (PlaneCheck.PARAMETER_QUOTA, {"standard_parameters": 10_000}, Outcome.FAIL),
    ],
)
def test_a_check_judges_what_was_read(check, read, expected):
    assert outcome(check, **read) is expected


@pytest.mark.parametrize("fact", [each.name for each in fields(PlaneFacts) if each.name != "now"])
def test_what_could_not_be_read_passes_no_check_that_needs_it(fact):
    found = plane_findings(replace(HEALTHY, **{fact: UNREAD}))
    unread = [finding for finding in found if finding.outcome is Outcome.UNKNOWN]
    assert unread
    assert {finding.message for finding in unread} == {UNREAD.reason}
    assert len([each for each in found if each.outcome is Outcome.PASS]) == len(CHECKS) - len(unread)


@pytest.mark.parametrize(
    ("check", "read"),
    [
        (PlaneCheck.SCHEDULES, {"schedules": [TICKS, UNREAD]}),
        (PlaneCheck.ERRORS, {"invocations": {"publisher": RAN, "bootstrap": UNREAD}}),
        (PlaneCheck.THROTTLES, {"reserved": {"publisher": UNREAD}}),
    ],
)
def test_one_of_several_that_could_not_be_read_leaves_a_check_unknown(check, read):
    assert outcome(check, **read) is Outcome.UNKNOWN
