"""A handler is found by its name, called whatever its kind, and affects only its own message."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from sluice.errors import ConfigError
from sluice_worker.message import Message
from sluice_worker.runtime.handler_runner import (
    Caller,
    DeadlineError,
    load,
)
from tests.worker.runtime.parts import message

RAISED = [
    ValueError("no"),
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    TimeoutError("of its own"),
    MemoryError(),
]


def due(in_s: float) -> Message:
    return message(deadline_at=time.monotonic() + in_s)


def raising(error: BaseException) -> Callable[[Message], None]:
    def handle(_: Message) -> None:
        raise error

    return handle


def awaiting(error: BaseException) -> Callable[[Message], Any]:
    async def handle(_: Message) -> None:
        await asyncio.sleep(0)
        raise error

    return handle


async def succeeding(_: Message) -> str:
    await asyncio.sleep(0)
    return "an answer that nobody reads"


# ---- what it may be ----------------------------------------------------------------------------------------


class Object:
    """A handler with state, called as a function or as a coroutine function."""

    def __init__(self) -> None:
        self.called_with: list[str] = []

    def __call__(self, one: Message) -> None:
        self.called_with.append(one.body)

    async def method(self, one: Message) -> None:
        self.called_with.append(one.body)


class Awaitable:
    """What is neither coroutine nor future, and can be awaited."""

    def __init__(self, called_with: list[str]) -> None:
        self.called_with = called_with

    def __await__(self) -> Generator[None]:
        self.called_with.append("body")
        yield


def test_functions_objects_methods_partials_and_awaitables_are_all_called_with_the_message() -> None:
    handler = Object()
    for called in (handler, handler.method, partial(handler), lambda _: Awaitable(handler.called_with)):
        assert Caller(called).call(due(20)) is None
    assert handler.called_with == ["body"] * 4


@pytest.mark.parametrize("answer", [None, "text", False, 0])
def test_any_return_value_is_success(answer: object) -> None:
    assert Caller(lambda _: answer).call(due(20)) is None


def generator(_: Message) -> Iterator[int]:
    yield 1


async def async_generator(_: Message) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("handler", [generator, async_generator])
def test_a_generator_is_a_failure_because_it_would_never_run(handler: Callable[[Message], Any]) -> None:
    raised = Caller(handler).call(due(20))
    assert isinstance(raised, TypeError)
    assert "yield" in str(raised)


# ---- what it may raise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("how", [raising, awaiting])
def test_any_exception_is_returned_and_the_next_call_is_made(
    how: Callable[[BaseException], Callable[[Message], Any]], error: BaseException
) -> None:
    handlers = iter([how(error), succeeding])
    caller = Caller(lambda one: next(handlers)(one))
    raised = caller.call(due(20))
    assert type(raised) is type(error)
    assert caller.call(due(20)) is None


# ---- coroutines and the deadline ---------------------------------------------------------------------------


def test_a_coroutine_is_cancelled_at_its_deadline() -> None:
    ended: list[str] = []

    async def hang(_: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    caller = Caller(hang)
    assert isinstance(caller.call(due(0.05)), DeadlineError)
    assert ended == ["cleaned up"]


def test_a_coroutine_that_moves_its_deadline_continues() -> None:
    async def twice_as_long(one: Message) -> None:
        one.extend(20)
        while time.monotonic() < one.received_at + 0.1:
            await asyncio.sleep(0.01)

    assert Caller(twice_as_long).call(due(0.05)) is None


def test_a_coroutine_that_finishes_although_cancelled_has_succeeded() -> None:
    async def stubborn(_: Message) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    assert Caller(stubborn).call(due(0.05)) is None


@pytest.mark.parametrize("ends", [lambda: sys.exit(4), lambda: asyncio.get_running_loop().stop()])
def test_a_task_that_stops_the_event_loop_does_not_end_other_coroutines(
    ends: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def end() -> None:
        ends()

    async def handle(one: Message) -> None:
        if one.body == "ends it":
            await asyncio.gather(end())
        await asyncio.sleep(0.01)

    caller = Caller(handle)
    raised = caller.call(message(body="ends it", deadline_at=time.monotonic() + 20))
    assert raised is None or isinstance(raised, SystemExit)
    assert caller.call(message(deadline_at=time.monotonic() + 20)) is None
    assert ("the event loop" in caplog.text) == isinstance(raised, SystemExit)


def test_coroutines_run_side_by_side() -> None:
    inside, both = [], threading.Event()

    async def meet(_: Message) -> None:
        inside.append(1)
        if len(inside) == 2:
            both.set()
        while not both.is_set():
            await asyncio.sleep(0.001)

    caller = Caller(meet)
    threads = [threading.Thread(target=caller.call, args=[due(20)], daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert both.is_set()


# ---- its name ----------------------------------------------------------------------------------------------


def test_a_handler_is_found_in_the_current_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_here.py").write_text("class Jobs:\n    @staticmethod\n    def handle(message): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [])
    assert load("found_here:Jobs.handle").__name__ == "handle"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("json", "write package.module:function"),
        (":loads", "write package.module:function"),
        ("json:", "write package.module:function"),
        ("no_such_module:handle", "no_such_module"),
        ("json:no_such_function", "json has no function no_such_function"),
        ("json:__doc__", "json has no function __doc__"),
    ],
)
def test_an_unresolvable_name_is_refused_with_what_is_missing(name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load(name)


def test_a_module_that_fails_to_import_is_refused_with_its_error(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaks_on_import.py").write_text("raise ValueError('no database')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="importing it failed: ValueError\\('no database'\\)"):
        load("breaks_on_import:handle")


def test_a_module_that_ends_the_program_on_import_is_refused_too(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_on_import.py").write_text("import sys\nsys.exit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="importing it failed: SystemExit"):
        load("ends_on_import:handle")
