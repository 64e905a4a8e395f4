"""One worker process or several: signals, restarts, and the lifecycle tasks that they share.

A child that dies is restarted after a growing pause. SIGTERM and the instance's termination drain every
child, and the parent ends when the last one has drained.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import Array, c_byte
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from types import FrameType

from sluice.errors import ConfigError
from sluice_worker.ports import Telemetry
from sluice_worker.runtime import handler_runner as handlers
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.in_service import (
    DrainRequest,
    run_while_in_service,
)
from sluice_worker.runtime.log_entries import EntryFormatter
from sluice_worker.runtime.loops import (
    defects_logged,
    exit_process,
    start_loop,
)
from sluice_worker.settings import Settings
from sluice_worker.signature import must_take
from sluice_worker.wiring import (
    Platform,
    check,
    check_telemetry,
    detect_platform,
    lifecycle_tasks,
    telemetry,
    worker,
)

Flags = Array[c_byte]
"""Bytes in shared memory. The children write one each, IDLE, BUSY or DRAINED; the parent writes a single one,
whether they receive."""
IDLE, BUSY, DRAINED = 0, 1, 2
"""DRAINED: it receives nothing for now, and no message can come any more."""

log = logging.getLogger(__name__)

DRAIN_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CHECK_INTERVAL_S = 0.25
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0
HEALTHY_AFTER_S = 60.0
"""A child that lived this long started successfully: its restart has the shortest pause again."""
AFTER_GRACE_S = 10.0
"""More than `loops.EXIT_TIMEOUT_S`."""


def run(settings: Settings, handler: Handler | str) -> int:
    """Run until SIGTERM, SIGINT or the instance's termination; returns the exit status, 0 for a clean drain.

    ConfigError if it cannot even begin: no such handler, one that a message cannot be given to, no region,
    a queue that refuses, another thread than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("run() hears SIGTERM and SIGINT, which reach the main thread alone: call it there")
    called = handlers.load(handler) if isinstance(handler, str) else handler
    name = handler if isinstance(handler, str) else _named(called)
    must_take(called, name, "messages" if settings.batch else "message", may_yield=bool(settings.batch))
    if settings.processes > 1:
        _require_picklable(called)
    check_telemetry()
    check(settings)
    platform, drain_request = detect_platform(settings), DrainRequest()
    _on_signals(drain_request.request)
    if settings.processes > 1:
        return run_while_in_service(
            platform.lifecycle,
            drain_request,
            lambda: _run_several(settings, called, platform, drain_request),
        )
    # Before the work, which may begin anew: the SDK's providers can be set once in a process.
    reports = telemetry(settings)
    return run_while_in_service(
        platform.lifecycle,
        drain_request,
        lambda: _run_single(settings, called, platform, drain_request, reports),
    )


def _named(handler: Handler) -> str:
    return str(getattr(handler, "__qualname__", handler))


def _require_picklable(handler: Handler) -> None:
    try:
        pickle.dumps(handler)
    except (pickle.PicklingError, AttributeError, TypeError) as stuck:
        raise ConfigError(
            f"handler {handler!r} cannot reach other processes: make it a function of a module ({stuck})"
        ) from stuck


def _run_single(
    settings: Settings,
    handler: Handler,
    platform: Platform,
    drain_request: DrainRequest,
    reports: Telemetry | None,
) -> int:
    one = worker(settings, handler, platform.is_receiving, reports)
    with (
        drain_request.forwarded_to(one.drain),
        lifecycle_tasks(settings, platform, lambda: one.busy, lambda: one.is_drained, one.drain),
    ):
        return one.run()


def _run_several(
    settings: Settings, handler: Handler, platform: Platform, drain_request: DrainRequest
) -> int:
    process_group = _ProcessGroup(settings, handler, platform.is_receiving)
    with (
        drain_request.forwarded_to(process_group.drain),
        lifecycle_tasks(
            settings,
            platform,
            lambda: process_group.busy,
            lambda: process_group.is_drained,
            process_group.drain,
        ),
    ):
        return process_group.run()


