"""What a check says of facts that the embedded AWS cannot have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice_operator.core.checks import metrics, policy, queue
from sluice_operator.core.checks.facts import Facts, QueueSettings, TrackingPolicy
from sluice_operator.core.checks.finding import Outcome
from sluice_operator.core.readings import Point
from tests.support.builders import workload

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def facts(**read):
    healthy = {
        "workload": workload(),
        "queue": QueueSettings(
            visibility_timeout_s=120, dead_letter_queue_arn="arn:aws:sqs:dead", max_receive_count=5
        ),
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
    assert metrics.published(facts(backlog_per_instance=newest), NOW).outcome is outcome


def test_a_visibility_timeout_of_twice_the_longest_processing_time_passes():
    assert queue.visibility_timeout(facts()).outcome is Outcome.PASS
    assert queue.visibility_timeout(facts(longest_processing_s=61.0)).outcome is Outcome.WARN
