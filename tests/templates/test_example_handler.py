"""examples/sleeper.py: sleeps for as long as a message says, and rejects anything but a test message."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from examples import sleeper
from sluice.events import LoadRequest
from sluice.usecases.send_test_messages import send_test_messages
from sluice_worker import Message, Reject
from sluice_worker.core.model import Queue
from tests.support.builders import workload
from tests.support.fakes import FakeAccount


def message(body: str) -> Message:
    now = time.monotonic()
    queue = Queue(url="https://sqs.eu-west-1.amazonaws.com/123456789012/transcription")
    return Message(
        queue=queue,
        message_id="1",
        body=body,
        sent_at=time.time(),
        receipt_handle="handle",
        received_at=now,
        visible_at=now + 60,
    )


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the handler slept, which take none."""
    seconds: list[float] = []
    monkeypatch.setattr(sleeper.time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize(("body", "seconds"), [('{"duration_s": 1.5}', 1.5), ('{"duration_s": 0}', 0)])
def test_a_test_message_takes_as_long_as_it_says(slept: list[float], body: str, seconds: float) -> None:
    sleeper.handle(message(body))
    assert slept == [seconds]


def test_what_the_plane_sends_is_a_test_message(slept: list[float]) -> None:
    account = FakeAccount()
    one = account.add_workload(workload())
    send_test_messages(
        LoadRequest(workload=one.name, messages=1, duration_s=2.5),
        account.ports,
        account.report,
        account.remaining_s,
    )
    [body] = account.queues.sent[one.queue_url]
    sleeper.handle(message(body))
    assert slept == [2.5]


@pytest.mark.parametrize(
    "body",
    [
        "not a test message",
        "{}",
        "[]",
        "3",
        '{"duration_s": "soon"}',
        '{"duration_s": null}',
        '{"duration_s": true}',
        '{"duration_s": -1}',
        '{"duration_s": NaN}',
        '{"duration_s": Infinity}',
        '{"duration_s": 43201}',
    ],
)
def test_a_message_that_is_not_a_test_message_is_rejected_without_a_retry(
    slept: list[float], body: str
) -> None:
    with pytest.raises(Reject, match="duration_s"):
        sleeper.handle(message(body))
    assert slept == []


def test_a_long_message_moves_its_own_deadline(slept: list[float]) -> None:
    long = message(json.dumps({"duration_s": 7200}))
    sleeper.handle(long)
    assert long.deadline > datetime.now(UTC) + timedelta(seconds=7200)
