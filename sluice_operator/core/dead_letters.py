"""Dead letters: by reason and message group, how a sample relates to all, and what became of a redrive.

Owns the sentences about them. Refuses to guess when SQS moved a message of which it keeps no record.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sluice.core.model import Backlog, Unknown

MOVED_BY_SQS = "no reason: SQS moved it, received too often (maxReceiveCount)"
SENT_WITHOUT_REASON = "no reason: sent to the dead-letter queue without one"
NO_GROUP = "no message group"
_VARYING = re.compile(r"\b(?=[\w-]*\d)[\w-]+\b")
"""A word with a digit: an id, a number or a date, in which the messages of one kind of failure differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQueue:
    """The queue to which a workload's messages go that are given up, as its attributes say."""

    url: str
    arn: str
    source_arn: str
    """The workload's own queue."""
    max_receive_count: int
    """Receives after which SQS moves a message here."""
    retention_s: int
    backlog: Backlog
    other_sources: tuple[str, ...]
    """Names of further queues whose dead letters come here too."""
    next_arn: str | None
    """Where the dead-letter queue's own redrive policy moves messages that are received here too often."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.arn.rsplit(":", 1)[-1]

    @property
    def source_name(self) -> str:
        """The name of the workload's queue."""
        return self.source_arn.rsplit(":", 1)[-1]

    @property
    def is_fifo(self) -> bool:
        """Whether both are FIFO queues: SQS refuses a mixed pair."""
        return self.arn.endswith(".fifo")

    @property
    def redriven_to(self) -> str | None:
        """The queue to name to a move task; None if each message is to return to its own of several queues.

        SQS does not know where a message belongs that a worker has sent here, so one queue is named.
        """
        return None if self.other_sources else self.source_arn


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message of the dead-letter queue."""

    message_id: str
    sent_at: datetime
    """When it was sent: to the workload's queue, or, if `source_arn` is None, to the dead-letter queue."""
    first_received_at: datetime | None
    """None if it was not received before."""
    receives: int
    """How often it was received before; SQS counts the receives in the workload's queue and in this one."""
    failure: str | None
    """What our worker wrote about it."""
    source_arn: str | None
    """The queue from which SQS moved it; None for a message that was sent here, as our worker does."""
    group_id: str | None
    body: str

    @property
    def reason(self) -> str:
        """Why it is here, as far as it is known."""
        return self.failure or (MOVED_BY_SQS if self.source_arn else SENT_WITHOUT_REASON)

    @property
    def dead_lettered_at(self) -> datetime | None:
        """When it came here; None if SQS moved it, which leaves no time on a message."""
        return None if self.source_arn else self.sent_at

    def expires_at(self, queue: DeadLetterQueue) -> datetime | None:
        """When retention ends it; None for a message that a FIFO queue has moved.

        A standard queue counts from when the message was first sent, a FIFO queue from its move (documented).
        """
        if queue.is_fifo and self.source_arn:
            return None
        return self.sent_at + timedelta(seconds=queue.retention_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Messages of the sample that are alike in one respect."""

    text: str
    messages: int
    newest_at: datetime
    """When the newest of them was sent."""


def by_reason(letters: Iterable[DeadLetter]) -> list[Alike]:
    """The most frequent reason first, as its newest message says it; ids and numbers make no difference."""
    return _grouped(letters, lambda letter: letter.reason, lambda text: _VARYING.sub("#", text))


def by_group(letters: Iterable[DeadLetter]) -> list[Alike]:
    """The message group with the most messages first; empty if no message has a group."""
    found = _grouped(letters, lambda letter: letter.group_id or NO_GROUP, str)
    return [] if [each.text for each in found] == [NO_GROUP] else found


def _grouped(
    letters: Iterable[DeadLetter], text: Callable[[DeadLetter], str], kind: Callable[[str], str]
) -> list[Alike]:
    newest_first = sorted(letters, key=lambda letter: letter.sent_at, reverse=True)
    counts = Counter(kind(text(letter)) for letter in newest_first)
    first: dict[str, DeadLetter] = {}
    for letter in newest_first:
        first.setdefault(kind(text(letter)), letter)
    return [
        Alike(text=text(first[alike]), messages=count, newest_at=first[alike].sent_at)
        for alike, count in counts.most_common()
    ]


def why_not_sampled(queue: DeadLetterQueue, *, is_moving: bool) -> str | None:
    """Why a sample would do harm; None if it does none."""
    if queue.next_arn is not None:
        return (
            f"no sample: {queue.name} has a redrive policy of its own, so receiving from it could move "
            f"messages on to {queue.next_arn.rsplit(':', 1)[-1]}"
        )
    if is_moving:
        return "no sample: a move task is running, and it would pass over the messages that a sample hides"
    return None


def sampled(letters: Sequence[DeadLetter], queue: DeadLetterQueue) -> str:
    """How the sample relates to all."""
    visible = queue.backlog.visible
    if len(letters) >= visible:
        return f"all {len(letters):,} visible messages" if len(letters) > 1 else "the only visible message"
    fifo = " (a FIFO queue shows at most ten of a message group)" if queue.is_fifo else ""
    return f"{len(letters):,} sampled of about {visible:,} visible messages{fifo}"


class TaskStatus(StrEnum):
    """The states of a message move task."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """A message move task of SQS, which redrives a dead-letter queue."""

    handle: str | None
    """By which it can be cancelled; AWS tells it only while the task runs."""
    status: TaskStatus
    started_at: datetime
    moved: int
    to_move: int | None
    """As SQS counted when it started; None if SQS does not say."""
    per_second: int | None
    """The most messages a second; None if SQS chooses."""
    destination_arn: str | None
    """None: each message returns to the queue that it came from."""
    failure: str | None

    @property
    def is_moving(self) -> bool:
        """Whether it has not ended."""
        return self.status in (TaskStatus.RUNNING, TaskStatus.CANCELLING)

    @property
    def share(self) -> float | None:
        """The share that is moved, 0 to 1; None if it is not known."""
        return min(self.moved / self.to_move, 1.0) if self.to_move else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """What was read of a workload's dead-letter queue."""

    workload: str
    queue: DeadLetterQueue
    since: datetime | Unknown | None
    """When the message came that has been there longest; None if CloudWatch has no data point of it."""
    letters: tuple[DeadLetter, ...]
    """The sample."""
    not_sampled: str | None
    """Why there is none."""
    task: MoveTask | Unknown | None
    """The newest move task; None if there was none."""


SOURCE_UNKNOWN = "CouldNotDetermineMessageSource"


def progress(task: MoveTask) -> str:
    """How far a task that runs has come."""
    about = "" if task.to_move is None else f" of about {task.to_move:,}"
    return f"{task.moved:,}{about} moved to {destination(task.destination_arn)}"


def ended(task: MoveTask, queue: DeadLetterQueue) -> str:
    """What became of a task, and what to do if it failed."""
    to = destination(task.destination_arn)
    counted = f"{task.moved:,} message{'' if task.moved == 1 else 's'}"
    if task.status is TaskStatus.COMPLETED:
        return f"moved {counted} from {queue.name} to {to}"
    if task.status is TaskStatus.FAILED:
        why = task.failure or "SQS gives no reason"
        return f"the move task failed after {counted}: {why}{_way_out(why, queue)}"
    return f"the move task was cancelled after {counted}; the others are still in {queue.name}"


def destination(arn: str | None) -> str:
    """Where a task moves messages to."""
    return arn.rsplit(":", 1)[-1] if arn else "the queues that they came from"


def _way_out(failure: str, queue: DeadLetterQueue) -> str:
    if SOURCE_UNKNOWN in failure:
        return (
            f"; a message was sent to {queue.name}, so SQS does not know its queue: name one with "
            f"--to {queue.source_arn}"
        )
    if "NonExistentQueue" in failure:
        return "; the queue that a message came from is gone: name another one with --to QUEUE_ARN"
    if "AccessDenied" in failure or "KMS" in failure.upper():
        return (
            "; docs/policies/dead-letters.json has the permissions, in its statements Redrive...; encrypted "
            "queues need kms:Decrypt and kms:GenerateDataKey on their keys as well"
        )
    return ""
