"""What happens around the work: protection while busy, and an ear for the end of the instance.

Owns when AWS is asked: for protection on the way from idle to busy and back, and again before it expires; for
notices every few seconds. Nothing here ever stops the work: what fails is told once, and tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sluice.errors import SluiceError
from sluice_worker.ports import Notices, Protection
from sluice_worker.threads import looping

log = logging.getLogger(__name__)

LOOK_S = 0.5
NOTICE_S = 5.0
RENEW_AT = 0.5
"""Share of a protection's term after which it is renewed."""
RETRY_S = 15.0


class Guard:
    """Protection that follows the work: `busy` says whether there is any."""

    def __init__(self, protection: Protection, busy: Callable[[], bool], *, idle_s: float) -> None:
        self._protection, self._busy, self._idle_s = protection, busy, idle_s
        self._protected: bool | None = None
        """None: a worker that died here may have left its protection behind."""
        self._renew_at = float("inf")
        self._idle_since: float | None = None
        self._not_before = 0.0
        self._told = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Look every half second."""
        looping("protection", lambda: not self._ended.wait(LOOK_S) and self.look(time.monotonic()))

    def stop(self) -> None:
        """Look no more, and leave no protection behind."""
        self._ended.set()
        if self._protected:
            self._ask(self._protection.release, time.monotonic())

    def look(self, now: float) -> bool:
        """One look; AWS is asked only where something changed."""
        if self._busy():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        idle = self._idle_since is not None and now - self._idle_since >= self._idle_s
        if now < self._not_before:
            return True
        if self._idle_since is None and (not self._protected or now >= self._renew_at):
            if self._ask(self._protection.protect, now):
                self._protected, self._renew_at = True, now + RENEW_AT * self._protection.lasts_s
        elif idle and self._protected is not False and self._ask(self._protection.release, now):
            self._protected, self._renew_at = False, float("inf")
        return True

    def _ask(self, call: Callable[[], None], now: float) -> bool:
        try:
            call()
        except SluiceError as refused:
            if not self._told:
                log.warning("%s; the work goes on, and it is tried again", refused)
            self._told, self._not_before = True, now + RETRY_S
            return False
        self._told = False
        return True


class Listener:
    """Hears that the instance has to go, and says so once: `on_leaving` gets the reason."""

    def __init__(self, notices: Notices, on_leaving: Callable[[str], None]) -> None:
        self._notices, self._on_leaving = notices, on_leaving
        self._told = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Ask every few seconds."""
        looping("notices", self._listen)

    def stop(self) -> None:
        """Listen no more, and let the instance go."""
        self._ended.set()
        self._tell(self._notices.left)

    def more_time(self) -> None:
        """While draining: ask the group to wait on."""
        self._tell(self._notices.waiting_for_us)

    def _listen(self) -> bool:
        try:
            reason = self._notices.leaving()
            self._told = False
        except SluiceError as unknown:
            reason = None
            if not self._told:
                log.warning("%s; asked again every %g s", unknown, NOTICE_S)
            self._told = True
        if reason is not None:
            self._on_leaving(reason)
            return False
        return not self._ended.wait(NOTICE_S)

    @staticmethod
    def _tell(call: Callable[[], None]) -> None:
        try:
            call()
        except SluiceError as refused:
            log.warning("%s", refused)
