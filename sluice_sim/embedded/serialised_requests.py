"""Serialises requests to moto, so that several processes can use it at once.

moto's queues have no locks: two concurrent receives can return the same message. Its long poll busy-waits
while every message of a FIFO queue is behind another of its group. Here requests run one at a time, and a
long poll releases the lock while it waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto.core.responses import BaseResponse
from moto.sqs.models import Message, SQSBackend

LONG_POLL_CHECK_S = 0.05
"""Wall seconds between two receives of a long poll."""


@contextmanager
def serialise_requests(*, pace: float = 1) -> Iterator[None]:
    """Within the context, requests run one at a time; a long poll lets others through while it waits.

    It waits for 1/`pace` of the requested time. SQS may return an empty response early, too.
    """
    turn = threading.Condition(threading.RLock())
    act, receive = BaseResponse.call_action, SQSBackend.receive_message

    def act_in_turn(response: BaseResponse) -> Any:
        with turn:
            return act(response)

    def receive_or_wait(
        backend: SQSBackend, queue_name: str, count: int, wait_s: int, *more: Any
    ) -> list[Message]:
        until = time.monotonic() + wait_s / pace
        while True:
            found = receive(backend, queue_name, count, 0, *more)
            left_s = until - time.monotonic()
            if found or left_s <= 0:
                return found
            turn.wait(min(left_s, LONG_POLL_CHECK_S))  # releases the lock while it waits

    with (
        mock.patch.object(BaseResponse, "call_action", act_in_turn),
        mock.patch.object(SQSBackend, "receive_message", receive_or_wait),
    ):
        yield
