"""What the checks of one workload rest on. None is "AWS answered, and there is none"."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sluice.core.guard import AlarmState, Guard
from sluice.core.model import Backlog, Capacity, LaunchAttempt, Metric, Unknown, Workload
from sluice.core.pause import Pause
from sluice.core.switch_record import Switch
from sluice_operator.core.checks.key_policy import KeyPolicy
from sluice_operator.core.events import Deployment
from sluice_operator.core.readings import Point

AWS_MANAGED_KEY = "alias/aws/sqs"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The attributes of a queue."""

    arn: str
    visibility_timeout_s: int
    retention_s: int
    """Seconds after which SQS deletes a message, counted from its arrival."""
    dead_letter_queue_arn: str | None
    """None without a redrive policy."""
    max_receive_count: int | None
    """Receipts after which SQS moves a message to the dead-letter queue."""
    key_id: str | None
    """The KMS key as the queue names it; None for a queue without one."""
    has_policy: bool
    """Whether the queue has a policy of its own, which may allow or deny beyond those of IAM."""
    backlog: Backlog

    @property
    def own_key_id(self) -> str | None:
        """The customer's KMS key; None without one, and for AWS's own, which every role may use."""
        is_managed = f":{self.key_id}".endswith(f":{AWS_MANAGED_KEY}")
        return None if is_managed else self.key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """A key, and KMS's state of it, such as Enabled."""

    arn: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSource:
    """What a fleet starts its workers from."""

    kind: Literal["launch template", "launch configuration", "task definition"]
    name: str
    """AWS's id, name or ARN."""
    version: str = ""
    """Of a launch template."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What IAM's simulation says of one action of a role on one resource."""

    is_allowed: bool
    is_denied: bool = False
    """Whether a statement denies it; otherwise none allows it."""
    by_organization: bool = True
    """Whether the organization's service control policies allow it."""
    by_boundary: bool = True
    """Whether the role's permissions boundary does."""
    missing_keys: tuple[str, ...] = ()
    """The condition keys of the role's policies that only a real request has."""

    @property
    def is_only_lacking(self) -> bool:
        """Whether a further statement that allows it would be enough."""
        return not self.is_allowed and not self.is_denied and self.by_organization and self.by_boundary


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPool:
    """The warm pool of an Auto Scaling group."""

    instances: int
    min_instances: int
    is_deleted: bool
    """Whether AWS is deleting it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What is set of a group or a service, beyond its counts."""

    arn: str
    tags: Mapping[str, str]
    metrics: frozenset[str]
    """The names of its counts that AWS publishes."""
    suspended: tuple[str, ...] = ()
    """The processes of a group that are suspended."""
    standby_instances: int = 0
    """Instances of a group that were put into Standby."""
    protects_new: bool = False
    """Whether new instances of a group are protected from scale-in."""
    warm_pool: WarmPool | None = None
    default_warmup_s: int | None = None
    """DefaultInstanceWarmup of a group; None if it is not set."""
    scheduling_strategy: str = "REPLICA"
    """Of a service: REPLICA or DAEMON."""
    worker_source: WorkerSource | None = None
    """None if the fleet has several, or none that AWS describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """One scaling policy of a fleet, of any kind."""

    arn: str
    name: str
    kind: str
    """AWS's PolicyType, such as TargetTrackingScaling."""
    enabled: bool
    target: float | None
    """None for a policy that tracks no target."""
    metrics: tuple[Metric, ...]
    """The customized metric that it tracks, or those of its metric math."""
    predefined_metric: str | None
    scale_in_disabled: bool
    warmup_s: int | None
    """EstimatedInstanceWarmup of a group's policy."""
    scale_out_cooldown_s: int | None
    scale_in_cooldown_s: int | None
    alarms: tuple[str, ...]
    """The names of the alarms that AWS made for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledAction:
    """A scheduled change of a fleet's bounds or size; None for what it leaves as it is."""

    name: str
    schedule: str
    min: int | None
    max: int | None
    desired: int | None
    time_zone: str = "UTC"
    """By whose clock it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """When an alarm goes to ALARM, and what it does then."""

    actions_enabled: bool
    actions: tuple[str, ...]
    threshold: float | None = None
    """In the unit of its metric; None for an alarm on a band or without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One workload as it was read."""

    now: datetime
    workload: Workload
    pause: Pause | Unknown | None
    """The pause that an operator has set and that is in force."""
    queue: QueueSettings | Unknown | None
    queue_tags: Mapping[str, str] | Unknown | None
    queue_key: KmsKey | Unknown | None
    """None for a key that does not exist, or without one."""
    queue_key_policy: KeyPolicy | Unknown | None
    """None without a key of the customer's."""
    dead_letter_queue: QueueSettings | Unknown | None
    """None without one, or if it does not exist."""
    fleet: FleetSettings | Unknown | None
    worker_role: str | Unknown | None
    """The ARN of the role that the fleet gives its workers; None if it gives none."""
    worker_permissions: Mapping[str, Permission | Unknown] | Unknown
    """What that role may do, by the action; empty without a role."""
    capacity: Capacity | Unknown
    deployment: Deployment | Unknown | None
    """The deployment or instance refresh that is under way."""
    launches: Collection[LaunchAttempt] | Unknown
    """AWS's newest attempts to start instances, if fewer run than desired."""
    policies: Collection[ScalingPolicy] | Unknown
    """Every scaling policy of the fleet."""
    scheduled_actions: Collection[ScheduledAction] | Unknown
    alarms: Mapping[str, AlarmSettings | None] | Unknown
    """The alarms that the stack and the policy have made, by name; None for one that does not exist.

    The optional ones are there only if they exist.
    """
    mute_rules: Mapping[str, tuple[str, ...]] | Unknown
    """The rules that mute an alarm now, by the alarm's name."""
    functions: Mapping[str, str]
    """The ARN of the live function that an alarm starts, by `bootstrap` and `shutdown`."""
    namespace: str
    """CloudWatch namespace of BacklogPerInstance."""
    published: Point | Unknown | None
    """The newest value of the metric that is published for the fleet."""
    longest_processing_s: float | Unknown | None
    """Seconds that the slowest message of the last day took, by the workers' MsgProcessingDuration."""
    waits: float | Unknown
    """How many MsgWaitDuration the workers published in the last day."""
    received: Mapping[datetime, float] | Unknown
    """Receipts of messages in the last hour, every five minutes, as SQS counts them."""
    deleted: Mapping[datetime, float] | Unknown
    dead_letters: Mapping[datetime, float] | Unknown
    """Messages in the dead-letter queue in the last hour, every five minutes."""
    groups_in_flight: float | Unknown | None
    """The most message groups of a FIFO queue that were in flight in the last ten minutes."""
    oldest_age_s: float | Unknown | None
    failures: Collection[str] | Unknown
    """What the functions could not do for the workload in the last quarter of an hour, by their logs."""
    guard: Guard | Unknown | None = None
    """The hold of the downstream guard that is in force."""
    has_guard_function: bool = True
    """Whether the control plane has the function of the downstream guard."""
    guard_alarm: AlarmState | Unknown | None = None
    """The state of the alarm that the guard watches; None if it watches none."""
    ended_messages: float | Unknown = 0.0
    """Messages of the last day of which the workers published how they ended."""
    switch: Switch | Unknown | None = None
    """The switch between two colors that is in progress."""
    switch_runs: bool | Unknown = False
    """Whether the execution of that switch has not ended."""
    draining: str | Unknown = "none"
    """The color whose workers receive no more."""
    idle_capacity: Capacity | Unknown | None = None
    """Of the color that is not active; None for a single fleet."""
    idle_fleet: FleetSettings | Unknown | None = None
    """The settings of that color; None if it does not exist, or for a single fleet."""
    registry_prefix: str = ""
