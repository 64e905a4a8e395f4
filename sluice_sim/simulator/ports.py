"""Implements `sluice.ports` over one simulated run, so that the deployed use cases decide in it.

The contract tests run over these and over the AWS adapters alike. A run has one workload; any other queue,
fleet or policy does not exist here. `color_ports` has those of a switch between two fleets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from sluice.core.deadline.learning import Learned
from sluice.core.deadline.state import EngineState
from sluice.core.guard import Guard
from sluice.core.held_fields import PROCESS, Fields, Holds, wanted
from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    DYNAMIC_SCALING_OUT_SUSPENDED,
    MSG_PROCESSING_DURATION,
    OUTCOME,
    AnyDecision,
    AutoScalingGroup,
    Backlog,
    Capacity,
    DataPoint,
    Fleet,
    Observation,
    Published,
    Reason,
    TargetDecision,
    Unknown,
    Workload,
)
from sluice.core.pause import ALARM_NOTIFICATION, IN_SUSPENDED, OUT_SUSPENDED
from sluice.core.switch_record import Switch
from sluice.errors import ConfigError
from sluice.ports import (
    NO_TICK_S,
    Counter,
    Outcome,
    Policy,
    Ports,
    Registered,
    RemainingS,
    Series,
    SeriesQuery,
    StateWrite,
    StoredState,
)
from sluice.report import sentence
from sluice_sim.aws_rules.monitoring import CUSTOM_METRIC_DELAY_S
from sluice_sim.aws_rules.percentiles import PERCENTILE_RANK
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.color_ports import (
    DRAWS,
    SimulatedColors,
    SimulatedFreezes,
    SimulatedOccupancy,
    SimulatedSurges,
)
from sluice_sim.simulator.context import (
    LogEntry,
    ScalingContext,
)
from sluice_sim.simulator.metrics import (
    MINUTE_S,
    metric_id,
)
from sluice_sim.simulator.queue_kernel import Floats

SUCCESS, FAILURE = OUTCOMES = ("success", "failure")
"""The values of the workers' dimension Outcome that occur here."""


@dataclass(frozen=True, slots=True)
class SimulatedQueues:
    """Implements `ports.Queues`."""

    context: ScalingContext

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:  # noqa: ARG002
        """The message counts as SQS would return them now."""
        counts = self.context.counts()
        own = Backlog(visible=counts.visible, in_flight=counts.in_flight, delayed=counts.delayed)
        known = self.context.deployed.workload.queue_url
        return {
            url: own if url == known else Unknown(reason=f"AWS knows no queue {url}") for url in queue_urls
        }

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        """Raises ConfigError: messages arrive from the trace only."""
        raise ConfigError(f"{queue_url}: {len(bodies)} messages cannot be sent into a simulation")


@dataclass(frozen=True, slots=True)
class SimulatedFleets:
    """Implements `ports.Fleets`."""

    context: ScalingContext

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:  # noqa: ARG002
        """The capacity of each fleet."""
        return {fleet: self._capacity(fleet) for fleet in fleets}

    def _capacity(self, fleet: Fleet) -> Capacity | Unknown:
        simulated = self.context.fleets.get(fleet)
        if simulated is None:
            return Unknown(reason=f"AWS knows no {fleet}")
        # As AWS says: a group lists its instances with their states, a service only counts its tasks.
        lists, size, held = isinstance(fleet, AutoScalingGroup), simulated.size(), simulated.held
        return Capacity(
            desired=size.desired,
            running=size.running,
            bounds=simulated.bounds,
            booting=size.booting if lists else None,
            protected=size.busy if lists else None,
            ending=size.ending if lists else 0,
            scale_out_blocked_by=_blocks(held, OUT_SUSPENDED),
            scale_in_blocked_by=_blocks(held, ALARM_NOTIFICATION, IN_SUSPENDED),
            has_warm_pool=size.warm is not None,
            warm=size.warm,
        )

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        """Set the desired capacity; ConfigError outside the fleet's bounds, as at AWS."""
        simulated = self.context.fleets.get(fleet)
        if simulated is None:
            raise ConfigError(f"AWS knows no {fleet}")
        low, high = simulated.bounds.min, simulated.bounds.max
        if not low <= instances <= high:
            raise ConfigError(f"{fleet}: ValidationError: {instances} is outside {low}..{high}")
        simulated.set_desired(instances)


