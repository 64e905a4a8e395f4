"""The simulated AWS of one to three workloads, independent of what Sluice decides.

Holds the true state (queues, fleets, documents, policies, the clock), how late the scheduler and CloudWatch
are, the faults that are switched on, and the two alarms of each workload, which fire on transitions as in
CloudWatch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import AutoScalingGroup, Backlog, Bounds, Capacity, Fleet, Metric, Workload
from sluice.errors import SluiceError
from sluice.events import Alarm, RetuneRequest, SurgeRequest
from sluice.ports import LastKnown, Policy
from sluice.usecases.fifo_warning import (
    GROUPS_IN_FLIGHT,
    VISIBLE,
)
from sluice.usecases.learn import DAY, HOUR
from sluice.usecases.offered_load import SENT
from tests.chaos.minimums import Minimums
from tests.support.builders import (
    alarm,
    seconds,
)
from tests.support.fakes import (
    FakeAccount,
    FakeRegistry,
)

PLANE = "the control plane"
LATE, GAPPED = "late", "gapped"
CRITICAL = "depth-critical"
"""The alarm that starts a surge."""
MAX_UNDELIVERED = 6
MAX_LATE_S = 59
"""EventBridge Scheduler's precision is 60 s."""
ATTEMPTS = 3
"""Lambda retries an alarm's invocation twice, and a tick's or a retune's never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event that starts an invocation; one of the first five fields is set."""

    tick: datetime | None = None
    tick_below_a_minute: str | None = None
    """The body of its message."""
    alarm: Alarm | None = None
    retune: RetuneRequest | None = None
    surge: SurgeRequest | None = None
    attempts: int = 1


@dataclass(frozen=True)
class Evidence:
    """What CloudWatch holds of the messages that started in the last full hour, and of their processing."""

    at: datetime
    """The end of that hour."""
    waits_s: Sequence[float] | None
    """None if CloudWatch returns none of them."""
    durations_s: Sequence[float] | None
    """Of the day that ends with that hour."""


