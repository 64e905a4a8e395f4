"""In-memory implementations of every port, close to AWS: live counts, enforced bounds, a settable clock.

Assigning to an attribute switches a failure on. `between` runs before and after every call of a port: a test
uses it to change something between a use case's observation and its action.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain

from sluice.core.deadline.learning import Learned
from sluice.core.guard import AlarmState, Guard, as_stored
from sluice.core.held_fields import End, Fields, Holds, end_of, wanted
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import (
    AnyDecision,
    AutoScalingGroup,
    Backlog,
    Bounds,
    Capacity,
    Color,
    ColoredFleet,
    DataPoint,
    Fleet,
    LaunchAttempt,
    Metric,
    Observation,
    Published,
    Unknown,
    Workload,
)
from sluice.core.pause import Pause
from sluice.core.surge import MinimumChange, ScheduledActions, Surge
from sluice.core.switch_record import Switch
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.ports import (
    NO_TICK_S,
    Counter,
    DecisionEvent,
    DelayedMessage,
    LastKnown,
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
from sluice.usecases.tick_context import TickContext
from sluice_sim.aws_rules.percentiles import needs_single_values, of_single_values
from tests.support.builders import NOW

LATE = Unknown(reason="not read before the deadline")


@dataclass
class Clock:
    """A clock that stands still until a test sets it."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at

    def advance(self, *, minutes: float = 0, seconds: float = 0) -> None:
        self.at += timedelta(minutes=minutes, seconds=seconds)


@dataclass
class Calls:
    """Every call of a port, in order; `between` runs before and after each."""

    made: list[tuple[str, object]] = field(default_factory=list)
    between: Callable[[], None] = lambda: None

    def named(self, name: str) -> list[object]:
        return [detail for made, detail in self.made if made == name]

    def record(self, name: str, detail: object) -> None:
        self.between()
        self.made.append((name, detail))


@dataclass
class FakeQueues:
    calls: Calls = field(default_factory=Calls)
    backlogs: dict[str, Backlog] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    sent: dict[str, list[str]] = field(default_factory=dict)

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:
        self.calls.record("queues.read", set(queue_urls))
        readings = {url: self._one(url, remaining_s) for url in queue_urls}
        self.calls.between()
        return readings

    def _one(self, url: str, remaining_s: RemainingS) -> Backlog | Unknown:
        if remaining_s() <= 0:
            return LATE
        if url in self.failing:
            return Unknown(reason=self.failing[url])
        return self.backlogs.get(url, Unknown(reason=f"no queue {url}"))

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        self.calls.record("queues.send", queue_url)
        if queue_url not in self.backlogs:
            raise ConfigError(f"no queue {queue_url}")
        self.sent.setdefault(queue_url, []).extend(bodies)
        self.change(queue_url, visible=len(bodies))

    def change(self, url: str, *, visible: int = 0, in_flight: int = 0, delayed: int = 0) -> None:
        """Add these numbers to the counts."""
        now = self.backlogs.get(url, Backlog(visible=0, in_flight=0, delayed=0))
        self.backlogs[url] = Backlog(
            visible=now.visible + visible,
            in_flight=now.in_flight + in_flight,
            delayed=now.delayed + delayed,
        )


@dataclass
class FakeFleets:
    calls: Calls = field(default_factory=Calls)
    capacities: dict[Fleet, Capacity] = field(default_factory=dict)
    failing: dict[Fleet, str] = field(default_factory=dict)
    refusing: SluiceError | None = None

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:
        self.calls.record("fleets.read", set(fleets))
        readings = {fleet: self._one(fleet, remaining_s) for fleet in fleets}
        self.calls.between()
        return readings

    def _one(self, fleet: Fleet, remaining_s: RemainingS) -> Capacity | Unknown:
        if remaining_s() <= 0:
            return LATE
        if fleet in self.failing:
            return Unknown(reason=self.failing[fleet])
        return self.capacities.get(fleet, Unknown(reason=f"AWS knows no {fleet}"))

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        self.calls.record("fleets.set_desired", (fleet, instances))
        if self.refusing:
            raise self.refusing
        if fleet not in self.capacities:
            raise ConfigError(f"AWS knows no {fleet}")
        bounds = self.capacities[fleet].bounds
        if bounds and not bounds.min <= instances <= bounds.max:
            raise ConfigError(
                f"ValidationError: {instances} is outside {bounds.min}..{bounds.max} of {fleet}"
            )
        self.capacities[fleet] = replace(self.capacities[fleet], desired=instances)
        self.calls.between()

    def settle(self) -> None:
        """All desired instances run, and no others."""
        self.capacities = {
            fleet: replace(has, running=has.desired, booting=None if has.booting is None else 0)
            for fleet, has in self.capacities.items()
        }


