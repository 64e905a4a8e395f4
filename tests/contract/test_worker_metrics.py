"""From the worker's settings to target and margin: `retune_target` reads what the worker publishes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from sluice.core.model import LearningDecision, Reason
from sluice.document import parsing
from sluice.usecases.retune import retune_targets
from sluice_worker import settings, wiring
from sluice_worker.settings import Settings
from tests.contract.test_processing_time import ENOUGH, HOURLY, LATENCY_S, NOW, Plane
from tests.sluice.aws import account
from tests.templates import stacks
from tests.worker.process.intervals import interval

OPTIONS = {
    "AutoScalingGroupName": "auto_scaling_group",
    "ClusterName": "cluster",
    "ServiceName": "service",
}
TOOK_S = 3.0
PROMISE_S = 600.0
IN_THE_LAST_HOUR = (NOW.replace(minute=0, second=0, microsecond=0) - timedelta(minutes=30)).timestamp()
BEGAN_AT = (NOW - timedelta(minutes=10)).timestamp()


@pytest.fixture(params=["asg", "ecs"])
def fleet(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plane() -> Iterator[Plane]:
    with account.account():
        yield Plane(account.session().client("cloudwatch"))


def configured(fleet: str, **options: Any) -> Settings:
    """The settings that a worker of this fleet is started with; the worker decides what it publishes."""
    named = {OPTIONS[name]: value for name, value in stacks.DIMENSIONS[fleet].items()}
    return settings({"queues": ["https://sqs.eu-west-1.amazonaws.com/123456789012/q"], **named, **options})


def test_the_target_follows_the_successes_of_the_real_worker(plane: Plane, fleet: str) -> None:
    plane.serve(fleet)
    sink = wiring._sink(configured(fleet))
    assert sink is not None
    sink.put(interval([TOOK_S] * ENOUGH, failed_s=[900.0] * ENOUGH, late_s=[3600.0], began_at=BEGAN_AT))
    assert plane.retune().target == LATENCY_S / TOOK_S


def test_failures_alone_are_no_evidence_for_a_target(plane: Plane, fleet: str) -> None:
    plane.serve(fleet)
    sink = wiring._sink(configured(fleet))
    assert sink is not None
    sink.put(interval(failed_s=[900.0] * ENOUGH, began_at=BEGAN_AT))
    assert plane.retune().reason is Reason.TOO_FEW_SAMPLES


def learned_from(plane: Plane, fleet: str, waited_s: Sequence[float]) -> LearningDecision:
    """What the deadline engine learns of a worker whose messages waited this long in the last full hour."""
    stack = stacks.workload(fleet, Scaling="deadline", ProcessingSeconds="5")
    workload = parsing.parse(stack.resources["Registration"].properties["Value"])
    assert workload.deadline is not None
    assert workload.deadline.promise_s == PROMISE_S
    plane.fakes.add_workload(workload, desired=1)
    sink = wiring._sink(configured(fleet, publish_wait=True))
    assert sink is not None
    sink.put(interval([TOOK_S] * ENOUGH, waited_s=waited_s, began_at=IN_THE_LAST_HOUR))
    retune_targets(HOURLY, plane.ports, plane.fakes.report, plane.fakes.remaining_s)
    [(decision, _)] = plane.fakes.report.decisions
    assert isinstance(decision, LearningDecision)
    return decision


def test_the_margin_and_the_processing_time_follow_the_real_worker(plane: Plane, fleet: str) -> None:
    decision = learned_from(plane, fleet, [PROMISE_S] * 900 + [PROMISE_S + 7] * 100)
    assert decision.reason is Reason.TOO_MANY_LATE
    assert "10.00% of 1000 messages started late in the last hour" in decision.detail
    assert decision.margin_s == decision.current_s + 7
    assert (decision.processing_s, decision.variation) == (TOOK_S, 0)


def test_waits_up_to_the_promise_are_in_time(plane: Plane, fleet: str) -> None:
    decision = learned_from(plane, fleet, [PROMISE_S] * 5000 + [1.0] * 5000)
    assert decision.reason is Reason.HARDLY_ANY_LATE
    assert "0.00% of 10000 messages started late in the last hour" in decision.detail


def test_without_waits_the_margin_stays(plane: Plane, fleet: str) -> None:
    decision = learned_from(plane, fleet, [])
    assert (decision.reason, decision.margin_s) == (Reason.NO_WAITS, None)


def test_a_wait_of_nothing_where_the_workers_clock_is_behind_is_in_time(plane: Plane, fleet: str) -> None:
    decision = learned_from(plane, fleet, [-0.5] * 10_000)
    assert decision.reason is Reason.HARDLY_ANY_LATE
