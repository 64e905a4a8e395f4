"""Plays mutated inputs of one target under Atheris, which keeps those that reach a new branch.

Started by `python -m tests.fuzz`, once for each target: libFuzzer ends its process.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports(
    include=["sluice", "sluice_worker", "sluice_sim"], enable_loader_override=False
):
    from tests.fuzz.play import play
from tests.fuzz.mutation import mutated

OWN_SHARE = 0.8
"""Of the mutations; the others are libFuzzer's, which know nothing of what the bytes mean."""


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    chance = random.Random(seed)
    if chance.random() >= OWN_SHARE:
        return atheris.Mutate(data, max_size)
    return mutated(data, chance)[:max_size]


def main() -> None:
    target, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], lambda data: play(target, data), custom_mutator=_mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
