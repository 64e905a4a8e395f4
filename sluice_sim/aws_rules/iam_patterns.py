"""Wildcards as IAM reads them: `*` stands for any text, `?` for one character.

Owns matching an ARN against a policy's pattern. A wildcard stays within its part of an ARN: the first five
parts end at a colon, the sixth is the rest.
"""

from __future__ import annotations

import re
from functools import cache

PARTS_OF_AN_ARN = 6


def matches(pattern: str, resource: str) -> bool:
    """Whether a policy's resource covers this one; `*` alone covers everything."""
    if pattern == "*":
        return True
    patterns, parts = _parts(pattern), _parts(resource)
    return len(patterns) == len(parts) and all(map(matches_text, patterns, parts))


def matches_text(pattern: str, text: str) -> bool:
    """Whether the text is one of those the pattern stands for."""
    return _regular_expression(pattern).fullmatch(text) is not None


def overlap(one: str, other: str) -> bool:
    """Whether some ARN is covered by both patterns."""
    ones, others = _parts(one), _parts(other)
    return len(ones) == len(others) and all(map(_overlap_in_text, ones, others))


def _parts(arn: str) -> list[str]:
    return arn.split(":", PARTS_OF_AN_ARN - 1)


@cache
def _regular_expression(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    return re.compile("".join(wildcards.get(letter) or re.escape(letter) for letter in pattern), re.DOTALL)


@cache
def _overlap_in_text(one: str, other: str) -> bool:
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _overlap_in_text(one[1:], other) or _overlap_in_text(one, other[1:])
    if other[0] == "*":
        return _overlap_in_text(other, one)
    return (one[0] == other[0] or "?" in one[0] + other[0]) and _overlap_in_text(one[1:], other[1:])
