"""What is wrong with a workload document, in words for whoever wrote it.

Owns the translation of pydantic's errors, and the search for keys given twice. Refuses to judge settings:
`config.py` does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from pydantic_core import ErrorDetails

from sluice.errors import Problem


def repeated_keys(text: str) -> list[Problem]:
    """Keys that one object holds more than once: parsers keep the last one and say nothing."""
    try:
        # An object becomes a tuple of pairs; numbers stay text, which no length of theirs can break.
        document = json.loads(text, object_pairs_hook=tuple, parse_int=str)
    except (ValueError, RecursionError):
        return []  # no JSON, as the model says better
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


def problem(error: ErrorDetails) -> Problem:
    """One error of the model in those words."""
    location = error["loc"]
    if location[-1:] == ("[key]",):  # pydantic's mark: the key itself is the offending value
        location = location[:-2]
    message = error["msg"][:1].lower() + error["msg"][1:]
    way_out = _WAYS_OUT.get(error["type"], "{message}").format(message=message)
    return Problem(path=".".join(_path(location)) or "document", value=error["input"], way_out=way_out)


def _path(location: tuple[int | str, ...]) -> Iterator[str]:
    """The document's own path: pydantic also names the chosen member of a union, which is no key."""
    tags = {"fleet": ("asg", "ecs"), "target": ("static", "dynamic"), "bootstrap": None}
    previous: int | str = ""
    for step in location:
        members = tags.get(str(previous), ())
        if members is None or step in members:
            continue
        yield str(step)
        previous = step
