"""What users name as a handler: some can be called with a message, and some never can."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any


def plain(message: object) -> None: ...


async def coroutine(message: object) -> None: ...


def with_default(message: object, tries: int = 3) -> None: ...


def anything(*args: object, **named: object) -> None: ...


def keyword_default(message: object, *, dry: bool = False) -> None: ...


def as_in_lambda(event: object, context: object) -> None: ...


def nothing() -> None: ...


def keyword_only(*, message: object) -> None: ...


def keyword_needed(message: object, *, table: str) -> None: ...


def generator(message: object) -> Iterator[int]:
    yield 1


async def async_generator(message: object) -> AsyncIterator[int]:
    yield 1


def connected(function: Callable[[Any, str], None]) -> Callable[..., None]:
    """A decorator that passes a second argument to the wrapped function."""

    @functools.wraps(function)
    def called(*args: Any) -> None:
        function(*args, "a connection")

    return called


@connected
def decorated(message: object, connection: str) -> None: ...


class Thumbnails:
    """Its methods are handlers if they belong to an object."""

    def __init__(self, message: object = None) -> None: ...

    def __call__(self, message: object) -> None: ...

    def handle(self, message: object) -> None: ...

    @classmethod
    def of_the_class(cls, message: object) -> None: ...

    @staticmethod
    def static(message: object) -> None: ...


class Yielding:
    def __call__(self, message: object) -> Iterator[int]:
        yield 1


thumbnails = Thumbnails()
yielding = Yielding()
partial = functools.partial(as_in_lambda, context=None)
partial_of_too_much = functools.partial(plain, "message")
builtin = print
untold = dict.fromkeys
