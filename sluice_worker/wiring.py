"""Settings -> a worker in its world; what makes clients, and reads what surrounds the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sluice_worker.attendants import Guard, Listener
from sluice_worker.aws import cloudwatch, instance, sqs
from sluice_worker.aws.cloudwatch import CloudWatchSink
from sluice_worker.aws.emf import EmfSink
from sluice_worker.aws.instance import GroupInstance
from sluice_worker.aws.metadata import InstanceMetadata
from sluice_worker.aws.task import AGENT_VARIABLE, TaskProtection
from sluice_worker.handler import Handler
from sluice_worker.ports import MetricSink, Protection
from sluice_worker.settings import Settings, Sink
from sluice_worker.worker import COURIERS, Worker


def worker(settings: Settings, handler: Handler) -> Worker:
    """A worker that consumes SQS."""
    connections = settings.max_pollers + COURIERS + 1
    return Worker(settings, handler, sqs.SqsQueues(sqs.client(connections=connections)), _sink(settings))


def _sink(settings: Settings) -> MetricSink | None:
    fleet = settings.fleet
    if fleet is None or settings.sink is Sink.NONE:
        return None
    if settings.sink is Sink.EMF:
        return EmfSink(settings.namespace, fleet.dimensions, with_wait=settings.publish_wait)
    return CloudWatchSink(
        cloudwatch.client(), settings.namespace, fleet.dimensions, with_wait=settings.publish_wait
    )


@contextmanager
def attended(
    settings: Settings, busy: Callable[[], bool], on_leaving: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Protected while busy, and told when the instance has to go; yields what asks for more time."""
    protection: Protection | None = None
    listener: Listener | None = None
    agent_uri = os.environ.get(AGENT_VARIABLE)
    if settings.auto_scaling_group is not None:
        around = GroupInstance(
            instance.client(),
            InstanceMetadata(),
            group=settings.auto_scaling_group,
            hook=settings.lifecycle_hook,
        )
        protection, listener = around, Listener(around, on_leaving)
        listener.start()
    elif settings.cluster is not None and agent_uri is not None:
        protection = TaskProtection(agent_uri, visibility_s=settings.visibility_s)
    guard = None
    if protection is not None and settings.protect:
        guard = Guard(protection, busy, idle_s=settings.protection_idle_s)
        guard.start()
    try:
        yield listener.more_time if listener is not None else lambda: None
    finally:
        if guard is not None:
            guard.stop()
        if listener is not None:
            listener.stop()