BLOCKS = {
    ALARM_NOTIFICATION: f"{PROCESS} is suspended",
    OUT_SUSPENDED: DYNAMIC_SCALING_OUT_SUSPENDED,
    IN_SUSPENDED: DYNAMIC_SCALING_IN_SUSPENDED,
}
"""A field that holds a direction -> what a reading of the fleet says of it."""


def _blocks(held: Fields, *names: str) -> tuple[str, ...]:
    return tuple(BLOCKS[name] for name in names if held.get(name, False))


@dataclass(frozen=True, slots=True)
class SimulatedMetrics:
    """Implements `ports.Metrics`.

    MsgProcessingDuration and MsgWaitDuration come from the messages finished in each minute.
    """

    context: ScalingContext
    _complete: dict[tuple[str, str, str, int, int], float | None] = field(default_factory=dict)
    """Statistics of whole periods, which do not change any more."""

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        """Publish data points, readable CUSTOM_METRIC_DELAY_S later."""
        for point in chain.from_iterable(points.values()):
            metric = metric_id(point.metric.namespace, point.metric.name, point.metric.dimensions)
            self.context.publish(metric, int(point.at.timestamp()), point.value)
        return {}

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,  # noqa: ARG002 - no read takes time here
    ) -> Mapping[str, Series | Unknown]:
        """One value per period; periods without data are absent."""
        return {name: self._one(query, start, end) for name, query in queries.items()}

    def _one(self, query: SeriesQuery, start: datetime, end: datetime) -> Series:
        first, last = int(start.timestamp()), int(end.timestamp())
        workload = self.context.deployed.workload
        measured = [workload.duration_metric, workload.wait_metric]
        if workload.guard is not None:
            measured += [workload.ended_metric(outcome) for outcome in OUTCOMES]
        if query.metric in measured:
            return self._measured(query, first, last)
        metric = metric_id(query.metric.namespace, query.metric.name, query.metric.dimensions)
        values = self.context.metrics.read(metric, first, last)
        return {datetime.fromtimestamp(minute, UTC): value for minute, value in values.items()}

    def _measured(self, query: SeriesQuery, first: int, last: int) -> Series:
        """A statistic of what the workers published of the messages finished in each period."""
        began = int(self.context.queue.began_s)
        # Workers publish a minute after it has ended.
        now = int(self.context.queue.now_s - CUSTOM_METRIC_DELAY_S) // MINUTE_S * MINUTE_S
        series = {}
        for at in range(-(-first // query.period_s) * query.period_s, last, query.period_s):
            begin, until = at - began, min(at + query.period_s - began, now)
            if until <= begin or until <= 0:
                continue
            value = self._statistic(query, max(begin, 0), until, is_whole=until - begin == query.period_s)
            if value is not None:
                series[datetime.fromtimestamp(at, UTC)] = value
        return series

    def _statistic(self, query: SeriesQuery, begin: int, until: int, *, is_whole: bool) -> float | None:
        outcome = query.metric.dimensions.get(OUTCOME, "")
        key = (query.metric.name, outcome, query.statistic, begin, until)
        if key in self._complete:
            return self._complete[key]
        value = self._computed(query, begin // MINUTE_S, until // MINUTE_S)
        if is_whole:
            self._complete[key] = value
        return value

    def _computed(self, query: SeriesQuery, first: int, last: int) -> float | None:
        """SampleCount, Average, a percentile or a percentile rank over these minutes of the run."""
        queue, statistic = self.context.queue, query.statistic
        if query.metric.dimensions.get(OUTCOME) == FAILURE:
            return float(queue.failed_by_minute(first, last).sum()) or None
        sums, _, counts = queue.durations(first, last)
        count = int(counts.sum())
        if not count:
            return None
        if statistic == "SampleCount":
            return float(count)
        is_wait = query.metric == self.context.deployed.workload.wait_metric
        if statistic == "Average" and not is_wait:
            return float(sums.sum()) / count
        values = queue.finished_waits_s(first, last) if is_wait else queue.finished_service_s(first, last)
        if statistic == "Average":
            return float(values.mean())
        if rank := PERCENTILE_RANK.fullmatch(statistic):
            low, high = float(rank[1] or "-inf"), float(rank[2])
            return 100 * float(((low < values) & (values <= high)).mean())
        return _percentile(values, float(statistic.removeprefix("p")))


def _percentile(values: Floats, percent: float) -> float:
    """Interpolated between the two nearest values, as numpy's, which takes longer for the few of a minute."""
    ordered = np.sort(values)
    place = (ordered.size - 1) * percent / 100
    below = int(place)
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


@dataclass(frozen=True, slots=True)
class SimulatedPolicies:
    """Implements `ports.Policies` over the target that the simulated AWS tracks."""

    aws: SimulatedAws

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:  # noqa: ARG002
        """The scaling policy of the run's workload; ConfigError for any other."""
        own, arn = self.aws.context.deployed.workload, workload.policy_arn
        arns = {own.fleet: own.policy_arn} | ({own.idle.fleet: own.idle.policy_arn} if own.idle else {})
        target = self.aws.targets.get(workload.fleet)
        if arn is None or arn != arns.get(workload.fleet) or target is None:
            raise ConfigError(f"workload {workload.name}: {workload.fleet} has no scaling policy")
        return Policy(fleet=workload.fleet, target=target, definition={})

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        """The target of the run's workload; Unknown for any other."""
        return {name: self._target(workload, remaining_s) for name, workload in workloads.items()}

    def _target(self, workload: Workload, remaining_s: RemainingS) -> float | Unknown:
        try:
            return self.read(workload, remaining_s).target
        except ConfigError as missing:
            return Unknown(reason=str(missing))

    def put_target(
        self,
        policy: Policy,
        target: float,
        held: Mapping[str, bool] | None = None,  # noqa: ARG002 - nothing is paused in a simulation
    ) -> None:
        """Set the target; target tracking uses it from the next minute on."""
        self.aws.targets[policy.fleet] = target


@dataclass(frozen=True, slots=True)
class SimulatedRegistry:
    """Implements `ports.Registry` with the run's one workload."""

    context: ScalingContext

    @property
    def workload(self) -> Workload:
        """The workload as it is registered now."""
        return self.context.deployed.workload

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:  # noqa: ARG002
        """The one registered workload."""
        return Registered(workloads=(self.workload,), refused={})

    def one(self, name: str, remaining_s: RemainingS) -> Workload:  # noqa: ARG002
        """The workload, by its name; ConfigError for any other name."""
        if name != self.workload.name:
            raise ConfigError(f"no workload {name} is registered")
        return self.workload


@dataclass(frozen=True, slots=True)
class SimulatedStates:
    """Implements `ports.EngineStates` in memory."""

    stored: dict[str, EngineState] = field(default_factory=dict)
    learned: dict[str, Learned] = field(default_factory=dict)
    guards: dict[str, Guard | None] = field(default_factory=dict)
    switches: dict[str, Switch | None] = field(default_factory=dict)

    def read(
        self,
        workloads: Collection[str],
        remaining_s: RemainingS,  # noqa: ARG002 - no read takes time here
    ) -> Mapping[str, StoredState | Unknown | None]:
        """What is stored of each workload, None for nothing."""
        return {name: self._one(name) for name in workloads}

    def _one(self, name: str) -> StoredState | None:
        state, learned, guard = self.stored.get(name), self.learned.get(name), self.guards.get(name)
        switch = self.switches.get(name)
        if state is None and learned is None and guard is None and switch is None:
            return None
        return StoredState(
            tick_s=state.tick_s if state else NO_TICK_S,
            state=state,
            learned=learned,
            guard=guard,
            switch=switch,
        )

    def write(
        self,
        writes: Mapping[str, StateWrite],
        remaining_s: RemainingS,  # noqa: ARG002 - no write takes time here
    ) -> Mapping[str, bool | Unknown]:
        """Store each workload's state; returns whether it is stored."""
        return {name: self._write(name, write) for name, write in writes.items()}

    def _write(self, workload: str, write: StateWrite) -> bool:
        present, replaces = self.stored.get(workload), write.replaces
        if replaces is not None and replaces.tick_s != NO_TICK_S:
            is_free = present is not None and present.tick_s == replaces.tick_s
        else:
            is_free = present is None or present.tick_s < write.state.tick_s
        if self.guards.get(workload) is not None and (replaces is None or replaces.guard is None):
            is_free = False
        if is_free:
            self.stored[workload] = write.state
            if replaces is not None and replaces.problem is not None:
                self.learned.pop(workload, None)
        return is_free

    def learn(self, workload: str, learned: Learned) -> None:
        """Store what was learned of a workload beside its state."""
        self.learned[workload] = learned

    def put_guard(self, workload: str, replaces: Guard | None, guard: Guard | None) -> bool:
        """Store the guard's hold in place of the one that was read; returns whether it is stored."""
        if self.guards.get(workload) != replaces:
            return self.guards.get(workload) == guard
        self.guards[workload] = guard
        return True

    def put_switch(self, workload: str, replaces: Switch | None, switch: Switch | None) -> bool:
        """Store a switch in place of the one that was read; returns whether it is stored."""
        if self.switches.get(workload) != replaces:
            return self.switches.get(workload) == switch
        self.switches[workload] = switch
        return True


@dataclass(frozen=True, slots=True)
class SimulatedHeldPolicies:
    """Implements `ports.HeldPolicies` over the policy that the simulated AWS runs.

    AWS makes no end by itself: the guard's next minute does, which nothing stops in a simulation.
    """

    aws: SimulatedAws

    def fields(self, workload: Workload) -> Fields:  # noqa: ARG002 - there is one
        """The fields that hold the policy, as they are now."""
        return self.aws.held

    def hold(self, workload: Workload, was: Holds, holding: Holds) -> bool:  # noqa: ARG002
        """Hold and release the policy; False, because AWS makes no end."""
        self.aws.context.fleet.held = dict(wanted(self.aws.held, was, holding))
        return False


WITHOUT_EVIDENCE = (Reason.TOO_FEW_SAMPLES, Reason.UNKNOWN_READING)


@dataclass(slots=True)
class RunReport:
    """Implements `ports.Report`: decisions that acted go to the log, failures are kept."""

    context: ScalingContext
    failures: list[tuple[float, str]] = field(default_factory=list)
    defects: int = 0
    """Always 0: the first defect ends the run."""
    last_retune: TargetDecision | None = None
    """The last retune that had readings to decide by; the first one if none had."""

    def decided(self, decision: AnyDecision, outcome: Outcome, fleet: Fleet) -> None:  # noqa: ARG002 - there is one
        """Log a decision that acted; a run of a month has a million that hold."""
        if isinstance(decision, TargetDecision) and (
            self.last_retune is None or decision.reason not in WITHOUT_EVIDENCE
        ):
            self.last_retune = decision
        if outcome is Outcome.ACTED:
            self.context.log.append(
                LogEntry(
                    at_s=self.context.fleet.now_s,
                    source="Sluice",
                    text=f"{sentence(decision, outcome)} (by {decision.trigger})",
                )
            )

    def observed(self, workload: Workload, observation: Observation, published: Published) -> None:
        """Ignored: runs do not record it."""

    def failed(
        self,
        workload: str,  # noqa: ARG002
        counter: Counter,  # noqa: ARG002
        reason: str,
        *,
        defect: Exception | None = None,
    ) -> None:
        """Keep a failure; a defect in our own code ends the run."""
        if defect is not None:
            raise defect
        self.failures.append((self.context.fleet.now_s, reason))

    def event(self, counter: Counter, what: str, count: int = 1) -> None:
        """Ignored: runs do not record it."""


def simulated_ports(aws: SimulatedAws) -> Ports:
    """Everything that the use cases need, for one run."""
    context = aws.context
    random = np.random.default_rng([context.seed, DRAWS])
    occupancy = SimulatedOccupancy(context, random)
    if context.switch_at_s is not None:
        occupancy.watch()
    return Ports(
        queues=SimulatedQueues(context),
        fleets=SimulatedFleets(context),
        metrics=SimulatedMetrics(context),
        policies=SimulatedPolicies(aws),
        registry=SimulatedRegistry(context),
        states=SimulatedStates(),
        held_policies=SimulatedHeldPolicies(aws),
        freezes=SimulatedFreezes(context),
        colors=SimulatedColors(context, random),
        occupancy=occupancy,
        surges=SimulatedSurges(context),
        namespace=_namespace(context),
        now=lambda: datetime.fromtimestamp(context.clock.now, UTC),
    )


def _namespace(context: ScalingContext) -> str:
    metric = context.deployed.workload.duration_metric
    return metric.namespace if metric.name == MSG_PROCESSING_DURATION else "Sluice"
