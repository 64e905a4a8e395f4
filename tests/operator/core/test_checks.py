"""What a check says of facts that the embedded AWS cannot have."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import Backlog, Unknown
from sluice_operator.core.checks import CHECKS, metrics, policy, queue
from sluice_operator.core.checks.facts import Facts, QueueSettings, TrackingPolicy
from sluice_operator.core.checks.finding import Outcome
from sluice_operator.core.readings import Point
from tests.support.builders import workload

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY_S = 86400
QUEUE = QueueSettings(
    visibility_timeout_s=120,
    retention_s=4 * DAY_S,
    dead_letter_queue_arn="arn:aws:sqs:eu-west-1:123456789012:dead",
    max_receive_count=5,
    key_id=None,
    backlog=Backlog(visible=0, in_flight=0, delayed=0),
)


def facts(**read):
    healthy = {
        "now": NOW,
        "workload": workload(),
        "queue": QUEUE,
        "queue_tags": {"sluice": "managed"},
        "queue_key_state": None,
        "dead_letter_queue": replace(QUEUE, dead_letter_queue_arn=None, retention_s=14 * DAY_S),
        "policy": TrackingPolicy(name="target", enabled=True),
        "backlog_per_instance": Point(at=NOW.replace(second=0), value=1.0),
        "longest_processing_s": 60.0,
    }
    return Facts(**(healthy | read))


@pytest.mark.parametrize(("enabled", "outcome"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_a_policy_that_was_disabled_by_hand_fails(enabled, outcome):
    found = policy.enabled(facts(policy=TrackingPolicy(name="target", enabled=enabled)))
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
    read = dict.fromkeys({field.name for field in fields(Facts)} - {"now", "workload"}, unread)
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
