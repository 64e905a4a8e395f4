"""MetricSource=native without the metrics it reads: target tracking has no data, which is logged."""

from dataclasses import replace
from typing import Any

import pytest

from sluice.core.model import MetricSource, Mode, TrackedMetric, Unknown, Workload
from sluice.ports import Counter
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    deadline_workload,
    ecs_workload,
    effective,
    minutes_ago,
    workload,
)
from tests.support.fakes import FakeAccount

GROUP = effective(workload(), source=MetricSource.NATIVE, processing_s=4)
SERVICE = effective(ecs_workload(), source=MetricSource.NATIVE, metric=TrackedMetric.BACKLOG)
BOTH = pytest.mark.parametrize("served", [GROUP, SERVICE], ids=["group", "service"])


def tick(account: FakeAccount, minutes: int = 1) -> None:
    """Run this many ticks, one a minute."""
    for _ in range(minutes):
        publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
        account.clock.advance(minutes=1)


def requests(account: FakeAccount) -> int:
    """How often AWS's count of running instances was read."""
    names = [
        query.metric.name
        for call in account.calls.named("metrics.read")
        for query in call[0].values()  # type: ignore[index]
    ]
    return names.count("GroupInServiceInstances") + names.count("RunningTaskCount")


def publish(account: FakeAccount, served: Workload, minutes: int) -> None:
    """Publish it for each minute from now on, as AWS does."""
    for ahead in range(minutes):
        account.metrics.put(served.fleet.running_metric, minutes_ago(-ahead, account.clock()), 2)


def test_a_group_without_group_metrics_is_logged_once_it_has_run_for_a_quarter_of_an_hour(
    account: FakeAccount,
) -> None:
    account.add_workload(GROUP, visible=9, desired=3)
    tick(account, 15)
    assert (account.report.failures, requests(account)) == ([], 0)
    tick(account)
    [(name, counter, reason)] = account.report.failures
    assert (name, counter) == ("transcription", Counter.DOCUMENT_INVALID)
    assert reason == (
        "AWS has published no GroupInServiceInstances of Auto Scaling group transcription for 15 minutes "
        "although instances run (3 now): with MetricSource native target tracking has no data, and the fleet "
        "does not follow its queue; turn the group's metrics on (enable-metrics-collection with granularity "
        "1Minute), or set MetricSource to published"
    )
    assert account.report.counts[Counter.WORKLOADS_SERVED] == 16


def test_a_service_without_container_insights_is_logged(account: FakeAccount) -> None:
    account.add_workload(SERVICE, visible=9, desired=2)
    tick(account, 16)
    [(name, counter, reason)] = account.report.failures
    assert (name, counter) == ("queue-proc", Counter.DOCUMENT_INVALID)
    assert reason.startswith(
        "AWS has published no RunningTaskCount of ECS service workers/queue-proc for 15 minutes although "
    )
    assert "turn Container Insights on for its cluster" in reason


HELD = replace(deadline_workload(), name="transcription")
"""A group of the deadline engine, whose fallback is a policy."""


def test_a_fallback_without_group_metrics_is_logged(account: FakeAccount) -> None:
    account.add_workload(HELD, visible=9, desired=3)
    tick(account, 16)
    [(name, counter, reason)] = account.report.failures
    assert (name, counter) == ("transcription", Counter.DOCUMENT_INVALID)
    assert (
        "the fallback has no data, and nothing scales the fleet out while Sluice is silent; turn " in reason
    )
    assert reason.endswith("or set Fallback to false")


@pytest.mark.parametrize("without", [{"policy_arn": None}, {"mode": Mode.OBSERVE}])
def test_the_deadline_engine_without_a_fallback_needs_no_metric_of_aws(
    account: FakeAccount, without: dict[str, Any]
) -> None:
    account.add_workload(replace(HELD, **without), visible=9, desired=3)
    tick(account, 20)
    assert (account.report.failures, requests(account)) == ([], 0)


@BOTH
def test_it_is_logged_every_minute_and_read_every_five(account: FakeAccount, served: Workload) -> None:
    """The alarm on DocumentInvalid stays in ALARM as long as this lasts."""
    account.add_workload(served, visible=9, desired=2)
    tick(account, 15 + 20)
    assert len(account.report.failures) == 20
    assert requests(account) == 4


@BOTH
def test_a_fleet_with_its_metric_logs_nothing(account: FakeAccount, served: Workload) -> None:
    account.add_workload(served, visible=9, desired=2)
    publish(account, served, 40)
    tick(account, 40)
    assert account.report.failures == []
    assert requests(account) == 5