@dataclass
class FakeSurges:
    """Scheduled actions on the minimum of `fleets`; `end_due` executes them as AWS does."""

    fleets: FakeFleets
    clock: Clock = field(default_factory=Clock)
    calls: Calls = field(default_factory=Calls)
    stored: dict[Fleet, dict[str, Surge]] = field(default_factory=dict)
    others: dict[Fleet, tuple[MinimumChange, ...]] = field(default_factory=dict)
    refusing: dict[str, SluiceError] = field(default_factory=dict)
    """Method -> what it raises."""

    def _called(self, method: str, detail: object) -> None:
        self.calls.record(f"surges.{method}", detail)
        if method in self.refusing:
            raise self.refusing[method]

    def read(self, fleet: Fleet) -> ScheduledActions:
        self._called("read", fleet)
        surges, others = tuple(self.stored.get(fleet, {}).values()), self.others.get(fleet, ())
        taken = {surge.until for surge in surges} | {other.at for other in others if other.at}
        found = ScheduledActions(
            surges=surges,
            others=others,
            taken=frozenset(taken if isinstance(fleet, AutoScalingGroup) else ()),
        )
        self.calls.between()
        return found

    def schedule_end(self, fleet: Fleet, surge: Surge) -> None:
        self._called("schedule_end", surge)
        if surge.until <= self.clock():
            raise ConfigError(f"ValidationError: {surge.until} is in the past")
        stored = self.stored.setdefault(fleet, {})
        if isinstance(fleet, AutoScalingGroup) and any(
            each.until == surge.until and each.name != surge.name for each in stored.values()
        ):
            raise ConfigError("AlreadyExists: Scheduled action with this scheduled start time already exists")
        stored[surge.name] = surge

    def cancel(self, fleet: Fleet, surge: Surge) -> None:
        self._called("cancel", surge)
        self.stored.get(fleet, {}).pop(surge.name, None)

    def set_minimum(self, fleet: Fleet, instances: int) -> None:
        self._called("set_minimum", (fleet, instances))
        has = self.fleets.capacities[fleet]
        assert has.bounds is not None
        if instances > has.bounds.max:
            raise ConfigError(f"ValidationError: {instances} is above {has.bounds.max} of {fleet}")
        bounds = Bounds(min=instances, max=has.bounds.max)
        self.fleets.capacities[fleet] = replace(has, bounds=bounds, desired=max(has.desired, instances))

    def end_due(self) -> None:
        """AWS puts the minimum back where the time has come."""
        for fleet, surges in self.stored.items():
            for surge in [each for each in surges.values() if each.until <= self.clock()]:
                del surges[surge.name]
                self.set_minimum(fleet, surge.minimum_before)


@dataclass
class FakeFreezes:
    """Both kinds of fleet, as `fleets` then shows what is suspended."""

    fleets: FakeFleets
    calls: Calls = field(default_factory=Calls)
    by_fleet: dict[Fleet, dict[str, bool]] = field(default_factory=dict)

    def fields(self, colored: ColoredFleet) -> Fields:
        self.calls.record("freezes.fields", colored)
        fleet, names = colored.fleet, ("AlarmNotificationSuspended", "DisableScaleIn")
        names = (
            (names if colored.policy_arn else names[:1])
            if isinstance(fleet, AutoScalingGroup)
            else ("DynamicScalingOutSuspended", "DynamicScalingInSuspended")
        )
        return dict(self.by_fleet.setdefault(fleet, dict.fromkeys(names, False)))

    def put(self, colored: ColoredFleet, fields: Fields) -> None:
        fleet, now = colored.fleet, self.fields(colored)
        if now == fields:
            return
        self.calls.record("freezes.put", (fleet, dict(fields)))
        self.by_fleet[fleet] = dict(fields)
        has = self.fleets.capacities[fleet]
        suspended = [name for name, held in fields.items() if held and name.endswith("Suspended")]
        blocked = [f"{name.removesuffix('Suspended')} is suspended" for name in suspended]
        outs = [each for each in blocked if "Out" in each]
        self.fleets.capacities[fleet] = replace(
            has,
            scale_in_blocked_by=tuple(each for each in blocked if each not in outs),
            scale_out_blocked_by=tuple(outs),
        )
        self.calls.between()


