"""A clock that advances only for a call, a wait or a backoff: nothing here really sleeps.

It is the clock of a cell, the remaining time of the Lambda context, and the wait of the concurrent reads. A
read that takes longer than the invocation waits is held back in its thread until the invocation is over.
"""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as really_wait
from datetime import datetime, timedelta
from typing import Any

import time_machine

from sluice import wiring

BACKOFF_S = 2.0
"""What one backoff between attempts takes here: the most that the second of three attempts waits for."""
LAST_CALL_S = 10.0
"""The remaining time of an invocation after a slow response in its own thread."""

_of_thread = threading.local()


class ReadersPool(ThreadPoolExecutor):
    """A pool whose threads know which future they work for; `submitted` are those of this invocation."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.submitted: list[Future[Any]] = []
        self.changed = threading.Condition()
        """A read has ended, or is held back."""
        # All of them from the start: a pool may count on a thread as idle that has just been taken, and here
        # the read that then waits for it would wait for ever.
        all_there = threading.Barrier(threads)
        really_wait([super(ReadersPool, self).submit(all_there.wait) for _ in range(threads)])

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        ticket = object()

        def run() -> Any:
            _of_thread.ticket = ticket
            return fn(*args, **named)

        future = super().submit(run)
        future.ticket = ticket  # type: ignore[attr-defined]
        self.submitted.append(future)
        future.add_done_callback(lambda _: self.notify())
        return future

    def notify(self) -> None:
        """Wake the threads that wait, so that they check again."""
        with self.changed:
            self.changed.notify_all()


class Timeline:
    """The clock of one process at a time, and the invocation's share of it."""

    def __init__(self, travel: time_machine.Traveller, pool: ReadersPool) -> None:
        self._travel, self._pool, self._lock = travel, pool, threading.Lock()
        self._held: set[object] = set()
        self._let_go = threading.Event()
        self.elapsed_s = self.timeout_s = 0.0
        self.limits = wiring.MINUTE_LIMITS

    def start(self, at: datetime, timeout_s: float, limits: wiring.TimeLimits) -> None:
        """Begin an invocation of a function with this timeout, which waits so long for AWS."""
        self._travel.move_to(at, tick=False)
        self.elapsed_s, self.timeout_s, self.limits = 0.0, timeout_s, limits
        self._held, self._let_go = set(), threading.Event()
        self._pool.submitted.clear()

    def end(self) -> None:
        """End the invocation, and the reads that it no longer waits for."""
        self._let_go.set()
        really_wait(self._pool.submitted)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._travel.shift(timedelta(seconds=seconds))
            self.elapsed_s += seconds

    def remaining_ms(self) -> int:
        return round((self.timeout_s - self.elapsed_s) * 1000)

    def sleep(self, seconds: float) -> None:
        """Replaces the sleep of a backoff, and always takes the same time, whatever its jitter."""
        self.advance(BACKOFF_S)

    def take_a_moment(self) -> None:
        """Every call takes some time: a read that starts with none left does not return."""
        reader = getattr(_of_thread, "ticket", None) is not None
        if reader and self.timeout_s - self.elapsed_s <= self.limits.reserve_s:
            self.linger()

    def linger(self) -> None:
        """A response takes longer than the remaining time."""
        ticket = getattr(_of_thread, "ticket", None)
        if ticket is None:
            self.advance(max(self.timeout_s - self.elapsed_s - LAST_CALL_S, 0))
            return
        self._held.add(ticket)
        self._pool.notify()
        self._let_go.wait()

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> None:
        """Like `concurrent.futures.wait`; if only lingering reads are left, the time is up at once."""
        with self._pool.changed:
            self._pool.changed.wait_for(
                lambda: _done(futures) or all(map(self._is_over, self._pool.submitted))
            )
        # Only now: a read that ended while they were looked at was not held back.
        if not _done(futures):
            self.advance(timeout)

    def _is_over(self, future: Future[Any]) -> bool:
        return future.done() or future.ticket in self._held  # type: ignore[attr-defined]


def _done(futures: Collection[Future[Any]]) -> bool:
    return all(future.done() for future in futures)
