"""One invocation, watched: every port is passed through, and what is read and done is noted.

Owns the world as one invocation meets it. Refuses to raise inside a handler, whose isolation would swallow
it: what is wrong is noted in `blames`, for whoever started the invocation to raise.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
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
from sluice.ports import Policy, Registered, RemainingS, Series, SeriesQuery, World
from tests.chaos.acts import Act, Look, wrong_with_desired, wrong_with_target
from tests.chaos.cloud import Cloud, Event, metric_key
from tests.support.fakes import Ledger

MINUTE = timedelta(minutes=1)
PLENTY_S = 250.0


class Invocation:
    """The world as one invocation meets it."""

    def __init__(self, cloud: Cloud, event: Event) -> None:
        self.cloud, self.event, self.scene = cloud, event, cloud.scene
        self.began_at = cloud.scene.clock()
        self.ledger = Ledger()
        self.remaining = PLENTY_S
        self.served: dict[str, Workload] | None = None
        """The registry's copy, once it was asked for."""
        self.first: dict[str, tuple[Backlog | Unknown | None, Capacity | Unknown | None]] = {}
        self.looks: dict[str, Look] = {}
        self.acts: list[Act] = []
        self.published: Mapping[str, Sequence[DataPoint]] | None = None
        self.unknowns: list[tuple[str, str]] = []
        self.blames: list[str] = []
        self.overwrote = 0
        """Bootstraps that lowered the fleet, as something else had raised it since their look."""
        self.world = World(
            queues=_Queues(self),
            fleets=_Fleets(self),
            metrics=_Metrics(self),
            policies=_Policies(self),
            registry=_Registry(self),
            namespace="Sluice",
            now=self.scene.clock,
            last_known=self.scene.last_known,
            launches=self.scene.launches,
        )

    def remaining_s(self) -> float:
        return self.remaining

    def blame(self, what: str) -> None:
        self.blames.append(what)

    def on(self, fleet: Fleet) -> Look | None:
        """The look at the workload whose document, as read anew by this invocation, names the fleet."""
        return next((look for look in self.looks.values() if look.document.fleet == fleet), None)

    def unknown(self, name: str, reading: object) -> None:
        if isinstance(reading, Unknown):
            self.unknowns.append((name, reading.why))


class _Queues:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:
        seen = self.of.scene.queues.read(queue_urls, remaining_s)
        for served in self.of.cloud.born:
            if served.queue_url not in seen:
                continue
            reading = seen[served.queue_url]
            self.of.unknown(served.name, reading)
            self.of.first.setdefault(served.name, (reading, None))
            if look := self.of.looks.get(served.name):
                look.backlog = reading
        return seen

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        self.of.blame(f"sent {len(bodies)} messages to {queue_url}")


class _Fleets:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:
        seen = self.of.scene.fleets.read(fleets, remaining_s)
        for served in self.of.cloud.born:
            if served.fleet not in seen:
                continue
            reading = seen[served.fleet]
            self.of.unknown(served.name, reading)
            if self.of.first.get(served.name, (None, None))[1] is None:
                self.of.first[served.name] = (self.of.first[served.name][0], reading)
            if look := self.of.looks.get(served.name):
                look.capacity = reading
        return seen

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        look = self.of.on(fleet)
        if look is None:
            self.of.blame(f"set {fleet} to {instances} without reading its document anew")
        else:
            self.of.blames += wrong_with_desired(self.of.event, look, instances)
        name, saw = (look.document.name, look.saw) if look else (str(fleet), (None, None))
        lowers = isinstance(saw[1], Capacity) and instances < saw[1].desired
        kind = Kind.SHUTDOWN if lowers else Kind.BOOTSTRAP
        taken, before = False, self.of.scene.fleets.holding[fleet].desired
        try:
            self._set(fleet, instances)
            taken = True
            self.of.overwrote += kind is Kind.BOOTSTRAP and instances < before
        finally:
            seen = Observation(backlog=saw[0], capacity=saw[1])  # type: ignore[arg-type]
            self.of.acts.append(Act(kind, name, instances, taken, seen))
            if look:  # the next act needs a look of its own
                look.backlog = look.capacity = look.proof = None
                look.after_shutdown = taken and lowers

    def _set(self, fleet: Fleet, instances: int) -> None:
        cloud, fleets = self.of.cloud, self.of.scene.fleets
        if fleet in cloud.acts_refused:
            raise cloud.acts_refused[fleet]
        if isinstance(fleet, EcsService):  # UpdateService knows no bounds
            bounds = fleets.holding[fleet].bounds
            fleets.holding[fleet] = replace(fleets.holding[fleet], bounds=None)
            fleets.set_desired(fleet, instances)
            fleets.holding[fleet] = replace(fleets.holding[fleet], bounds=bounds)
        else:
            fleets.set_desired(fleet, instances)


