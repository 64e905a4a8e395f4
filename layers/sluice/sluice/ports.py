"""The ports: what the use cases need from outside the process, and nothing more.

Owns the Protocols that the AWS adapters and the tests' fakes implement; one contract suite runs over each.
Reads never raise for one bad item: its reading is `Unknown`, the others are served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sluice.core.deadline.learning import Learned
from sluice.core.deadline.state import EngineState
from sluice.core.guard import AlarmState, Guard
from sluice.core.held_fields import Fields, Holds
from sluice.core.model import (
    AnyDecision,
    AutoScalingGroup,
    Backlog,
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
from sluice.core.surge import ScheduledActions, Surge
from sluice.core.switch_record import Switch

RemainingS = Callable[[], float]
"""Seconds left for reading before the invocation must turn to publishing."""


def first_half(remaining_s: RemainingS) -> RemainingS:
    """What is left of the first half of the time, for a read that leaves the second half to later ones."""
    kept_s = remaining_s() / 2
    return lambda: remaining_s() - kept_s


class Queues(Protocol):
    """SQS queues. Reading never receives: that would raise the receive count of each message."""

    def read(self, queue_urls: Collection[str], remaining_s: RemainingS) -> Mapping[str, Backlog | Unknown]:
        """One live reading per queue URL; what is not read in time is Unknown."""
        ...

    def send(self, queue_url: str, bodies: Sequence[str]) -> None:
        """Send every body; raises, with the number of refused ones, if SQS refused any."""
        ...


class Fleets(Protocol):
    """Auto Scaling groups and ECS services."""

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:
        """One live reading per fleet; a fleet AWS does not know is Unknown."""
        ...

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        """Set the desired count, regardless of any cooldown."""
        ...


class Surges(Protocol):
    """The minimum of a fleet, and the scheduled actions of AWS that change it."""

    def read(self, fleet: Fleet) -> ScheduledActions:
        """The scheduled actions on the fleet's minimum; raises SluiceError if they cannot be read."""
        ...

    def schedule_end(self, fleet: Fleet, surge: Surge) -> None:
        """Have AWS put the minimum back at the surge's end; one of the same name is replaced."""
        ...

    def cancel(self, fleet: Fleet, surge: Surge) -> None:
        """Delete the surge's scheduled action; one that is not there any more is no failure."""
        ...

    def set_minimum(self, fleet: Fleet, instances: int) -> None:
        """Set the fleet's minimum, below which AWS raises the desired count to it; nothing is lowered."""
        ...


class Launches(Protocol):
    """AWS's attempts to start instances, and why they failed."""

    def read(
        self, fleets: Collection[Fleet], remaining_s: RemainingS
    ) -> Mapping[Fleet, Collection[LaunchAttempt] | Unknown]:
        """The newest attempts of each fleet, in any order; empty for a fleet that AWS does not know."""
        ...


class WarmPools(Protocol):
    """The warm pools of Auto Scaling groups."""

    def ready(
        self, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, int | Unknown]:
        """How many instances of each group's pool can be started now; a call for each group."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesQuery:
    """One statistic of one metric, one value a period; times are aligned to the period."""

    metric: Metric
    statistic: str
    period_s: int


Series = Mapping[datetime, float]


class Metrics(Protocol):
    """CloudWatch metrics."""

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        """Publish each workload's points together; returns the refused workloads, each with the reason."""
        ...

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,
    ) -> Mapping[str, Series | Unknown]:
        """Each query's values in start <= period < end; a period without data is absent, not 0.

        What is not read in time is Unknown.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A target-tracking policy in AWS; `definition` holds every field, so that a put can keep the others."""

    fleet: Fleet
    target: float
    definition: Mapping[str, object]


