"""Counts of messages and instances, as AWS's answers carry them.

Owns what may pass for one. Refuses what no queue or fleet can hold, so that a decision never rests on it.
"""

from __future__ import annotations

MOST = 2**31 - 1
"""What AWS's own Integer holds."""


def count(value: object) -> int:
    """A whole number from 0 on, given as one or as its digits; ValueError for anything else."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or not 0 <= number <= MOST:
        raise ValueError(f"{value!r} is no count of messages or instances")
    return number
