"""Plays one input of a target, held to the limits of every input."""

from __future__ import annotations

from tests.fuzz.limits import bounded
from tests.fuzz.targets import TARGETS, Refused


def play(target: str, data: bytes) -> None:
    """One input, held to the limits; AssertionError, TooSlow or the reader's own defect if it breaks anything."""
    with bounded():
        try:
            TARGETS[target][0](data)
        except Refused:
            return