@dataclass
class FakeColors:
    """The parameters of the workloads of `registry`, whose active color changes with them."""

    registry: FakeRegistry
    calls: Calls = field(default_factory=Calls)

    @property
    def draining(self) -> dict[str, Color | None]:
        """Of each workload whose parameter was put."""
        return self.registry.draining

    def set_active(self, workload: str, color: Color) -> None:
        self.calls.record("colors.set_active", color)
        self.registry.colors[workload] = str(color)
        self.calls.between()

    def set_draining(self, workload: str, color: Color | None) -> bool:
        self.calls.record("colors.set_draining", color)
        is_new = self.draining.get(workload) is not color
        self.draining[workload] = color
        self.calls.between()
        return is_new


@dataclass
class FakeOccupancy:
    calls: Calls = field(default_factory=Calls)
    protected: dict[Fleet, int] = field(default_factory=dict)
    refreshing: set[Fleet] = field(default_factory=set)
    finishing: dict[Fleet, bool | Unknown] = field(default_factory=dict)
    failing: dict[Fleet, str] = field(default_factory=dict)

    def busy(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, int | Unknown]:
        self.calls.record("occupancy.busy", set(fleets))
        found: dict[Fleet, int | Unknown] = {}
        for fleet in fleets:
            found[fleet] = self.protected.get(fleet, 0) if remaining_s() > 0 else LATE
            if fleet in self.failing:
                found[fleet] = Unknown(reason=self.failing[fleet])
        self.calls.between()
        return found

    def refreshed(
        self, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, bool | Unknown]:
        self.calls.record("occupancy.refreshed", set(groups))
        return {group: group in self.refreshing if remaining_s() > 0 else LATE for group in groups}

    def finishes(self, fleet: Fleet, remaining_s: RemainingS) -> bool | Unknown:
        self.calls.record("occupancy.finishes", fleet)
        return self.finishing.get(fleet, False) if remaining_s() > 0 else LATE


@dataclass
class FakeLaunches:
    calls: Calls = field(default_factory=Calls)
    attempts: dict[Fleet, list[LaunchAttempt]] = field(default_factory=dict)
    failing: dict[Fleet, str] = field(default_factory=dict)

    def read(
        self, fleets: Collection[Fleet], remaining_s: RemainingS
    ) -> Mapping[Fleet, Collection[LaunchAttempt] | Unknown]:
        self.calls.record("launches.read", set(fleets))
        found = {fleet: self._one(fleet, remaining_s) for fleet in fleets}
        self.calls.between()
        return found

    def _one(self, fleet: Fleet, remaining_s: RemainingS) -> list[LaunchAttempt] | Unknown:
        if remaining_s() <= 0:
            return LATE
        if fleet in self.failing:
            return Unknown(reason=self.failing[fleet])
        return list(self.attempts.get(fleet, []))


@dataclass
class FakeWarmPools:
    found: dict[AutoScalingGroup, int | Unknown] = field(default_factory=dict)

    def ready(
        self,
        groups: Collection[AutoScalingGroup],
        remaining_s: RemainingS,
    ) -> Mapping[AutoScalingGroup, int | Unknown]:
        return {group: self.found[group] if remaining_s() > 0 else LATE for group in groups}


MetricId = tuple[str, str, frozenset[tuple[str, str]]]


def _metric_id(metric: Metric) -> MetricId:
    return metric.namespace, metric.name, frozenset(metric.dimensions.items())


