"""The embedded SQS follows the rules that the invariants rely on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sluice_worker.aws import sqs
from sluice_worker.core.model import Poll, Queue
from sluice_worker.message import Message
from tests.worker_chaos.cloud import Cloud, Depths
from tests.worker_chaos.faults import Fault, Plan
from tests.worker_chaos.scenario_environment import instructions

HOLD_S = 60


def received(queues: sqs.SqsQueues, url: str, count: int = 10, *, wait_s: int = 0) -> list[Message]:
    return queues.receive(Poll(queue=Queue(url=url), max_messages=count, wait_s=wait_s), HOLD_S)


def places(messages: Sequence[Message]) -> list[int]:
    return [json.loads(message.body)["place"] for message in messages]


def test_receives_at_once_never_share_a_message(as_worker: Cloud) -> None:
    url, queues = as_worker.create("shared"), sqs.connect(connections=4)
    as_worker.send(url, instructions("shared", 100))

    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: received(queues, url), range(12)))

    assert sorted(place for batch in batches for place in places(batch)) == list(range(100))


def test_a_long_poll_ends_with_the_first_message(as_worker: Cloud) -> None:
    url, queues = as_worker.create("awaited.fifo"), sqs.connect(connections=2)
    as_worker.send(url, instructions("awaited", 2))
    [first] = received(queues, url, 1)
    brought: list[Message] = []
    poll = threading.Thread(target=lambda: brought.extend(received(queues, url, wait_s=20)), daemon=True)
    poll.start()

    while as_worker.done()["requests"].get("ReceiveMessage", 0) < 2:
        time.sleep(0.01)
    queues.delete([first])
    poll.join(10)

    assert places(brought) == [1]


def test_a_group_waits_for_its_messages_in_flight(as_worker: Cloud) -> None:
    url, queues = as_worker.create("blocked.fifo"), sqs.connect(connections=1)
    as_worker.send(url, instructions("blocked", 4, groups=2))
    [first] = received(queues, url, 1)

    assert places(received(queues, url)) == [0, 1]  # the other group's
    assert as_worker.depths(url) == Depths(visible=1, in_flight=3)
    queues.hide([(first, 0)])
    assert places(received(queues, url)) == [0, 1]


def test_a_receipt_handle_is_valid_for_one_receipt(as_worker: Cloud) -> None:
    for url, is_refused in ((as_worker.create("handles"), False), (as_worker.create("handles.fifo"), True)):
        queues = sqs.connect(connections=1)
        as_worker.send(url, instructions("handles", 1))
        [outdated] = received(queues, url)
        queues.hide([(outdated, 0)])
        received(queues, url)

        assert bool(queues.delete([outdated])) == is_refused
        assert queues.hide([(outdated, 5)])[0].final
        assert as_worker.depths(url) == Depths(visible=0, in_flight=1)


def test_a_part_of_a_batch_fails_before_or_after_its_effect(as_worker: Cloud) -> None:
    for fault in (Fault.PARTLY_BEFORE, Fault.PARTLY_AFTER):
        url, queues = as_worker.create(f"partly-{fault.name}"), sqs.connect(connections=1)
        as_worker.send(url, instructions("partly", 10))
        messages = received(queues, url)
        as_worker.plan(Plan(seed=1, rates={"*": {fault: 1.0}}))

        refused = queues.delete(messages)

        as_worker.plan(Plan())
        assert 0 < len(refused) <= 10
        assert not any(refusal.final for refusal in refused.values())
        left = len(refused) if fault is Fault.PARTLY_BEFORE else 0
        assert as_worker.depths(url) == Depths(visible=0, in_flight=left)
