"""Reads the fields of AWS's responses, and separates malformed responses from defects of Sluice's code.

A value that no queue or fleet can have counts as malformed, so that no decision rests on it. Anything else
that goes wrong while a response is read is a defect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_COUNT = 2**31 - 1
"""The largest value of an Integer in AWS's APIs."""


class MalformedResponse(Exception):  # noqa: N818 - only `aws/errors.py` sees it
    """A response that lacks what AWS documents, or has something else in its place."""


def field(response: object, name: str) -> Any:
    """A field that AWS documents as always present; raises MalformedResponse if it is not."""
    if not isinstance(response, Mapping) or name not in response:
        raise MalformedResponse(f"{name} is missing")
    return response[name]


def list_field(response: object, name: str) -> list[Any]:
    """A list that AWS documents as always present; raises MalformedResponse for anything else."""
    found = field(response, name)
    if not isinstance(found, list):
        raise MalformedResponse(f"{name} is not a list but {found!r}")
    return found


def optional_list_field(response: object, name: str) -> list[Any]:
    """A list that AWS omits if it would be empty; raises MalformedResponse for anything but a list."""
    return list_field(response, name) if isinstance(response, Mapping) and name in response else []


def count(value: object) -> int:
    """A non-negative whole number, as a number or as digits; raises MalformedResponse for anything else."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value
    if not isinstance(number, int) or not 0 <= number <= MAX_COUNT:
        raise MalformedResponse(f"{value!r} is not a count of messages or instances")
    return number


def positive(value: object) -> float:
    """A finite number above 0; raises MalformedResponse for anything else."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise MalformedResponse(f"{value!r} is not a positive number")
    return float(value)