@dataclass
class FakeMetrics:
    calls: Calls = field(default_factory=Calls)
    clock: Clock = field(default_factory=Clock)
    readable_after: timedelta = timedelta(0)
    """How long after it was published a point can be read."""
    samples: dict[MetricId, list[tuple[datetime, float, datetime | None]]] = field(default_factory=dict)
    """(time stamp, value, when it can be read; None: always)."""
    refusing: str | None = None
    unreadable: dict[str, str] = field(default_factory=dict)
    """Metric name -> the reason."""

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        self.calls.record("metrics.publish", dict(points))
        if self.refusing:
            return dict.fromkeys(points, self.refusing)
        readable_at = self.clock() + self.readable_after if self.readable_after else None
        for point in chain.from_iterable(points.values()):
            self._store(point.metric, point.at, (point.value,), readable_at)
        self.calls.between()
        return {}

    def put(self, metric: Metric, at: datetime, *values: float) -> None:
        """Values that can be read at once."""
        self._store(metric, at, values, None)

    def _store(
        self, metric: Metric, at: datetime, values: Sequence[float], readable_at: datetime | None
    ) -> None:
        self.samples.setdefault(_metric_id(metric), []).extend((at, value, readable_at) for value in values)

    def is_published(self, metric: Metric, at: datetime) -> bool:
        """Whether there is a point of this time, readable or not."""
        return any(stamp == at for stamp, _, _ in self.samples.get(_metric_id(metric), []))

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,
    ) -> Mapping[str, Series | Unknown]:
        self.calls.record("metrics.read", (dict(queries), start, end))
        if remaining_s() <= 0:
            return dict.fromkeys(queries, LATE)
        series = {name: self._one(query, start, end) for name, query in queries.items()}
        self.calls.between()
        return series

    def _one(self, query: SeriesQuery, start: datetime, end: datetime) -> Series | Unknown:
        reason = self.unreadable.get(query.metric.name)
        return Unknown(reason=reason) if reason else self.value_of(query, start, end)

    def value_of(self, query: SeriesQuery, start: datetime, end: datetime) -> Series:
        """One query's values, without recording a call."""
        periods: dict[datetime, list[float]] = {}
        points = self.readable(query.metric, start, end)
        stamps = {at for at, _ in points}  # far fewer than values
        period = {at: at - timedelta(seconds=at.timestamp() % query.period_s) for at in stamps}
        for at, value in points:
            periods.setdefault(period[at], []).append(value)
        return {at: _statistic(query.statistic, values) for at, values in periods.items()}

    def readable(self, metric: Metric, start: datetime, end: datetime) -> list[tuple[datetime, float]]:
        """The metric's points of this time that can be read now."""
        now, points = self.clock(), self.samples.get(_metric_id(metric), [])
        return [
            (at, value)
            for at, value, readable_at in points
            if start <= at < end and (readable_at is None or readable_at <= now)
        ]


def _statistic(name: str, values: list[float]) -> float:
    if name == "SampleCount":
        return len(values)
    if name == "Sum":
        return math.fsum(values)
    if name == "Maximum":
        return max(values)
    if name == "Minimum":
        return min(values)
    if name == "Average":
        return math.fsum(values) / len(values)
    found = of_single_values(name, values) if needs_single_values(name) else None
    if found is None:
        raise ValueError(f"this fake knows no statistic {name!r}")
    return found


