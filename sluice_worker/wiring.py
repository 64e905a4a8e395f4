"""Settings -> a worker in its world; what makes clients, and reads what surrounds the process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sluice.aws.errors import calling
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice_worker.attendants import Attendant, Guard, Listener
from sluice_worker.aws import cloudwatch, instance, kms, sqs
from sluice_worker.aws.cloudwatch import CloudWatchSink
from sluice_worker.aws.emf import EmfSink
from sluice_worker.aws.instance import GroupInstance
from sluice_worker.aws.metadata import InstanceMetadata
from sluice_worker.aws.task import AGENT_VARIABLE, TaskProtection
from sluice_worker.handler import Handler
from sluice_worker.ports import MetricSink, Notices, Protection
from sluice_worker.settings import Settings, Sink
from sluice_worker.worker import Worker

log = logging.getLogger(__name__)

CONNECTING = "connecting to AWS (AWS_DEFAULT_REGION names the region)"
WAY_OUT = "check its URL, the region, the credentials, and that their role may sqs:GetQueueAttributes on it"

KEY_WAY_OUT = (
    "grant it in the role's policy or the key's; where one of them grants it to SQS alone (kms:ViaService), "
    "start with --no-check-keys"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """A queue, the customer's key that encrypts it, and what the worker needs it for."""

    name: str
    key: kms.QueueKey | None
    actions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Who protects this process's instance or task, and who tells of its service and its end."""

    protection: Protection | None = None
    notices: Notices | None = None


def variables(prefix: str) -> list[str]:
    """The names of the environment's variables that begin so."""
    return [name for name in os.environ if name.startswith(prefix)]


def check(settings: Settings) -> None:
    """Read every queue once: ConfigError for those that could never be consumed; what may heal is told.

    Only at the start: the same failure later is waited out, because somebody may be mending it.
    """
    with calling(CONNECTING):
        client = sqs.client(connections=1)
    problems, keys = [], []
    with closing(client):
        queues = sqs.SqsQueues(client)
        for queue in settings.queues:
            try:
                queues.depth(queue.url)
                if settings.check_keys:
                    keys.append(KeyUse(name=queue.name, key=queues.key(queue.url), actions=kms.TO_RECEIVE))
            except ConfigError as refused:
                problems.append(f"queue {queue.name} cannot be used: {refused}; {WAY_OUT}")
            except SluiceError as failed:
                log.warning("%s; it may heal, and is tried again", failed)
                break
        if settings.check_keys and settings.dead_letter_queue is not None:
            keys += _key_of_dead_letters(queues, settings.dead_letter_queue)
    problems += _key_problems(keys)
    if problems:
        raise ConfigError("\n".join(problems))


def _key_of_dead_letters(queues: sqs.SqsQueues, url: str) -> Iterator[KeyUse]:
    """Sending alone does not need the queue's attributes, so a role that may not read them is no problem."""
    try:
        yield KeyUse(name=url.rsplit("/", 1)[-1], key=queues.key(url), actions=kms.TO_SEND)
    except SluiceError as unread:
        log.warning("whether the dead-letter queue is encrypted with a key of yours is not known: %s", unread)


def _key_problems(uses: Iterable[KeyUse]) -> Iterator[str]:
    """What keeps the role from a key for certain; what is not certain is told, and the start goes on."""
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
            yield f"queue {use.name} cannot be used: {doubt.why}; {KEY_WAY_OUT}"
        elif doubt is not None:
            log.warning("queue %s may not be usable: %s; the first message will show", use.name, doubt.why)


def worker(settings: Settings, handler: Handler) -> Worker:
    """A worker that consumes SQS."""
    queues = sqs.connect(connections=settings.connections)
    return Worker(settings, handler, queues, _sink(settings))


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
    settings: Settings, around: Surroundings, busy: Callable[[], bool], on_leaving: Callable[[str], None]
) -> Iterator[None]:
    """Protected while busy, and told when the instance is taken out of service."""
    attendants: list[Attendant] = []
    if around.protection is not None and settings.protect:
        attendants.append(Guard(around.protection, busy, idle_s=settings.protection_idle_s))
    if around.notices is not None:
        attendants.append(Listener(around.notices, on_leaving))
    for attendant in attendants:
        attendant.start()
    try:
        yield
    finally:
        for attendant in attendants:
            attendant.stop()


def surroundings(settings: Settings) -> Surroundings:
    """What there is around this process; ECS tells of the end by SIGTERM."""
    if settings.auto_scaling_group is not None:
        around = GroupInstance(
            instance.client(),
            InstanceMetadata(),
            group=settings.auto_scaling_group,
            hook=settings.lifecycle_hook,
        )
        return Surroundings(protection=around, notices=around)
    agent_uri = os.environ.get(AGENT_VARIABLE)
    if settings.cluster is None:
        return Surroundings()
    if agent_uri is None:
        if settings.protect:
            log.warning("the task is not protected from scale-in: ECS sets no %s here", AGENT_VARIABLE)
        return Surroundings()
    return Surroundings(protection=TaskProtection(agent_uri, visibility_s=settings.visibility_s))
