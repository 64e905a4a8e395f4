"""The corpus of the last long run, and 20 fresh inputs near each of its members, break nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.play import play
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FRESH = 20


def test_each_target_has_a_corpus_and_nothing_else_has() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert all(any((CORPUS / target).iterdir()) for target in TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_breaks_its_reader(target: str) -> None:
    for path in sorted((CORPUS / target).iterdir()):
        play(target, path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_no_fresh_input_near_the_corpus_breaks_its_reader(target: str) -> None:
    chance = random.Random(target)
    for path in sorted((CORPUS / target).iterdir()):
        for _ in range(FRESH):
            play(target, mutated(path.read_bytes(), chance))
