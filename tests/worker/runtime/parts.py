"""Parts of a worker as the tests put them together, with defaults."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.failed_heads import FailedHeads
from sluice_worker.core.model import Poll, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import Schedule
from sluice_worker.core.retry_policy import FailurePolicy
from sluice_worker.message import Message
from sluice_worker.runtime.ack_batcher import Outbox
from sluice_worker.runtime.dispatcher import (
    ONE_AT_A_TIME,
    Intake,
)
from sluice_worker.runtime.in_flight import Custody
from sluice_worker.settings import Settings
from tests.support.builders import queue_url
from tests.worker.fakes import InMemorySqs

WORK = Queue(url=queue_url("work"))
ORDERED = Queue(url=queue_url("work.fifo"))

_numbers = itertools.count()


def message(queue: Queue = WORK, *, body: str = "body", visible_in_s: float = 60, **more: Any) -> Message:
    """One that the fake has never heard of."""
    now = time.monotonic()
    said = {
        "message_id": f"id-{next(_numbers)}",
        "sent_at": time.time(),
        "receipt_handle": "made up",
        "received_at": now,
        "visible_at": now + visible_in_s,
    }
    return Message(queue=queue, body=body, **{**said, **more})


def received(
    sqs: InMemorySqs, queue: Queue = WORK, count: int = 10, *, visibility_s: int = 60
) -> list[Message]:
    """Messages that the fake has delivered."""
    return sqs.receive(Poll(queue=queue, max_messages=count, wait_s=0), visibility_s)


def intake(
    queues: Sequence[Queue] = (WORK,),
    *,
    reach: Callable[[], int] = lambda: 100,
    limit: int = 100,
    batches: BatchRule = ONE_AT_A_TIME,
) -> Intake:
    schedule = Schedule(queues, time.monotonic())
    buffer: MessageBuffer[Message] = MessageBuffer(dict.fromkeys(Priority, limit))
    return Intake(queues, schedule, buffer, reach, failed_heads(), batches)


def next_to_begin(from_intake: Intake, patience_s: float) -> Message | None:
    """The next message to begin, where they begin one at a time."""
    return next(iter(from_intake.take_batch(patience_s)), None)


def failed_heads() -> FailedHeads:
    return FailedHeads(min_backoff_s=8, max_backoff_s=900)


def filled(into: Intake, custody: Custody, messages: Sequence[Message], queue: Queue = WORK) -> None:
    """As if a poll had just brought these."""
    poll = into.next_poll(1)
    assert poll is not None
    assert poll.queue == queue
    custody.take_in(messages)
    assert not into.received(poll, messages)


def custody(
    sqs: InMemorySqs,
    outbox: Outbox,
    into: Intake | None = None,
    *,
    policy: FailurePolicy | None = None,
    dead_letter_queue: str | None = None,
    visibility_s: int = 60,
    most_held: int = 1000,
    most_held_bytes: int = 10**9,
) -> Custody:
    return Custody(
        sqs,
        into or intake(),
        outbox,
        policy or FailurePolicy(dead_letters=dead_letter_queue is not None),
        dead_letter_queue=dead_letter_queue,
        visibility_s=visibility_s,
        most_held=most_held,
        most_held_bytes=most_held_bytes,
    )


def settings(*queues: Queue, **more: Any) -> Settings:
    """Settings under which a worker does everything soon."""
    said: dict[str, Any] = {
        "queues": queues or (WORK,),
        "delete_linger_s": 0.02,
        "interval_s": 0.2,
        "grace_s": 10.0,
        "worker_id": "tested",
    }
    return Settings(**{**said, **more})
