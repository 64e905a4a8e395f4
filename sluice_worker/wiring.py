"""Builds a worker from its settings: makes the clients, and reads the environment."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import boto3

from sluice.aws.errors import aws_errors
from sluice.document.versions import RELEASE
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice_worker.aws import cloudwatch, instance, kms, metadata, parameter, sqs
from sluice_worker.aws.cloudwatch import CloudWatchSink
from sluice_worker.aws.emf import EmfSink
from sluice_worker.aws.instance import GroupInstance
from sluice_worker.aws.metadata import InstanceMetadata
from sluice_worker.aws.parameter import SsmParameter
from sluice_worker.aws.task import AGENT_VARIABLE, TaskProtection
from sluice_worker.core.model import Queue
from sluice_worker.naming import identity
from sluice_worker.otlp.signals import signals
from sluice_worker.ports import InstanceLifecycle, MetricSink, Protection, Telemetry
from sluice_worker.runtime.draining_color import DrainingColor, DrainingColorReader
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.lifecycle import (
    LifecycleWatcher,
    PeriodicTask,
    ScaleInProtector,
)
from sluice_worker.runtime.worker import Worker
from sluice_worker.settings import Settings, Sink

log = logging.getLogger(__name__)

CONNECTING = "connecting to AWS (AWS_REGION names the region)"
WAY_OUT = "check its URL, the region, the credentials, and that their role may sqs:GetQueueAttributes on it"
OTLP_MODULES = (
    "opentelemetry.sdk.trace",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.propagators.aws",
)
DEAD_LETTER_WAY_OUT = "check its URL, the region and the credentials"

KEY_WAY_OUT = (
    "grant it in the role's policy or the key's; where one of them grants it to SQS alone (kms:ViaService), "
    "start with --no-check-keys"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """A queue, the customer's key that encrypts it, and the KMS actions that the worker needs."""

    name: str
    key: kms.QueueKey | None
    actions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What protects this process's instance or task, reads the instance's lifecycle, and stops receiving."""

    protection: Protection | None = None
    lifecycle: InstanceLifecycle | None = None
    draining_color: DrainingColor | None = None

    def is_receiving(self) -> bool:
        """Whether messages may be received; called very often."""
        return self.draining_color is None or not self.draining_color.is_draining


def variables(prefix: str) -> list[str]:
    """The names of environment variables with this prefix."""
    return [name for name in os.environ if name.startswith(prefix)]


def region() -> str | None:
    """AWS_REGION, which boto3 ignores, unlike AWS's other SDKs; None leaves the choice to boto3's session.

    A region that the program gave that session comes first; AWS_DEFAULT_REGION and the profile come last.
    """
    chosen = boto3.DEFAULT_SESSION
    # boto3 has no public way to tell a region that was passed in from one that it found itself.
    if chosen is not None and "region" in chosen._session.instance_variables():  # noqa: SLF001
        return None
    return os.environ.get("AWS_REGION") or None


def check(settings: Settings) -> None:
    """Read every queue once: ConfigError for those that can never be consumed; a transient failure is logged.

    Only at the start: the same failure later is retried, because somebody may be fixing it.
    """
    with aws_errors(CONNECTING):
        client = sqs.client(connections=1, region=region())
    problems: list[str] = []
    keys: list[KeyUse] = []
    with closing(client):
        queues = sqs.SqsQueues(client)
        for queue in settings.queues:
            try:
                queues.depth(queue.url)
                if queue.is_fifo:
                    _warn_of_few_receipts(queue, queues.max_receive_count(queue.url), settings.processes)
                if settings.check_keys:
                    keys.append(KeyUse(name=queue.name, key=queues.key(queue.url), actions=kms.TO_RECEIVE))
            except ConfigError as refused:
                elsewhere = _elsewhere(queue.url, client.meta.region_name)
                problems.append(f"queue {queue.name} cannot be used: {refused}; {elsewhere or WAY_OUT}")
            except SluiceError as failed:
                log.warning("%s; it may heal, and is tried again", failed)
                break
        else:  # not after a transient failure: it is logged once, not for each queue
            if settings.dead_letter_queue is not None:
                problems += _dead_letter_problems(queues, settings, client.meta.region_name, keys)
    problems += _key_problems(keys)
    if not problems:  # a worker that cannot consume must not look ready
        problems = _heartbeat_problems(settings.heartbeat_file)
    if problems:
        raise ConfigError("\n".join(problems))


def _heartbeat_problems(path: Path | None) -> list[str]:
    """Make the first beat, or say why a probe would never see one, and would end a worker that works."""
    if path is None:
        return []
    try:
        path.touch()
    except OSError as failed:
        way_out = f"mount a folder at {path.parent} that the user may write to"
        return [f"heartbeat file {path} cannot be written ({failed.strerror}): {way_out}"]
    return []


def _warn_of_few_receipts(queue: Queue, max_receive_count: int | None, processes: int) -> None:
    """Warn of a low maxReceiveCount: processes may receive what is behind a failing message, in vain."""
    if max_receive_count is not None and max_receive_count <= processes:
        log.warning(
            "%s moves messages to its dead-letter queue after %d receipts (maxReceiveCount), and each of %d "
            "processes may use up one for those behind a failing message: raise it to the processes of all "
            "instances and the attempts that a message needs",
            queue.name,
            max_receive_count,
            processes,
        )


def _elsewhere(url: str, here: str) -> str | None:
    """The way out for a URL of another region: requests go to the worker's region, whatever the URL says."""
    said = identity(url).region
    if said is None or said == here:
        return None
    return f"its URL is of {said}, and the worker's region is {here}: set AWS_REGION={said}"


