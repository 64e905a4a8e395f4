"""Threads that do one thing over and over, and survive a defect in it; and the end of their process.

Owns the worker's one broad `except` outside the handlers: what breaks is logged with its stack trace, and the
loop goes on.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

log = logging.getLogger(__name__)

AFTER_DEFECT_S = 1.0
LEFT_BEHIND_S = 5.0
"""What a process has to end by itself, exit handlers included."""


def looping(name: str, step: Callable[[], bool]) -> threading.Thread:
    """A started daemon thread that repeats `step` until it answers False."""

    def loop() -> None:
        going = True
        while going:
            try:
                going = step()
            except Exception:
                log.exception("a defect in %s; it goes on", name)
                time.sleep(AFTER_DEFECT_S)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def end(exiting: SystemExit) -> NoReturn:
    """End this process as any Python does; what a handler left running is waited for only so long."""

    def cut_off() -> None:
        time.sleep(LEFT_BEHIND_S)
        log.warning("threads that a handler left behind are cut off")
        sys.stdout.flush()
        os._exit(exiting.code if isinstance(exiting.code, int) else 1)

    threading.Thread(target=cut_off, name="end", daemon=True).start()
    raise exiting
