"""Tasks beside the work: scale-in protection while busy, and watching the lifecycle of the instance.

AWS is called for protection when the worker becomes busy or idle and before the protection expires; for the
instance's lifecycle state every few seconds. No task ever stops the work or delays its end by more than a few
seconds. Each runs in its own thread; a failed call is logged once, and retried.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from sluice.errors import SluiceError
from sluice_worker.ports import InstanceLifecycle, Protection
from sluice_worker.runtime.loops import (
    defects_logged,
    start_loop,
)

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5
WATCH_INTERVAL_S = 5.0
RENEW_AT = 0.5
"""The share of a protection's term after which it is renewed."""
RETRY_S = 15.0
HOOK_EXTENSION_S = 20.0
"""Between two heartbeats of the lifecycle hook, whose timeout is at least 30 s (documented)."""
JITTER = 0.2
"""The share by which times are spread at random, so that workers woken by one burst do not call AWS
together."""
HOOK_WAITS = "the lifecycle hook's own timeout counts"
LAUNCH_HOOK_WAITS = "if the launch hook still waits, its own timeout counts"
FINISH_TIMEOUT_S = 5.0
"""How long the end of the process waits for a task's last call to AWS."""


class PeriodicTask(ABC):
    """A check at regular intervals and a last call at the end, in a thread of its own."""

    def __init__(self, name: str, every_s: float) -> None:
        self._name, self._every_s = name, every_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Check now, and again after every interval."""
        self._thread = start_loop(self._name, self._step)

    def stop(self) -> None:
        """Check no more, and make the last call; waits for it for a few seconds at most."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(FINISH_TIMEOUT_S)

    def _step(self) -> bool:
        if self._ended.is_set():
            with defects_logged(f"the last call of {self._name}"):
                self.finish()
            return False
        self.check(time.monotonic())
        self._ended.wait(self._every_s)
        return True

    @abstractmethod
    def check(self, now: float) -> None:
        """Check once; `now` in seconds of a monotonic clock."""

    @abstractmethod
    def finish(self) -> None:
        """Make the last call to AWS."""


class ScaleInProtector(PeriodicTask):
    """Protects the instance or task from scale-in while `busy` returns True."""

    def __init__(
        self,
        protection: Protection,
        busy: Callable[[], bool],
        *,
        idle_s: float,
        drained: Callable[[], bool] = lambda: False,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        """`drained` returns whether no message can come: an idle one is then released without delay.

        `random_share` returns numbers from 0 to 1: AWS throttles these calls for the whole account.
        """
        super().__init__("protection", CHECK_INTERVAL_S)
        self._protection, self._busy, self._drained = protection, busy, drained
        self._idle_s, self._random_share = idle_s, random_share
        self._protected: bool | None = None
        """None while unknown: a worker that died on this instance may have left its protection, and a call
        that failed may still have had its effect."""
        self._renew_at = float("inf")
        self._idle_since: float | None = None
        self._release_at = 0.0
        self._not_before = 0.0
        self._call = AwsCall("the work goes on, and it is tried again")

    def check(self, now: float) -> None:
        """Call AWS only if the state changed or the protection is about to expire."""
        if self._busy():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
            self._release_at = now + self._idle_s * (1 + JITTER * self._random_share())
        idle = self._idle_since is not None and (now >= self._release_at or self._drained())
        if now < self._not_before:
            return
        if self._idle_since is None and (not self._protected or now >= self._renew_at):
            self._set(self._protection.protect, now, protected=True)
        elif idle and self._protected is not False:
            self._set(self._protection.release, now, protected=False)

    def finish(self) -> None:
        """Release the protection."""
        if self._protected is not False:
            self._call.attempt(self._protection.release)

    def _set(self, call: Callable[[], None], now: float, *, protected: bool) -> None:
        if self._call.attempt(call):
            self._protected = protected
            term_s = self._protection.expires_after_s * (1 - JITTER * self._random_share())
            self._renew_at = now + RENEW_AT * term_s if protected else float("inf")
        else:
            self._protected, self._not_before = None, now + RETRY_S * (1 + JITTER * self._random_share())


class LifecycleWatcher(PeriodicTask):
    """Completes the launch hook and watches for the end; calls `on_out_of_service` once, with the reason."""

    def __init__(
        self,
        lifecycle: InstanceLifecycle,
        on_out_of_service: Callable[[str], None],
        *,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        super().__init__("notices", WATCH_INTERVAL_S)
        self._lifecycle, self._on_out_of_service, self._random_share = (
            lifecycle,
            on_out_of_service,
            random_share,
        )
        self._out_of_service = False
        self._extend_hook_at = 0.0
        self._watch_call = AwsCall(f"asked again every {WATCH_INTERVAL_S:g} s")
        self._launch_call = AwsCall(LAUNCH_HOOK_WAITS)
        self._call = AwsCall(HOOK_WAITS)

    def check(self, now: float) -> None:
        """Read the lifecycle state; complete the launch hook, or extend the termination hook."""
        self._watch_call.attempt(self._watch)
        if not self._out_of_service:
            self._launch_call.attempt(self._lifecycle.complete_launch_hook)
        elif now >= self._extend_hook_at:
            self._call.attempt(self._lifecycle.extend_hook)
            self._extend_hook_at = now + HOOK_EXTENSION_S * (1 - JITTER * self._random_share())

    def finish(self) -> None:
        """Complete the termination hook, so that the group does not wait for its timeout."""
        self._call.attempt(self._lifecycle.complete_hook)

    def _watch(self) -> None:
        out = self._lifecycle.out_of_service()
        if out is not None and not self._out_of_service:
            self._out_of_service = True
            self._on_out_of_service(out.reason)


class AwsCall:
    """Makes calls to AWS that may fail, and logs consecutive failures once."""

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self._failing = False

    def attempt(self, call: Callable[[], None]) -> bool:
        """Make the call; returns whether it succeeded."""
        try:
            call()
        except SluiceError as refused:
            if not self._failing:
                log.warning("%s; %s", refused, self._consequence)
            self._failing = True
            return False
        self._failing = False
        return True
