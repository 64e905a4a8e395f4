"""Plays one input of a target, held to the limits of every input."""

from __future__ import annotations

from tests.fuzz.limits import bounded
from tests.fuzz.targets import TARGETS, NoInputError


def play(target: str, data: bytes) -> None:
    """One input, held to the limits; raises what it breaks: AssertionError, TooSlow, the reader's defect."""
    with bounded():
        try:
            TARGETS[target][0](data)
        except NoInputError:
            return
