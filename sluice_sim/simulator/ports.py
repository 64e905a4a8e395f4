"""The world of the use cases, over one run: the simulated side of `sluice.ports`.

Owns the same promises as the AWS adapters keep, for one workload. What is not this workload's own queue,
fleet or policy, AWS does not know here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from sluice.core.model import (
    MSG_PROCESSING_DURATION,
    Backlog,
    Capacity,
    DataPoint,
    Decision,
    Fleet,
    Observation,
    Published,
    Reason,
    TargetDecision,
    Unknown,
    Workload,
)
from sluice.errors import ConfigError
from sluice.ports import (
    Counter,
    Outcome,
    Policy,
    Registered,
    RemainingS,
    Series,
    SeriesQuery,
    World,
)
from sluice.report import sentence
from sluice_sim.aws_rules.monitoring import READABLE_AFTER_S
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import (
    Site,
    Told,
)
from sluice_sim.simulator.metrics import (
    MINUTE_S,
    metric_id,
)


@dataclass(frozen=True, slots=True)
class SimulatedQueues:
    """Keeps `ports.Queues`."""

    site: Site

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:  # noqa: ARG002
        """The counts as SQS would answer now."""
        look = self.site.view()
        own = Backlog(visible=look.visible, in_flight=look.in_flight, delayed=look.delayed)
        known = self.site.deployed.workload.queue_url
        return {
            url: own if url == known else Unknown(reason=f"AWS knows no queue {url}") for url in queue_urls
        }

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        """A trace says what arrives."""
        raise ConfigError(f"{queue_url}: {len(bodies)} messages cannot be sent into a simulation")


@dataclass(frozen=True, slots=True)
class SimulatedFleets:
    """Keeps `ports.Fleets`."""

    site: Site

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:  # noqa: ARG002
        """The fleet as it is."""
        look, workload = self.site.plant.look(), self.site.deployed.workload
        own = Capacity(desired=look.desired, running=look.running, bounds=workload.bounds)
        return {
            fleet: own if fleet == workload.fleet else Unknown(reason=f"AWS knows no {fleet}")
            for fleet in fleets
        }

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        """Ask for this many; AWS refuses what is out of the fleet's own bounds."""
        if fleet != self.site.deployed.workload.fleet:
            raise ConfigError(f"AWS knows no {fleet}")
        low, high = self.site.minimum, self.site.maximum
        if not low <= instances <= high:
            raise ConfigError(f"{fleet}: ValidationError: {instances} is outside {low}..{high}")
        self.site.plant.set_desired(instances)


