"""The embedded AWS on the wall clock: virtual time follows it, a good deal faster.

Owns the pace: how many virtual seconds pass in one of the wall. Everything but SQS stays on the virtual
clock. SQS tells wall time, for its clients are processes that know no other.
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
"""Two seconds stand for a minute."""
STEP_S = 0.05
MAX_STEP_S = 1.0
"""What passes at most from one look to the next: a machine that slept lets no hours pass without workers."""


class WallClock:
    """Drives a virtual clock, `pace` virtual seconds in one of the wall."""

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
        """Virtual seconds that have passed on the wall and not yet on the clock."""

    def run_until(self, moment: float) -> None:
        """As the virtual clock's, but it takes its time."""
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
    """Epoch seconds of the wall clock, while the time machine holds all that this process reads."""
    real_s: float = time_machine.escape_hatch.time.time()
    return real_s


@contextmanager
def sqs_on_wall_clock() -> Iterator[None]:
    """SQS counts in wall seconds while the context lasts: when messages were sent, and how long they hide."""

    def now_ms() -> float:
        return now_s() * 1000

    with mock.patch.object(sqs, "unix_time", now_s), mock.patch.object(sqs, "unix_time_millis", now_ms):
        yield