class _Metrics:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        self.of.published = dict(points)
        self._check(points)
        return self.of.scene.metrics.publish(points)

    def _check(self, points: Mapping[str, Sequence[DataPoint]]) -> None:
        tick, served = self.of.event.tick, self.of.served or {}
        whole = {}
        for name, (backlog, capacity) in self.of.first.items():
            if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
                continue
            if name in served and not capacity.counted_by:
                counted = backlog.visible + (backlog.in_flight if served[name].count_in_flight else 0)
                whole[name] = counted / (capacity.running or 1)
        values = {name: {point.metric.name: point.value for point in own} for name, own in points.items()}
        if {name: own.get(BACKLOG_PER_INSTANCE) for name, own in values.items()} != whole:
            self.of.blame(f"published {points} where {whole} was seen")
        for name, own in values.items():
            self._check_tracked(served[name], own)
        for name, point in ((name, point) for name, own in points.items() for point in own):
            if tick is None or point.at != tick.replace(second=0, microsecond=0):
                self.of.blame(f"published {name} at {point.at} for the tick of {tick}")

    def _check_tracked(self, document: Workload, values: Mapping[str, float]) -> None:
        """What counts arrivals is never below the plain one, and is the plain one where they are unknown."""
        if (EFFECTIVE_BACKLOG_PER_INSTANCE in values) != document.publishes_effective:
            self.of.blame(f"published {values} of {document.name}, which tracks {document.tracking}")
        if EFFECTIVE_BACKLOG_PER_INSTANCE not in values:
            return
        plain, effective = values[BACKLOG_PER_INSTANCE], values[EFFECTIVE_BACKLOG_PER_INSTANCE]
        if not plain <= effective < math.inf:
            self.of.blame(f"{document.name} tracks {effective} over a backlog of {plain}")
        if isinstance(self.of.ledger.published[document.name].demand, Unknown) and effective != plain:
            self.of.blame(f"{document.name} tracks {effective} though nothing is known of its arrivals")

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,
    ) -> Mapping[str, Series | Unknown]:
        series = dict(self.of.scene.metrics.read(queries, start, end, remaining_s))
        for served in self.of.cloud.born:
            for query_name in [name for name in queries if name.split()[0] == served.name]:
                query = queries[query_name]
                if why := self.of.cloud.unreadable.get(metric_key(query.metric)):
                    series[query_name] = Unknown(why=why)
                self.of.unknown(served.name, series[query_name])
                look = self.of.looks.get(served.name)
                if look and query.metric.name == BACKLOG_PER_INSTANCE:
                    look.proof = self._proof(look, series[query_name])
        return series

    def _proof(self, look: Look, answer: Series | Unknown) -> list[float | None] | Unknown:
        if isinstance(answer, Unknown):
            return answer
        tick = self.of.event.tick
        present = (tick or look.read_at).replace(second=0, microsecond=0)
        # A tick's proof ends one minute before its own; an alarm's at the newest published, at most two back.
        ends = [1] if tick else [back for back in (0, 1, 2) if present - MINUTE * back in answer] or [2]
        last = present - MINUTE * ends[0]
        return [answer.get(last - MINUTE * back) for back in range(look.document.idle_minutes)]


class _Policies:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
        policy = self.of.scene.policies.read(workload, remaining_s)
        self.of.looks[workload.name].policy = policy
        return policy

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        targets = self.of.scene.policies.targets(workloads, remaining_s)
        for name, target in targets.items():
            self.of.unknown(name, target)
        return targets

    def put_target(self, policy: Policy, target: float) -> None:
        look = self.of.on(policy.fleet)
        if look is None:
            self.of.blame(f"retuned {policy.fleet} without reading its document anew")
        else:
            self.of.blames += wrong_with_target(self.of.event, look, policy, target)
        name = look.document.name if look else str(policy.fleet)
        taken = False
        try:
            self.of.scene.policies.put_target(policy, target)
            taken = True
        finally:
            self.of.acts.append(Act(Kind.RETUNE, name, target, taken, policy.target))


class _Registry:
    def __init__(self, invocation: Invocation) -> None:
        self.of = invocation
        function = "retune" if invocation.event.retune else "tick"
        self.registry = invocation.cloud.registries[function]

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
        registered = self.registry.all(remaining_s, fresh=fresh)
        self.of.served = {workload.name: workload for workload in registered.workloads}
        return registered

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        self.of.looks.pop(name, None)
        document = self.registry.one(name, remaining_s)
        self.of.looks[name] = Look(document=document, read_at=self.of.scene.clock())
        return document
