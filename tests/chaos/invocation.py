"""One observed invocation: its ports pass calls on, and record what is read and done.

Never raises inside a handler, because its isolation would catch the error: violations are collected, and
the caller of the invocation raises them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from sluice.core.deadline.learning import Learned
from sluice.core.deadline.state import EngineState
from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    AutoScalingGroup,
    Backlog,
    Capacity,
    DataPoint,
    EcsService,
    Fleet,
    Kind,
    Observation,
    Unknown,
    Workload,
)
from sluice.core.surge import ScheduledActions, Surge
from sluice.errors import ConfigError
from sluice.events import parse_shard
from sluice.ports import (
    DelayedMessage,
    LastKnown,
    Policy,
    Ports,
    Registered,
    Registry,
    RemainingS,
    Series,
    SeriesQuery,
    StateWrite,
    StoredState,
)
from tests.chaos.actions import (
    Action,
    Snapshot,
    learning_violations,
    margin_before,
    memory_violations,
    resize_violations,
    retune_violations,
    scale_violations,
    surge_violations,
)
from tests.chaos.cloud import CRITICAL, Cloud, Event, metric_key
from tests.support.fakes import RecordingReport

MINUTE = timedelta(minutes=1)
PLENTY_S = 250.0
T = TypeVar("T")


class Invocation:
    """The ports of one invocation, and everything that it read and did."""

    def __init__(self, cloud: Cloud, event: Event) -> None:
        self.cloud, self.event, self.account = cloud, event, cloud.account
        self.began_at = cloud.account.clock()
        self.report = RecordingReport()
        self.remaining = PLENTY_S
        self.served: dict[str, Workload] | None = None
        """The cached registry, once it was read."""
        self.first: dict[str, tuple[Backlog | Unknown | None, Capacity | Unknown | None]] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.actions: list[Action] = []
        self.published: Mapping[str, Sequence[DataPoint]] | None = None
        self.unknowns: list[tuple[str, str]] = []
        self.violations: list[str] = []
        self.stored: dict[str, float] = {}
        """Workload -> the moment of the tick whose state this invocation has stored."""
        self.replaced: dict[str, EngineState | None] = {}
        """Workload -> the state that was stored before."""
        self.remembered: dict[str, StoredState | Unknown | None] = {}
        """Workload -> what was read of its state."""
        self.moment = parse_shard(body).scheduled if (body := event.tick_below_a_minute) else None
        """Of a tick below a minute."""
        self.minimums: list[tuple[int, bool]] = []
        """Each minimum that was asked for, and whether AWS took it."""
        self.meets_others = False
        """Whether it surges, and another surge of any fleet has run within it, or it within another."""
        self.overwrote = 0
        """Bootstraps that lowered the desired count because something else had raised it meanwhile."""
        self.ports = Ports(
            queues=_Queues(self),
            fleets=_Fleets(self),
            metrics=_Metrics(self),
            policies=_Policies(self),
            registry=_Registry(self),
            namespace="Sluice",
            now=self.account.clock,
            last_known=self._memory(),
            tick_queue=_TickQueue(self),
            queued_ticks=self.account.queued_ticks,
            states=_States(self),
            warm_pools=_WarmPools(self),
            launches=self.account.launches,
            surges=_Surges(self),
        )

    def _memory(self) -> MutableMapping[tuple[str, str], LastKnown]:
        """What the function's process has read before; a surge's has just started."""
        if self.is_surge:
            return {}
        return self.cloud.measured if self.event.tick_below_a_minute else self.account.last_known

    @property
    def is_surge(self) -> bool:
        """Whether this is the function that surges."""
        alarm = self.event.alarm
        return self.event.surge is not None or (alarm is not None and alarm.name.endswith(CRITICAL))

    def remaining_s(self) -> float:
        return self.remaining

    def add_violation(self, what: str) -> None:
        self.violations.append(what)

    def on(self, fleet: Fleet) -> Snapshot | None:
        """The snapshot of the workload whose document, as this invocation has read it, names the fleet."""
        return next(
            (snapshot for snapshot in self.snapshots.values() if snapshot.document.fleet == fleet), None
        )

    def unknown(self, name: str, reading: object) -> None:
        if isinstance(reading, Unknown):
            self.unknowns.append((name, reading.reason))


class _Queues:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:
        readings = self.of.account.queues.read(queue_urls, remaining_s)
        for served in self.of.cloud.workloads:
            if served.queue_url not in readings:
                continue
            reading = readings[served.queue_url]
            self.of.unknown(served.name, reading)
            self.of.first.setdefault(served.name, (reading, None))
            if snapshot := self.of.snapshots.get(served.name):
                snapshot.backlog = reading
        return readings

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        self.of.add_violation(f"sent {len(bodies)} messages to {queue_url}")


class _Fleets:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:
        readings = self.of.account.fleets.read(fleets, remaining_s)
        for served in self.of.cloud.workloads:
            if served.fleet not in readings:
                continue
            reading = readings[served.fleet]
            self.of.unknown(served.name, reading)
            if self.of.first.get(served.name, (None, None))[1] is None:
                self.of.first[served.name] = (self.of.first[served.name][0], reading)
            if snapshot := self.of.snapshots.get(served.name):
                snapshot.capacity = reading
        return readings

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        if self.of.moment is not None:
            self._scale(fleet, instances)
            return
        snapshot = self.of.on(fleet)
        if snapshot is None:
            self.of.add_violation(f"set {fleet} to {instances} without reading its document again")
        else:
            self.of.violations += resize_violations(self.of.event, snapshot, instances)
        name, observed = (
            (snapshot.document.name, snapshot.observation) if snapshot else (str(fleet), (None, None))
        )
        lowers = isinstance(observed[1], Capacity) and instances < observed[1].desired
        kind = Kind.SHUTDOWN if lowers else Kind.BOOTSTRAP
        taken, before = False, self.of.account.fleets.capacities[fleet].desired
        try:
            self._set(fleet, instances)
            taken = True
            self.of.overwrote += kind is Kind.BOOTSTRAP and instances < before
        finally:
            observation = Observation(backlog=observed[0], capacity=observed[1])  # type: ignore[arg-type]
            self.of.actions.append(Action(kind, name, instances, taken, observation))
            if snapshot:  # the next action needs a new snapshot
                snapshot.backlog = snapshot.capacity = snapshot.proof = None
                snapshot.after_shutdown = taken and lowers

    def _scale(self, fleet: Fleet, instances: int) -> None:
        """Set a size by the deadline engine, which has observed before it read the document again."""
        snapshot, cloud = self.of.on(fleet), self.of.cloud
        if snapshot is None:
            self.of.add_violation(f"scaled {fleet} to {instances} without reading its document again")
            return
        name, taken = snapshot.document.name, False
        backlog, capacity = self.of.first.get(name, (None, None))
        tick_s = self.of.stored.get(name)
        before = self.of.replaced.get(name)
        stored = self.of.account.states.stored.get(name)
        self.of.violations += scale_violations(
            snapshot.document, backlog, capacity, before, stored, instances
        )
        if tick_s is None or (name, tick_s) in cloud.sized:
            self.of.add_violation(f"scaled {name} for the tick of {tick_s}, whose state it has not stored")
        else:
            cloud.sized.add((name, tick_s))
        try:
            self._set(fleet, instances)
            taken = True
        finally:
            observation = Observation(backlog=backlog, capacity=capacity)  # type: ignore[arg-type]
            self.of.actions.append(Action(Kind.SCALE, name, instances, taken, observation))

    def _set(self, fleet: Fleet, instances: int) -> None:
        cloud, fleets = self.of.cloud, self.of.account.fleets
        if fleet in cloud.refused_actions:
            raise cloud.refused_actions[fleet]
        if isinstance(fleet, EcsService):  # UpdateService knows no bounds
            bounds = fleets.capacities[fleet].bounds
            fleets.capacities[fleet] = replace(fleets.capacities[fleet], bounds=None)
            fleets.set_desired(fleet, instances)
            fleets.capacities[fleet] = replace(fleets.capacities[fleet], bounds=bounds)
        else:
            fleets.set_desired(fleet, instances)


class _Surges:
    """The minimum of a fleet, and its scheduled actions, with the calls that fail."""

    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, fleet: Fleet) -> ScheduledActions:
        return self._call(fleet, "read", lambda: self.of.account.surges.read(fleet))

    def schedule_end(self, fleet: Fleet, surge: Surge) -> None:
        self._call(fleet, "schedule_end", lambda: self.of.account.surges.schedule_end(fleet, surge))

    def cancel(self, fleet: Fleet, surge: Surge) -> None:
        self._call(fleet, "cancel", lambda: self.of.account.surges.cancel(fleet, surge))

    def set_minimum(self, fleet: Fleet, instances: int) -> None:
        taken = False
        self.of.violations += self._violations(fleet, instances)
        try:
            self._call(fleet, "set_minimum", lambda: self.of.account.surges.set_minimum(fleet, instances))
            taken = True
        finally:
            self.of.minimums.append((instances, taken))

    def _violations(self, fleet: Fleet, instances: int) -> Iterable[str]:
        snapshot = self.of.on(fleet)
        if snapshot is None:
            return [f"set the minimum of {fleet} to {instances} without reading its document"]
        if self.of.event.surge and self.of.event.surge.asked is None:
            return []
        observed = self.of.first.get(snapshot.document.name, (None, None))[1]
        return surge_violations(snapshot.document, observed, instances, undoes=bool(self.of.minimums))

    def _call(self, fleet: Fleet, method: str, call: Callable[[], T]) -> T:
        """Call, unless AWS refuses; a fleet without a scalable target has neither minimum nor actions."""
        failing, cloud = self.of.cloud.minimums.failing, self.of.cloud
        fails = failing.get(fleet)
        if fails and fails.method == method:
            del failing[fleet]
            if fails.done:
                call()
            raise fails.error
        if method != "read" and fleet in cloud.refused_actions:
            raise cloud.refused_actions[fleet]
        if (
            method in ("schedule_end", "set_minimum")
            and self.of.account.fleets.capacities[fleet].bounds is None
        ):
            raise ConfigError(f"ObjectNotFoundException: no scalable target of {fleet}")
        return call()


class _WarmPools:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def ready(
        self, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, int | Unknown]:
        found = self.of.account.warm_pools.ready(groups, remaining_s)
        for served in self.of.cloud.workloads:
            warm = found.get(served.fleet)
            backlog, capacity = self.of.first.get(served.name, (None, None))
            if isinstance(warm, int) and isinstance(capacity, Capacity):
                self.of.first[served.name] = backlog, replace(capacity, warm=warm)
            self.of.unknown(served.name, warm)
        return found


class _Metrics:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        self.of.published = dict(points)
        self._check(points)
        return self.of.account.metrics.publish(points)

    def _check(self, points: Mapping[str, Sequence[DataPoint]]) -> None:
        tick, served = self.of.event.tick, self.of.served or {}
        whole = {}
        for name, (backlog, capacity) in self.of.first.items():
            if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
                continue
            if name in served and not capacity.unsupported_units:
                counted = backlog.visible + (backlog.in_flight if served[name].count_in_flight else 0)
                whole[name] = counted / (capacity.running or 1)
        values = {name: {point.metric.name: point.value for point in own} for name, own in points.items()}
        if {name: own.get(BACKLOG_PER_INSTANCE) for name, own in values.items()} != whole:
            self.of.add_violation(f"published {points} although {whole} was observed")
        for name, own in values.items():
            self._check_tracked(served[name], own)
        for name, point in ((name, point) for name, own in points.items() for point in own):
            if tick is None or point.at != tick.replace(second=0, microsecond=0):
                self.of.add_violation(f"published {name} at {point.at} for the tick of {tick}")

    def _check_tracked(self, document: Workload, values: Mapping[str, float]) -> None:
        """The effective metric is never below the plain one, and equals it if arrivals are unknown."""
        if (EFFECTIVE_BACKLOG_PER_INSTANCE in values) != document.publishes_effective:
            self.of.add_violation(f"published {values} of {document.name}, which tracks {document.tracking}")
        if EFFECTIVE_BACKLOG_PER_INSTANCE not in values:
            return
        plain, effective = values[BACKLOG_PER_INSTANCE], values[EFFECTIVE_BACKLOG_PER_INSTANCE]
        if not plain <= effective < math.inf:
            self.of.add_violation(f"{document.name} tracks {effective} over a backlog of {plain}")
        if isinstance(self.of.report.published[document.name].demand, Unknown) and effective != plain:
            self.of.add_violation(f"{document.name} tracks {effective} although its arrivals are unknown")

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,
    ) -> Mapping[str, Series | Unknown]:
        series = dict(self.of.account.metrics.read(queries, start, end, remaining_s))
        for served in self.of.cloud.workloads:
            for query_name in [name for name in queries if name.split()[0] == served.name]:
                query = queries[query_name]
                if reason := self.of.cloud.unreadable.get(metric_key(query.metric)):
                    series[query_name] = Unknown(reason=reason)
                self.of.unknown(served.name, series[query_name])
                snapshot = self.of.snapshots.get(served.name)
                if snapshot and query.metric.name == BACKLOG_PER_INSTANCE:
                    snapshot.proof = self._proof(snapshot, series[query_name])
        return series

    def _proof(self, snapshot: Snapshot, answer: Series | Unknown) -> list[float | None] | Unknown:
        if isinstance(answer, Unknown):
            return answer
        tick = self.of.event.tick
        current = (tick or snapshot.read_at).replace(second=0, microsecond=0)
        # A tick's proof ends one minute before its own; an alarm's at the newest published, at most two back.
        ends = [1] if tick else [back for back in (0, 1, 2) if current - MINUTE * back in answer] or [2]
        last = current - MINUTE * ends[0]
        return [answer.get(last - MINUTE * back) for back in range(snapshot.document.idle_minutes)]


class _Policies:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
        policy = self.of.account.policies.read(workload, remaining_s)
        self.of.snapshots[workload.name].policy = policy
        return policy

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        targets = self.of.account.policies.targets(workloads, remaining_s)
        for name, target in targets.items():
            self.of.unknown(name, target)
        return targets

    def put_target(self, policy: Policy, target: float, held: Mapping[str, bool] | None = None) -> None:
        snapshot = self.of.on(policy.fleet)
        if snapshot is None:
            self.of.add_violation(f"retuned {policy.fleet} without reading its document again")
        else:
            self.of.violations += retune_violations(self.of.event, snapshot, policy, target)
        name = snapshot.document.name if snapshot else str(policy.fleet)
        taken = False
        try:
            self.of.account.policies.put_target(policy, target, held)
            taken = True
        finally:
            self.of.actions.append(Action(Kind.RETUNE, name, target, taken, policy.target))


class _States:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(
        self, workloads: Collection[str], remaining_s: RemainingS
    ) -> Mapping[str, StoredState | Unknown | None]:
        found = self.of.account.states.read(workloads, remaining_s)
        self.of.remembered |= found
        for name, reading in found.items():
            self.of.unknown(name, reading)
            if snapshot := self.of.snapshots.get(name):
                snapshot.remembered, snapshot.remembered_at = reading, self.of.account.clock()
        return found

    def write(
        self, writes: Mapping[str, StateWrite], remaining_s: RemainingS
    ) -> Mapping[str, bool | Unknown]:
        written: dict[str, bool | Unknown] = {}
        for name, write in writes.items():
            before = self.of.account.states.stored.get(name)
            written |= self.of.account.states.write({name: write}, remaining_s)
            self.of.unknown(name, written[name])
            if written[name] is not True or (before and write.state == before.state):
                continue  # one that is paused meanwhile, or counts units, keeps what was remembered
            self.of.stored[name] = write.state.tick_s
            self.of.replaced[name] = before and before.state
            readings = self.of.first.get(name, (None, None))
            self.of.violations += memory_violations(name, *readings, self.of.replaced[name], write.state)
            is_usable = before is not None and before.problem is None
            if before and is_usable and before.tick_s >= write.state.tick_s:
                self.of.add_violation(f"the state of {before.tick_s} was overwritten by {write.state.tick_s}")
        return written

    def learn(self, workload: str, learned: Learned) -> None:
        document, before = (self.of.served or {})[workload], self.of.remembered[workload]
        evidence = self.of.cloud.evidence(document)
        self.of.violations += learning_violations(self.of.event, document, before, learned, evidence)
        margin_s = margin_before(document, before)
        self.of.account.states.learn(workload, learned)
        if learned.margin_s != margin_s:
            self.of.actions.append(Action(Kind.LEARN, workload, learned.margin_s, True, margin_s))


class _TickQueue:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def send(self, messages: Mapping[str, DelayedMessage], remaining_s: RemainingS) -> Mapping[str, str]:
        return self.of.account.tick_queue.send(messages, remaining_s)

    def registry(self, documents: Mapping[str, str]) -> Registry:
        return _Registry(self.of, self.of.account.tick_queue.registry(documents))


class _Registry:
    def __init__(self, invocation: Invocation, registry: Registry | None = None) -> None:
        self.of = invocation
        function = "retune" if invocation.event.retune else "tick"
        self.registry: Registry = registry or invocation.cloud.registries[function]

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
        registered = self.registry.all(remaining_s, fresh=fresh)
        self.of.served = {workload.name: workload for workload in registered.workloads}
        return registered

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        self.of.snapshots.pop(name, None)
        document = self.registry.one(name, remaining_s)
        self.of.snapshots[name] = Snapshot(document=document, read_at=self.of.account.clock())
        return document