@dataclass
class FakePolicies:
    calls: Calls = field(default_factory=Calls)
    by_arn: dict[str, Policy] = field(default_factory=dict)
    """Policy ARN -> policy."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Workload name -> the reason why its target cannot be read."""
    refusing: SluiceError | None = None
    held: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Policy ARN -> the fields that the newest put held."""

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
        self.calls.record("policies.read", workload.name)
        if remaining_s() <= 0:
            raise TransientError(LATE.reason)
        if workload.policy_arn not in self.by_arn:
            raise ConfigError(f"workload {workload.name}: {workload.fleet} has no scaling policy")
        return self.by_arn[workload.policy_arn]

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        self.calls.record("policies.targets", set(workloads))
        if remaining_s() <= 0:
            return dict.fromkeys(workloads, LATE)
        return {name: self._target(workload) for name, workload in workloads.items()}

    def _target(self, workload: Workload) -> float | Unknown:
        if reason := self.unreadable.get(workload.name):
            return Unknown(reason=reason)
        existing = self.by_arn.get(str(workload.policy_arn))
        return existing.target if existing else Unknown(reason=f"{workload.fleet} has no scaling policy")

    def put_target(self, policy: Policy, target: float, held: Mapping[str, bool] | None = None) -> None:
        self.calls.record("policies.put_target", target)
        if self.refusing:
            raise self.refusing
        for arn, existing in self.by_arn.items():
            if existing.definition == policy.definition:
                self.by_arn[arn] = replace(existing, target=target)
                self.held[arn] = dict(held or {})


@dataclass
class FakeRegistry:
    calls: Calls = field(default_factory=Calls)
    clock: Clock = field(default_factory=Clock)
    registered: dict[str, Workload] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    """Name -> the reason why its document is refused."""
    failing: SluiceError | None = None
    colors: dict[str, str | None] = field(default_factory=dict)
    """Name of a blue/green workload -> what its parameter says, None without one; absent: its own color."""
    draining: dict[str, Color | None] = field(default_factory=dict)
    """Name -> the color whose workers receive no more; absent: all workers receive."""
    by_text: dict[str, Workload] = field(default_factory=dict)
    """Text -> the workload it describes, for every document that was ever registered."""
    _copy: Registered | None = None
    _copied_at: datetime | None = None

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
        self.calls.record("registry.all", fresh)
        existing, at = self._copy, self._copied_at
        if existing and at and not fresh and self.clock() - at < timedelta(minutes=5):
            return self._colored(existing)
        failing = self._failing(remaining_s)
        if failing:
            if existing is None:
                raise failing
            return replace(existing, stale=str(failing))
        self._copy, self._copied_at = self._now(), self.clock()
        return self._colored(self._copy)

    def _colored(self, copy: Registered) -> Registered:
        """The copy with the active colors of this moment; a workload without one is refused."""
        refused, served = dict(copy.refused), []
        for workload in copy.workloads:
            if workload.idle is None:
                served.append(workload)
                continue
            color = self.colors.get(workload.name, str(workload.color))
            if color in tuple(Color):
                colored = workload.with_active(Color(color))
                served.append(replace(colored, draining=self.draining.get(workload.name)))
            else:
                refused[workload.name] = f"workload {workload.name} has no active color: {color}"
        documents = {each.name: repr(each) for each in served}
        self.by_text |= {documents[each.name]: each for each in served}
        return replace(copy, workloads=tuple(served), refused=refused, documents=documents)

    def _failing(self, remaining_s: RemainingS) -> SluiceError | None:
        return TransientError(LATE.reason) if remaining_s() <= 0 else self.failing

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        self.calls.record("registry.one", name)
        if failing := self._failing(remaining_s):
            raise failing
        refused = self._now().refused
        if name in refused:
            raise ConfigError(refused[name])
        if name not in self.registered:
            raise ConfigError(f"no workload {name} is registered")
        colored = self._colored(Registered(workloads=(self.registered[name],), refused={}))
        if name in colored.refused:
            raise ConfigError(colored.refused[name])
        return colored.workloads[0]

    def _now(self) -> Registered:
        claims = collections.Counter(
            fleet for workload in self.registered.values() for fleet in workload.fleets
        )
        shared = {
            name: f"{fleet} is claimed by another workload too"
            for name, workload in self.registered.items()
            for fleet in workload.fleets
            if claims[fleet] > 1
        }
        refused = self.bad | shared
        served = {name: each for name, each in self.registered.items() if name not in refused}
        documents = {name: repr(each) for name, each in served.items()}
        self.by_text |= {documents[name]: each for name, each in served.items()}
        return Registered(workloads=tuple(served.values()), refused=refused, documents=documents)


@dataclass
class FakeSlice:
    of: FakeRegistry
    documents: Mapping[str, str]

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
        workloads = tuple(self.of.by_text[text] for text in self.documents.values())
        return Registered(workloads=workloads, refused={}, documents=self.documents)

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        self.of.calls.record("registry.one", name)
        if failing := self.of._failing(remaining_s):
            raise failing
        if name not in self.of.registered:
            raise ConfigError(f"no workload {name} is registered")
        workload, text = self.of.registered[name], self.documents.get(name)
        if text is None or self.of.by_text[text].fleet != workload.fleet:
            raise TransientError(f"workload {name} is on {workload.fleet}, where its tick did not see it")
        return workload


@dataclass
class FakeShards:
    of: FakeRegistry = field(default_factory=FakeRegistry)
    sent: list[str] = field(default_factory=list)
    """Bodies, in the order of their slices."""
    refusing: dict[str, str] = field(default_factory=dict)
    """Prefix of a slice's name -> the reason why it cannot be sent."""

    def send(self, bodies: Mapping[str, str], remaining_s: RemainingS) -> Mapping[str, str]:
        self.of.calls.record("shards.send", list(bodies))
        unsent = {
            name: reason
            for name in bodies
            for start, reason in self.refusing.items()
            if name.startswith(start)
        }
        if remaining_s() <= 0:
            unsent = dict.fromkeys(bodies, LATE.reason)
        self.sent += [body for name, body in bodies.items() if name not in unsent]
        return unsent

    def registry(self, documents: Mapping[str, str]) -> FakeSlice:
        return FakeSlice(self.of, documents)


@dataclass
class FakeTickQueue:
    of: FakeRegistry = field(default_factory=FakeRegistry)
    clock: Clock = field(default_factory=Clock)
    queued: list[tuple[datetime, str]] = field(default_factory=list)
    """(when it is delivered, body), in the order of sending."""
    refusing: dict[str, str] = field(default_factory=dict)
    """Prefix of a slice's name -> the reason why it cannot be sent."""

    def send(self, messages: Mapping[str, DelayedMessage], remaining_s: RemainingS) -> Mapping[str, str]:
        self.of.calls.record("tick_queue.send", list(messages))
        unsent = {
            name: reason
            for name in messages
            for start, reason in self.refusing.items()
            if name.startswith(start)
        }
        if remaining_s() <= 0:
            unsent = dict.fromkeys(messages, LATE.reason)
        self.queued += [
            (self.clock() + timedelta(seconds=message.delay_s), message.body)
            for name, message in messages.items()
            if name not in unsent
        ]
        return unsent

    def registry(self, documents: Mapping[str, str]) -> FakeSlice:
        return FakeSlice(self.of, documents)


