"""The handler of the demo's worker processes: takes as long as the message says, then records it.

A line of the record holds the message's id, its duration and its wait, both in wall seconds. Each line is
written in one call, so that many processes can share the file. Imported by a worker process, this module also
watches standard input, which ends when the demo does: no worker outlives a demo that was killed.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from examples.sleeper import duration_of, handle
from sluice_worker import Message

RECORD = "SLUICE_DEMO_RECORD"
"""Environment variable with the path of the record."""


def work(message: Message) -> None:
    """Process a message as the example's handler does, which sleeps for as long as the message says."""
    waited_s = time.time() - message.sent_at
    handle(message)
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(record, f"{message.message_id} {duration_of(message.body)} {waited_s}\n".encode())
    finally:
        os.close(record)


def _end_with_the_demo() -> None:
    while os.read(sys.stdin.fileno(), 1):  # unbuffered: a buffer's lock would block a clean exit
        pass
    # The account is gone with the demo, so there is nothing to drain.
    os._exit(1)


if RECORD in os.environ:
    threading.Thread(target=_end_with_the_demo, name="lifeline", daemon=True).start()
