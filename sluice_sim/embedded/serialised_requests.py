"""One request at a time: what moto needs before clients of other processes may ask it.

Its queues know no locks, so that two receives at once may hand out one message twice; and its long poll spins
while every message of a FIFO queue stands behind another of its group. Owns the order of requests, and how
long polls wait. Refuses to know who asks.
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
"""How often a long poll looks again."""


@contextmanager
def serialise_requests(*, pace: float = 1) -> Iterator[None]:
    """Requests go one after the other while the context lasts; a long poll lets others pass.

    It waits for 1/`pace` of the time that was asked for: an empty answer that comes early is one that SQS
    may give.
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
            turn.wait(min(left_s, LONG_POLL_CHECK_S))  # gives the turn away, and has it again afterwards

    with (
        mock.patch.object(BaseResponse, "call_action", act_in_turn),
        mock.patch.object(SQSBackend, "receive_message", receive_or_wait),
    ):
        yield
