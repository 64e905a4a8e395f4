"""What every input is held to, whatever reads it: a second of processor time, and a bound on memory."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MAX_S = 1.0
MAX_GROWTH_MIB = 64


class TooSlow(BaseException):
    """Not an Exception, which what is tested may catch."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"an input takes more than {MAX_S:g} s of processor time")


@contextmanager
def bounded() -> Iterator[None]:
    """TooSlow after a second of processor time; AssertionError if the peak of memory grows by too much."""
    before = signal.signal(signal.SIGVTALRM, _stop)
    peak_mib = _peak_mib()
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    growth_mib = _peak_mib() - peak_mib
    assert growth_mib <= MAX_GROWTH_MIB, f"an input takes {growth_mib:.0f} MiB"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
