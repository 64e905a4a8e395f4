from pathlib import Path

import pytest

from tests.functions.conftest import EVENTS

TESTS = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_every_sample_event_is_used_by_a_handler_test(name: str) -> None:
    assert f'"{name}"' in TESTS, f"events/{name}.json is used by no test in {Path(__file__).parent.name}/"


def test_there_are_sample_events() -> None:
    assert len(list(EVENTS.glob("*.json"))) >= 17
