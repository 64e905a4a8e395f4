"""The contract of `ports.TickQueue.send`, for every implementation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from sluice.aws.registry import SsmRegistry
from sluice.aws.tick_queue import SqsTickQueue
from sluice.ports import DelayedMessage, TickQueue
from tests.sluice.aws import account
from tests.support.builders import POOL, plenty
from tests.support.fakes import Clock, FakeTickQueue

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


@dataclass
class Subject:
    queue: TickQueue
    received: Callable[[int], list[str]]
    """The bodies that can be received so many seconds after noon, and were not before."""


@pytest.fixture(params=["fake", "sqs"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeTickQueue(clock=Clock(NOON))

        def delivered(after_s: int) -> list[str]:
            due = [one for one in fake.queued if one[0] <= NOON + timedelta(seconds=after_s)]
            fake.queued = [one for one in fake.queued if one not in due]
            return [body for _, body in due]

        yield Subject(queue=fake, received=delivered)
        return
    with time_machine.travel(NOON, tick=False) as now, account.account(), account.threads() as pool:
        sqs, url = account.client("sqs"), account.create_queue("ticks")
        registry = SsmRegistry(lambda: account.client("ssm"), POOL, account.PREFIX)

        def received(after_s: int) -> list[str]:
            now.move_to(NOON + timedelta(seconds=after_s))
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return [message["Body"] for message in messages]

        yield Subject(
            queue=SqsTickQueue(lambda: sqs, pool, url, registry, reserve_s=0),
            received=received,
        )


def test_each_message_is_delivered_at_the_end_of_its_delay(subject: Subject) -> None:
    delays_s = {"due": 0, "soon": 10, "late": 240}
    messages = {name: DelayedMessage(body=name, delay_s=delay_s) for name, delay_s in delays_s.items()}
    assert subject.queue.send(messages, plenty) == {}
    assert [subject.received(after_s) for after_s in (1, 9, 10, 239, 240)] == [
        ["due"],
        [],
        ["soon"],
        [],
        ["late"],
    ]


def test_no_messages_are_sent_by_no_call(subject: Subject) -> None:
    assert subject.queue.send({}, plenty) == {}
    assert subject.received(1) == []
