"""SQS's message move tasks, which redrive a dead-letter queue and which moto does not have.

A task moves what is visible, once a second, to the queues from which SQS had moved it, or to a given queue. A
moved message is a new one, with its own id and time of sending. Without a given queue, the task fails at a
message that was sent to the dead-letter queue and not moved there (documented, as is all of this).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from moto.core.responses import ActionResult
from moto.sqs.exceptions import SQSException
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends
from moto.sqs.responses import SQSResponse

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.operations import Parameters, answered

MAX_PER_SECOND = 500
"""The most messages a second that a task may be given (documented); assumed for one that is given none."""
CAME_FROM, MOVED_AT_S = "dead_letter_source", "dead_lettered_s"
"""Attributes of a message that SQS has moved: the ARN of the queue that it comes from, and when."""
SOURCE = "DeadLetterQueueSourceArn"
"""The system attribute with that ARN; a message that was sent to the dead-letter queue has none."""
SOURCE_UNKNOWN = "CouldNotDetermineMessageSource"
MAX_TASKS = 10
"""The most tasks that ListMessageMoveTasks returns; it returns one unless asked for more (documented)."""


class ResourceNotFoundError(SQSException):
    """A queue or a task that does not exist."""

    code = "ResourceNotFoundException"


class UnsupportedOperationError(SQSException):
    """A queue that is no dead-letter queue, or one whose messages are moved already."""

    code = "AWS.SimpleQueueService.UnsupportedOperation"


@dataclass(slots=True, kw_only=True)
class _Task:
    source: Queue
    destination: Queue | None
    per_second: int | None
    started_at: float
    to_move: int
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None
    timer: int = 0
    handle: str = field(default_factory=lambda: str(uuid.uuid4()))

    def described(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "Status": self.status,
            "SourceArn": self.source.queue_arn,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": int(self.started_at * 1000),
        }
        if self.status == "RUNNING":
            shown["TaskHandle"] = self.handle
        if self.destination:
            shown["DestinationArn"] = self.destination.queue_arn
        if self.per_second:
            shown["MaxNumberOfMessagesPerSecond"] = self.per_second
        if self.failure:
            shown["FailureReason"] = self.failure
        return shown


class MessageMoveTasks:
    """The move tasks of every dead-letter queue of the account."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._tasks: list[_Task] = []

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, move tasks are played, and dead-lettered messages know their source queue."""
        receive = SQSBackend.receive_message

        def received(backend: SQSBackend, queue_name: str, *args: Any, **named: Any) -> list[Message]:
            queue = backend.get_queue(queue_name)
            dead = queue.dead_letter_queue
            before = len(dead._messages) if dead else 0  # noqa: SLF001 - the public list omits messages in flight
            messages = receive(backend, queue_name, *args, **named)
            if dead:
                for message in dead._messages[before:]:  # noqa: SLF001
                    vars(message).update({CAME_FROM: queue.queue_arn, MOVED_AT_S: self._clock.now})
            return messages

        with (
            mock.patch.object(SQSBackend, "receive_message", received),
            mock.patch.object(SQSResponse, "receive_message", _with_source(SQSResponse.receive_message)),
            answered(
                SQSResponse,
                start_message_move_task=self._start,
                list_message_move_tasks=self._list,
                cancel_message_move_task=self._cancel,
            ),
        ):
            yield

    def _start(self, asked: Parameters) -> object:
        source = _queue(asked["SourceArn"])
        if not _backend().list_dead_letter_source_queues(source.name):
            raise UnsupportedOperationError("Source queue must be configured as a Dead Letter Queue.")
        if any(task.source is source and task.status == "RUNNING" for task in self._tasks):
            raise UnsupportedOperationError("There is already a task running; only one is allowed.")
        task = _Task(
            source=source,
            destination=_queue(asked["DestinationArn"]) if "DestinationArn" in asked else None,
            per_second=asked.get("MaxNumberOfMessagesPerSecond"),
            started_at=self._clock.now,
            to_move=len(source.messages),
        )
        self._tasks.append(task)
        task.timer = self._clock.every(1, lambda: self._move(task))
        return {"TaskHandle": task.handle}

    def _list(self, asked: Parameters) -> object:
        source = _queue(asked["SourceArn"])
        newest = [task.described() for task in reversed(self._tasks) if task.source is source]
        return {"Results": newest[: min(int(asked.get("MaxResults", 1)), MAX_TASKS)]}

    def _cancel(self, asked: Parameters) -> object:
        for task in self._tasks:
            if task.handle == asked["TaskHandle"] and task.status == "RUNNING":
                self._end(task, "CANCELLED")
                return {"ApproximateNumberOfMessagesMoved": task.moved}
        raise ResourceNotFoundError("Task does not exist.")

    def _move(self, task: _Task) -> None:
        for message in task.source.messages[: task.per_second or MAX_PER_SECOND]:
            if not task.destination and CAME_FROM not in vars(message):
                task.failure = SOURCE_UNKNOWN
                self._end(task, "FAILED")
                return
            to = task.destination or _queue(vars(message)[CAME_FROM])
            task.source._messages.remove(message)  # noqa: SLF001 - the public list is a copy
            _backend().send_message(
                to.name,
                message.body,
                message_attributes=message.message_attributes,
                deduplication_id=message.deduplication_id,
                group_id=message.group_id,
            )
            task.moved += 1
        if task.moved >= task.to_move or not task.source.messages:
            self._end(task, "COMPLETED")

    def _end(self, task: _Task, status: str) -> None:
        task.status = status
        self._clock.cancel(task.timer)


def oldest_dead_letter_s(queue_name: str) -> float | None:
    """When the message came that has been longest in this dead-letter queue; None for an empty queue."""
    messages = _backend().queues[queue_name]._messages  # noqa: SLF001 - the public list omits messages in flight
    return min(
        (vars(message).get(MOVED_AT_S) or float(message.sent_timestamp or 0) / 1000 for message in messages),
        default=None,
    )


def _with_source(receive: Callable[[SQSResponse], ActionResult]) -> Callable[[SQSResponse], ActionResult]:
    """ReceiveMessage with the attribute `SOURCE`, which moto lacks."""

    def received(response: SQSResponse) -> Any:
        answer: Any = receive(response)
        if not {"All", SOURCE} & {*response._get_param("MessageSystemAttributeNames", [])}:  # noqa: SLF001
            return answer
        queue = _backend().get_queue(response._get_queue_name())  # noqa: SLF001
        sources = {
            message.id: source
            for message in queue._messages  # noqa: SLF001
            if (source := vars(message).get(CAME_FROM))
        }
        for message in answer.result.get("Messages", []):
            if message["MessageId"] in sources:
                message.setdefault("Attributes", {})[SOURCE] = sources[message["MessageId"]]
        return answer

    return received


def _backend() -> SQSBackend:
    backend: SQSBackend = sqs_backends[ACCOUNT_ID][REGION]
    return backend


def _queue(queue_arn: str) -> Queue:
    for queue in _backend().queues.values():
        if queue.queue_arn == queue_arn:
            return queue
    raise ResourceNotFoundError("The resource that you specified for the SourceArn parameter doesn't exist.")