@dataclass
class FakeStates:
    calls: Calls = field(default_factory=Calls)
    stored: dict[str, StoredState] = field(default_factory=dict)
    """Workload name -> what is stored of it."""
    failing: dict[str, str] = field(default_factory=dict)
    """Workload name -> the reason why its state cannot be read."""
    refusing: dict[str, str] = field(default_factory=dict)
    """Workload name -> why its state cannot be written."""

    def read(
        self, workloads: Collection[str], remaining_s: RemainingS
    ) -> Mapping[str, StoredState | Unknown | None]:
        self.calls.record("states.read", set(workloads))
        readings = {name: self._one(name, remaining_s) for name in workloads}
        self.calls.between()
        return readings

    def _one(self, name: str, remaining_s: RemainingS) -> StoredState | Unknown | None:
        if remaining_s() <= 0:
            return LATE
        return Unknown(reason=self.failing[name]) if name in self.failing else self.stored.get(name)

    def write(
        self, writes: Mapping[str, StateWrite], remaining_s: RemainingS
    ) -> Mapping[str, bool | Unknown]:
        return {name: self._write(name, write, remaining_s) for name, write in writes.items()}

    def _write(self, workload: str, write: StateWrite, remaining_s: RemainingS) -> bool | Unknown:
        self.calls.record("states.write", workload)
        if remaining_s() <= 0:
            return LATE
        if workload in self.refusing:
            return Unknown(reason=self.refusing[workload])
        found, replaces = self.stored.get(workload), write.replaces
        if replaces is None or replaces.tick_s == NO_TICK_S:
            written = found is None or found.tick_s < write.state.tick_s
        else:
            written = found is not None and found.tick_s == replaces.tick_s
        pause = found.pause if found else None
        if pause is not None and (replaces is None or replaces.pause is None):
            written = False
        guard = found.guard if found else None
        if guard is not None and (replaces is None or replaces.guard is None):
            written = False
        if written:
            learned = found.learned if found and not (replaces and replaces.problem) else None
            self.stored[workload] = StoredState(
                tick_s=write.state.tick_s,
                state=write.state,
                learned=learned,
                pause=pause,
                guard=guard,
                switch=found.switch if found else None,
            )
        self.calls.between()
        return written

    def learn(self, workload: str, learned: Learned) -> None:
        self.calls.record("states.learn", workload)
        if workload in self.refusing:
            raise TransientError(self.refusing[workload])
        found = self.stored.get(workload) or StoredState(tick_s=NO_TICK_S, state=None)
        self.stored[workload] = replace(found, learned=learned)

    def put_guard(self, workload: str, replaces: Guard | None, guard: Guard | None) -> bool:
        self.calls.record("states.put_guard", workload)
        if workload in self.refusing:
            raise TransientError(self.refusing[workload])
        found = self.stored.get(workload) or StoredState(tick_s=NO_TICK_S, state=None)
        if found.guard != replaces:
            return found.guard == guard
        self.guard(workload, guard)
        self.calls.between()
        return True

    def put_switch(self, workload: str, replaces: Switch | None, switch: Switch | None) -> bool:
        self.calls.record("states.put_switch", switch.step if switch else None)
        if workload in self.refusing:
            raise TransientError(self.refusing[workload])
        found = self.stored.get(workload) or StoredState(tick_s=NO_TICK_S, state=None)
        if found.switch != replaces:
            return found.switch == switch
        self.stored[workload] = replace(found, switch=switch)
        self.calls.between()
        return True

    def guard(self, workload: str, guard: Guard | None) -> None:
        """What the downstream guard stores."""
        found = self.stored.get(workload) or StoredState(tick_s=NO_TICK_S, state=None)
        stored = None if guard is None else as_stored(guard)
        self.stored[workload] = replace(found, guard=stored)

    def pause(self, workload: str, pause: Pause | None) -> None:
        """What an operator does; None resumes."""
        found = self.stored.get(workload) or StoredState(tick_s=NO_TICK_S, state=None)
        self.stored[workload] = replace(found, pause=pause)


GROUP_FIELDS = {"AlarmNotificationSuspended": False, "Enabled": True, "DisableScaleIn": False}


