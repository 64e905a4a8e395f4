"""Who does a workload's work: what a play and a fleet ask of them.

Owns the words between those who scale and those who work, and the crew of simulated workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from moto.sqs.models import sqs_backends

from sluice.core import model
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.reporter import DurationReporter
from sluice_sim.embedded.simulated_worker import (
    SimulatedWorker,
    WorkerConfig,
)
from sluice_sim.embedded.timeline import (
    ProcessSummary,
    Scenario,
)
from sluice_sim.embedded.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A workload as its crew knows it; seconds are the workload's own, virtual ones."""

    scenario: Scenario
    queue_url: str
    fleet: model.Fleet
    namespace: str
    on_processed: Callable[[str, float, float], None]
    """Told each message's id, how many seconds it took, and how many it had waited from sending to start."""
    on_failure: Callable[[str], None]
    """Told, as a sentence, what went wrong among the crew."""


class Workers(Protocol):
    """Everybody who works for one workload."""

    def start(self) -> Worker:
        """One more, on a unit that has just booted."""
        ...

    def stop(self) -> ProcessSummary | None:
        """The play is over: whoever is still there ends. What there is to tell of processes."""
        ...


WorkerFactory = Callable[[EmbeddedAws, Assignment], Workers]


class SimulatedWorkers:
    """Keeps `Crew`: consumers on the virtual clock, and one reporter for all of them."""

    def __init__(self, aws: EmbeddedAws, assignment: Assignment) -> None:
        self._aws, self._assignment = aws, assignment
        self._reporter = DurationReporter(
            aws.clock, aws.cloudwatch, assignment.namespace, assignment.fleet.dimensions
        )

    def start(self) -> SimulatedWorker:
        """One more consumer."""
        config = WorkerConfig(
            queue_url=self._assignment.queue_url,
            has_messages=partial(_visible, self._assignment.queue_url.rsplit("/", 1)[-1]),
            concurrency=self._assignment.scenario.concurrency,
            batch=self._assignment.scenario.batch,
            on_processed=self._on_processed,
        )
        return SimulatedWorker(self._aws.clock, self._aws.sqs, config)

    def stop(self) -> None:
        """They end with the clock."""

    def _on_processed(self, message_id: str, duration_s: float, waited_s: float) -> None:
        self._assignment.on_processed(message_id, duration_s, waited_s)
        self._reporter.record(duration_s)


def _visible(queue_name: str) -> bool:
    return bool(sqs_backends[ACCOUNT_ID][REGION].queues[queue_name].messages)
