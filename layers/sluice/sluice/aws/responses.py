"""Reads the fields of AWS's responses, and separates malformed responses from defects of Sluice's code.

Owns what counts as a field, a list, a count or a number. Refuses values that no queue or fleet can have, so
that no decision rests on them. Anything else that goes wrong while a response is read is a defect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_COUNT = 2**31 - 1
"""The largest value of an Integer in AWS's APIs."""


class MalformedResponse(Exception):  # noqa: N818 - only `aws/errors.py` sees it
    """A response that lacks what AWS documents, or holds something else in its place."""


def field(response: object, name: str) -> Any:
    """A field that AWS documents as always present; raises MalformedResponse where it is not."""
    if not isinstance(response, Mapping) or name not in response:
        raise MalformedResponse(f"{name} is missing")
    return response[name]


def list_field(response: object, name: str) -> list[Any]:
    """A list that AWS documents as always present; raises MalformedResponse for anything else."""
    found = field(response, name)
    if not isinstance(found, list):
        raise MalformedResponse(f"{name} is no list but {found!r}")
    return found


def optional_list_field(response: object, name: str) -> list[Any]:
    """A list that AWS omits where it would be empty; raises MalformedResponse for anything but a list."""
    return list_field(response, name) if isinstance(response, Mapping) and name in response else []


def count(value: object) -> int:
    """A non-negative whole number, as a number or as digits; raises MalformedResponse for anything else."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value
    if not isinstance(number, int) or not 0 <= number <= MAX_COUNT:
        raise MalformedResponse(f"{value!r} is no count of messages or instances")
    return number


def positive(value: object) -> float:
    """A finite number above 0; raises MalformedResponse for anything else."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise MalformedResponse(f"{value!r} is no positive number")
    return float(value)
