"""Runs the embedded AWS on the wall clock: virtual time advances with it, `pace` times faster.

Everything but SQS stays on the virtual clock. SQS uses wall time, because its clients are processes that know
no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import time_machine
from moto.sqs import models as sqs

if TYPE_CHECKING:
    from sluice_sim.clock import VirtualClock

PACE = 30.0
"""A virtual minute takes two wall seconds."""
STEP_S = 0.05
MAX_STEP_S = 1.0
"""Most wall seconds counted between two readings of the clock.

Without this limit, a machine that was suspended would skip hours in which no worker could run.
"""


class WallClock:
    """Advances a virtual clock by `pace` virtual seconds per wall second."""

    def __init__(
        self,
        clock: VirtualClock,
        pace: float,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._clock, self._pace, self._monotonic_s, self._pause = clock, pace, now, pause
        self._last_read_s = now()
        self._pending_s = 0.0
        """Virtual seconds by which the virtual clock is behind."""

    def run_until(self, moment: float) -> None:
        """As `VirtualClock.run_until`, but in real time."""
        while self._clock.now < moment:
            now = self._monotonic_s()
            self._pending_s += min(now - self._last_read_s, MAX_STEP_S) * self._pace
            self._last_read_s = now
            step_s = min(self._pending_s, moment - self._clock.now)
            self._pending_s -= step_s
            self._clock.run_until(min(self._clock.now + step_s, moment))
            if self._clock.now < moment:
                self._pause(STEP_S)


def now_s() -> float:
    """Epoch seconds of the wall clock, although time-machine has patched this process's clock."""
    real_s: float = time_machine.escape_hatch.time.time()
    return real_s


@contextmanager
def sqs_on_wall_clock() -> Iterator[None]:
    """Within the context, SQS uses wall time for SentTimestamp and visibility timeouts."""

    def now_ms() -> float:
        return now_s() * 1000

    with mock.patch.object(sqs, "unix_time", now_s), mock.patch.object(sqs, "unix_time_millis", now_ms):
        yield
