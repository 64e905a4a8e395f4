"""The value types of the control plane: what is configured, what was observed, what was decided.

Owns the types that every other module uses. Refuses I/O, and any default that would let a missing reading
pass for a number: a reading that failed is `Unknown`, never 0.

Longer than 300 lines because the whole vocabulary is in one place; each type is a few lines and its units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

BACKLOG_PER_INSTANCE = "BacklogPerInstance"
EFFECTIVE_BACKLOG_PER_INSTANCE = "EffectiveBacklogPerInstance"
MSG_PROCESSING_DURATION = "MsgProcessingDuration"
MSG_WAIT_DURATION = "MsgWaitDuration"
OUTCOME = "Outcome"
"""The dimension that tells how the handler of a message ended."""


class Mode(StrEnum):
    """Whether Sluice acts on a workload, only logs what it would do, or leaves it alone."""

    ACTIVE = "active"
    OBSERVE = "observe"
    PAUSED = "paused"


class TrackedMetric(StrEnum):
    """What target tracking holds at its target."""

    EFFECTIVE = "effective"
    """EffectiveBacklogPerInstance: the backlog, and the load that keeps arriving."""
    BACKLOG = "backlog"


class Color(StrEnum):
    """One of the two fleets of a blue/green workload."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        """The other one."""
        return Color.GREEN if self is Color.BLUE else Color.BLUE


class MetricSource(StrEnum):
    """Who publishes the metric that target tracking reads."""

    PUBLISHED = "published"
    NATIVE = "native"
    """Metric math over AWS's own metrics."""


class Trigger(StrEnum):
    """What started the decision."""

    TICK = "tick"
    ALARM = "alarm"
    SCHEDULE = "schedule"
    STACK = "stack"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A reading that failed, is missing or came too late; no fleet is ever scaled in on it."""

    reason: str
    defect: Exception | None = None
    """The exception, if a bug in Sluice's own code broke the read; None if AWS could not answer."""


# --- what is configured ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One CloudWatch metric: namespace, name and exactly these dimensions (CloudWatch rolls nothing up)."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.namespace} {self.name} {self.dimensions}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScalingGroup:
    """An EC2 Auto Scaling group."""

    name: str

    @property
    def dimensions(self) -> dict[str, str]:
        """The dimensions under which AWS publishes this fleet's metrics."""
        return {"AutoScalingGroupName": self.name}

    @property
    def running_metric(self) -> Metric:
        """AWS's count of running instances, published only if the group's metrics are turned on."""
        return Metric(namespace="AWS/AutoScaling", name="GroupInServiceInstances", dimensions=self.dimensions)

    def __str__(self) -> str:
        return f"Auto Scaling group {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EcsService:
    """An ECS service; the rest of the code calls its tasks instances."""

    cluster: str
    service: str

    @property
    def dimensions(self) -> dict[str, str]:
        """The dimensions under which AWS publishes this fleet's metrics."""
        return {"ClusterName": self.cluster, "ServiceName": self.service}

    @property
    def running_metric(self) -> Metric:
        """AWS's count of running tasks, published only if the cluster has Container Insights."""
        return Metric(namespace="ECS/ContainerInsights", name="RunningTaskCount", dimensions=self.dimensions)

    def __str__(self) -> str:
        return f"ECS service {self.cluster}/{self.service}"


