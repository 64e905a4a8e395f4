"""Work only while the instance is in service: wait for that, work, drain, and wait again.

An instance may be taken out of service and come back while its processes live on: into Standby, or into a
warm pool that keeps it running or hibernated. Nothing is received meanwhile, so nothing is interrupted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sluice.errors import SluiceError
from sluice_worker.ports import InstanceLifecycle

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 2.0
"""Between two looks while out of service: what a scale-out from a warm pool waits for."""
UNKNOWN_STATE_S = 30.0
"""A state that was never known holds the work up for so long. Metadata answers within milliseconds on an
instance, and never on a laptop or in a container that its hop limit keeps out."""


class DrainRequest:
    """The order to end, from a signal: kept for whoever begins to work after it was given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._why: str | None = None
        self._drain: Callable[[str], None] | None = None
        self.requested = threading.Event()

    def request(self, reason: str) -> None:
        """End, for this reason; more than once does no harm."""
        with self._lock:
            self._why = self._why or reason
            drain = self._drain
        self.requested.set()
        if drain is not None:
            drain(reason)

    @contextmanager
    def forwarded_to(self, drain: Callable[[str], None]) -> Iterator[None]:
        """Meanwhile the order drains; one given before drains at once."""
        with self._lock:
            self._drain, reason = drain, self._why
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
    """Work whenever the instance is in service; the exit status, once it ends for good or is told to.

    `work` answers with its own exit status after a drain, whatever that was for. Without notices nothing is
    known of any service, and the work is done once.
    """
    if lifecycle is None:
        return work()
    status = 0
    while status == 0 and _wait_in_service(lifecycle, drain_request.requested):
        status = work()
    return status


def _wait_in_service(lifecycle: InstanceLifecycle, ended: threading.Event) -> bool:
    """Wait until the instance is in service; False once that can no more be, or `ended` is set."""
    began_at = time.monotonic()
    known = is_failing = False
    told = ""
    while not ended.is_set():
        try:
            out = lifecycle.out_of_service()
        except SluiceError as failed:
            # What was known of the state stays: out of service, or this loop had ended.
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
                _complete_hook(lifecycle)
                return False
            if out.reason != told:
                log.info("%s: nothing is received until it is in service", out.reason)
            told = out.reason
        ended.wait(CHECK_INTERVAL_S)
    return False


def _complete_hook(lifecycle: InstanceLifecycle) -> None:
    """The group need not wait for an instance on which nothing runs."""
    try:
        lifecycle.complete_hook()
    except SluiceError as refused:
        log.warning("%s; the lifecycle hook's own timeout counts", refused)
