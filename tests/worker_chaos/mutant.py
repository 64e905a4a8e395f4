"""`python -m tests.worker_chaos.mutant`: a worker with a planted defect, which a scenario must detect.

The defect is planted when this module is imported, so that it reaches the processes that a worker spawns.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from sluice_worker.aws.sqs import SqsQueues
from sluice_worker.command import main
from sluice_worker.core.model import Poll
from sluice_worker.message import Message
from sluice_worker.runtime.ack_batcher import AckBatcher
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.runtime.worker import Worker

MUTATION = "WORKER_CHAOS_MUTATION"
EVERY = 5


def no_heartbeat() -> None:
    """Nothing keeps a message hidden while its handler works."""
    InFlightMessages._extend_if_due = lambda *_: None


def deletes_dropped() -> None:
    """Some batches count as deleted, but no request was sent."""
    delete, calls = SqsQueues.delete, itertools.count(1)

    def drop_some(queues: SqsQueues, messages: Sequence[Message]) -> Any:
        return {} if next(calls) % EVERY == 0 else delete(queues, messages)

    SqsQueues.delete = drop_some


def deleted_on_receipt() -> None:
    """A message is deleted before it is processed: at most once instead of at least once."""
    receive = SqsQueues.receive

    def delete_first(queues: SqsQueues, poll: Poll, visibility_s: int) -> list[Message]:
        messages = receive(queues, poll, visibility_s)
        if messages:
            queues.delete(messages)
        return messages

    SqsQueues.receive = delete_first


def groups_ignored() -> None:
    """Messages of a FIFO group are processed side by side."""
    Message.message_group = None


def successor_too_early() -> None:
    """The next message of a FIFO group begins before the delete is confirmed."""
    succeeded = InFlightMessages.succeeded

    def early(in_flight: InFlightMessages, message: Message) -> None:
        if message.message_group is not None:
            in_flight._dispatcher.advance(message.message_group)
        succeeded(in_flight, message)

    InFlightMessages.succeeded = early


def drain_in_haste() -> None:
    """The process ends as soon as it drains, with deletes under way and handlers at work."""
    Worker._working = lambda _: False
    AckBatcher.wait_empty = lambda *_: True


def failures_kept() -> None:
    """A message that failed is neither deleted nor released, but never extended or shown."""
    InFlightMessages.failed = lambda *_, **__: None


def priorities_ignored() -> None:
    """The message that was received first is started first, whatever its priority."""
    take = Dispatcher.take_batch

    def take_oldest(dispatcher: Dispatcher, timeout_s: float) -> list[Message]:
        dispatcher._buffer._aged_after_s = -1.0
        return take(dispatcher, timeout_s)

    Dispatcher.take_batch = take_oldest


MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__.replace("_", "-"): mutation
    for mutation in (
        no_heartbeat,
        deletes_dropped,
        deleted_on_receipt,
        groups_ignored,
        successor_too_early,
        drain_in_haste,
        failures_kept,
        priorities_ignored,
    )
}

if os.environ.get(MUTATION):
    MUTATIONS[os.environ[MUTATION]]()

if __name__ == "__main__":
    main(prog_name="python -m tests.worker_chaos.mutant")
