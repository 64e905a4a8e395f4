"""From the worker's settings to the target: `retune_target` reads what the worker publishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from sluice.core.model import Reason
from sluice_worker import settings, wiring
from sluice_worker.settings import Settings
from tests.contract.test_processing_time import ENOUGH, LATENCY_S, NOW, Plane
from tests.sluice.aws import account
from tests.templates import stacks
from tests.worker.process.intervals import interval

OPTIONS = {
    "AutoScalingGroupName": "auto_scaling_group",
    "ClusterName": "cluster",
    "ServiceName": "service",
}
TOOK_S = 3.0
BEGAN_AT = (NOW - timedelta(minutes=10)).timestamp()


@pytest.fixture(params=["asg", "ecs"])
def fleet(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plane() -> Iterator[Plane]:
    with account.account():
        yield Plane(account.session().client("cloudwatch"))


def configured(fleet: str) -> Settings:
    """The settings that a worker of this fleet is started with; the worker decides what it publishes."""
    named = {OPTIONS[name]: value for name, value in stacks.DIMENSIONS[fleet].items()}
    return settings({"queues": ["https://sqs.eu-west-1.amazonaws.com/123456789012/q"], **named})


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
