"""Parts of a worker as the tests put them together, with defaults."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.failed_group_heads import FailedHeads
from sluice_worker.core.model import Poll, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import PollScheduler
from sluice_worker.core.retry_policy import FailurePolicy
from sluice_worker.message import Message
from sluice_worker.runtime.ack_batcher import AckBatcher
from sluice_worker.runtime.dispatcher import (
    ONE_AT_A_TIME,
    Dispatcher,
)
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.settings import Settings
from tests.support.builders import queue_url
from tests.worker.fakes import InMemorySqs

WORK = Queue(url=queue_url("work"))
ORDERED = Queue(url=queue_url("work.fifo"))

_numbers = itertools.count()


def message(queue: Queue = WORK, *, body: str = "body", visible_in_s: float = 60, **more: Any) -> Message:
    """A message that the fake does not know."""
    now = time.monotonic()
    defaults = {
        "message_id": f"id-{next(_numbers)}",
        "sent_at": time.time(),
        "receipt_handle": "made up",
        "received_at": now,
        "visible_at": now + visible_in_s,
    }
    return Message(queue=queue, body=body, **{**defaults, **more})


def received(
    sqs: InMemorySqs, queue: Queue = WORK, count: int = 10, *, visibility_s: int = 60
) -> list[Message]:
    """Messages that the fake has delivered."""
    return sqs.receive(Poll(queue=queue, max_messages=count, wait_s=0), visibility_s)


def make_dispatcher(
    queues: Sequence[Queue] = (WORK,),
    *,
    prefetch_limit: Callable[[], int] = lambda: 100,
    limit: int = 100,
    batches: BatchRule = ONE_AT_A_TIME,
) -> Dispatcher:
    scheduler = PollScheduler(queues, time.monotonic())
    buffer: MessageBuffer[Message] = MessageBuffer(dict.fromkeys(Priority, limit))
    return Dispatcher(queues, scheduler, buffer, prefetch_limit, failed_heads(), batches)


def next_to_begin(dispatcher: Dispatcher, timeout_s: float) -> Message | None:
    """The next message to begin, if they begin one at a time."""
    return next(iter(dispatcher.take_batch(timeout_s)), None)


def failed_heads() -> FailedHeads:
    return FailedHeads(min_backoff_s=8, max_backoff_s=900)


def filled(
    dispatcher: Dispatcher, in_flight: InFlightMessages, messages: Sequence[Message], queue: Queue = WORK
) -> None:
    """Add these as if a poll had just received them."""
    poll = dispatcher.next_poll(1)
    assert poll is not None
    assert poll.queue == queue
    in_flight.add(messages)
    assert not dispatcher.poll_finished(poll, messages)


def make_in_flight(
    sqs: InMemorySqs,
    ack_batcher: AckBatcher,
    dispatcher: Dispatcher | None = None,
    *,
    policy: FailurePolicy | None = None,
    dead_letter_queue: str | None = None,
    visibility_s: int = 60,
    max_held: int = 1000,
    max_held_bytes: int = 10**9,
) -> InFlightMessages:
    return InFlightMessages(
        sqs,
        dispatcher or make_dispatcher(),
        ack_batcher,
        policy or FailurePolicy(dead_letters=dead_letter_queue is not None),
        dead_letter_queue=dead_letter_queue,
        visibility_s=visibility_s,
        max_held=max_held,
        max_held_bytes=max_held_bytes,
    )


def settings(*queues: Queue, **more: Any) -> Settings:
    """Settings with short intervals."""
    defaults: dict[str, Any] = {
        "queues": queues or (WORK,),
        "delete_linger_s": 0.02,
        "interval_s": 0.2,
        "grace_s": 10.0,
        "worker_id": "tested",
    }
    return Settings(**{**defaults, **more})
