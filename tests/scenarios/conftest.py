"""Runs one scenario on the embedded AWS and records everything that it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sluice_sim.account import ACCOUNT_ID, REGION, identity
from sluice_sim.aws_rules.alarms import State
from sluice_sim.embedded.cloud import EmbeddedAws, Notification, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.function_logs import LogLine
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from sluice_sim.embedded.timeline import (
    Component,
    Minute,
    Scenario,
    Summary,
)
from sluice_sim.embedded.workers import (
    Assignment,
    SimulatedWorkers,
    WorkerFactory,
)
from sluice_sim.template import resolve
from tests.privileges.gate import Gate
from tests.privileges.inventory import EverythingTagged
from tests.privileges.roles import role_of_functions, roles
from tests.templates import stacks

ROOT = Path(__file__).resolve().parents[2]
TOPIC = "arn:aws:sns:eu-west-1:123456789012:operators"
WITH_NOTIFICATIONS = {"NotificationTopicArn": TOPIC}
"""Parameters with which alarms notify a topic."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run did: its summary, its minutes, every log line and every notification."""

    summary: Summary
    minutes: list[Minute]
    log: list[LogLine]
    notifications: list[Notification]
    start: float

    def decisions(self, kind: str, outcome: str = "acted") -> list[tuple[int, dict]]:
        """(minute, log record) of each decision of this kind and outcome."""
        return [
            (int(line.at - self.start) // 60, line.record)
            for line in self.log
            if line.record.get("decision") == kind and line.record["outcome"] == outcome
        ]

    def notified(self, alarm: str, state: State = State.ALARM) -> list[int]:
        """The minute of each notification that the alarm with this name went to this state."""
        return [
            int(note.at - self.start) // 60
            for note in self.notifications
            if (note.alarm, note.state) == (alarm, state)
        ]

    @property
    def launches(self) -> int:
        """Instances by which the desired count was raised, over the whole run."""
        desired = [row.desired for row in self.minutes]
        return sum(max(after - before, 0) for before, after in pairwise(desired))

    def first_minute(self, holds: Callable[[Minute], bool]) -> int:
        """The first minute of which `holds` is true."""
        return next(minute.minute for minute in self.minutes if holds(minute))


class UnreachableWorker:
    """A worker on a running instance that cannot reach the queue."""

    alive, protected = True, False

    def drain(self, when_drained: Callable[[], None]) -> None:
        when_drained()


@dataclass
class UnreachableWorkers:
    """A fleet in subnets without a route to SQS."""

    aws: EmbeddedAws
    assignment: Assignment

    def start(self) -> UnreachableWorker:
        return UnreachableWorker()

    def stop(self) -> None:
        """Do nothing: the workers end with the clock."""


def run_scenario(
    root: Path = ROOT,
    *,
    scenario: Scenario = TRANSCRIPTION,
    without: tuple[Component, ...] = (),
    parameters: Mapping[str, str] | None = None,
    before: Callable[[EmbeddedAws], object] = lambda _: None,
    worker_factory: WorkerFactory = SimulatedWorkers,
) -> Recording:
    """Run a scenario; `before` may change the deployed account first."""
    with embedded_aws(root) as aws:
        start = aws.clock.now
        demo = Demo(aws, root, worker_factory=worker_factory)
        demo.add_workload(scenario, parameters)
        for part in without:
            demo.disable(part)
        before(aws)
        (timeline,) = demo.run()
        return Recording(
            summary=timeline.summary,
            minutes=list(timeline.minutes),
            log=aws.log,
            notifications=aws.notifications,
            start=start,
        )


def _identity(logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str) -> str:
    """Queues and tables have the names that the embedded AWS gives them."""
    if kind in ("AWS::SQS::Queue", "AWS::DynamoDB::Table"):
        return identity(CONTROL_PLANE, logical_id, kind, properties, attribute)
    return stacks.identity(logical_id, kind, properties, attribute)


@pytest.fixture(scope="module")
def plane_parameters() -> Mapping[str, str]:
    """The parameters of the control plane's stack, by which the roles are resolved."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def _under_the_deployed_roles(plane_parameters: Mapping[str, str]) -> Iterator[None]:
    """Every function runs under its role in template.yaml, and makes no request that the role denies."""
    plane = resolve(
        stacks.transformed_plane(),
        plane_parameters,
        identity=_identity,
        imports={},
        account_id=ACCOUNT_ID,
        region=REGION,
        stack_name=CONTROL_PLANE,
    )
    gate = Gate(roles(plane), role_of_functions(plane), EverythingTagged())
    with gate.installed():
        yield
    assert {str(passage.request) for passage in gate.refused} == set()


@pytest.fixture(scope="module")
def transcription() -> Recording:
    """The transcription scenario as `sluice demo` runs it."""
    return run_scenario()


@pytest.fixture
def checkout_with(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """A copy of the checkout in which one text of one template is replaced."""

    def changed(file: str, old: str, new: str) -> Path:
        for name in ("functions", "template.yaml", "workload.yaml", "samconfig.toml"):
            if name != file:
                (tmp_path / name).symlink_to(ROOT / name)
        text = (ROOT / file).read_text(encoding="utf-8")
        assert old in text, f"{file} no longer says {old!r}"
        (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
        return tmp_path

    return changed