@dataclass
class FakeHeldPolicies:
    calls: Calls = field(default_factory=Calls)
    by_workload: dict[str, Fields] = field(default_factory=dict)
    """Workload name -> AWS's fields that hold its policy."""
    ends: dict[str, list[End]] = field(default_factory=dict)
    """Workload name -> what AWS changes by itself, the first end first."""
    refusing: dict[str, SluiceError] = field(default_factory=dict)
    """Workload name -> what its calls raise."""

    def fields(self, workload: Workload) -> Fields:
        self.calls.record("held_policies.fields", workload.name)
        if workload.name in self.refusing:
            raise self.refusing[workload.name]
        return self.by_workload.setdefault(workload.name, dict(GROUP_FIELDS))

    def hold(self, workload: Workload, was: Holds, holding: Holds) -> bool:
        now = self.fields(workload)
        self.calls.record("held_policies.hold", workload.name)
        ends = [end_of(hold, now, was, holding) for hold in holding.by_end]
        self.ends[workload.name] = [end for end in ends if end is not None and end.before != end.after]
        self.by_workload[workload.name] = wanted(now, was, holding)
        self.calls.between()
        return bool(self.ends[workload.name])


@dataclass
class FakeAlarms:
    calls: Calls = field(default_factory=Calls)
    states: dict[str, AlarmState | Unknown] = field(default_factory=dict)

    def read(self, names: Collection[str], remaining_s: RemainingS) -> Mapping[str, AlarmState | Unknown]:
        self.calls.record("alarms.read", list(names))
        absent = "the alarm {} does not exist in this account and region"
        return {
            name: self.states.get(name, Unknown(reason=absent.format(name))) if remaining_s() > 0 else LATE
            for name in names
        }


@dataclass
class FakeEventBus:
    """A bus in memory; `refusing` is the reason why it takes nothing."""

    events: list[DecisionEvent] = field(default_factory=list)
    refusing: str | None = None

    def put(self, events: Sequence[DecisionEvent], remaining_s: RemainingS) -> Mapping[int, Unknown]:
        late = "not read before the deadline" if remaining_s() <= 0 else None
        if reason := late or self.refusing:
            return {place: Unknown(reason=reason) for place in range(len(events))}
        self.events += events
        return {}


@dataclass
class RecordingReport:
    """A report that records everything it is given."""

    decisions: list[tuple[AnyDecision, Outcome]] = field(default_factory=list)
    failures: list[tuple[str, Counter, str]] = field(default_factory=list)
    recorded_defects: list[Exception] = field(default_factory=list)
    backlogs: dict[str, float] = field(default_factory=dict)
    """Workload name -> BacklogPerInstance."""
    published: dict[str, Published] = field(default_factory=dict)
    counts: collections.Counter[Counter] = field(default_factory=collections.Counter)

    @property
    def defects(self) -> int:
        return len({id(defect) for defect in self.recorded_defects})

    def decided(self, decision: AnyDecision, outcome: Outcome, fleet: Fleet) -> None:
        self.decisions.append((decision, outcome))
        self.counts[Counter.DECISIONS] += 1

    def observed(self, workload: Workload, observed: Observation, published: Published) -> None:
        self.backlogs[workload.name] = published.backlog_per_instance
        self.published[workload.name] = published

    def failed(
        self, workload: str, counter: Counter, reason: str, *, defect: Exception | None = None
    ) -> None:
        self.failures.append((workload, counter, reason))
        self.counts[counter] += 1
        if defect:
            self.recorded_defects.append(defect)

    def event(self, counter: Counter, what: str, count: int = 1) -> None:
        self.counts[counter] += count


