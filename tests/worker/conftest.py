"""No test of the worker waits forever: one that hangs on a regression fails, and the others continue."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.worker.waiting import TIMEOUT_S

LIMIT_S = round(2.5 * TIMEOUT_S)


class HangingError(BaseException):
    """Not an Exception, so that the code under test cannot catch it as a failure."""


def _hangs(_: int, __: FrameType | None) -> None:
    raise HangingError(f"the test was not over after {LIMIT_S} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """The alarm reaches whatever the main thread waits for. Threads that tests start are daemons."""
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LIMIT_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
