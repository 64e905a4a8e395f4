"""How a Lambda process is set up: environment -> clients -> adapters.

Reads the environment; no other module does. Nothing runs at import: a warm process builds its ports once, and
each client on first use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics

from sluice.aws.alarm_states import CloudWatchAlarms
from sluice.aws.asg import AutoScalingGroups
from sluice.aws.clients import Session, client
from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.aws.colors import SsmColors
from sluice.aws.ecs import EcsServices
from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.aws.event_bus import EventBridgeBus
from sluice.aws.fleets import AwsFleets
from sluice.aws.freezes import AwsFreezes
from sluice.aws.held_policies import HeldPolicies, ScheduleGroups
from sluice.aws.launch_failures import (
    EVENT_FIELDS,
    AwsLaunches,
)
from sluice.aws.occupancy import AwsOccupancy
from sluice.aws.policies import TargetTrackingPolicies
from sluice.aws.registry import SsmRegistry
from sluice.aws.shard_queue import SqsShards
from sluice.aws.sqs import SqsQueues
from sluice.aws.surges import AwsSurges
from sluice.aws.tick_queue import SqsTickQueue
from sluice.decision_events import DecisionEvents
from sluice.errors import ConfigError
from sluice.ports import Ports, RemainingS
from sluice.report import PowertoolsReport

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

READERS = 32
"""Concurrent reads, and connections, of one port: while one waits for AWS, others run.

Each port has threads of its own, so that its hanging calls cannot block the other ports.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """How long a function waits for AWS."""

    connect_s: int
    read_s: int
    attempts: int
    reserve_s: int
    """Seconds that an invocation keeps for publishing and acting after it stops reading."""


RESERVE_S = 25
"""A call that fails in every attempt takes 24 s: three timeouts of 2 + 5 s, and 1 + 2 s between them."""
MINUTE_LIMITS = TimeLimits(connect_s=2, read_s=5, attempts=3, reserve_s=RESERVE_S)
TICK_RESERVE_S = 15
"""Two calls that fail in every attempt, one to store a state and one to set a size, take 14 s: each has two
timeouts of 1 + 2 s, and 1 s between them."""
TICK_LIMITS = TimeLimits(connect_s=1, read_s=2, attempts=2, reserve_s=TICK_RESERVE_S)
"""For ticks below a minute: the next tick does the work of a failed one."""
EVENT_LIMITS = replace(TICK_LIMITS, reserve_s=1)
"""For the events at the end of an invocation, which keeps a second to log what could not be sent."""


def ports(environ: Mapping[str, str] = os.environ, *, limits: TimeLimits = MINUTE_LIMITS) -> Ports:
    """The ports for this process's environment, built once for the same settings."""
    needed = ("SLUICE_REGISTRY_PREFIX", "SLUICE_METRIC_NAMESPACE")
    absent = [name for name in needed if not environ.get(name)]
    if absent:
        raise ConfigError(
            f"environment lacks {', '.join(absent)}: template.yaml sets them for every function"
        )
    optional = ("SLUICE_SHARD_QUEUE_URL", "SLUICE_TICK_QUEUE_URL", "SLUICE_STATE_TABLE")
    return _ports(
        *(environ[name] for name in needed),
        *(environ.get(name) for name in optional),
        _schedule_groups(environ),
        limits,
    )


def _schedule_groups(environ: Mapping[str, str]) -> ScheduleGroups | None:
    """Where the ends of holds are scheduled; None for a function that holds no policy."""
    role_arn, pauses = environ.get("SLUICE_HOLD_END_ROLE_ARN"), environ.get("SLUICE_PAUSE_SCHEDULE_GROUP")
    if not role_arn or not pauses:
        return None
    guards = environ.get("SLUICE_GUARD_SCHEDULE_GROUP")
    return ScheduleGroups(role_arn=role_arn, pauses=pauses, guards=guards)


@cache
def _ports(
    registry_prefix: str,
    namespace: str,
    shard_queue_url: str | None,
    tick_queue_url: str | None,
    state_table: str | None,
    schedule_groups: ScheduleGroups | None,
    limits: TimeLimits,
) -> Ports:
    import boto3

    return wired(
        boto3.Session(),
        registry_prefix,
        namespace,
        shard_queue_url=shard_queue_url,
        tick_queue_url=tick_queue_url,
        state_table=state_table,
        schedule_groups=schedule_groups,
        limits=limits,
    )


