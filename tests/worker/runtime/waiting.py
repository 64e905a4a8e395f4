"""Waiting for what threads bring about."""

import time
from collections.abc import Callable

PATIENCE_S = 20.0
"""Far beyond what anything takes: only a failing test waits this long."""
LOOK_S = 0.005


def eventually(condition: Callable[[], object], why: str) -> None:
    """Return once the condition holds; `why` says what was waited for in vain."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"in vain: {why}"
        time.sleep(LOOK_S)
