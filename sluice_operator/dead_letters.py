"""Reads what `sluice dead-letters` shows, and redrives a dead-letter queue with SQS's own move task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sluice.core.model import Metric, Unknown, Workload
from sluice.errors import ConfigError, SluiceError
from sluice.ports import RemainingS, SeriesQuery
from sluice_operator.account import Account
from sluice_operator.aws import dead_letter_queues
from sluice_operator.core.dead_letters import (
    DeadLetter,
    DeadLetterQueue,
    DeadLetters,
    MoveTask,
    why_not_sampled,
)
from sluice_operator.status import chosen_names

AGE_WITHIN = timedelta(minutes=15)
"""SQS's metrics of a queue that holds messages come every minute, up to three minutes late."""
MINUTE_S = 60


def read(
    account: Account,
    name: str,
    max_messages: int,
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> DeadLetters:
    """The dead letters of a workload with a sample of so many; raises ConfigError if it has no such queue."""
    on_step("reading the registry")
    workload = registered(account, name, remaining_s)
    sqs = account.clients("sqs")
    on_step("reading the dead-letter queue")
    queue = dead_letter_queues.find(sqs, workload)
    task = _newest_task(account, queue)
    not_sampled = why_not_sampled(queue, is_moving=isinstance(task, MoveTask) and task.is_moving)
    letters: tuple[DeadLetter, ...] = ()
    if max_messages and not not_sampled:
        on_step("receiving a sample")
        letters = dead_letter_queues.sample(sqs, queue, max_messages, remaining_s)
    return DeadLetters(
        workload=workload.name,
        queue=queue,
        since=_since(account, queue, remaining_s),
        letters=letters,
        not_sampled=not_sampled,
        task=task,
    )


def registered(account: Account, name: str, remaining_s: RemainingS) -> Workload:
    """The workload of this name; raises ConfigError if it is unknown or its document is refused."""
    registered = account.ports.registry.all(remaining_s, fresh=True)
    [name] = chosen_names(registered, [name])
    if name in registered.refused:
        raise ConfigError(registered.refused[name])
    return next(workload for workload in registered.workloads if workload.name == name)


def _newest_task(account: Account, queue: DeadLetterQueue) -> MoveTask | Unknown | None:
    try:
        return dead_letter_queues.newest_task(account.clients("sqs"), queue)
    except SluiceError as failure:
        return Unknown(reason=str(failure))


def _since(account: Account, queue: DeadLetterQueue, remaining_s: RemainingS) -> datetime | Unknown | None:
    """By ApproximateAgeOfOldestMessage, which counts from the move to a dead-letter queue (documented)."""
    if not queue.backlog.total:
        return None
    age = Metric(
        namespace="AWS/SQS", name="ApproximateAgeOfOldestMessage", dimensions={"QueueName": queue.name}
    )
    query = {"age": SeriesQuery(metric=age, statistic="Maximum", period_s=MINUTE_S)}
    end = account.ports.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    series = account.ports.metrics.read(query, end - AGE_WITHIN, end, remaining_s)["age"]
    if isinstance(series, Unknown):
        return series
    if not series:
        return None
    newest = max(series)
    end_of_minute = newest + timedelta(seconds=MINUTE_S)
    return min(end_of_minute, account.ports.now()) - timedelta(seconds=series[newest])


def follow(
    account: Account,
    queue: DeadLetterQueue,
    previous: MoveTask | None,
    wait: Callable[[], None],
) -> Iterator[MoveTask]:
    """The task's progress until it has ended, its end last; raises SluiceError if it cannot be read.

    `previous` is the newest task before it: AWS may list that one for a moment longer.
    """
    sqs = account.clients("sqs")
    while True:
        task = dead_letter_queues.newest_task(sqs, queue)
        if task is not None and (previous is None or task.started_at > previous.started_at):
            yield task
            if not task.is_moving:
                return
        wait()