class Policies(Protocol):
    """Target-tracking policies of both kinds of fleet."""

    def read(self, workload: Workload, remaining_s: RemainingS) -> Policy:
        """The workload's policy; ConfigError if AWS has none by that ARN, TransientError if time runs out."""
        ...

    def targets(
        self, workloads: Mapping[str, Workload], remaining_s: RemainingS
    ) -> Mapping[str, float | Unknown]:
        """Each workload's target now, in messages per instance; what is not read in time is Unknown."""
        ...

    def put_target(self, policy: Policy, target: float, held: Mapping[str, bool] | None = None) -> None:
        """Replace the target, and the fields by which a pause holds the policy; every other field stays."""
        ...


class HeldPolicies(Protocol):
    """AWS's own policies, as an operator's pause and the downstream guard hold them."""

    def fields(self, workload: Workload) -> Fields:
        """The fields that hold the workload's policy, as they are now; raises SluiceError if not told."""
        ...

    def hold(self, workload: Workload, was: Holds, holding: Holds) -> bool:
        """Hold and release as `holding` asks, after `was`; returns whether AWS makes an end by itself.

        Raises SluiceError if AWS refuses a call: what was made before it stays.
        """
        ...


class Alarms(Protocol):
    """CloudWatch alarms of the user's choice."""

    def read(self, names: Collection[str], remaining_s: RemainingS) -> Mapping[str, AlarmState | Unknown]:
        """The state of each alarm; one that does not exist is Unknown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The registry: the workloads that may be served, and what is wrong with the others."""

    workloads: tuple[Workload, ...]
    refused: Mapping[str, str]
    """Name of each workload that is not served -> the reason."""
    documents: Mapping[str, str] = field(default_factory=dict)
    """Name of each workload that may be served -> its document's text."""
    defects: Mapping[str, Exception] = field(default_factory=dict)
    """Name of each refused workload whose document broke Sluice's own code -> the exception."""
    stale: str | None = None
    """The reason why this is the last good copy and not a fresh one; None if it is fresh."""


class Registry(Protocol):
    """The registered workload documents."""

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
        """Every workload, at most five minutes old; `fresh` reads them anew.

        If no time is left, it is the last good copy; raises TransientError if there is none.
        """
        ...

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        """One workload, read anew; raises ConfigError if it is absent, refused or shares its fleet.

        Raises TransientError if no time is left.
        """
        ...


class Shards(Protocol):
    """The queue of a large tick's shards, each served by an invocation of its own."""

    def send(self, bodies: Mapping[str, str], remaining_s: RemainingS) -> Mapping[str, str]:
        """Send every shard's message, keyed by its name; returns those not sent, with the reason."""
        ...

    def registry(self, documents: Mapping[str, str]) -> Registry:
        """The registry restricted to a shard's documents."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedMessage:
    """A message that its queue delivers `delay_s` seconds after it was sent."""

    body: str
    delay_s: int


class TickQueue(Protocol):
    """The queue of the ticks below a minute, each delivered at its own moment."""

    def send(self, messages: Mapping[str, DelayedMessage], remaining_s: RemainingS) -> Mapping[str, str]:
        """Send every message, keyed by its name; returns those not sent, with the reason."""
        ...

    def registry(self, documents: Mapping[str, str]) -> Registry:
        """The registry restricted to a tick's documents."""
        ...


