"""The workers of one workload: the protocol, and its implementation on the virtual clock.

`processes` implements the same protocol with real worker processes.
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
from sluice_sim.embedded.worker_protocol import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The workload that workers are assigned to; durations are virtual seconds."""

    scenario: Scenario
    queue_url: str
    fleet: model.Fleet
    namespace: str
    on_processed: Callable[[str, float, float], None]
    """Called for each message: id, seconds it took, seconds it waited from sending to start."""
    on_failure: Callable[[str], None]
    """Called with a sentence when a worker fails."""


class Workers(Protocol):
    """All workers of one workload."""

    def start(self) -> Worker:
        """Start a worker on an instance that has just booted."""
        ...

    def stop(self) -> ProcessSummary | None:
        """Stop all workers at the end of the run; returns what became of them if they are processes."""
        ...


WorkerFactory = Callable[[EmbeddedAws, Assignment], Workers]


class SimulatedWorkers:
    """Implements `Workers` on the virtual clock, with one duration reporter for all of them."""

    def __init__(self, aws: EmbeddedAws, assignment: Assignment) -> None:
        self._aws, self._assignment = aws, assignment
        self._reporter = DurationReporter(
            aws.clock, aws.cloudwatch, assignment.namespace, assignment.fleet.dimensions
        )

    def start(self) -> SimulatedWorker:
        """Start a simulated worker."""
        config = WorkerConfig(
            queue_url=self._assignment.queue_url,
            has_messages=partial(_visible, self._assignment.queue_url.rsplit("/", 1)[-1]),
            concurrency=self._assignment.scenario.concurrency,
            batch=self._assignment.scenario.batch,
            on_processed=self._on_processed,
        )
        return SimulatedWorker(self._aws.clock, self._aws.sqs, config)

    def stop(self) -> None:
        """Nothing to stop: they exist on the virtual clock only."""

    def _on_processed(self, message_id: str, duration_s: float, waited_s: float) -> None:
        self._assignment.on_processed(message_id, duration_s, waited_s)
        self._reporter.record(duration_s)


def _visible(queue_name: str) -> bool:
    return bool(sqs_backends[ACCOUNT_ID][REGION].queues[queue_name].messages)
