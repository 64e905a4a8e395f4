"""Waiting for what threads and processes bring about."""

import time
from collections.abc import Callable

TIMEOUT_S = 60.0
"""Far beyond what anything takes: only a failing test waits this long."""
CHECK_INTERVAL_S = 0.005


def eventually(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; `what` says what was waited for in vain."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until, f"waited {TIMEOUT_S:g} s in vain: {what}"
        time.sleep(CHECK_INTERVAL_S)