# A blue/green pair would be a third member: two of the above, and which of them is live.
Fleet = AutoScalingGroup | EcsService


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The minimum and maximum number of instances, both inclusive."""

    min: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticTarget:
    """A fixed target that an operator has measured, in messages per instance."""

    messages_per_instance: float
    concurrency_per_instance: float = 1
    """Messages that one instance processes at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicTarget:
    """A target recomputed from how long a message takes.

    target = acceptable_latency_s x concurrency_per_instance / MsgProcessingDuration, in messages per instance
    (the AWS guidance for target tracking on SQS: acceptable latency over average processing time). An
    instance with that many messages starts the last of them one processing time before the latency is over.
    """

    acceptable_latency_s: float
    """The promise: seconds from a message's arrival to the start of its processing."""
    concurrency_per_instance: float
    statistic: str
    min_messages_per_instance: float
    max_messages_per_instance: float
    fallback_messages_per_instance: float
    deadband_ratio: float
    max_factor_per_retune: float
    min_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Which metric target tracking reads, and the parameters of its share for arrivals."""

    metric: TrackedMetric = TrackedMetric.BACKLOG
    source: MetricSource = MetricSource.PUBLISHED
    arrival_margin: float = 0.3
    """beta: the spare instances are this factor times sqrt(offered load)."""
    processing_s: float | None = None
    """Mean seconds a message takes, for a workload whose workers publish no measurement."""


class BusyInstances(StrEnum):
    """Whether AWS may terminate an instance that works on a message."""

    PROTECTED = "protected"
    """The workers hold scale-in or task protection while they work."""
    UNPROTECTED = "unprotected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """The settings of a workload whose size the deadline engine decides."""

    promise_s: float
    """Seconds from a message's arrival within which it starts."""
    promise_percent: float = 99
    """Share of the messages, in percent, for which the promise is kept."""
    tick_s: int = 10
    boot_s: float = 180
    """Seconds from launch to the first message, used until boots are measured."""
    margin_s: float = 20
    """Seconds by which the plan keeps ahead of the promise: counts are old, and estimates are wrong."""
    busy_instances: BusyInstances = BusyInstances.PROTECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgeOnAlarms:
    """What a critical alarm of the workload starts."""

    alarm_arns: tuple[str, ...]
    """The only alarms that may start it."""
    drain_in_s: float
    """Seconds in which the backlog shall be drained."""
    hold_s: float
    """Seconds for which the fleet is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """When a workload's downstream counts as failing, and how long that holds scale-out at most.

    A signal that is None is not watched; at least one is.
    """

    failed_percent: float | None = None
    """Share of the messages, in percent, above which it fails."""
    dead_letters_per_minute: float | None = None
    """Growth of the dead-letter queue above which it fails."""
    dead_letter_queue: str | None = None
    """The queue's name; given where its growth is watched."""
    alarm_name: str | None = None
    """A CloudWatch alarm of the user's choice: it fails while the alarm is in ALARM."""
    minutes: int = 60
    """The longest hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Bounds that AWS sets on the fleet at a time of the week; they stay until another schedule starts."""

    name: str
    weekdays: frozenset[int]
    """On which it starts, as `date.weekday` numbers them: Monday is 0."""
    hour: int
    minute: int
    time_zone: str
    """A name of the IANA database, such as Europe/Berlin, by whose clock it starts."""
    bounds: Bounds
    """Within the bounds of the workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColoredFleet:
    """One fleet of a blue/green workload, and its own target-tracking policy."""

    color: Color
    fleet: Fleet
    policy_arn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One queue and the fleet that consumes it, as registered by the workload's stack.

    Of a blue/green workload `fleet` and `policy_arn` are the active color's, which alone is scaled.
    """

    name: str
    stack_id: str
    mode: Mode
    queue_url: str
    fleet: Fleet
    bounds: Bounds
    bootstrap_instances: int | None
    """How many instances a bootstrap starts; None: as many as the backlog needs."""
    count_in_flight: bool
    target: StaticTarget | DynamicTarget
    duration_metric: Metric
    tracking: Tracking
    idle_minutes: int
    policy_arn: str | None
    bootstrap_alarm_arn: str
    shutdown_alarm_arn: str
    deadline: Deadline | None = None
    """Set where the deadline engine decides the fleet's size, and not target tracking."""
    surge: SurgeOnAlarms | None = None
    """None: no alarm starts a surge."""
    guard: GuardSettings | None = None
    """Set where a failing downstream holds scale-out."""
    schedules: tuple[Schedule, ...] = ()
    """At most five, with different names."""
    idle: ColoredFleet | None = None
    """The color that is not active; None if the workload has one fleet."""
    draining: Color | None = None
    """The color whose workers receive no more, by what is known; None if all workers receive."""

    @property
    def color(self) -> Color | None:
        """The active color; None if the workload has one fleet."""
        return None if self.idle is None else self.idle.color.other

    def with_active(self, color: Color) -> Workload:
        """The same blue/green workload with this color as the active one."""
        if self.idle is None or self.idle.color is not color:
            return self
        fleet, metric = self.idle.fleet, self.duration_metric
        if metric.dimensions == self.fleet.dimensions:
            metric = replace(metric, dimensions=fleet.dimensions)
        return replace(
            self,
            fleet=fleet,
            policy_arn=self.idle.policy_arn,
            idle=ColoredFleet(color=color.other, fleet=self.fleet, policy_arn=self.policy_arn),
            duration_metric=metric,
        )

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        """The fleets that consume the queue, the active one first."""
        return (self.fleet,) if self.idle is None else (self.fleet, self.idle.fleet)

    @property
    def planned_processing_s(self) -> float:
        """Mean seconds that a message takes, until measured; every document with a deadline gives it."""
        if self.tracking.processing_s is None:
            raise ValueError(f"workload {self.name} gives no processing time")
        return self.tracking.processing_s

    @property
    def wait_metric(self) -> Metric:
        """Where the workers publish how long each message waited: beside their processing times."""
        own = self.duration_metric
        return Metric(namespace=own.namespace, name=MSG_WAIT_DURATION, dimensions=own.dimensions)

    @property
    def publishes_effective(self) -> bool:
        """Whether the workload's policy reads EffectiveBacklogPerInstance."""
        tracking = self.tracking
        return tracking.metric is TrackedMetric.EFFECTIVE and tracking.source is MetricSource.PUBLISHED

    @property
    def tracks_native_metrics(self) -> bool:
        """Whether it has a policy on AWS's own metrics: by choice, or as the deadline engine's fallback."""
        reads_native = self.deadline is not None or self.tracking.source is MetricSource.NATIVE
        return reads_native and self.mode is Mode.ACTIVE and self.policy_arn is not None

    @property
    def is_fifo(self) -> bool:
        """Whether the queue is a FIFO queue, which delivers one batch of a message group at a time."""
        return self.queue_url.endswith(".fifo")

    @property
    def queue_name(self) -> str:
        """The queue's name: the last part of its URL."""
        return self.queue_url.rsplit("/", 1)[-1]

    def ended_metric(self, outcome: str) -> Metric:
        """Where the workers publish the processing times of the messages that ended so."""
        own = self.duration_metric
        return Metric(
            namespace=own.namespace,
            name=own.name,
            dimensions={**own.dimensions, OUTCOME: outcome},
        )

    def queue_metric(self, name: str) -> Metric:
        """One of the metrics that SQS publishes for the queue."""
        return Metric(namespace="AWS/SQS", name=name, dimensions={"QueueName": self.queue_name})


