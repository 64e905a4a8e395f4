"""The workers' handler: a message says what to do, and each call logs a line when it begins and ends.

Owns the log's lines. `records` reads them, `invariants` checks them.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from enum import StrEnum
from functools import cache

from sluice_worker import Message, Reject

LOG = "WORKER_CHAOS_LOG"
DIED = 70
"""The exit status of a process that a handler ended."""
FOREVER_S = 3600.0

_calls = itertools.count()


class Do(StrEnum):
    """The instruction of a message; all but the first three apply only to the first receipt."""

    WORK = "work"
    RAISE = "always raise"
    REJECT = "reject"
    RAISE_ONCE = "raise"
    EXIT_ONCE = "raise SystemExit"
    INTERRUPT_ONCE = "raise KeyboardInterrupt"
    DIE_ONCE = "end the process"
    HANG_ONCE = "hang"
    LATE_ONCE = "return late"


def handle(message: Message) -> None:
    """Do what the message instructs."""
    instruction = json.loads(message.body)
    call = f"{os.getpid()}-{next(_calls)}"
    _log_event(call, "began", instruction=instruction, receipt=message.receive_count, id=message.message_id)
    do = Do(instruction["do"])
    if do is Do.DIE_ONCE and message.receive_count == 1:
        _log_event(call, "died")
        os._exit(DIED)
    try:
        _run(do, message.receive_count, instruction["s"])
    except BaseException:
        _log_event(call, "failed")
        raise
    _log_event(call, "completed")


def _run(do: Do, receipt: int, seconds: float) -> None:
    if do is Do.RAISE:
        raise RuntimeError("poison")
    if do is Do.REJECT:
        raise Reject("said so")
    if receipt == 1:
        if do is Do.RAISE_ONCE:
            raise RuntimeError("not at the first attempt")
        if do is Do.EXIT_ONCE:
            raise SystemExit(3)
        if do is Do.INTERRUPT_ONCE:
            raise KeyboardInterrupt
        if do is Do.HANG_ONCE:
            time.sleep(FOREVER_S)
    if do is Do.WORK or (do is Do.LATE_ONCE and receipt == 1):
        time.sleep(seconds)


def _log_event(call: str, event: str, **more: object) -> None:
    line = {"call": call, "event": event, "at": time.monotonic(), "pid": os.getpid(), "parent": os.getppid()}
    os.write(_log(os.environ[LOG]), (json.dumps({**line, **more}) + "\n").encode())


@cache
def _log(path: str) -> int:
    """Opened for appending, so that lines of several processes do not mix."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
