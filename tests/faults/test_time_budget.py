"""However slow AWS is, an invocation ends within its timeout, and a tick before the next one starts."""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.retries import standard

from sluice import wiring
from sluice.aws import (
    cloudwatch,
    concurrent_reads,
)
from sluice.aws.asg import AutoScalingGroups
from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.aws.concurrent_reads import batches
from sluice.aws.ecs import EcsServices
from sluice.aws.fleets import AwsFleets
from sluice.aws.sqs import DELAYED, IN_FLIGHT, VISIBLE, SqsQueues
from sluice.core.model import TrackedMetric, Tracking, Trigger, Workload
from sluice.errors import TransientError
from sluice.events import RetuneRequest, Shard, shard_message
from sluice.ports import Counter, Ports
from sluice.usecases.retune import retune_targets
from sluice.usecases.shards import WORKLOADS_PER_SHARD, publish_shards
from sluice.usecases.tick import publish_backlog
from sluice.usecases.tick_context import NO_TIME_LEFT
from tests.faults.account import timeouts_s
from tests.support.builders import (
    dynamic_target,
    ecs_workload,
    plenty,
    queue_url,
    workload,
)
from tests.support.fakes import (
    Clock,
    FakePolicies,
    FakeRegistry,
    FakeShards,
    RecordingReport,
)

pytestmark = pytest.mark.slow

WORKLOADS = 1000
AT_ONCE_S = 0.05
ROUNDING_S = 0.001
MINUTE_S = 60


