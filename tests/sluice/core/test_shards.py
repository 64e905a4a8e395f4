from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.shards import slices

NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9-]{0,5}", fullmatch=True)
SIZES = st.dictionaries(NAMES, st.integers(1, 50), max_size=60)
MOST_NAMES = st.integers(1, 12)
MOST_BYTES = st.integers(50, 300)


@given(sizes=SIZES, most_names=MOST_NAMES, most_bytes=MOST_BYTES)
def test_every_name_is_in_exactly_one_slice_and_the_slices_follow_each_other_in_order(
    sizes: dict[str, int], most_names: int, most_bytes: int
) -> None:
    parts = slices(sizes, most_names=most_names, most_bytes=most_bytes)
    assert [name for part in parts for name in part] == sorted(sizes)


@given(sizes=SIZES, most_names=MOST_NAMES, most_bytes=MOST_BYTES)
def test_no_slice_is_empty_or_larger_than_allowed(
    sizes: dict[str, int], most_names: int, most_bytes: int
) -> None:
    for part in slices(sizes, most_names=most_names, most_bytes=most_bytes):
        assert 1 <= len(part) <= most_names
        assert sum(sizes[name] for name in part) <= most_bytes


@given(sizes=SIZES, most_names=MOST_NAMES, most_bytes=MOST_BYTES)
def test_a_slice_ends_only_where_the_next_name_would_not_fit(
    sizes: dict[str, int], most_names: int, most_bytes: int
) -> None:
    for part, following in pairwise(slices(sizes, most_names=most_names, most_bytes=most_bytes)):
        filled_bytes = sum(sizes[name] for name in part)
        assert len(part) == most_names or filled_bytes + sizes[following[0]] > most_bytes


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ({}, []),
        ({"b": 1, "a": 1, "c": 1}, [("a", "b"), ("c",)]),
        ({"a": 6, "b": 5, "c": 5}, [("a",), ("b", "c")]),
        ({"a": 1, "huge": 99, "z": 1}, [("a",), ("huge",), ("z",)]),
    ],
)
def test_a_slice_holds_two_names_or_ten_bytes_here(
    sizes: dict[str, int], parts: list[tuple[str, ...]]
) -> None:
    assert slices(sizes, most_names=2, most_bytes=10) == parts
