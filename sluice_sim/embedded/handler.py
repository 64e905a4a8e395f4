"""What the demo's worker processes do with a message: take as long as it says, and write down that they did.

A record's line holds the message's id, the seconds it asked for and the seconds it had waited, of the wall.

Owns the record's line: one line a message, in one write, so that many processes may share a file. Refuses to
outlive the demo: imported by one of its processes it watches standard input, which ends when the demo does.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from examples.sleeper import duration_of, handle
from sluice_worker import Message

RECORD = "SLUICE_DEMO_RECORD"
"""The variable that holds the record's path."""


def work(message: Message) -> None:
    """As the example's handler, which sleeps for as long as the message says."""
    waited_s = time.time() - message.sent_at
    handle(message)
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(record, f"{message.message_id} {duration_of(message.body)} {waited_s}\n".encode())
    finally:
        os.close(record)


def _end_with_the_demo() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock would hinder an exit in order
        pass
    # The account is gone with the demo: there is nobody to drain for.
    os._exit(1)


if RECORD in os.environ:
    threading.Thread(target=_end_with_the_demo, name="lifeline", daemon=True).start()
