"""Waiting for what threads and processes bring about."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Far beyond what anything takes: only a failing test waits this long."""
LOOK_S = 0.005


def eventually(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; `what` says what was waited for in vain."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited {PATIENCE_S:g} s in vain: {what}"
        time.sleep(LOOK_S)