# --- what was observed ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """One live reading of a queue, in messages."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """Every message that is not yet deleted."""
        return self.visible + self.in_flight + self.delayed


DYNAMIC_SCALING_OUT_SUSPENDED = "DynamicScalingOut is suspended"
DYNAMIC_SCALING_IN_SUSPENDED = "DynamicScalingIn is suspended"
"""What blocks a direction of an ECS service; in a mode without a policy, the stack itself suspends both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """One live reading of a fleet, in instances.

    `bounds` are the fleet's own; None for an ECS service without a scalable target. The two `blocked_by` name
    what blocks a direction: a suspension by an operator, a deletion, a deployment. `deploying_since` is when
    the running deployment began, in UTC; None if none runs, or if AWS does not say when it began.
    """

    desired: int
    running: int
    bounds: Bounds | None
    scale_out_blocked_by: tuple[str, ...] = ()
    scale_in_blocked_by: tuple[str, ...] = ()
    unsupported_units: tuple[str, ...] = ()
    """The settings that make AWS count the fleet's sizes in other units; empty if it counts instances."""
    deploying_since: datetime | None = None
    schedules_suspended: bool = False
    """Whether AWS executes no scheduled action of the fleet."""
    booting: int | None = None
    """Instances that AWS has launched and that are not running yet; None where AWS does not say."""
    protected: int | None = None
    """Running instances that AWS may not terminate on scale-in; None where AWS does not say."""
    ending: int = 0
    """Instances that AWS ends, of a group: a lifecycle hook may let them finish a message first."""
    has_warm_pool: bool = False
    warm: int | None = None
    """Instances of the warm pool that can be started; None without a pool, or if that was not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One live reading of a workload's queue and fleet."""

    backlog: Backlog | Unknown
    capacity: Capacity | Unknown
    idle: Capacity | Unknown | None = None
    """Of the idle color, which may consume the same queue; None without one."""
    idle_drains: bool = False
    """Whether the idle color drains: its workers finish what they have, and receive no more."""

    @property
    def consuming(self) -> Capacity | Unknown:
        """The active fleet, with the running instances that share the backlog, an idle color's included."""
        if self.idle is None or self.idle_drains or isinstance(self.capacity, Unknown):
            return self.capacity
        if isinstance(self.idle, Unknown):
            return self.idle
        return replace(self.capacity, running=self.capacity.running + self.idle.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLoad:
    """The load that keeps arriving, and the capacity it takes to keep up with it."""

    arrivals_per_s: float
    """Sustained: a single burst does not count."""
    processing_s: float
    concurrency_per_instance: float

    @property
    def instances(self) -> float:
        """rho, the mean number of busy instances (Little's law)."""
        return self.arrivals_per_s * self.processing_s / self.concurrency_per_instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The load a fleet has to keep up with, in the unit of its target."""

    load: OfferedLoad
    target_per_instance: float
    """The target of the workload's policy, in messages per instance."""
    not_renewed: tuple[str, ...] = ()
    """Readings that could not be renewed: for each the reason, and the time of the reading in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMinute:
    """One minute of a FIFO queue and its fleet, by AWS's own metrics; `at` is the minute's start.

    `waiting` and `running` are the minimum of visible messages and of running instances in that minute,
    `groups` is the maximum of message groups in flight.
    """

    at: datetime
    waiting: float
    running: float
    groups: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAttempt:
    """One attempt of AWS to start an instance.

    `failure` is AWS's message on why none started; None if one has started or may still start.
    """

    at: datetime
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """MsgProcessingDuration over a window: the chosen statistic in seconds and the number of samples.

    `seconds` is NaN if there are no samples.
    """

    seconds: float
    samples: float
    window_s: int


# --- what was decided -------------------------------------------------------------------------------------


class Kind(StrEnum):
    """What a decision is about."""

    BOOTSTRAP = "bootstrap"
    SHUTDOWN = "shutdown"
    CAP = "cap"
    LAUNCH = "launch"
    RETUNE = "retune"
    SCALE = "scale"
    LEARN = "learn"
    SURGE = "surge"
    GUARD = "guard"
    SWITCH = "switch"


class Reason(StrEnum):
    """The reason for a decision; the value is the sentence that is logged."""

    WORK_WAITS = "work waits and nothing runs"
    NO_WORK = "no visible message waits"
    AWAKE = "desired is above 0; target tracking is in control"
    PROVEN_EMPTY = "the queue is proven empty"
    NOT_EMPTY = "the queue still holds messages"
    NOT_PROVEN = "emptiness is not proven for every idle minute"
    AT_MINIMUM = "the fleet is at its minimum"
    FLOOR_HELD = "the deadline engine holds a floor"
    HELD = "scaling in this direction is held"
    DEPLOYMENT_STUCK = "a deployment over an hour old holds the shutdown"
    UNKNOWN_READING = "a reading is missing, and unknown is not zero"
    BOUNDS_DISJOINT = "the document's bounds and the fleet's own do not overlap"
    NO_ROOM = "the bounds allow no instance"
    PAUSED = "the workload is paused"
    INSTANCE_WEIGHTS = "the fleet's sizes are not counted in instances"
    NO_CAPACITY = "AWS does not start the instances that are asked for"
    BEYOND_MESSAGE_GROUPS = "more instances run than message groups are in flight"

    STARTS_LATE = "messages would start late"
    AT_MAXIMUM = "messages wait, and the fleet is at its maximum"
    STARTS_IN_TIME = "every waiting message starts in time"
    SURPLUS = "fewer instances suffice"
    FLOOR = "messages that arrive within a boot would start late"
    ALL_NEEDED = "the fleet has the size that messages and arrivals need"
    BOOTING = "instances boot, and none is ended meanwhile"
    LIMITED_BY_GROUPS = "messages wait, and their groups can use no more instances"
    PROMISE_OUT_OF_REACH = "the promise cannot be kept from zero instances"
    SURPLUS_TOO_NEW = "fewer instances suffice, but not for long enough yet"

    SURGED = "a surge raises the fleet and holds it"
    SURGE_STANDS = "the surge in force holds as many instances for as long"
    SURGE_ENDED = "the surge is ended"
    NO_SURGE = "no surge is in force"
    OUT_OF_RANGE = "a surge goes no higher than the maximum and lowers nothing"
    NOT_HANDED_BACK = "AWS would not end the surge"

    RETUNED = "the target follows the measured processing time"
    WITHIN_DEADBAND = "the target moved less than the deadband"
    TOO_FEW_SAMPLES = "too few processing times were published; the current target stays"
    TOO_MANY_LATE = "too many messages started late"
    HARDLY_ANY_LATE = "hardly any message started late"
    LATE_AS_ALLOWED = "about as many messages started late as the promise allows"
    TOO_FEW_WAITS = "hardly any message started late, but too few messages show it"
    NO_WAITS = "no waits were published"
    GUARDED = "the downstream guard holds scale-out"
    DOWNSTREAM_FAILS = "the downstream fails"
    DOWNSTREAM_RECOVERED = "the downstream has recovered"
    DOWNSTREAM_WELL = "no signal of the downstream is above its threshold"
    GUARD_OVER = "the longest hold of the guard is over"
    GUARD_SPENT = "the guard has held scale-out for this failure once, and does not hold it twice"

    SWITCH_BEGUN = "a switch to the other color begins"
    COLOR_IS_ACTIVE = "this color is active already"
    ONLY_FLIPS = "nothing runs and no message waits, so only the color changes"
    COLORS_FROZEN = "AWS lowers neither color meanwhile"
    COLOR_RAISED = "the new color is to run what the messages need"
    COLOR_NOT_READY = "the new color does not run and take messages yet"
    COLOR_READY = "the new color runs and takes messages"
    COLOR_FLIPPED = "the new color is active"
    COLOR_BUSY = "the other color may still work on messages"
    COLOR_DRAINED = "the other color works on no message"
    COLOR_RETIRED = "the old color is at zero"
    COLOR_STAYS = "the other color stays up, as it may still work on messages"
    ALARMS_FADE = "the old color's alarms still see what was published before"
    SWITCH_FINISHED = "the switch is over"
    SWITCH_UNDONE = "everything is as before the switch"
    NO_SWITCH = "no such switch is in progress"

    DURATION_REFUSED = "the measured processing time is not a positive finite number"


class Limit(StrEnum):
    """A clamp that changed a decision, or a difference an operator should know of."""

    MIN_INSTANCES = "raised to the minimum"
    MAX_INSTANCES = "cut to the maximum"
    BOUNDS_DIFFER = "the fleet's own bounds differ from the document's"
    MIN_TARGET = "target raised to its lower bound"
    MAX_TARGET = "target cut to its upper bound"
    MAX_FACTOR = "target moved by at most the allowed factor"
    GUARD = "cut to what the downstream guard allows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a fleet's desired count, why, and from which readings; `desired` None means hold."""

    workload: str
    kind: Kind
    trigger: Trigger
    reason: Reason
    observation: Observation
    desired: int | None = None
    limits: tuple[Limit, ...] = ()
    detail: str = ""
    subject: str = ""
    """The step of a switch and the color that it is about, such as `drain of blue`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDecision:
    """What to do with a policy's target, in messages per instance; `target` None means no change."""

    workload: str
    trigger: Trigger
    reason: Reason
    durations: Durations | Unknown
    current: float | None
    target: float | None = None
    limits: tuple[Limit, ...] = ()
    detail: str = ""
    kind: Kind = Kind.RETUNE


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTime:
    """How long the instances of one kind of start took from the launch until they ran, as measured."""

    warm: bool
    """Whether they were started from the warm pool."""
    mean_s: float
    p90_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningDecision:
    """The margin that the deadline engine keeps from now on, in seconds; `margin_s` None means no change."""

    workload: str
    trigger: Trigger
    reason: Reason
    current_s: float
    margin_s: float | None
    processing_s: float | None
    """Mean seconds to process a message, as measured; None until then."""
    variation: float | None
    """Its coefficient of variation."""
    boots: tuple[BootTime, ...] = ()
    """By kind of start, as far as measured; cold first."""
    limits: tuple[Limit, ...] = ()
    detail: str = ""
    kind: Kind = Kind.LEARN


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDecision:
    """Whether the downstream guard holds scale-out from now on; `engages` None means no change."""

    workload: str
    trigger: Trigger
    reason: Reason
    engages: bool | None
    until: datetime | None
    """When the hold in question ends by itself, or has ended; None where there is none."""
    failed_percent: float | None = None
    """None if not watched or unknown, as the others."""
    ended_messages: float | None = None
    """Messages of which those are the failed ones."""
    dead_letters_per_minute: float | None = None
    alarm: str | None = None
    """The state of the user's alarm."""
    limits: tuple[Limit, ...] = ()
    detail: str = ""
    kind: Kind = Kind.GUARD


AnyDecision = Decision | TargetDecision | LearningDecision | GuardDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a tick publishes for one workload, in messages per instance."""

    backlog_per_instance: float
    effective_per_instance: float | None = None
    """None if the workload does not track it."""
    demand: Demand | Unknown | None = None
    """What the effective one is computed from; Unknown, with the reason, if it equals the plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPoint:
    """One value of one metric at one scheduled minute."""

    metric: Metric
    at: datetime
    value: float
