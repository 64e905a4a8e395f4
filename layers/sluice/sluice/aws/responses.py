"""What AWS answered, read so that a malformed answer is told apart from a defect of Sluice's own code.

Owns what may pass for a field, a list, a count or a number. Refuses what no queue or fleet can hold, so that
a decision never rests on it. Whatever else goes wrong while an answer is read is a defect of Sluice's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_COUNT = 2**31 - 1
"""What AWS's own Integer holds."""


class MalformedResponse(Exception):  # noqa: N818 - it names the answer, as the errors of `sluice.errors` name who acts
    """An answer that lacks what AWS documents, or holds something else in its place."""


def field(answer: object, name: str) -> Any:
    """A field that AWS documents as always there; MalformedAnswer where it is not."""
    if not isinstance(answer, Mapping) or name not in answer:
        raise MalformedResponse(f"{name} is missing")
    return answer[name]


def list_field(answer: object, name: str) -> list[Any]:
    """A list that AWS documents as always there; MalformedAnswer for anything else."""
    found = field(answer, name)
    if not isinstance(found, list):
        raise MalformedResponse(f"{name} is no list but {found!r}")
    return found


def optional_list_field(answer: object, name: str) -> list[Any]:
    """A list that AWS leaves out where it would be empty; MalformedAnswer for anything but a list."""
    return list_field(answer, name) if isinstance(answer, Mapping) and name in answer else []


def count(value: object) -> int:
    """A whole number from 0 on, given as one or as its digits; MalformedAnswer for anything else."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value
    if not isinstance(number, int) or not 0 <= number <= MAX_COUNT:
        raise MalformedResponse(f"{value!r} is no count of messages or instances")
    return number


def positive(value: object) -> float:
    """A finite number above 0; MalformedAnswer for anything else."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise MalformedResponse(f"{value!r} is no positive number")
    return float(value)