@dataclass
class FakeAccount:
    """An account in memory: fake ports over shared state, the Ports made of them, and a recording report."""

    clock: Clock = field(default_factory=Clock)
    calls: Calls = field(default_factory=Calls)
    report: RecordingReport = field(default_factory=RecordingReport)
    remaining: float = 60
    retry_failures: dict[str, int] = field(default_factory=dict)
    last_known: dict[tuple[str, str], LastKnown] = field(default_factory=dict)
    queued_ticks: dict[str, datetime] = field(default_factory=dict)
    queues: FakeQueues = field(init=False)
    fleets: FakeFleets = field(init=False)
    metrics: FakeMetrics = field(init=False)
    policies: FakePolicies = field(init=False)
    registry: FakeRegistry = field(init=False)
    shards: FakeShards = field(init=False)
    tick_queue: FakeTickQueue = field(init=False)
    states: FakeStates = field(init=False)
    launches: FakeLaunches = field(init=False)
    surges: FakeSurges = field(init=False)
    held_policies: FakeHeldPolicies = field(init=False)
    alarms: FakeAlarms = field(init=False)
    freezes: FakeFreezes = field(init=False)
    colors: FakeColors = field(init=False)
    occupancy: FakeOccupancy = field(init=False)
    warm_pools: FakeWarmPools = field(default_factory=FakeWarmPools)

    def __post_init__(self) -> None:
        self.queues, self.fleets = FakeQueues(self.calls), FakeFleets(self.calls)
        self.metrics, self.policies = FakeMetrics(self.calls, self.clock), FakePolicies(self.calls)
        self.registry = FakeRegistry(self.calls, self.clock)
        self.shards = FakeShards(self.registry)
        self.tick_queue = FakeTickQueue(self.registry, self.clock)
        self.states = FakeStates(self.calls)
        self.launches = FakeLaunches(self.calls)
        self.surges = FakeSurges(self.fleets, self.clock, self.calls)
        self.held_policies, self.alarms = FakeHeldPolicies(self.calls), FakeAlarms(self.calls)
        self.freezes = FakeFreezes(self.fleets, self.calls)
        self.colors = FakeColors(self.registry, self.calls)
        self.occupancy = FakeOccupancy(self.calls)

    @property
    def ports(self) -> Ports:
        return Ports(
            queues=self.queues,
            fleets=self.fleets,
            metrics=self.metrics,
            policies=self.policies,
            registry=self.registry,
            namespace="Sluice",
            now=self.clock,
            shards=self.shards,
            retry_failures=self.retry_failures,
            last_known=self.last_known,
            tick_queue=self.tick_queue,
            queued_ticks=self.queued_ticks,
            states=self.states,
            launches=self.launches,
            surges=self.surges,
            warm_pools=self.warm_pools,
            held_policies=self.held_policies,
            alarms=self.alarms,
            freezes=self.freezes,
            colors=self.colors,
            occupancy=self.occupancy,
        )

    def remaining_s(self) -> float:
        return self.remaining

    def add_workload(
        self,
        workload: Workload,
        *,
        visible: int = 0,
        in_flight: int = 0,
        delayed: int = 0,
        desired: int = 0,
        running: int | None = None,
        bounds: Bounds | None = None,
        idle: int = 0,
    ) -> Workload:
        """Register a workload, with these counts of its queue and its fleet, and of its idle color if any."""
        self.registry.registered[workload.name] = workload
        self.queues.backlogs[workload.queue_url] = Backlog(
            visible=visible, in_flight=in_flight, delayed=delayed
        )
        self.fleets.capacities[workload.fleet] = Capacity(
            desired=desired,
            running=desired if running is None else running,
            bounds=bounds or workload.bounds,
        )
        if workload.idle is not None:
            self.fleets.capacities[workload.idle.fleet] = Capacity(
                desired=idle, running=idle, bounds=workload.bounds
            )
        return workload

    def publish_idle_minutes(
        self, workload: Workload, *, minutes: int | None = None, value: float = 0
    ) -> None:
        """Publish BacklogPerInstance for the last minutes."""
        for back in range(1, (minutes or workload.idle_minutes) + 1):
            at = self.clock().replace(second=0, microsecond=0) - MINUTE * back
            self.metrics.put(self.backlog_metric(workload), at, value)

    def backlog_metric(self, workload: Workload) -> Metric:
        return Metric(namespace="Sluice", name="BacklogPerInstance", dimensions=workload.fleet.dimensions)

    def desired(self, workload: Workload) -> int:
        return self.fleets.capacities[workload.fleet].desired

    def published(self, name: str = "BacklogPerInstance") -> dict[str, DataPoint]:
        """The newest point of this metric that was published for each workload."""
        points: dict[str, DataPoint] = {}
        for batch in self.calls.named("metrics.publish"):
            assert isinstance(batch, dict)
            points |= {
                workload: point
                for workload, own in batch.items()
                for point in own
                if point.metric.name == name
            }
        return points

    def publish_arrivals(self, workload: Workload, per_minute: float, *, minutes: int = 13) -> None:
        """Publish NumberOfMessagesSent for the last full minutes."""
        metric = workload.queue_metric("NumberOfMessagesSent")
        for back in range(1, minutes + 1):
            self.metrics.put(
                metric, self.clock().replace(second=0, microsecond=0) - MINUTE * back, per_minute
            )

    def resizes(self) -> list[object]:
        return self.calls.named("fleets.set_desired")


def tick_context(account: FakeAccount, *workloads: Workload) -> TickContext:
    """A tick over these workloads, before any of them is observed."""
    return TickContext(
        minute=minute_of(account.clock()),
        workloads={workload.name: workload for workload in workloads},
        observed={},
        ports=account.ports,
        report=account.report,
        remaining_s=account.remaining_s,
    )