NO_TICK_S = 0.0
"""`StoredState.tick_s` where no tick was served yet, or which one cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """What is stored of a workload's deadline engine.

    `tick_s` is the moment of the tick that stored it, in seconds since the epoch. `state` is None, with the
    reason in `problem`, if it cannot be used, or, without a problem, if no tick was served yet.
    """

    tick_s: float
    state: EngineState | None
    problem: str | None = None
    learned: Learned | None = None
    """None if nothing was learned yet."""
    pause: Pause | None = None
    """The pause that an operator has set, in force or ended; None if there is none."""
    guard: Guard | None = None
    """The hold of the downstream guard, in force or ended; None if there is none."""
    switch: Switch | Unknown | None = None
    """The switch in progress; Unknown if what is stored cannot be read, None if there is none."""

    def in_force(self, now: datetime) -> Pause | None:
        """The pause that holds the workload now."""
        return self.pause if self.pause is not None and self.pause.in_force(now) else None

    def guard_in_force(self, now: datetime) -> Guard | None:
        """The guard that holds scale-out now."""
        return self.guard if self.guard is not None and self.guard.in_force(now) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWrite:
    """A state to store in place of `replaces`; without it, in place of any older one."""

    state: EngineState
    replaces: StoredState | None


class EngineStates(Protocol):
    """What the deadline engine remembers of each workload from one tick to the next."""

    def read(
        self, workloads: Collection[str], remaining_s: RemainingS
    ) -> Mapping[str, StoredState | Unknown | None]:
        """What is stored by workload name, None for nothing; what is not read in time is Unknown."""
        ...

    def write(
        self, writes: Mapping[str, StateWrite], remaining_s: RemainingS
    ) -> Mapping[str, bool | Unknown]:
        """Store each workload's state; returns by workload name whether it is stored.

        False if another invocation has stored one meanwhile, or if the workload is paused or guarded and
        `replaces` has no pause or guard. Unknown if the write failed or was late. A pause and a guard stay;
        so does what was learned, unless `replaces` has a problem.
        """
        ...

    def learn(self, workload: str, learned: Learned) -> None:
        """Store what was learned of a workload beside its state."""
        ...

    def put_guard(self, workload: str, replaces: Guard | None, guard: Guard | None) -> bool:
        """Store the guard's hold in place of the one that was read, None for none; returns whether it is.

        False if another invocation has stored another one meanwhile.
        """
        ...

    def put_switch(self, workload: str, replaces: Switch | None, switch: Switch | None) -> bool:
        """Store a switch in place of the one that was read, None for none; returns whether it is.

        False if another invocation has stored another one meanwhile: it is a lock.
        """
        ...


class Freezes(Protocol):
    """The fields by which AWS's own scaling of one color is held."""

    def fields(self, colored: ColoredFleet) -> Fields:
        """The fields as they are now, without those that the fleet does not have; raises SluiceError."""
        ...

    def put(self, colored: ColoredFleet, fields: Fields) -> None:
        """Bring the fields to these values; what has its value already takes no call."""
        ...


class Colors(Protocol):
    """The parameters of a blue/green workload: which color is active, and which one receives no more."""

    def set_active(self, workload: str, color: Color) -> None:
        """Make this color the active one."""
        ...

    def set_draining(self, workload: str, color: Color | None) -> bool:
        """Tell the workers of this color to receive no more, None for neither; returns whether it is new."""
        ...


class Occupancy(Protocol):
    """Which instances of a fleet work on messages: those that AWS may not end on a scale-in."""

    def busy(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, int | Unknown]:
        """How many instances of each fleet are protected, those that are being ended included."""
        ...

    def refreshed(
        self, groups: Collection[AutoScalingGroup], remaining_s: RemainingS
    ) -> Mapping[AutoScalingGroup, bool | Unknown]:
        """Whether AWS replaces the instances of each group by an instance refresh now."""
        ...

    def finishes(self, fleet: Fleet, remaining_s: RemainingS) -> bool | Unknown:
        """Whether a lifecycle hook lets each instance finish before it ends; a service has none."""
        ...


class Outcome(StrEnum):
    """The outcome of a decision."""

    ACTED = "acted"
    HELD = "held"
    OBSERVED = "observed"
    FAILED = "failed"


