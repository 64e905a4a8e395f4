"""The user's handler: imported by name, called with a message, never trusted.

Whatever a handler raises affects only its own message. A coroutine is cancelled at the message's deadline; a
plain function cannot be stopped.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from sluice.errors import ConfigError
from sluice_worker.message import Message

log = logging.getLogger(__name__)

Handler = Callable[[Message], Any]
T = TypeVar("T")
Answer = tuple[object, BaseException | None]
"""What a handler returned, and what it raised."""
NOTHING_RAN = TypeError("the handler returned a generator, whose code has not run: remove `yield`")


def load(name: str) -> Handler:
    """Import `package.module:function`, also from the current folder; ConfigError if that fails."""
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise ConfigError(f"handler {name!r}: write package.module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"handler {name!r}: {missing}; it was looked for in {here} and in what is installed"
        ) from missing
    except (Exception, SystemExit) as broken:
        raise ConfigError(f"handler {name!r}: importing it failed: {broken!r}") from broken
    handler: object = module
    for part in function_name.split("."):
        handler = getattr(handler, part, None)
    if not callable(handler):
        raise ConfigError(f"handler {name!r}: {module_name} has no function {function_name}")
    found: Handler = handler
    return found


class DeadlineError(TimeoutError):
    """A coroutine was cancelled at its message's deadline."""


def caught(call: Callable[[], T]) -> tuple[T, None] | tuple[None, BaseException]:
    """What a call of the user's code returned, or the exception that it raised, of any kind."""
    try:
        return call(), None
    except BaseException as raised:  # noqa: BLE001 - a handler must not take the worker down
        return None, raised


class Caller:
    """Calls the handler; all its coroutines run on one event loop."""

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self._handler = handler
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, message: Message) -> BaseException | None:
        """Call it with a message; returns the exception that it raised, of any kind, or None."""
        answered, raised = self.answer(message, lambda: message.remaining_s)
        return NOTHING_RAN if answered is not None and inspect.isgenerator(answered) else raised

    def answer(self, given: object, remaining_s: Callable[[], float]) -> Answer:
        """Call it with its argument; returns what it returned, and what it raised.

        A coroutine is cancelled once `remaining_s` returns 0 or less.
        """
        try:
            answer = self._handler(given)
            if answer is None:
                return None, None
            if inspect.isawaitable(answer):
                return self._await(answer, remaining_s)
            if inspect.isasyncgen(answer):
                return None, NOTHING_RAN
        except BaseException as raised:  # noqa: BLE001 - a handler must not take the worker down
            return None, raised
        return answer, None

    def _await(self, answer: Awaitable[object], remaining_s: Callable[[], float]) -> Answer:
        async def within_deadline() -> Answer:
            # SystemExit and the like would end the event loop if a task raised them, so they are returned.
            try:
                return await _until_deadline(answer, remaining_s)
            except BaseException as raised:  # noqa: BLE001 - a handler must not take the worker down
                return None, raised

        return asyncio.run_coroutine_threadsafe(within_deadline(), self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=[self._loop], name="coroutines", daemon=True).start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop again whenever a task that a handler started stops it, or ends it with SystemExit."""
    while True:
        try:
            loop.run_forever()
        except BaseException:
            log.exception("a task of a handler ended the event loop; it goes on")


async def _until_deadline(answer: Awaitable[object], remaining_s: Callable[[], float]) -> Answer:
    """Await it, and cancel it at its deadline, which the handler may move meanwhile."""
    running = asyncio.ensure_future(_answered(answer))
    while True:
        timeout_s = min(max(remaining_s(), 0.0), threading.TIMEOUT_MAX)
        done, _ = await asyncio.wait({running}, timeout=timeout_s)
        if done:
            break
        if remaining_s() <= 0:
            running.cancel()
            await asyncio.wait({running})
            if running.cancelled():
                raise DeadlineError("the handler was cancelled at the message's deadline")
            break
    return running.result()


async def _answered(answer: Awaitable[object]) -> Answer:
    try:
        return await answer, None
    except asyncio.CancelledError:
        raise
    except BaseException as raised:  # noqa: BLE001 - see above
        return None, raised
