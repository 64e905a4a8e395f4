from __future__ import annotations

import pytest

from sluice_sim.template import ResolvedStack
from tests.templates import stacks


@pytest.fixture(autouse=True)
def a_region_for_the_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", stacks.REGION)


@pytest.fixture
def plane() -> ResolvedStack:
    """The control plane with its defaults and a topic for its alarms."""
    return stacks.plane(NotificationTopicArn=stacks.TOPIC)


@pytest.fixture(params=["asg", "ecs"])
def fleet(request: pytest.FixtureRequest) -> str:
    return request.param
