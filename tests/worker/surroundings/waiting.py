"""Awaiting a condition that another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Far beyond what any condition needs; only a failing test waits so long."""


def until(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds."""
    ends_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_at, f"waited {PATIENCE_S:g} s in vain: {what}"
        time.sleep(0.01)
