"""Copies of messages on their way to the dead-letter queue, sent by separate threads.

A send is attempted several times, and its caller is called once it has ended. `InFlightMessages` decides
which message is sent, and deletes it from its queue.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sluice.errors import SluiceError, TransientError
from sluice_worker.message import Message
from sluice_worker.ports import Queues
from sluice_worker.runtime.loops import (
    call_logging_defects,
    start_loop,
)

log = logging.getLogger(__name__)

SENDERS = 4
"""The maximum of concurrent sends. Their threads live only while there is something to send."""
ATTEMPTS = 3
FIRST_BACKOFF_S = 0.2
"""Between two attempts, doubled with each."""
BROKE_OFF = "the call broke off"


@dataclass(frozen=True, slots=True)
class _Send:
    """One copy to send; `on_done` is called once, with None or with the reason why it was not sent."""

    message: Message
    reason: str
    on_done: Callable[[Message, str | None], None]


class DeadLetterSender:
    """Sends to one dead-letter queue."""

    def __init__(self, queues: Queues, url: str) -> None:
        self._queues, self._url = queues, url
        self._lock = threading.Lock()
        self._sends: deque[_Send] = deque()
        self._running = 0
        self._stopped = threading.Event()

    @property
    def pending(self) -> int:
        """Sends that wait, and threads that send."""
        return len(self._sends) + self._running

    def send(self, message: Message, reason: str, on_done: Callable[[Message, str | None], None]) -> None:
        """Send a copy soon; the caller does not wait for it."""
        with self._lock:
            self._sends.append(_Send(message, reason, on_done))
            if self._running < SENDERS:
                self._running += 1
                start_loop("dead-letters", self._step)

    def stop(self) -> None:
        """Start no further send: those that wait are refused at once, those under way get their answer."""
        self._stopped.set()
        self._refuse_waiting("the worker is ending")

    def _step(self) -> bool:
        with self._lock:
            if not self._sends:
                self._running -= 1
                return False
            one = self._sends.popleft()
        refused: str | None = BROKE_OFF
        try:
            refused = self._sent(one)
        finally:
            _report_end(one, refused)
        return True

    def _sent(self, one: _Send) -> str | None:
        """None once SQS has taken it, or why it has not."""
        for attempt in range(ATTEMPTS):
            try:
                self._queues.send_to_dead_letter_queue(self._url, one.message, one.reason)
            except TransientError as failed:
                refused = str(failed)
                if self._stopped.wait(FIRST_BACKOFF_S * 2**attempt):
                    break
            except SluiceError as failed:
                return str(failed)
            else:
                return None
        # The other sends would fail in the same way, each after as many attempts. They are refused at once,
        # so that their messages go back to their queues.
        self._refuse_waiting(refused)
        return refused

    def _refuse_waiting(self, reason: str) -> None:
        with self._lock:
            waiting = list(self._sends)
            self._sends.clear()
        for one in waiting:
            _report_end(one, reason)


def _report_end(one: _Send, refused: str | None) -> None:
    call_logging_defects(
        f"what follows the dead letter {one.message.message_id}", one.on_done, one.message, refused
    )