def _dead_letter_problems(
    queues: sqs.SqsQueues, settings: Settings, consumed_in: str, keys: list[KeyUse]
) -> Iterator[str]:
    """Definite problems of the dead-letter queue; a role that may send to it may lack reading it."""
    url = settings.dead_letter_queue or ""
    name = identity(url).name
    try:
        if settings.check_keys:
            keys.append(KeyUse(name=name, key=queues.key(url), actions=kms.TO_SEND))
        else:
            queues.depth(url)
    except ConfigError as refused:
        if sqs.is_denied(refused):
            log.warning("whether the dead-letter queue can be used is not known: %s", refused)
        else:
            way_out = _elsewhere(url, consumed_in) or DEAD_LETTER_WAY_OUT
            yield f"dead-letter queue {name} cannot be used: {refused}; {way_out}"
    except SluiceError as failed:
        log.warning("%s; it may heal, and is tried again", failed)


def _key_problems(uses: Iterable[KeyUse]) -> Iterator[str]:
    """Definite problems of the role with a key; a doubt is logged, and the start goes on."""
    for use in uses:
        if use.key is None:
            continue
        try:
            with closing(kms.client(use.key.region)) as client:
                doubt = kms.doubt(client, use.key, use.actions)
        except TransientError as unreachable:
            log.warning("queue %s: %s; the first message will show", use.name, unreachable)
            break
        if doubt is not None and doubt.is_clear:
            yield f"queue {use.name} cannot be used: {doubt.reason}; {KEY_WAY_OUT}"
        elif doubt is not None:
            log.warning("queue %s may not be usable: %s; the first message will show", use.name, doubt.reason)


