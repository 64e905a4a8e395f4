"""A slow kind of fleet must not use up the time of the other kind."""

import threading
from concurrent.futures import ThreadPoolExecutor

from sluice.aws.asg import AutoScalingGroups
from sluice.aws.ecs import EcsServices
from sluice.aws.fleets import AwsFleets
from sluice.core.model import AutoScalingGroup, Capacity, EcsService, Unknown
from tests.sluice.aws.stubs import stubbed
from tests.sluice.aws.test_asg import (
    describe,
    described,
)

GROUP, SERVICE = AutoScalingGroup(name="transcription"), EcsService(cluster="workers", service="queue-proc")


class Hanging:
    """A client whose every call waits for the test to end."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def describe_services(self, **_: object) -> dict[str, object]:
        self.released.wait(10)
        return {"services": []}

    def get_paginator(self, _: str) -> "Hanging":
        return self

    def paginate(self, **_: object) -> list[dict[str, object]]:
        self.released.wait(10)
        return [{"ScalableTargets": []}]


def test_services_that_hang_until_the_deadline_do_not_affect_the_groups() -> None:
    hanging = Hanging()
    with (
        ThreadPoolExecutor(4) as pool,
        stubbed("autoscaling", describe(["transcription"], described())) as client,
    ):
        fleets = AwsFleets(
            AutoScalingGroups(lambda: client, pool),
            EcsServices(lambda: hanging, lambda: hanging, pool),  # type: ignore[arg-type, return-value]
        )
        readings = fleets.read([SERVICE, GROUP], lambda: 0.5)
        hanging.released.set()
    assert isinstance(readings[GROUP], Capacity)
    assert readings[SERVICE] == Unknown(
        reason="DescribeServices of 1 services in cluster workers: not read before the deadline"
    )