@BOTH
def test_one_minute_of_the_last_fifteen_is_enough(account: FakeAccount, served: Workload) -> None:
    """A metric that is late or has gaps is not missing."""
    account.add_workload(served, visible=9, desired=2)
    account.metrics.put(served.fleet.running_metric, MINUTE_NOW, 2)
    tick(account, 20)
    assert account.report.failures == []
    tick(account)
    assert len(account.report.failures) == 1


@BOTH
def test_enabled_metrics_are_detected_within_five_minutes(account: FakeAccount, served: Workload) -> None:
    account.add_workload(served, visible=9, desired=2)
    tick(account, 16)
    publish(account, served, 20)
    tick(account, 20)
    assert len(account.report.failures) == 5


@BOTH
def test_a_failed_read_is_reported_as_such_and_not_as_a_missing_metric(
    account: FakeAccount, served: Workload
) -> None:
    account.add_workload(served, visible=9, desired=2)
    tick(account, 16)
    account.report.failures.clear()
    account.metrics.unreadable[served.fleet.running_metric.name] = "throttled"
    tick(account, 9)
    assert [counter for _, counter, _ in account.report.failures] == [Counter.DOCUMENT_INVALID] * 4 + [
        Counter.OBSERVATION_FAILED
    ]
    assert account.report.failures[-1][2] == "throttled"


@BOTH
def test_a_fleet_that_was_at_zero_meanwhile_has_not_run_for_a_quarter_of_an_hour(
    account: FakeAccount, served: Workload
) -> None:
    """AWS publishes nothing for a service without tasks, nor within minutes of its first."""
    account.add_workload(served, visible=9, desired=2)
    tick(account, 10)
    account.add_workload(served, visible=9, desired=2, running=0)
    tick(account)
    account.add_workload(served, visible=9, desired=2)
    tick(account, 15)
    assert (account.report.failures, requests(account)) == ([], 0)
    tick(account)
    assert len(account.report.failures) == 1


@BOTH
def test_a_fleet_not_observed_for_long_may_have_been_at_zero(account: FakeAccount, served: Workload) -> None:
    account.add_workload(served, visible=9, desired=2)
    tick(account)
    account.clock.advance(minutes=20)
    tick(account)
    assert (account.report.failures, requests(account)) == ([], 0)


@BOTH
def test_an_unread_fleet_logs_nothing(account: FakeAccount, served: Workload) -> None:
    account.add_workload(served, visible=9, desired=2)
    tick(account, 15)
    account.fleets.failing[served.fleet] = "throttled"
    tick(account)
    assert {counter for _, counter, _ in account.report.failures} == {Counter.OBSERVATION_FAILED}
    assert requests(account) == 0


@pytest.mark.parametrize(
    "served",
    [
        workload(),
        effective(workload(), processing_s=4),
        replace(GROUP, mode=Mode.OBSERVE),
        replace(GROUP, mode=Mode.PAUSED),
    ],
    ids=["backlog", "effective", "observe", "paused"],
)
def test_a_workload_without_a_policy_on_native_metrics_needs_none(
    account: FakeAccount, served: Workload
) -> None:
    account.add_workload(served, visible=9, desired=2)
    tick(account, 20)
    assert requests(account) == 0
    assert account.report.failures == []


def test_without_time_nothing_is_read_and_nothing_is_logged(account: FakeAccount) -> None:
    account.add_workload(GROUP, visible=9, desired=2)
    tick(account, 15)
    read = account.fleets.read

    def last(*args: object) -> object:
        capacities = read(*args)  # type: ignore[arg-type]
        account.remaining = 0
        return capacities

    account.fleets.read = last  # type: ignore[assignment]
    tick(account)
    assert requests(account) == 0
    assert Counter.DOCUMENT_INVALID not in {counter for _, counter, _ in account.report.failures}


def test_a_defect_in_one_fleet_does_not_affect_the_others(account: FakeAccount) -> None:
    for served in (GROUP, SERVICE):
        account.add_workload(served, visible=9, desired=2)
    tick(account, 15)
    read = account.metrics.read

    def broken(*args: object) -> object:
        series = dict(read(*args))  # type: ignore[arg-type]
        return series | {"transcription": Unknown(reason="Forbidden")}

    account.metrics.read = broken  # type: ignore[method-assign]
    tick(account)
    assert [(name, counter) for name, counter, _ in account.report.failures] == [
        ("transcription", Counter.OBSERVATION_FAILED),
        ("queue-proc", Counter.DOCUMENT_INVALID),
    ]