def check_telemetry() -> None:
    """ConfigError if OpenTelemetry's variables ask for an export that is not possible."""
    if signals(os.environ).any and not all(map(_is_installed, OTLP_MODULES)):
        raise ConfigError(
            "an OTLP endpoint is set and OpenTelemetry's SDK is not installed: install the worker with its "
            "extra, pip install 'WHEEL[worker,otlp]', or set OTEL_SDK_DISABLED=true"
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of one of its parents
        return False


def telemetry(settings: Settings) -> Telemetry | None:
    """What exports by OTLP from this process, if an endpoint is set: one for all the workers that it runs."""
    chosen = signals(os.environ)
    if not chosen.any:
        return None
    # The SDK is an extra, and takes a third of a second to import.
    from sluice_worker.otlp.telemetry import connect

    fleet = settings.fleet
    name = None if fleet is None else "/".join(fleet.dimensions.values())
    return connect(chosen, worker_id=settings.worker_id, fleet=name, version=RELEASE)


def worker(
    settings: Settings,
    handler: Handler,
    is_receiving: Callable[[], bool],
    telemetry: Telemetry | None = None,
) -> Worker:
    """A worker that consumes SQS while `is_receiving` returns True."""
    queues = sqs.connect(connections=settings.connections, region=region())
    return Worker(settings, handler, queues, _sink(settings), is_receiving=is_receiving, telemetry=telemetry)


def _sink(settings: Settings) -> MetricSink | None:
    fleet = settings.fleet
    if fleet is None or settings.sink is Sink.NONE:
        return None
    if settings.sink is Sink.EMF:
        return EmfSink(settings.namespace, fleet.dimensions, with_wait=settings.publish_wait)
    return CloudWatchSink(
        cloudwatch.client(region()), settings.namespace, fleet.dimensions, with_wait=settings.publish_wait
    )


@contextmanager
def lifecycle_tasks(
    settings: Settings,
    platform: Platform,
    busy: Callable[[], bool],
    drained: Callable[[], bool],
    on_out_of_service: Callable[[str], None],
) -> Iterator[None]:
    """Run the lifecycle tasks: protect while busy, and call `on_out_of_service` when that happens.

    The draining color is read for the first time before the context begins, so before a message is received.
    """
    tasks: list[PeriodicTask] = []
    if platform.draining_color is not None:
        platform.draining_color.read_if_due(time.monotonic())
        tasks.append(DrainingColorReader(platform.draining_color))
    if platform.protection is not None and settings.protect:
        tasks.append(
            ScaleInProtector(platform.protection, busy, idle_s=settings.protection_idle_s, drained=drained)
        )
    if platform.lifecycle is not None:
        tasks.append(LifecycleWatcher(platform.lifecycle, on_out_of_service))
    for task in tasks:
        task.start()
    try:
        yield
    finally:
        for task in tasks:
            task.stop()


def detect_platform(settings: Settings) -> Platform:
    """The platform that this process runs on, and the color that it reads for all its processes."""
    platform = _detect_fleet(settings)
    if settings.color is None or settings.draining_color_parameter is None:
        return platform
    if platform.protection is None:
        log.warning(
            "a switch of colors cannot see whether this worker, which is not protected, still has messages"
        )
    read = SsmParameter(parameter.client(region()), settings.draining_color_parameter)
    return replace(platform, draining_color=DrainingColor(read, settings.color))


def _detect_fleet(settings: Settings) -> Platform:
    """What protects the instance or task; ECS announces the end of a task by SIGTERM alone."""
    if settings.auto_scaling_group is not None:
        if metadata.is_disabled():
            log.warning(
                "the instance is neither protected from scale-in nor told of its end: %s turns the instance "
                "metadata off, which says who it is",
                metadata.DISABLED_VARIABLE,
            )
            return Platform()
        platform = GroupInstance(
            instance.client(region()),
            InstanceMetadata(),
            group=settings.auto_scaling_group,
            hook=settings.lifecycle_hook,
            launch_hook=settings.launch_hook,
        )
        return Platform(protection=platform, lifecycle=platform)
    agent_uri = os.environ.get(AGENT_VARIABLE)
    if settings.cluster is None:
        return Platform()
    if agent_uri is None:
        if settings.protect:
            log.warning("the task is not protected from scale-in: ECS sets no %s here", AGENT_VARIABLE)
        return Platform()
    return Platform(protection=TaskProtection(agent_uri, visibility_s=settings.visibility_s))
