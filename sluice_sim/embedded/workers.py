"""The workers of one workload: the protocol, and its implementation on the virtual clock.

`processes` implements the same protocol with real worker processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Protocol

from moto.sqs.models import sqs_backends

from sluice.core import model
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.simulated_worker import (
    SimulatedWorker,
    WorkerConfig,
)
from sluice_sim.embedded.timeline import (
    ProcessSummary,
    Scenario,
)
from sluice_sim.embedded.worker_protocol import Worker
from sluice_worker.aws.cloudwatch import CloudWatchSink
from sluice_worker.core.counters import Counters
from sluice_worker.core.model import Outcome

REPORT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The workload that workers are assigned to; durations are virtual seconds."""

    scenario: Scenario
    queue_url: str
    fleet: model.Fleet
    namespace: str
    on_processed: Callable[[str, float, float], None]
    """Called for each message: id, seconds it took, seconds it waited from sending to start."""
    publishes_waits: bool
    """Whether the workers also publish MsgWaitDuration, as those of the deadline engine do."""
    on_failure: Callable[[str], None]
    """Called with a sentence when a worker fails."""
    receives: Callable[[], bool] = lambda: True
    """Whether simulated workers of this fleet receive: not while a switch drains their color."""
    first_polls_s: tuple[float, ...] = (0.0,)
    """Seconds until the first poll of one simulated worker after the other.

    SQS gives a message to any of the workers that wait; of those that poll at once the oldest would get all.
    """


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
    """Implements `Workers` on the virtual clock; all of them publish together, what `sluice_worker` does."""

    def __init__(self, aws: EmbeddedAws, assignment: Assignment) -> None:
        self._aws, self._assignment = aws, assignment
        self._first_polls_s = cycle(assignment.first_polls_s)
        self._counters = Counters(began_at=aws.clock.now)
        self._sink = CloudWatchSink(
            aws.cloudwatch,
            assignment.namespace,
            assignment.fleet.dimensions,
            with_wait=assignment.publishes_waits,
        )
        aws.clock.every(REPORT_S, lambda: self._sink.put(self._counters.close(aws.clock.now)))

    def start(self) -> SimulatedWorker:
        """Start a simulated worker."""
        config = WorkerConfig(
            queue_url=self._assignment.queue_url,
            has_messages=partial(_visible, self._assignment.queue_url.rsplit("/", 1)[-1]),
            concurrency=self._assignment.scenario.concurrency,
            batch=self._assignment.scenario.batch,
            on_ended=self._on_ended,
            receives=self._assignment.receives,
            first_poll_s=next(self._first_polls_s),
        )
        return SimulatedWorker(self._aws.clock, self._aws.sqs, config)

    def stop(self) -> None:
        """Nothing to stop: they exist on the virtual clock only."""

    def _on_ended(self, message_id: str, outcome: Outcome, duration_s: float, waited_s: float) -> None:
        self._counters.record_start(waited_s)
        self._counters.record_end(outcome, duration_s)
        if outcome is Outcome.SUCCESS:
            self._assignment.on_processed(message_id, duration_s, waited_s)


def _visible(queue_name: str) -> bool:
    return bool(sqs_backends[ACCOUNT_ID][REGION].queues[queue_name].messages)
