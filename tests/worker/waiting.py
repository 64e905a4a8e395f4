"""Wait for the effects of threads and processes."""

import time
from collections.abc import Callable

TIMEOUT_S = 60.0
"""Much longer than any condition takes: only a failing test waits this long."""
CHECK_INTERVAL_S = 0.005


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds; otherwise fail with `what`."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until, f"waited {TIMEOUT_S:g} s in vain: {what}"
        time.sleep(CHECK_INTERVAL_S)
