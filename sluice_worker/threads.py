"""Threads that do one thing over and over, and survive a defect in it.

Owns the worker's one broad `except` outside the handlers: what breaks is logged with its stack trace, and the
loop goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

AFTER_DEFECT_S = 1.0


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
