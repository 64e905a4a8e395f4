from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from sluice.core.minutes import MINUTE
from sluice.core.model import Decision, Kind, Metric, Mode, Workload
from sluice.ports import Counter, Outcome
from sluice.report import sentence
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    ecs_workload,
    minutes_ago,
    queue_url,
    seconds,
    workload,
)
from tests.support.fakes import FakeAccount

IN_FLIGHT = "ApproximateNumberOfGroupsWithInflightMessages"
VISIBLE = "ApproximateNumberOfMessagesVisible"
FIFO = workload("queue-proc", queue_url=queue_url("builds.fifo"))
"""It is checked at 12:00, as is the ECS service of this name."""


def queue_metric(name: str) -> Metric:
    return Metric(namespace="AWS/SQS", name=name, dimensions={"QueueName": "builds.fifo"})


def fifo_asg() -> Workload:
    return FIFO


def fifo_ecs() -> Workload:
    return ecs_workload(queue_url=queue_url("builds.fifo"))


def measured(
    account: FakeAccount,
    served: Workload,
    *,
    groups: float,
    running: float = 4,
    waiting: float = 9,
    ago: tuple[int, ...] = (2, 3, 4),
) -> None:
    """Put AWS's own metrics, by default for the three minutes before the last, which is not published yet."""
    for back in ago:
        account.metrics.put(queue_metric(VISIBLE), minutes_ago(back), waiting)
        account.metrics.put(queue_metric(IN_FLIGHT), minutes_ago(back), groups)
        account.metrics.put(served.fleet.running_metric, minutes_ago(back), running)


def tick(account: FakeAccount, scheduled: datetime = MINUTE_NOW) -> list[tuple[Decision, Outcome]]:
    """The cap decisions that the ticks have logged."""
    publish_backlog(scheduled, account.ports, account.report, account.remaining_s)
    decisions = account.report.decisions
    return [(logged, outcome) for logged, outcome in decisions if logged.kind is Kind.CAP]  # type: ignore[misc]


@pytest.mark.parametrize("build", [fifo_asg, fifo_ecs])
def test_more_instances_than_groups_in_flight_are_logged_and_left_alone(
    build: Callable[[], Workload], account: FakeAccount
) -> None:
    served = account.add_workload(build(), visible=9, in_flight=2, desired=4)
    measured(account, served, groups=2)
    [(decision, outcome)] = tick(account)
    assert sentence(decision, outcome) == (
        "would be cap 4 -> 2: more instances run than message groups are in flight "
        "(at most 2 in flight for the 3 min until 11:59 while messages waited)"
    )
    assert account.resizes() == []
    assert account.report.failures == []


@pytest.mark.parametrize("build", [fifo_asg, fifo_ecs])
def test_two_instances_over_one_group_are_logged(build: Callable[[], Workload], account: FakeAccount) -> None:
    served = account.add_workload(build(), visible=3, in_flight=1, desired=2)
    measured(account, served, groups=1, running=2, waiting=3)
    [(decision, outcome)] = tick(account)
    assert (decision.desired, outcome) == (1, Outcome.OBSERVED)


@pytest.mark.parametrize("ago", [(1, 6, 10), (2, 4, 5), (5, 6, 7)])
def test_minutes_that_are_apart_or_old_log_no_warning(account: FakeAccount, ago: tuple[int, ...]) -> None:
    served = account.add_workload(FIFO, visible=9, in_flight=2, desired=4)
    measured(account, served, groups=2, ago=ago)
    assert tick(account) == []


def test_a_workload_is_read_once_in_five_minutes_whenever_its_ticks_start(account: FakeAccount) -> None:
    account.add_workload(FIFO, visible=9, in_flight=2, desired=4)
    reads = []
    for count in range(10):
        before = len(account.calls.named("metrics.read"))
        tick(account, MINUTE_NOW + count * MINUTE)
        reads.append(len(account.calls.named("metrics.read")) - before)
        # Each tick is up to a minute late: its scheduled minute decides, not the clock.
        account.clock.at = MINUTE_NOW + (count + 1) * MINUTE + seconds(59 if count % 2 else 5)
    assert reads == [1, 0, 0, 0, 0] * 2


