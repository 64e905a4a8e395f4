"""Threads that repeat one step and survive a defect in it, and the end of their process.

The worker's broad `except` outside the handlers is here. A defect is logged, the first time at its place with
its stack trace, and the thread that met it continues.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import NoReturn

log = logging.getLogger(__name__)

AFTER_DEFECT_S = 1.0
EXIT_TIMEOUT_S = 5.0
"""How long a process may take to end by itself, exit handlers included, before it is cut off."""


_traced: set[tuple[type[BaseException], str, int]] = set()
"""Defects whose stack trace was logged: the exception's type, the file and the line."""
_tracing = threading.Lock()
"""Held while `_traced` is read and written: two threads may meet a defect at once."""


@contextmanager
def defects_logged(what: str) -> Iterator[None]:
    """Log a defect in the block, which does `what`, and go on."""
    try:
        yield
    except Exception as broken:  # noqa: BLE001 - it is logged
        log_defect(what, broken)


def call_logging_defects(what: str, step: Callable[..., object], *given: object) -> None:
    """`defects_logged` for one call, at a fraction of its cost: it is used for each message."""
    try:
        step(*given)
    except Exception as broken:  # noqa: BLE001 - it is logged
        log_defect(what, broken)


def log_defect(what: str, broken: BaseException) -> None:
    """Log a defect: with its stack trace the first time, in one line when it comes again."""
    frame, line = list(walk_tb(broken.__traceback__))[-1]
    place = (type(broken), frame.f_code.co_filename, line)
    with _tracing:
        again = place in _traced
        _traced.add(place)
    log.error("a defect in %s; it goes on: %r", what, broken, exc_info=None if again else broken)


def start_loop(name: str, step: Callable[[], bool | None]) -> threading.Thread:
    """Start and return a daemon thread that repeats `step` until it returns False or None."""

    def loop() -> None:
        going: bool | None = True
        while going:
            try:
                going = step()
            except Exception as broken:  # noqa: BLE001 - it is logged
                log_defect(name, broken)
                time.sleep(AFTER_DEFECT_S)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread


def exit_process(exiting: SystemExit) -> NoReturn:
    """End this process like any Python process, but wait only `EXIT_TIMEOUT_S` for threads of the handler."""

    def cut_off() -> None:
        time.sleep(EXIT_TIMEOUT_S)
        log.warning("threads that a handler left behind are cut off")
        sys.stdout.flush()
        os._exit(exiting.code if isinstance(exiting.code, int) else 1)

    threading.Thread(target=cut_off, name="end", daemon=True).start()
    raise exiting