def _on_signals(drain: Callable[[str], None]) -> None:
    """SIGTERM and SIGINT drain; a second SIGINT ends at once.

    A signal interrupts whatever the main thread does, also while that holds the lock which `drain` needs: so
    another thread drains, and only a reentrant queue is touched here.
    """
    received: queue.SimpleQueue[str] = queue.SimpleQueue()

    def on_signal(number: int, _: FrameType | None) -> None:
        received.put(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def drain_on_signal() -> bool:
        drain(received.get())
        return True

    start_loop("signals", drain_on_signal)
    for number in DRAIN_SIGNALS:
        signal.signal(number, on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DRAIN_SIGNALS)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Block the drain signals: a child inherits this, so a signal waits until it has its handler."""
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    signal.pthread_sigmask(signal.SIG_BLOCK, DRAIN_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, DRAIN_SIGNALS)


@dataclass(slots=True)
class _Child:
    """One process, and when it may be restarted."""

    process: SpawnProcess | None = None
    started_at: float = 0.0
    failures: int = 0
    start_at: float = 0.0


class _ProcessGroup:
    """Several worker processes; what they and the parent tell each other is in shared memory."""

    def __init__(
        self, settings: Settings, handler: Handler, is_receiving: Callable[[], bool] = lambda: True
    ) -> None:
        self._settings, self._handler, self._is_receiving = settings, handler, is_receiving
        self._context = multiprocessing.get_context("spawn")
        # Without a lock: a child that is killed while it holds one would block the others and the parent.
        self._states: Flags = self._context.RawArray("b", settings.processes)
        self._receiving: Flags = self._context.RawArray("b", [1])
        self._children = [_Child() for _ in range(settings.processes)]
        self._draining = threading.Event()
        self._reason = ""

    def run(self) -> int:
        """Start all, restart those that die, and drain when `drain` is called or a defect ends the loop."""
        try:
            while not self._draining.wait(CHECK_INTERVAL_S):
                self._receiving[0] = int(self._is_receiving())
                for number, child in enumerate(self._children):
                    with defects_logged(f"looking after process {number}"):
                        self._restart_if_dead(number, child)
        finally:
            status = self._end()
        return status

    @property
    def busy(self) -> bool:
        """Whether any process is busy."""
        return any(state == BUSY for state in self._states)

    @property
    def is_drained(self) -> bool:
        """Whether no process receives for now, and none has or can still get a message."""
        return not self._is_receiving() and all(state == DRAINED for state in self._states)

    def drain(self, reason: str) -> None:
        """Start to drain; `run` returns when that is done."""
        self._reason = self._reason or reason
        self._draining.set()

    def _restart_if_dead(self, number: int, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None and not child.process.is_alive():
            sound = now - child.started_at >= HEALTHY_AFTER_S
            child.failures = 1 if sound else child.failures + 1
            pause_s = min(FIRST_BACKOFF_S * 2 ** min(child.failures - 1, 10), MAX_BACKOFF_S)
            log.error(
                "worker process %d ended with %s; started anew in %g s",
                number,
                child.process.exitcode,
                pause_s,
            )
            self._states[number] = IDLE
            child.process, child.start_at = None, now + pause_s
        if child.process is None and now >= child.start_at:
            child.process = self._context.Process(
                target=_work,
                args=(self._settings, self._handler, number, self._states, self._receiving),
                name=f"worker-{number}",
            )
            with _signals_held_back():
                child.process.start()
            child.started_at = now

    def _end(self) -> int:
        log.info("draining %d processes: %s", len(self._children), self._reason)
        processes = [child.process for child in self._children if child.process is not None]
        for process in processes:
            process.terminate()
        ends_at = time.monotonic() + self._settings.grace_s + AFTER_GRACE_S
        for process in processes:
            process.join(max(ends_at - time.monotonic(), 0.0))
            if process.is_alive():
                log.error("%s did not end in time and is killed", process.name)
                process.kill()
                process.join()
        return 0 if all(process.exitcode == 0 for process in processes) else 1


def _work(settings: Settings, handler: Handler, number: int, states: Flags, receiving: Flags) -> None:
    """The main function of a child: one worker, whose byte in `states` follows its work."""
    configure_logging()
    named = settings.model_copy(update={"processes": 1, "worker_id": f"{settings.worker_id}-{number}"})
    one = worker(named, handler, lambda: receiving[0] == 1, telemetry(named))
    _on_signals(one.drain)

    def flag() -> None:
        while True:
            states[number] = BUSY if one.busy else DRAINED if one.is_drained else IDLE
            time.sleep(CHECK_INTERVAL_S)

    threading.Thread(target=flag, name="flag", daemon=True).start()
    parent = multiprocessing.parent_process()

    def orphaned() -> None:
        if parent is not None:
            parent.join()
            one.drain("the parent process is gone")

    threading.Thread(target=orphaned, name="parent", daemon=True).start()
    exit_process(SystemExit(one.run()))


def configure_logging() -> None:
    """Log lines on stderr; stdout belongs to the reports."""
    stderr = logging.StreamHandler()
    stderr.setFormatter(EntryFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[stderr])
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # callers log what fails after its retries