def wired(
    session: Session,
    registry_prefix: str,
    namespace: str,
    *,
    shard_queue_url: str | None = None,
    tick_queue_url: str | None = None,
    state_table: str | None,
    schedule_groups: ScheduleGroups | None = None,
    limits: TimeLimits,
) -> Ports:
    """The ports over this session's clients, each of which is made on first use."""

    def make(service: str, read: Mapping[str, Any] | None = None) -> Any:
        return client(
            session,
            service,
            read=read,
            connect_timeout=limits.connect_s,
            read_timeout=limits.read_s,
            max_pool_connections=READERS,
            retries={"mode": "standard", "total_max_attempts": limits.attempts},
        )

    made = cache(make)

    def clients(service: str) -> Callable[[], Any]:
        return partial(made, service)

    def threads() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(READERS)

    registry = SsmRegistry(clients("ssm"), threads(), registry_prefix)
    shards = None
    if shard_queue_url:
        # One second is reserved for logging what could not be sent.
        reserve_s = limits.reserve_s - 1
        shards = SqsShards(clients("sqs"), threads(), shard_queue_url, registry, reserve_s=reserve_s)
    tick_queue = None
    if tick_queue_url:
        # The minute is served after the ticks are queued, so these take none of its reserve.
        tick_queue = SqsTickQueue(clients("sqs"), threads(), tick_queue_url, registry, reserve_s=0)
    autoscaling, scaling = clients("autoscaling"), clients("application-autoscaling")
    groups = AutoScalingGroups(autoscaling, threads())
    in_full = cache(partial(make, read={}))
    return Ports(
        queues=SqsQueues(clients("sqs"), threads()),
        fleets=AwsFleets(groups, EcsServices(clients("ecs"), scaling, threads())),
        metrics=CloudWatchMetrics(clients("cloudwatch"), threads()),
        policies=TargetTrackingPolicies(autoscaling, scaling, threads()),
        registry=registry,
        namespace=namespace,
        now=now,
        shards=shards,
        tick_queue=tick_queue,
        states=DynamoDbEngineStates(clients("dynamodb"), threads(), state_table) if state_table else None,
        surges=AwsSurges(autoscaling, clients("ecs"), scaling),
        warm_pools=groups,
        held_policies=HeldPolicies(in_full, schedule_groups) if schedule_groups else None,
        alarms=CloudWatchAlarms(clients("cloudwatch"), threads()),
        launches=AwsLaunches(autoscaling, cache(partial(make, "ecs", EVENT_FIELDS)), threads()),
        freezes=AwsFreezes(in_full),
        colors=SsmColors(clients("ssm"), registry_prefix),
        occupancy=AwsOccupancy(autoscaling, clients("ecs"), threads()),
    )


@cache
def _decision_events(bus_arn: str) -> DecisionEvents:
    import boto3

    def make() -> Any:
        return client(
            boto3.Session(),
            "events",
            region_name=bus_arn.split(":")[3],
            connect_timeout=EVENT_LIMITS.connect_s,
            read_timeout=EVENT_LIMITS.read_s,
            max_pool_connections=READERS,
            retries={"mode": "standard", "total_max_attempts": EVENT_LIMITS.attempts},
        )

    return DecisionEvents(bus=EventBridgeBus(cache(make), ThreadPoolExecutor(READERS), bus_arn), now=now)


def cold_start() -> None:
    """Discard what was built, so that the next call builds it as in a new process."""
    _ports.cache_clear()
    _decision_events.cache_clear()


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def report(
    logger: Logger, metrics: Metrics, context: LambdaContext, environ: Mapping[str, str] = os.environ
) -> PowertoolsReport:
    """The report of this invocation; it sends events if the environment names a bus."""
    bus_arn = environ.get("SLUICE_EVENT_BUS_ARN")
    events = _decision_events(bus_arn) if bus_arn else None
    return PowertoolsReport(logger, metrics, events, remaining_s(context, limits=EVENT_LIMITS))


def remaining_s(context: LambdaContext, *, limits: TimeLimits = MINUTE_LIMITS) -> RemainingS:
    """Seconds left for reading in this invocation."""
    return lambda: context.get_remaining_time_in_millis() / 1000 - limits.reserve_s
