"""Describes what is wrong with a workload document, for the person who wrote it.

Translates pydantic's errors, and finds keys that are given twice. The settings themselves are validated in
`parsing.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from pydantic_core import ErrorDetails

from sluice.errors import Problem


def repeated_keys(text: str) -> list[Problem]:
    """Keys that an object holds more than once: JSON parsers silently keep the last one."""
    try:
        # Objects become tuples of pairs. Integers stay text: Python refuses to parse very long ones.
        document = json.loads(text, object_pairs_hook=tuple, parse_int=str)
    except (ValueError, RecursionError):
        return []  # not JSON: the model reports that
    return list(_repeated(document, ()))


def _repeated(node: object, path: tuple[str, ...]) -> Iterator[Problem]:
    members = node if isinstance(node, tuple) else ()
    for key, count in Counter(key for key, _ in members).items():
        if count > 1:
            yield Problem(path=".".join((*path, key)), value=key, way_out=f"given {count} times: keep one")
    for key, value in members:
        yield from _repeated(value, (*path, key))


_WAYS_OUT = {
    "missing": "required: add this key",
    "extra_forbidden": "unknown key: remove it, or check its spelling and place",
    "json_invalid": "not valid JSON: {message}",
}


_MAY_BE_NEW = {
    "extra_forbidden": "unknown key",
    "enum": "{message}",
    "literal_error": "{message}",
    "union_tag_invalid": "{message}",
}
"""What a newer release may have added: a key, or a value that is a name, such as a mode or a type."""


def problem(error: ErrorDetails, *, newer: str | None = None) -> Problem:
    """One of pydantic's errors as a Problem; `newer` is what to do about what only a newer release knows."""
    location = error["loc"]
    if location[-1:] == ("[key]",):  # pydantic's marker: the key itself is the offending value
        location = location[:-2]
    message = error["msg"][:1].lower() + error["msg"][1:]
    way_out = _WAYS_OUT.get(error["type"], "{message}").format(message=message)
    if newer and error["type"] in _MAY_BE_NEW:
        way_out = f"{_MAY_BE_NEW[error['type']].format(message=message)}: {newer}"
    return Problem(path=".".join(_path(location)) or "document", value=error["input"], way_out=way_out)


def _path(location: tuple[int | str, ...]) -> Iterator[str]:
    """The path in the document: pydantic also names the chosen member of a union, which is not a key."""
    tags = {
        "fleet": ("asg", "ecs"),
        "target": ("static", "dynamic"),
        "scaling": ("target_tracking", "deadline"),
        "bootstrap": None,
    }
    previous: int | str = ""
    for step in location:
        members = tags.get(str(previous), ())
        if members is None or step in members:
            continue
        yield str(step)
        previous = step
