"""Work only while the instance is in service: wait for that, work, drain, and wait again.

An instance may leave service and return while its processes live on: it enters Standby, or a warm pool that
keeps it running or hibernated. Nothing is received meanwhile, so nothing is interrupted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sluice.errors import SluiceError
from sluice_worker.ports import InstanceLifecycle
from sluice_worker.runtime.lifecycle import HOOK_WAITS, LAUNCH_HOOK_WAITS, AwsCall

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 2.0
"""Between two checks while out of service; a scale-out from a warm pool waits this long for its work."""
UNKNOWN_STATE_S = 30.0
"""How long the start waits for a first lifecycle state. The metadata service answers within milliseconds on
an instance, and never on a laptop or in a container beyond its hop limit."""


class DrainRequest:
    """A request to drain, from a signal; it also reaches work that starts after it was made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._drain: Callable[[str], None] | None = None
        self.requested = threading.Event()

    def request(self, reason: str) -> None:
        """Drain, for this reason; the first reason counts."""
        with self._lock:
            self._reason = self._reason or reason
            drain = self._drain
        self.requested.set()
        if drain is not None:
            drain(reason)

    @contextmanager
    def forwarded_to(self, drain: Callable[[str], None]) -> Iterator[None]:
        """Within the context a request calls `drain`; one made before calls it at once."""
        with self._lock:
            self._drain, reason = drain, self._reason
        if reason is not None:
            drain(reason)
        try:
            yield
        finally:
            with self._lock:
                self._drain = None


def run_while_in_service(
    lifecycle: InstanceLifecycle | None, drain_request: DrainRequest, work: Callable[[], int]
) -> int:
    """Work whenever the instance is in service; returns the exit status of the final drain.

    `work` returns its own exit status after each drain. Without a `lifecycle` (no Auto Scaling group) it is
    called once.
    """
    if lifecycle is None:
        return work()
    status = 0
    while status == 0 and _wait_in_service(lifecycle, drain_request.requested):
        status = work()
    return status


def _wait_in_service(lifecycle: InstanceLifecycle, ended: threading.Event) -> bool:
    """Wait until the instance is in service; False once that is impossible, or `ended` is set."""
    began_at = time.monotonic()
    known = is_failing = False
    logged = ""
    launch_call = AwsCall(LAUNCH_HOOK_WAITS)
    while not ended.is_set():
        try:
            out = lifecycle.out_of_service()
        except SluiceError as failed:
            # The last known state stays: out of service, otherwise this loop would have ended.
            if not known and time.monotonic() - began_at >= UNKNOWN_STATE_S:
                log.warning("%s; the work begins, not knowing whether the instance is in service", failed)
                return True
            if not is_failing:
                log.warning(
                    "%s; whether the instance is in service is asked every %g s", failed, CHECK_INTERVAL_S
                )
            is_failing = True
        else:
            known, is_failing = True, False
            if out is None:
                return True
            if out.for_good:
                log.info("nothing is received any more: %s", out.reason)
                # Nothing runs here: the group need not wait.
                AwsCall(HOOK_WAITS).attempt(lifecycle.complete_hook)
                return False
            launch_call.attempt(lifecycle.complete_launch_hook)
            if out.reason != logged:
                log.info("%s: nothing is received until it is in service", out.reason)
            logged = out.reason
        ended.wait(CHECK_INTERVAL_S)
    return False
