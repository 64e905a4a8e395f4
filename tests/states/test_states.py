"""The share of the states in every test run, and the defects that it finds; `make states` searches deeper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.states.faults import FAULTS
from tests.states.model import Scope
from tests.states.replay import next_call
from tests.states.scopes import KNOWN, SEARCHES
from tests.states.search import search

pytestmark = pytest.mark.slow

TRUST = Path(__file__).parents[2] / "docs" / "trust.md"


@pytest.fixture(autouse=True)
def nothing_is_remembered_of_other_code() -> Iterator[None]:
    next_call.cache_clear()
    yield
    next_call.cache_clear()


@pytest.mark.parametrize("name", SEARCHES)
def test_no_state_of_the_share_is_wrong_and_the_page_says_how_many_there_are(name: str) -> None:
    chosen = SEARCHES[name]
    found = search(chosen.scope, max_depth=chosen.share)
    assert not found.story, found.story
    row = f"| {name} | {found.states:,} | {found.transitions:,} | {found.depth}{', all' * found.is_closed} |"
    assert row in TRUST.read_text(), f"docs/trust.md lacks {row}"


@pytest.mark.parametrize("name", FAULTS)
def test_the_share_finds_the_defect_and_tells_how(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, chosen = FAULTS[name], SEARCHES[FAULTS[name].scope]
    for module, attribute, broken in fault.patches:
        monkeypatch.setattr(module, attribute, broken)
    story = search(chosen.scope, max_depth=chosen.share).story
    assert story.startswith("  0. it begins: ")
    assert fault.says in story.splitlines()[-1], story


@pytest.mark.xfail(reason="surges of one workload are not serialized: docs/trust.md")
@pytest.mark.parametrize("what", KNOWN)
def test_a_minimum_is_never_left_raised(what: str) -> None:
    found = search(KNOWN[what], max_states=200_000)
    assert not found.story, found.story


def test_a_search_that_is_cut_off_says_so() -> None:
    found = search(Scope("small", messages=1, instances=1, actors=1), max_depth=2)
    assert (found.depth, found.is_closed) == (2, False)
    assert "cut off at 2 moves" in str(found)