@dataclass
class FakeReaders:
    """A pool of readers on a clock: each call takes a given time, and only waiting advances the clock.

    Reads begin in the order in which they are submitted, by the reader that is free first.
    """

    clock: Clock
    call_s: float
    own_call_s: float
    """The same for a call of the invocation's own thread."""
    metrics_call_s: float | None = None
    """The same for GetMetricData, if it differs."""
    free_at_s: list[float] = field(default_factory=lambda: [0.0] * wiring.READERS)
    queued: list[tuple[Future[Any], partial[Any]]] = field(default_factory=list)
    running: list[tuple[float, int, Future[Any], partial[Any]]] = field(default_factory=list)
    elapsed_s: float = 0
    started: int = 0

    def submit(self, read: Callable[..., Any], *items: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.queued.append((future, partial(read, *items)))
        return future

    def _takes_s(self, call: partial[Any]) -> float:
        if self.metrics_call_s is not None and call.func is cloudwatch._series:
            return self.metrics_call_s
        return self.call_s

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> None:
        deadline_s = self.elapsed_s + timeout
        while not all(future.done() for future in futures):
            self._begin_until(deadline_s)
            if not self.running or self.running[0][0] > deadline_s:
                self._pass(deadline_s)
                return
            done_at_s, _, future, call = heappop(self.running)
            self._pass(max(done_at_s, self.elapsed_s))
            try:
                future.set_result(call())
            except Exception as failure:  # noqa: BLE001 - as a pool does
                future.set_exception(failure)

    def _begin_until(self, deadline_s: float) -> None:
        while self.queued and max(self.free_at_s[0], self.elapsed_s) <= deadline_s:
            future, call = self.queued.pop(0)
            if not future.set_running_or_notify_cancel():
                continue
            done_at_s = max(heappop(self.free_at_s), self.elapsed_s) + self._takes_s(call)
            heappush(self.free_at_s, done_at_s)
            heappush(self.running, (done_at_s, self.started, future, call))
            self.started += 1

    def take(self) -> None:
        """A call of the invocation's own thread."""
        self._pass(self.elapsed_s + self.own_call_s)

    def _pass(self, until_s: float) -> None:
        self.clock.advance(seconds=until_s - self.elapsed_s)
        self.elapsed_s = until_s


@dataclass
class Answers:
    """Replaces every client: this many messages in each queue, two instances in each fleet, no metrics."""

    readers: FakeReaders
    messages: int
    points: list[Mapping[str, Any]] = field(default_factory=list)

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": dict.fromkeys((VISIBLE, IN_FLIGHT, DELAYED), str(self.messages))}

    def get_paginator(self, operation: str) -> "Answers":
        return self

    def paginate(self, **parameters: Any) -> Iterator[Any]:
        yield {
            "MetricDataResults": [],
            "AutoScalingGroups": [
                {
                    "AutoScalingGroupName": name,
                    "DesiredCapacity": 2,
                    "MinSize": 0,
                    "MaxSize": 5,
                    "Instances": [{"LifecycleState": "InService"}] * 2,
                }
                for name in parameters.get("AutoScalingGroupNames", [])
            ],
            "ScalableTargets": [],
        }

    def describe_services(self, *, services: list[str], **_: Any) -> Any:
        return {
            "services": [
                {
                    "serviceName": name,
                    "status": "ACTIVE",
                    "desiredCount": 2,
                    "runningCount": 2,
                    "deployments": [{}],
                }
                for name in services
            ]
        }

    def put_metric_data(self, *, MetricData: list[Mapping[str, Any]], **_: Any) -> None:  # noqa: N803
        self.readers.take()
        self.points += MetricData


def half_and_half(count: int = WORKLOADS, suffix: str = "") -> list[Workload]:
    """Half of the workloads are on groups, half on services."""
    names = [f"w{number:03}" for number in range(count // 2)]
    return [
        *(workload(f"g{name}", queue_url=queue_url(f"g{name}{suffix}")) for name in names),
        *(ecs_workload(f"s{name}", queue_url=queue_url(f"s{name}{suffix}")) for name in names),
    ]


@dataclass
class Invocation:
    """One of the tick's function, over a thousand workloads and an AWS whose calls take their time."""

    call_s: float
    monkeypatch: pytest.MonkeyPatch
    own_call_s: float = AT_ONCE_S
    metrics_call_s: float | None = None
    messages: int = 2
    report: RecordingReport = field(default_factory=RecordingReport)
    readers: FakeReaders = field(init=False)
    responses: Answers = field(init=False)
    registry: FakeRegistry = field(init=False)

    def __post_init__(self) -> None:
        clock = Clock()
        self.readers = FakeReaders(clock, self.call_s, self.own_call_s, self.metrics_call_s)
        self.responses, self.registry = Answers(self.readers, self.messages), FakeRegistry(clock=clock)
        self.registry.registered = {each.name: each for each in half_and_half()}
        self.monkeypatch.setattr(concurrent_reads, "wait", self.readers.wait)

    @property
    def ports(self) -> Ports:
        pool: Any = self.readers

        def client() -> Any:
            return self.responses

        return Ports(
            queues=SqsQueues(client, pool),
            fleets=AwsFleets(AutoScalingGroups(client, pool), EcsServices(client, client, pool)),
            metrics=CloudWatchMetrics(client, pool),
            policies=FakePolicies(),
            registry=self.registry,
            namespace="Sluice",
            now=self.readers.clock,
            shards=FakeShards(self.registry),
        )

    @property
    def scheduled(self) -> datetime:
        return self.readers.clock() - timedelta(seconds=3)

    def get_remaining_time_in_millis(self) -> int:
        return round((timeouts_s()["publish_backlog"] - self.readers.elapsed_s) * 1000)

    def tick(self) -> tuple[FakeReaders, RecordingReport, int]:
        publish_backlog(self.scheduled, self.ports, self.report, wiring.remaining_s(self))  # type: ignore[arg-type]
        return self.readers, self.report, len(self.responses.points)

    def batch(self) -> tuple[FakeReaders, RecordingReport, int]:
        """The same workloads in as many shards as Lambda delivers in one batch."""
        documents = self.registry.all(plenty).documents
        parts = batches(sorted(documents), WORKLOADS_PER_SHARD)
        bodies = [
            shard_message(Shard(scheduled=self.scheduled, documents={name: documents[name] for name in part}))
            for part in parts
        ]
        deliveries = {str(place): body for place, body in enumerate(bodies)}
        with suppress(TransientError):  # if every shard failed
            publish_shards(deliveries, self.ports, self.report, wiring.remaining_s(self))  # type: ignore[arg-type]
        return self.readers, self.report, len(self.responses.points)


def test_a_thousand_workloads_at_the_speed_of_aws_are_all_published(monkeypatch: pytest.MonkeyPatch) -> None:
    readers, report, published = Invocation(AT_ONCE_S, monkeypatch).tick()
    assert published == WORKLOADS
    assert report.failures == []
    assert readers.elapsed_s < timeouts_s()["publish_backlog"]


@pytest.mark.parametrize("call_s", [1.5, 2, 4, 8])
def test_a_thousand_slow_workloads_are_published_until_time_is_up_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch, call_s: float
) -> None:
    invocation = Invocation(call_s, monkeypatch)
    invocation.readers.clock.advance(minutes=1)  # the minute determines which workload comes first
    readers, report, published = invocation.tick()
    assert 0 < published < WORKLOADS
    late = [reason for _, counter, reason in report.failures if counter is Counter.OBSERVATION_FAILED]
    assert len(late) == WORKLOADS - published == report.counts[Counter.OBSERVATION_FAILED]
    assert all("not read before the deadline" in reason for reason in late)
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"] < MINUTE_S


def test_a_tick_without_time_after_publishing_reads_no_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    readers, _, published = Invocation(0.6, monkeypatch, own_call_s=worst_call_s(), messages=0).tick()
    assert published
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"]


@pytest.mark.parametrize("count", [400, 1000])
def test_hanging_group_metrics_leave_time_to_log(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Each page of an answer may take 24 s, and three metrics of each queue are several calls."""
    invocation = Invocation(AT_ONCE_S, monkeypatch, metrics_call_s=2 * worst_call_s())
    invocation.registry.registered = {each.name: each for each in half_and_half(count, ".fifo")}
    readers, report, published = invocation.tick()
    assert published == count
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"] - wiring.RESERVE_S + ROUNDING_S
    late = {name for name, counter, reason in report.failures if counter is Counter.OBSERVATION_FAILED}
    assert late
    assert all("GetMetricData of" in reason for _, _, reason in report.failures)


@pytest.mark.parametrize("count", [400, 1000])
def test_hanging_proof_reads_leave_time_to_log(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    invocation = Invocation(AT_ONCE_S, monkeypatch, metrics_call_s=worst_call_s(), messages=0)
    invocation.registry.registered = {each.name: each for each in half_and_half(count)}
    readers, report, published = invocation.tick()
    assert published == count
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"] - wiring.RESERVE_S + ROUNDING_S
    assert {name for name, _, _ in report.failures} == set(invocation.registry.registered)


@pytest.mark.parametrize("count", [400, 1000])
def test_hanging_arrival_reads_leave_time_to_publish_the_backlog_and_log(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    invocation = Invocation(AT_ONCE_S, monkeypatch, metrics_call_s=2 * worst_call_s())
    invocation.registry.registered = {
        each.name: replace(each, tracking=Tracking(metric=TrackedMetric.EFFECTIVE))
        for each in half_and_half(count)
    }
    readers, report, _ = invocation.tick()
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"] - wiring.RESERVE_S + ROUNDING_S
    assert len(report.published) == count
    assert {
        each.effective_per_instance == each.backlog_per_instance for each in report.published.values()
    } == {True}
    late = {name for name, counter, _ in report.failures if counter is Counter.OBSERVATION_FAILED}
    assert late
    assert all("GetMetricData of" in reason for _, _, reason in report.failures)


def test_hanging_duration_reads_leave_time_to_log(monkeypatch: pytest.MonkeyPatch) -> None:
    invocation = Invocation(AT_ONCE_S, monkeypatch, metrics_call_s=20 * worst_call_s())
    invocation.registry.registered = {
        each.name: replace(each, target=dynamic_target()) for each in half_and_half(200)
    }
    limit_s = timeouts_s()["retune_target"]
    with pytest.raises(TransientError, match="retune failed"):
        retune_targets(
            RetuneRequest(trigger=Trigger.SCHEDULE),
            invocation.ports,
            invocation.report,
            lambda: limit_s - wiring.RESERVE_S - invocation.readers.elapsed_s,
        )
    assert invocation.readers.elapsed_s <= (limit_s - wiring.RESERVE_S) / 2 + ROUNDING_S
    assert {name for name, _, _ in invocation.report.failures} == set(invocation.registry.registered)


def test_a_batch_of_shards_at_the_speed_of_aws_is_published_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    readers, report, published = Invocation(AT_ONCE_S, monkeypatch).batch()
    assert published == WORKLOADS
    assert report.failures == []
    assert readers.elapsed_s < timeouts_s()["publish_backlog"]


@pytest.mark.parametrize("call_s", [0.5, 1.5, 2])
def test_each_slow_shard_of_a_batch_is_published_within_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, call_s: float
) -> None:
    readers, report, published = Invocation(call_s, monkeypatch).batch()
    assert 0 < published < WORKLOADS
    assert report.counts[Counter.OBSERVATION_FAILED] == WORKLOADS - published
    assert report.counts[Counter.SHARD_FAILED] == 0
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"]


@pytest.mark.parametrize("call_s", [AT_ONCE_S, 0.5, 2])
def test_a_batch_of_shards_ends_in_time_even_if_cloudwatch_is_slow(
    monkeypatch: pytest.MonkeyPatch, call_s: float
) -> None:
    readers, report, _ = Invocation(call_s, monkeypatch, own_call_s=worst_call_s(), messages=0).batch()
    assert readers.elapsed_s <= timeouts_s()["publish_backlog"]
    left_out = {reason for _, counter, reason in report.failures if counter is Counter.SHARD_FAILED}
    assert left_out == {NO_TIME_LEFT}


def worst_call_s(limits: wiring.TimeLimits = wiring.MINUTE_LIMITS) -> float:
    """A call of the deployed clients that times out in every attempt, with the longest waits between them."""
    wiring.cold_start()
    queues = wiring.ports(limits=limits).queues
    assert isinstance(queues, SqsQueues)
    settings = queues._client().meta.config
    wiring.cold_start()
    attempts = settings.retries["total_max_attempts"]
    backoff = standard.ExponentialBackoff(random=lambda: 1)
    waits = [backoff.delay_amount(SimpleNamespace(attempt_number=number)) for number in range(1, attempts)]
    return float(attempts * (settings.connect_timeout + settings.read_timeout) + sum(waits))


@pytest.mark.parametrize("function", timeouts_s())
def test_one_call_that_fails_in_every_attempt_leaves_time_to_log(function: str) -> None:
    assert worst_call_s() < timeouts_s()[function]


def test_what_is_kept_for_publishing_covers_a_call_that_fails_in_every_attempt() -> None:
    assert worst_call_s() <= wiring.RESERVE_S


def test_a_tick_has_read_time_for_a_call_that_fails_in_every_attempt() -> None:
    assert worst_call_s() <= timeouts_s()["publish_backlog"] - wiring.RESERVE_S


def test_what_is_kept_for_acting_on_a_tick_below_a_minute_covers_two_such_calls() -> None:
    call_s = worst_call_s(wiring.TICK_LIMITS)
    assert 2 * call_s <= wiring.TICK_RESERVE_S
    assert 2 * call_s <= timeouts_s()["deadline_tick"] - wiring.TICK_RESERVE_S


def test_a_tick_ends_before_the_next_and_an_alarm_before_lambda_retries() -> None:
    assert timeouts_s()["publish_backlog"] < MINUTE_S
    assert max(timeouts_s()[function] for function in ("bootstrap", "shutdown")) <= MINUTE_S