def test_a_late_tick_asks_for_the_minutes_before_its_own(account: FakeAccount) -> None:
    served = account.add_workload(FIFO, visible=9, in_flight=2, desired=4)
    measured(account, served, groups=2)
    account.clock.at = MINUTE_NOW + seconds(60)
    assert len(tick(account)) == 1
    [(_, start, end)] = account.calls.named("metrics.read")
    assert (start, end) == (minutes_ago(6), minutes_ago(0))


def test_the_metrics_are_aws_own_and_the_cautious_end_of_each_minute_counts(account: FakeAccount) -> None:
    served = account.add_workload(FIFO, visible=9, in_flight=2, desired=4)
    tick(account)
    [(queries, start, end)] = account.calls.named("metrics.read")
    assert {(query.metric.namespace, query.metric.name, query.statistic) for query in queries.values()} == {
        ("AWS/SQS", VISIBLE, "Minimum"),
        ("AWS/SQS", IN_FLIGHT, "Maximum"),
        ("AWS/AutoScaling", "GroupInServiceInstances", "Minimum"),
    }
    assert {query.period_s for query in queries.values()} == {60}
    assert (start, end) == (minutes_ago(6), minutes_ago(0))
    assert served.fleet.running_metric.dimensions == {"AutoScalingGroupName": "queue-proc"}


def test_without_container_insights_no_group_warning_is_logged(account: FakeAccount) -> None:
    served = account.add_workload(fifo_ecs(), visible=9, desired=4)
    for back in (2, 3, 4):
        account.metrics.put(queue_metric(VISIBLE), minutes_ago(back), 9)
        account.metrics.put(queue_metric(IN_FLIGHT), minutes_ago(back), 2)
    assert served.fleet.running_metric.namespace == "ECS/ContainerInsights"
    assert tick(account) == []


def test_enough_groups_are_not_logged(account: FakeAccount) -> None:
    served = account.add_workload(FIFO, visible=9, in_flight=4, desired=4)
    measured(account, served, groups=4)
    assert tick(account) == []


@pytest.mark.parametrize(
    "served",
    [workload("queue-proc"), replace(FIFO, mode=Mode.PAUSED)],
    ids=["a standard queue", "paused"],
)
def test_no_metric_is_read_for(account: FakeAccount, served: Workload) -> None:
    account.add_workload(served, visible=9, in_flight=2, desired=4)
    assert tick(account) == []
    assert account.calls.named("metrics.read") == []


@pytest.mark.parametrize("unread", [VISIBLE, IN_FLIGHT, "GroupInServiceInstances"])
def test_a_metric_that_cannot_be_read_is_a_failure_and_no_warning(account: FakeAccount, unread: str) -> None:
    served = account.add_workload(FIFO, visible=9, in_flight=2, desired=4)
    measured(account, served, groups=2)
    account.metrics.unreadable[unread] = "throttled"
    assert tick(account) == []
    assert account.report.failures == [(served.name, Counter.OBSERVATION_FAILED, "throttled")]
    assert account.report.backlogs == {served.name: 9 / 4 + 2 / 4}


def test_a_tick_without_time_after_publishing_reads_nothing_more(account: FakeAccount) -> None:
    served = account.add_workload(FIFO, visible=9, in_flight=2, desired=4)
    measured(account, served, groups=2)

    def time_ends() -> None:
        if account.calls.named("metrics.publish"):
            account.remaining = 0

    account.calls.between = time_ends
    assert tick(account) == []
    assert account.report.backlogs == {served.name: 9 / 4 + 2 / 4}
    assert account.calls.named("metrics.read") == []