def metric_key(metric: Metric) -> tuple[str, frozenset[str]]:
    """A key for a metric of one fleet or queue."""
    return metric.name, frozenset(metric.dimensions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How late the scheduler starts each tick, and how long a published point cannot be read, in seconds."""

    ticks_s: tuple[int, ...] = (3,)
    """Of each minute's tick, 0 to 59; after the last one they repeat from the first."""
    points_s: int = 30

    @property
    def unreadable_in_a_row(self) -> int:
        """The maximum number of consecutive ticks that start too early to read the previous tick's point.

        Each of them is less late than the one before, by more than the rest of the minute.
        """
        return MAX_LATE_S // (61 - self.points_s)


PUNCTUAL = Delays(ticks_s=(0,), points_s=0)


@dataclass
class Cloud:
    """The true state of AWS, and the events that are not delivered yet."""

    workloads: tuple[Workload, ...]
    """The workloads as their stacks created them; their queues and fleets never change."""
    delays: Delays = field(default_factory=Delays)
    account: FakeAccount = field(default_factory=FakeAccount)
    undelivered: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    """Workload name, or PLANE -> undelivered events."""
    in_alarm: set[tuple[str, str]] = field(default_factory=set)
    minutes_empty: Counter[str] = field(default_factory=Counter)
    unreadable: dict[tuple[str, frozenset[str]], str] = field(default_factory=dict)
    """Metric of one fleet -> the reason why CloudWatch does not return it."""
    sent: Counter[str] = field(default_factory=Counter)
    """Workload -> messages sent in this minute."""
    sent_is: dict[str, str] = field(default_factory=dict)
    """Workload -> LATE or GAPPED: how AWS publishes its NumberOfMessagesSent, if not every minute."""
    sent_late: list[tuple[Metric, datetime, float]] = field(default_factory=list)
    """Points that AWS has not published yet."""
    refused_actions: dict[Fleet, SluiceError] = field(default_factory=dict)
    measured: dict[tuple[str, str], LastKnown] = field(default_factory=dict)
    """What the deadline engine's function has read of processing times."""
    sized: set[tuple[str, float]] = field(default_factory=set)
    """(workload, seconds since the epoch) of each tick below a minute that set a size."""
    minimums: Minimums = field(init=False)
    registries: dict[str, FakeRegistry] = field(init=False)
    """One for each function that caches the registry, over the same documents."""

    def __post_init__(self) -> None:
        registry = self.account.registry
        apart = FakeRegistry(registry.calls, registry.clock, registered=registry.registered, bad=registry.bad)
        self.registries = {"tick": registry, "retune": apart}
        self.account.metrics.readable_after = seconds(self.delays.points_s)
        self.minimums = Minimums(self.account)
        for served in self.workloads:
            self.account.add_workload(served)
            self.minimums.set_by_people[served.fleet] = served.bounds.min
            if isinstance(served.fleet, AutoScalingGroup):  # ECS does not say how many tasks boot
                self.change(served, booting=0)
            self.install_policy(served)

    # --- the true state -----------------------------------------------------------------------------------

    def document(self, served: Workload) -> Workload:
        return self.account.registry.registered[served.name]

    def amend(self, served: Workload, **changes: object) -> None:
        """Write a new version of the workload's document."""
        self.account.registry.registered[served.name] = replace(self.document(served), **changes)  # type: ignore[arg-type]

    def backlog(self, served: Workload) -> Backlog:
        return self.account.queues.backlogs[served.queue_url]

    def capacity(self, served: Workload) -> Capacity:
        return self.account.fleets.capacities[served.fleet]

    def change(self, served: Workload, **changes: object) -> None:
        """Change the fleet, as people and AWS do; AWS moves the desired count into new bounds."""
        capacity = replace(self.capacity(served), **changes)  # type: ignore[arg-type]
        if "bounds" in changes and capacity.bounds:
            desired = min(max(capacity.desired, capacity.bounds.min), capacity.bounds.max)
            capacity = replace(capacity, desired=desired)
        if "bounds" in changes and capacity.bounds != self.capacity(served).bounds:
            self.minimums.edit(served.fleet, capacity.bounds)
        self.account.fleets.capacities[served.fleet] = capacity

    def overlap(self, served: Workload) -> Bounds | None:
        """The bounds that document and fleet have in common."""
        return common(self.document(served), self.capacity(served))

    def install_policy(self, served: Workload) -> None:
        """Create the policy as the stack does, if it has one, with the template's target."""
        arn = served.policy_arn
        if arn is None:
            return
        self.account.policies.by_arn[arn] = Policy(
            fleet=served.fleet, target=10, definition={"PolicyARN": arn, "warm-up": served.name}
        )

    # --- time and its events --------------------------------------------------------------------------------

    def next_minute(self) -> Event:
        """Begin a minute: CloudWatch evaluates the alarms, and the scheduler sends a tick."""
        minute = minute_of(self.account.clock()) + MINUTE
        self.account.clock.at = minute
        for served in self.workloads:
            self._evaluate(served)
            self._publish_sent(served, minute - MINUTE)
            if served.is_fifo or served.deadline:
                self._publish_native(served, minute - MINUTE)
        tick = Event(tick=minute)
        self.post(PLANE, tick)
        return tick

    def lateness_s(self, tick: datetime) -> int:
        """How late the scheduler starts the tick of this minute."""
        return self.delays.ticks_s[int(tick.timestamp()) // 60 % len(self.delays.ticks_s)]

    def post(self, owner: str, event: Event) -> None:
        """Queue an event for delivery; beyond the limit the oldest one is lost."""
        events = self.undelivered[owner]
        events.append(event)
        del events[:-MAX_UNDELIVERED]

    def _evaluate(self, served: Workload) -> None:
        backlog = self.backlog(served)
        self.minutes_empty[served.name] += 1
        if backlog.total:
            self.minutes_empty[served.name] = 0
        on_ecs = "ServiceName" in served.fleet.dimensions  # ECS publishes no desired count
        at_zero = on_ecs or self.capacity(served).desired == 0
        idle_minutes = self.document(served).idle_minutes
        breaching = {
            "bootstrap": backlog.visible > 0 and at_zero,
            "shutdown": self.minutes_empty[served.name] >= idle_minutes,
        }
        for kind, breaches in breaching.items():
            self._set_alarm(served, kind, breaches)

    def _publish_native(self, served: Workload, minute: datetime) -> None:
        """AWS's own metrics of a queue and its fleet; up to four messages in flight are of one group."""
        put, backlog = self.account.metrics.put, self.backlog(served)
        put(served.queue_metric(VISIBLE), minute, backlog.visible)
        put(served.queue_metric(GROUPS_IN_FLIGHT), minute, -(-backlog.in_flight // 4))
        put(served.fleet.running_metric, minute, self.capacity(served).running)

    def _publish_sent(self, served: Workload, minute: datetime) -> None:
        point = served.queue_metric(SENT), minute, float(self.sent.pop(served.name, 0))
        how = self.sent_is.get(served.name)
        if how == LATE:
            self.sent_late.append(point)
        elif how is None or minute.minute % 2:
            self.account.metrics.put(*point)

    def catch_up(self, served: Workload) -> None:
        """Publish the delayed points of this workload's NumberOfMessagesSent."""
        metric = served.queue_metric(SENT)
        self.sent_is.pop(served.name, None)
        for point in [point for point in self.sent_late if point[0] == metric]:
            self.account.metrics.put(*point)
            self.sent_late.remove(point)

    def evidence(self, document: Workload) -> Evidence:
        """What the workers published of the last full hour, as far as CloudWatch returns it."""
        at = self.account.clock().replace(minute=0, second=0, microsecond=0)
        return Evidence(
            at=at,
            waits_s=self._returned(document.wait_metric, at - HOUR, at),
            durations_s=self._returned(document.duration_metric, at - DAY, at),
        )

    def _returned(self, metric: Metric, start: datetime, end: datetime) -> list[float] | None:
        if metric_key(metric) in self.unreadable:
            return None
        return [value for _, value in self.account.metrics.readable(metric, start, end)]

    def _set_alarm(self, served: Workload, kind: str, breaches: bool) -> None:
        if breaches == ((served.name, kind) in self.in_alarm):
            return
        self.in_alarm ^= {(served.name, kind)}
        state = "ALARM" if breaches else "OK"
        self.post(served.name, Event(alarm=alarm(kind, served.name, state), attempts=ATTEMPTS))


def common(document: Workload, capacity: Capacity) -> Bounds | None:
    """The common bounds, None if there are none; written independently of the code under test."""
    min_target, max_target = document.bounds.min, document.bounds.max
    if capacity.bounds:
        min_target, max_target = max(min_target, capacity.bounds.min), min(max_target, capacity.bounds.max)
    return Bounds(min=min_target, max=max_target) if min_target <= max_target else None