@dataclass(frozen=True, slots=True)
class SimulatedMetrics:
    """Keeps `ports.Metrics`; MsgProcessingDuration is what the workers finished, minute by minute."""

    site: Site

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        """Readable some seconds later."""
        for point in chain.from_iterable(points.values()):
            metric = metric_id(point.metric.namespace, point.metric.name, point.metric.dimensions)
            self.site.publish(metric, int(point.at.timestamp()), point.value)
        return {}

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,  # noqa: ARG002 - no read takes time here
    ) -> Mapping[str, Series | Unknown]:
        """One value a period; a period without data is absent."""
        return {name: self._one(query, start, end) for name, query in queries.items()}

    def _one(self, query: SeriesQuery, start: datetime, end: datetime) -> Series:
        first, last = int(start.timestamp()), int(end.timestamp())
        if query.metric == self.site.deployed.workload.duration_metric:
            return self._durations(query, first, last)
        metric = metric_id(query.metric.namespace, query.metric.name, query.metric.dimensions)
        values = self.site.metrics.read(metric, first, last)
        return {datetime.fromtimestamp(minute, UTC): value for minute, value in values.items()}

    def _durations(self, query: SeriesQuery, first: int, last: int) -> Series:
        """Average, SampleCount or a percentile of what was finished in each period."""
        plant = self.site.plant
        began = int(self.site.clock.now - plant.now_s)
        # Workers publish a minute when it is over.
        now = int(plant.now_s - READABLE_AFTER_S) // MINUTE_S * MINUTE_S
        series = {}
        for at in range(-(-first // query.period_s) * query.period_s, last, query.period_s):
            begin, until = at - began, min(at + query.period_s - began, now)
            if until <= begin or until <= 0:
                continue
            value = self._statistic(query.statistic, max(begin, 0), until)
            if value is not None:
                series[datetime.fromtimestamp(at, UTC)] = value
        return series

    def _statistic(self, statistic: str, begin: int, until: int) -> float | None:
        sums, _, counts = self.site.plant.durations(begin // MINUTE_S, until // MINUTE_S)
        count = int(counts.sum())
        if not count:
            return None
        if statistic == "SampleCount":
            return float(count)
        if statistic == "Average":
            return float(sums.sum()) / count
        finished = self.site.plant.finished_service_s(begin, until)
        return float(np.percentile(finished, float(statistic.removeprefix("p"))))


@dataclass(frozen=True, slots=True)
class SimulatedPolicies:
    """Keeps `ports.Policies` over the target that the simulated AWS tracks."""

    aws: SimulatedAws

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:  # noqa: ARG002
        """The policy of the run's workload."""
        own = self.aws.site.deployed.workload.policy_arn
        if workload.policy_arn is None or workload.policy_arn != own or self.aws.target is None:
            raise ConfigError(f"workload {workload.name}: {workload.fleet} has no scaling policy")
        return Policy(fleet=workload.fleet, target=self.aws.target, definition={})

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        """That of the run's workload; of another one AWS knows no policy here."""
        return {name: self._target(workload, remaining_s) for name, workload in workloads.items()}

    def _target(self, workload: Workload, remaining_s: RemainingS) -> float | Unknown:
        try:
            return self.read(workload, remaining_s).target
        except ConfigError as missing:
            return Unknown(reason=str(missing))

    def put_target(self, policy: Policy, target: float) -> None:  # noqa: ARG002 - there is one policy
        """From the next minute on."""
        self.aws.target = target


@dataclass(frozen=True, slots=True)
class SimulatedRegistry:
    """Keeps `ports.Registry`: one workload is registered."""

    workload: Workload

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:  # noqa: ARG002
        """The one workload."""
        return Registered(workloads=(self.workload,), refused={})

    def one(self, name: str, remaining_s: RemainingS) -> Workload:  # noqa: ARG002
        """The one workload, by its name."""
        if name != self.workload.name:
            raise ConfigError(f"no workload {name} is registered")
        return self.workload


TOLD_NOTHING = (Reason.TOO_FEW_SAMPLES, Reason.UNKNOWN_READING)


@dataclass(slots=True)
class RunReport:
    """Keeps `ports.Report`: what acted is told, what failed is kept."""

    site: Site
    failures: list[tuple[float, str]] = field(default_factory=list)
    defects: int = 0
    """None: the first one ends the run."""
    last_retune: TargetDecision | None = None
    """The last that had something to go by, or the first where none had."""

    def decided(self, decision: Decision | TargetDecision, outcome: Outcome) -> None:
        """Only what acted: a run of a month has a million holds."""
        if isinstance(decision, TargetDecision) and (
            self.last_retune is None or decision.reason not in TOLD_NOTHING
        ):
            self.last_retune = decision
        if outcome is Outcome.ACTED:
            self.site.told.append(
                Told(
                    at_s=self.site.plant.now_s,
                    who="Sluice",
                    text=f"{sentence(decision, outcome)} (by {decision.trigger})",
                )
            )

    def observed(self, workload: Workload, observation: Observation, published: Published) -> None:
        """Nothing to tell."""

    def failed(
        self,
        workload: str,  # noqa: ARG002
        counter: Counter,  # noqa: ARG002
        reason: str,
        *,
        defect: Exception | None = None,
    ) -> None:
        """A defect of ours ends the run."""
        if defect is not None:
            raise defect
        self.failures.append((self.site.plant.now_s, reason))

    def event(self, counter: Counter, what: str, count: int = 1) -> None:
        """Nothing to tell."""


def world(aws: SimulatedAws) -> World:
    """Everything outside the use cases, for one run."""
    site = aws.site
    return World(
        queues=SimulatedQueues(site),
        fleets=SimulatedFleets(site),
        metrics=SimulatedMetrics(site),
        policies=SimulatedPolicies(aws),
        registry=SimulatedRegistry(site.deployed.workload),
        namespace=_namespace(site),
        now=lambda: datetime.fromtimestamp(site.clock.now, UTC),
    )


def _namespace(site: Site) -> str:
    metric = site.deployed.workload.duration_metric
    return metric.namespace if metric.name == MSG_PROCESSING_DURATION else "Sluice"
