from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.shard_slices import slices

NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9-]{0,5}", fullmatch=True)
SIZES = st.dictionaries(NAMES, st.integers(1, 50), max_size=60)
MAX_NAMES = st.integers(1, 12)
MAX_BYTES = st.integers(50, 300)


@given(sizes=SIZES, max_names=MAX_NAMES, max_bytes=MAX_BYTES)
def test_every_name_is_in_exactly_one_slice_and_the_slices_follow_each_other_in_order(
    sizes: dict[str, int], max_names: int, max_bytes: int
) -> None:
    parts = slices(sizes, max_names=max_names, max_bytes=max_bytes)
    assert [name for part in parts for name in part] == sorted(sizes)


@given(sizes=SIZES, max_names=MAX_NAMES, max_bytes=MAX_BYTES)
def test_no_slice_is_empty_or_larger_than_allowed(
    sizes: dict[str, int], max_names: int, max_bytes: int
) -> None:
    for part in slices(sizes, max_names=max_names, max_bytes=max_bytes):
        assert 1 <= len(part) <= max_names
        assert sum(sizes[name] for name in part) <= max_bytes


@given(sizes=SIZES, max_names=MAX_NAMES, max_bytes=MAX_BYTES)
def test_a_slice_ends_only_where_the_next_name_would_not_fit(
    sizes: dict[str, int], max_names: int, max_bytes: int
) -> None:
    for part, following in pairwise(slices(sizes, max_names=max_names, max_bytes=max_bytes)):
        filled_bytes = sum(sizes[name] for name in part)
        assert len(part) == max_names or filled_bytes + sizes[following[0]] > max_bytes


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
    assert slices(sizes, max_names=2, max_bytes=10) == parts
