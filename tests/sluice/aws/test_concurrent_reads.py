"""Concurrent reads: a failure affects one item only, and none holds up the invocation."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice.aws.concurrent_reads import (
    fan_out,
    per_item,
    read_in_time,
)
from sluice.core.model import Unknown
from sluice.errors import TransientError
from tests.support.builders import (
    POOL,
    plenty,
)

DEFECTS = [
    IndexError("list index out of range"),
    RuntimeError("ours"),
    OSError("disk"),
    AssertionError("never"),
]


@pytest.fixture
def hang() -> Iterator[Callable[..., int]]:
    """A read that does not return until the test ends."""
    over = threading.Event()

    def read(*_: object) -> int:
        over.wait()
        return 7

    yield read
    over.set()


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: type(defect).__name__)
def test_an_unforeseen_error_is_unknown_for_its_own_item_and_marked_as_a_defect(defect: Exception) -> None:
    def read(item: str) -> int:
        if item == "bad":
            raise defect
        return 1

    readings = fan_out(POOL, read, ["bad", "good"], "the read of {}".format, plenty)
    assert readings["good"] == 1
    unknown = readings["bad"]
    assert isinstance(unknown, Unknown)
    assert unknown.reason == f"the read of bad: unexpected {type(defect).__name__}: {defect}"
    assert unknown.defect is defect


def test_an_expected_failure_is_not_a_defect() -> None:
    def read(item: str) -> int:
        raise TransientError("AWS answered Throttling")

    readings = fan_out(POOL, read, ["one"], str, plenty)
    assert readings == {"one": Unknown(reason="AWS answered Throttling")}


def test_a_batch_with_a_defect_marks_each_of_its_items() -> None:
    defect = IndexError("ours")
    readings = per_item({("a", "b"): Unknown(reason="unexpected", defect=defect)})
    assert {item: reading.defect for item, reading in readings.items() if isinstance(reading, Unknown)} == {
        "a": defect,
        "b": defect,
    }


def test_system_exit_is_never_swallowed() -> None:
    def read(item: str) -> int:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        fan_out(POOL, read, ["one"], str, plenty)


def test_a_read_that_hangs_is_given_up_when_the_time_is_over(hang: Callable[..., int]) -> None:
    with pytest.raises(TransientError, match=r"^GetParameter of /one: not read before the deadline$"):
        read_in_time(ThreadPoolExecutor(1), hang, "GetParameter of /one", lambda: 0.01)


def test_a_read_that_was_not_begun_never_runs(hang: Callable[..., int]) -> None:
    started = []
    pool = ThreadPoolExecutor(1)
    readings = fan_out(pool, hang, ["one"], str, lambda: 0.01)
    with pytest.raises(TransientError):
        read_in_time(pool, lambda: started.append(1), "late", lambda: 0)
    assert readings == {"one": Unknown(reason="one: not read before the deadline")}
    assert started == []


def test_one_read_in_time_is_answered_and_its_failure_passes_through() -> None:
    assert read_in_time(POOL, lambda: 3, "one", plenty) == 3
    with pytest.raises(IndexError):
        read_in_time(POOL, lambda: [][0], "one", plenty)
