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
from sluice_worker.ports import Notices

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks while out of service: what a scale-out from a warm pool waits for."""
UNKNOWN_S = 30.0
"""A state that was never known holds the work up for so long. Metadata answers within milliseconds on an
instance, and never on a laptop or in a container that its hop limit keeps out."""


class EndOrder:
    """The order to end, from a signal: kept for whoever begins to work after it was given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._why: str | None = None
        self._drain: Callable[[str], None] | None = None
        self.given = threading.Event()

    def give(self, why: str) -> None:
        """End, for this reason; more than once does no harm."""
        with self._lock:
            self._why = self._why or why
            drain = self._drain
        self.given.set()
        if drain is not None:
            drain(why)

    @contextmanager
    def reaches(self, drain: Callable[[str], None]) -> Iterator[None]:
        """Meanwhile the order drains; one given before drains at once."""
        with self._lock:
            self._drain, why = drain, self._why
        if why is not None:
            drain(why)
        try:
            yield
        finally:
            with self._lock:
                self._drain = None


def work_in_service(notices: Notices | None, order: EndOrder, work: Callable[[], int]) -> int:
    """Work whenever the instance is in service; the exit status, once it ends for good or is told to.

    `work` answers with its own exit status after a drain, whatever that was for. Without notices nothing is
    known of any service, and the work is done once.
    """
    if notices is None:
        return work()
    status = 0
    while status == 0 and _awaited(notices, order.given):
        status = work()
    return status


def _awaited(notices: Notices, ended: threading.Event) -> bool:
    """Wait until the instance is in service; False once that can no more be, or `ended` is set."""
    began_at = time.monotonic()
    known = complained = False
    told = ""
    while not ended.is_set():
        try:
            out = notices.out_of_service()
        except SluiceError as failed:
            # What was known of the state stays: out of service, or this loop had ended.
            if not known and time.monotonic() - began_at >= UNKNOWN_S:
                log.warning("%s; the work begins, not knowing whether the instance is in service", failed)
                return True
            if not complained:
                log.warning("%s; whether the instance is in service is asked every %g s", failed, LOOK_S)
            complained = True
        else:
            known, complained = True, False
            if out is None:
                return True
            if out.for_good:
                log.info("nothing is received any more: %s", out.why)
                _let_go(notices)
                return False
            if out.why != told:
                log.info("%s: nothing is received until it is in service", out.why)
            told = out.why
        ended.wait(LOOK_S)
    return False


def _let_go(notices: Notices) -> None:
    """The group need not wait for an instance on which nothing runs."""
    try:
        notices.left()
    except SluiceError as refused:
        log.warning("%s; the lifecycle hook's own timeout counts", refused)
