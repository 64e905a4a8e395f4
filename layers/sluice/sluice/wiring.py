"""How a Lambda process is set up: environment -> clients -> adapters.

Reads the environment; no other module does. Nothing runs at import: a warm process builds its ports once, and
each client on first use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics

from sluice.aws.asg import AutoScalingGroups
from sluice.aws.clients import client
from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.aws.ecs import EcsServices
from sluice.aws.fleets import AwsFleets
from sluice.aws.launch_failures import (
    EVENT_FIELDS,
    AwsLaunches,
)
from sluice.aws.policies import TargetTrackingPolicies
from sluice.aws.registry import SsmRegistry
from sluice.aws.shard_queue import SqsShards
from sluice.aws.sqs import SqsQueues
from sluice.errors import ConfigError
from sluice.ports import Ports, RemainingS
from sluice.report import PowertoolsReport

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

READERS = 32
"""Concurrent reads, and connections, of one port: while one waits for AWS, others run.

Each port has threads of its own, so that its hanging calls cannot block the other ports.
"""
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, ATTEMPTS = 2, 5, 3
RESERVE_S = 25
"""Seconds that an invocation keeps for publishing and acting after it stops reading.

A call that fails in every attempt takes 24 s: three timeouts of 2 + 5 s, and 1 + 2 s between them.
"""


def ports(environ: Mapping[str, str] = os.environ) -> Ports:
    """The ports for this process's environment, built once for the same settings."""
    needed = ("SLUICE_REGISTRY_PREFIX", "SLUICE_METRIC_NAMESPACE")
    absent = [name for name in needed if not environ.get(name)]
    if absent:
        raise ConfigError(
            f"environment lacks {', '.join(absent)}: template.yaml sets them for every function"
        )
    return _ports(*(environ[name] for name in needed), environ.get("SLUICE_SHARD_QUEUE_URL"))


@cache
def _ports(registry_prefix: str, namespace: str, shard_queue_url: str | None) -> Ports:
    import boto3

    session = boto3.Session()

    def make(service: str, read: Mapping[str, Any] | None = None) -> Any:
        return client(
            session,
            service,
            read=read,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=READERS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
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
        shards = SqsShards(clients("sqs"), threads(), shard_queue_url, registry, reserve_s=RESERVE_S - 1)
    autoscaling, scaling = clients("autoscaling"), clients("application-autoscaling")
    return Ports(
        queues=SqsQueues(clients("sqs"), threads()),
        fleets=AwsFleets(
            AutoScalingGroups(autoscaling, threads()), EcsServices(clients("ecs"), scaling, threads())
        ),
        metrics=CloudWatchMetrics(clients("cloudwatch"), threads()),
        policies=TargetTrackingPolicies(autoscaling, scaling, threads()),
        registry=registry,
        namespace=namespace,
        now=now,
        shards=shards,
        launches=AwsLaunches(autoscaling, cache(partial(make, "ecs", EVENT_FIELDS)), threads()),
    )


def cold_start() -> None:
    """Discard the ports that were built, so that the next call builds them as in a new process."""
    _ports.cache_clear()


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def report(logger: Logger, metrics: Metrics) -> PowertoolsReport:
    """The report of this invocation."""
    return PowertoolsReport(logger, metrics)


def remaining_s(context: LambdaContext) -> RemainingS:
    """Seconds left for reading in this invocation."""
    return lambda: context.get_remaining_time_in_millis() / 1000 - RESERVE_S
