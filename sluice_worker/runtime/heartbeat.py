"""A file whose age shows whether the worker makes progress, for a supervisor that can only look from outside.

A Kubernetes probe runs a command in the container: the worker listens on no port. What SQS or a handler does
must never make the file old, because a restart would help neither.
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

STALLED_AFTER_S = 180.0
"""A poller that takes no step for so long hangs: a receive with all its retries ends sooner, also while SQS
does not respond."""


class Heartbeat:
    """Touches the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failing = False

    def beat(self, stalled_s: float) -> None:
        """Touch the file, unless the pollers have stalled; a failure is logged once.

        `stalled_s` is the time since the slowest poller took its last step.
        """
        if stalled_s > STALLED_AFTER_S:
            return
        try:
            self._path.touch()
        except OSError as failed:
            if not self._failing:
                log.error("the heartbeat file %s is not touched: %s", self._path, failed.strerror)
            self._failing = True
        else:
            self._failing = False
