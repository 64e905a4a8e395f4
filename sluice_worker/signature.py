"""Whether a handler can be called as the worker calls it, found before the first message.

A handler whose signature is unknown passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sluice.errors import ConfigError


def must_take(handler: Callable[..., Any], name: str, argument: str, *, may_yield: bool = False) -> None:
    """ConfigError for a handler that cannot be called with one positional argument, named for the words.

    `may_yield` allows a generator, whose items are the answer. A decorator's own signature counts, not that
    of what it wraps: it may give arguments itself.
    """
    wrong = _why_not(handler, argument, may_yield=may_yield)
    if wrong is not None:
        raise ConfigError(f"handler {name!r} {wrong}; write def handle({argument})")


def _why_not(handler: Callable[..., Any], argument: str, *, may_yield: bool) -> str | None:
    if inspect.isclass(handler):
        return "is a class: a call makes an object and processes nothing"
    function = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004
    refused = (inspect.isasyncgenfunction,) if may_yield else _GENERATORS
    if any(is_one(each) for is_one in refused for each in (handler, function)):
        return "contains yield: a call would run none of its code"
    try:
        signature = inspect.signature(handler, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C without a signature
        return None
    try:
        signature.bind(argument)
    except TypeError as misfit:
        unbound = next(iter(signature.parameters), "") in ("self", "cls")
        said = f"is called with ({argument}) and takes {signature}: {misfit}"
        return f"{said}; name the method of an object, not of its class" if unbound else said
    return None


_GENERATORS = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
