"""Slots (threads) of a dispatcher that a test runs one step at a time, in any order.

A step lasts from one taking of the dispatcher's lock to the next, to a spin or to a wait. Only one thread
runs, so every interleaving of real threads at the lock is one order of steps, and each can be repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace, TracebackType

from sluice_worker.message import Message
from sluice_worker.runtime import dispatcher as module
from sluice_worker.runtime.dispatcher import Dispatcher


class State(Enum):
    """The state of a slot between two steps."""

    LOOKING = "looking"
    """It takes the lock next."""
    SPINNING = "spinning"
    WAITING = "waiting"
    NOTIFIED = "notified"
    WORKING = "working"
    """It has a batch, or found none in time, and the test decides what follows."""


ABOUT_TO_LOOK = (State.LOOKING, State.SPINNING, State.NOTIFIED)


class _Stopped(BaseException):
    """Raised in a slot's thread at the end of the test."""


class Slot:
    """One thread, which runs only within `step`."""

    def __init__(self, dispatcher: Dispatcher, timeout_s: float) -> None:
        self._dispatcher, self._timeout_s = dispatcher, timeout_s
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self.state = State.WORKING
        self.batch: list[Message] = []
        self.deadline = 0.0
        self._stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def step(self) -> None:
        """Run until it parks again."""
        self._go.release()
        assert self._back.acquire(timeout=20), "the slot is stuck"

    def park(self, state: State) -> None:
        """Called by the slot's thread: stop here until the next step."""
        self.state = state
        self._back.release()
        self._go.acquire()
        if self._stopped:
            raise _Stopped

    def stop(self) -> None:
        self._stopped = True
        self._go.release()
        self.thread.join(20)

    def _run(self) -> None:
        try:
            self._go.acquire()
            while not self._stopped:
                self.batch = self._dispatcher.take_batch(self._timeout_s)
                self.park(State.WORKING)
        except _Stopped:
            pass


class StepLock:
    """The dispatcher's lock; a slot parks before it takes it."""

    def __init__(self, current: Callable[[], Slot | None]) -> None:
        self._current = current
        self.held = False

    def __enter__(self) -> None:
        slot = self._current()
        if slot is not None:
            slot.park(State.LOOKING)
        assert not self.held
        self.held = True

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.held = False


class StepCondition:
    """The condition that slots wait on."""

    def __init__(self, stepped: SteppedSlots) -> None:
        self._stepped = stepped

    def wait(self, timeout_s: float) -> None:
        slot = self._stepped.current()
        assert slot is not None
        slot.deadline = self._stepped.now + timeout_s
        self._stepped.lock.held = False
        slot.park(State.WAITING)
        assert not self._stepped.lock.held
        self._stepped.lock.held = True

    def notify(self) -> None:
        self._stepped.notify(1)

    def notify_all(self) -> None:
        self._stepped.notify(len(self._stepped.slots))


class SteppedSlots:
    """A dispatcher's slots, lock and clock under the test's control."""

    def __init__(self, dispatcher: Dispatcher, count: int, *, timeout_s: float = 1.0) -> None:
        self.now = 1000.0
        self.lock = StepLock(self.current)
        dispatcher._lock = self.lock  # type: ignore[assignment]
        dispatcher._batch_due = StepCondition(self)  # type: ignore[assignment]
        # Of the pollers no thread is run: a test calls `next_poll` itself, and does not wait.
        dispatcher._capacity_freed = SimpleNamespace(notify=_nothing, notify_all=_nothing)  # type: ignore[assignment]
        self.dispatcher = dispatcher
        self._patched, module.time = module.time, self  # type: ignore[assignment]
        self.slots = [Slot(dispatcher, timeout_s) for _ in range(count)]
        self._by_thread = {slot.thread: slot for slot in self.slots}

    def current(self) -> Slot | None:
        """The slot that this thread belongs to; None in the test's own thread."""
        return self._by_thread.get(threading.current_thread())

    def monotonic(self) -> float:
        """In place of `time.monotonic`."""
        return self.now

    def sleep(self, _: float) -> None:
        """In place of `time.sleep`."""
        slot = self.current()
        assert slot is not None
        slot.park(State.SPINNING)

    def notify(self, count: int) -> None:
        """Those that wait longest are first, as in CPython."""
        waiting = [slot for slot in self.slots if slot.state is State.WAITING]
        for slot in sorted(waiting, key=lambda slot: slot.deadline)[:count]:
            slot.state = State.NOTIFIED

    def in_state(self, *states: State) -> list[Slot]:
        return [slot for slot in self.slots if slot.state in states]

    def stop(self) -> None:
        """End every thread, and restore the module's clock."""
        for slot in self.slots:
            slot.stop()
        module.time = self._patched


def _nothing() -> None:
    return None
