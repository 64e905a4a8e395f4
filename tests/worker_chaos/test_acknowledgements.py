"""Acknowledgements must not wait: a message becomes visible on time even while a call is under way."""

from __future__ import annotations

import pytest

from sluice.errors import TransientError
from sluice_worker.aws import sqs
from sluice_worker.core.model import Poll, Queue
from sluice_worker.message import Message
from sluice_worker.runtime.ack_batcher import (
    AckBatcher,
    PendingAck,
)
from tests.worker.fakes import THROTTLED, UNKNOWN_HANDLE, InMemorySqs
from tests.worker.runtime import parts
from tests.worker_chaos.cloud import Cloud
from tests.worker_chaos.faults import Fault, Plan
from tests.worker_chaos.scenario_environment import instructions

HIDE = "ChangeMessageVisibilityBatch"


def received(cloud: Cloud, queues: sqs.SqsQueues, name: str) -> Message:
    url = cloud.create(name)
    cloud.send(url, instructions(name, 1))
    [message] = queues.receive(Poll(queue=Queue(url=url), max_messages=1, wait_s=0), 60)
    return message


def test_only_the_ack_batcher_retries_what_sqs_refused(as_worker: Cloud) -> None:
    queues = sqs.connect(connections=1)
    message = received(as_worker, queues, "refused")
    as_worker.plan(Plan(rates={HIDE: {Fault.UNAVAILABLE: 1.0}}))

    with pytest.raises(TransientError):
        queues.hide([(message, 60)])

    assert as_worker.done()["requests"] == {HIDE: 1}


def test_a_missing_response_times_out_quickly(as_worker: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs, "ACK_TIMEOUT_S", 0.2)
    queues = sqs.connect(connections=1)
    message = received(as_worker, queues, "unanswered")
    as_worker.plan(Plan(rates={HIDE: {Fault.SLOW_BEFORE: 1.0}}, slow_s=2.0))

    with pytest.raises(TransientError):
        queues.hide([(message, 60)])


def test_a_receive_whose_response_was_lost_is_retried_with_its_attempt_id(as_worker: Cloud) -> None:
    queues = sqs.connect(connections=1)
    url = as_worker.create("lost.fifo")
    as_worker.send(url, instructions("lost", 3))
    as_worker.plan(Plan(seed=LOST_ONCE, rates={"ReceiveMessage": {Fault.RESET_AFTER: 0.5}}))

    messages = queues.receive(Poll(queue=Queue(url=url), max_messages=10, wait_s=0), 60)

    assert as_worker.done()["faults"] == [["ReceiveMessage", Fault.RESET_AFTER, 1]]
    assert [message.receive_count for message in messages] == [1, 1, 1]


LOST_ONCE = 1
"""A seed that draws one lost answer, then none."""


def test_the_ack_batchers_retries_end_before_the_visibility_timeout() -> None:
    fake = InMemorySqs()
    fake.create("work")
    message = parts.message(visible_in_s=2.4)
    refusals = iter(range(5))  # another doubled pause would end after the 2.4 s
    fake.refusing["hide"] = lambda _: THROTTLED if next(refusals, None) is not None else None
    reasons: list[str | None] = []
    ack_batcher = AckBatcher(fake, linger_s=0.0, senders=1)
    ack_batcher.start()

    ack_batcher.add(PendingAck(message, 60, message.visible_at, lambda _, reason: reasons.append(reason)))

    ack_batcher.wait_empty(message.visible_at)
    ack_batcher.stop()
    assert reasons == [UNKNOWN_HANDLE.reason]  # the fake was called in time, and does not know the message
