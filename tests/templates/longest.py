"""The longest text that a regular expression matches: a parameter's longest value."""

from __future__ import annotations

import re._constants as code
import re._parser as parser
from collections.abc import Callable, Sequence
from typing import Any

Pick = Callable[[str], str]
"""One of these characters."""
UNBOUNDED = 10


def longest(pattern: str, pick: Pick) -> str:
    """A match as long as the pattern lets it be; an unbounded repeat counts as ten."""
    return _sequence(list(parser.parse(pattern)), pick)


def _sequence(nodes: Sequence[Any], pick: Pick) -> str:
    return "".join(_node(*node, pick) for node in nodes)


def _node(kind: Any, argument: Any, pick: Pick) -> str:
    if kind is code.LITERAL:
        return chr(argument)
    if kind is code.IN:
        return pick(_characters(argument))
    if kind in (code.AT, code.ASSERT_NOT):  # the caller checks whether the text matches
        return ""
    if kind is code.SUBPATTERN:
        return _sequence(argument[-1], pick)
    if kind is code.BRANCH:
        return max((_sequence(branch, pick) for branch in argument[1]), key=len)
    if kind is code.MAX_REPEAT:
        _, maximum, repeated = argument
        times = UNBOUNDED if maximum is code.MAXREPEAT else maximum
        return "".join(_sequence(repeated, pick) for _ in range(times))
    raise NotImplementedError(f"{kind} is in no pattern of the templates")


def _characters(members: Sequence[tuple[Any, Any]]) -> str:
    found = []
    for kind, argument in members:
        if kind is code.LITERAL:
            found.append(chr(argument))
        elif kind is code.RANGE:
            found += map(chr, range(argument[0], argument[1] + 1))
        else:
            raise NotImplementedError(f"{kind} is in no character class of the templates")
    return "".join(found)