class Counter(StrEnum):
    """The control plane's own metrics, each a number of occurrences."""

    WORKLOADS_SERVED = "WorkloadsServed"
    NO_CAPACITY = "NoCapacity"
    DECISIONS = "Decisions"
    OBSERVATION_FAILED = "ObservationFailed"
    PUBLISH_FAILED = "PublishFailed"
    ACTION_FAILED = "ActionFailed"
    RETUNE_FAILED = "RetuneFailed"
    DEPLOYMENT_STUCK = "DeploymentStuck"
    SHARDS_SENT = "ShardsSent"
    SHARD_FAILED = "ShardFailed"
    STALE_TICK = "StaleTick"
    DOCUMENT_INVALID = "DocumentInvalid"
    REGISTRY_STALE = "RegistryStale"
    INVOCATION_FAILED = "InvocationFailed"
    EVENT_IGNORED = "EventIgnored"
    MESSAGES_SENT = "MessagesSent"
    TICKS_QUEUED = "TicksQueued"
    TICK_FAILED = "TickFailed"
    STATE_REBUILT = "StateRebuilt"
    EVENTS_NOT_SENT = "EventsNotSent"
    GUARD_ENGAGED = "GuardEngaged"
    GUARD_RELEASED = "GuardReleased"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEvent:
    """A decision for those who listen on a bus; `detail` is what JSON can hold."""

    detail_type: str
    detail: Mapping[str, object]


class EventBus(Protocol):
    """The bus that tells others of decisions."""

    def put(self, events: Sequence[DecisionEvent], remaining_s: RemainingS) -> Mapping[int, Unknown]:
        """Put every event on the bus; returns, by their places, those that are not on it, with the reason."""
        ...


class Report(Protocol):
    """Logs decisions and failures, one structured line each, and counts them."""

    @property
    def defects(self) -> int:
        """How many different defects of Sluice's own code were logged in this invocation."""
        ...

    def decided(self, decision: AnyDecision, outcome: Outcome, fleet: Fleet) -> None:
        """Log a decision about this fleet, the readings behind it, and its outcome."""
        ...

    def observed(self, workload: Workload, observation: Observation, published: Published) -> None:
        """Log what one tick observed of one workload and published for it."""
        ...

    def failed(
        self, workload: str, counter: Counter, reason: str, *, defect: Exception | None = None
    ) -> None:
        """Log a failure of one workload; a defect of Sluice's own code once with its stack trace."""
        ...

    def event(self, counter: Counter, what: str, count: int = 1) -> None:
        """Log and count an event of the control plane as a whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LastKnown:
    """A reading that is not renewed at every tick; `read_at` and `attempted_at` are scheduled minutes."""

    value: float | Unknown
    read_at: datetime
    attempted_at: datetime
    not_renewed: str | None = None
    """Why the newest attempt, at `attempted_at`, yielded no reading; None if it yielded one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All ports of a function, and its memory, which lives as long as the process."""

    queues: Queues
    fleets: Fleets
    metrics: Metrics
    policies: Policies
    registry: Registry
    namespace: str
    now: Callable[[], datetime]
    shards: Shards | None = None
    """None for a function that has no queue of shards."""
    retry_failures: MutableMapping[str, int] = field(default_factory=dict)
    """Workload name -> how often its retry failed in a row; lives as long as the process."""
    last_known: MutableMapping[tuple[str, str], LastKnown] = field(default_factory=dict)
    """(quantity, its source) -> the newest reading; lives as long as the process."""
    tick_queue: TickQueue | None = None
    """None for a function that sends no ticks below a minute."""
    queued_ticks: MutableMapping[str, datetime] = field(default_factory=dict)
    """Slice of the registry -> the moment up to which its ticks are queued; lives as long as the process."""
    states: EngineStates | None = None
    """None for a function that needs no state of the deadline engine."""
    warm_pools: WarmPools | None = None
    """None in a simulation, whose fleet says what its pool holds."""
    launches: Launches | None = None
    """None in a simulation, which has no launch failures to read."""
    surges: Surges | None = None
    """None for a function that sets no minimum."""
    held_policies: HeldPolicies | None = None
    """None for a function that holds no policy."""
    alarms: Alarms | None = None
    """None for a function that reads no alarms."""
    freezes: Freezes | None = None
    """None for a function that switches no colors, as the next two."""
    colors: Colors | None = None
    occupancy: Occupancy | None = None
