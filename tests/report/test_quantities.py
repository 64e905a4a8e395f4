"""Shares, durations and amounts have the same format everywhere."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_report import quantities


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (None, "–"),
        (0, "0 %"),
        (1, "100 %"),
        (0.99996, "99.996 %"),
        (0.999999999, "99.99999 %"),
        (0.9937, "99.3 %"),
        (0.98996, "98.9 %"),
        (0.29, "29.0 %"),
        (0.49999, "49.9 %"),
        (0.5, "50.0 %"),
        (0.0129, "1.29 %"),
        (1e-9, "under 0.00001 %"),
    ],
)
def test_a_share_is_truncated_and_never_shown_as_100_percent(part: float | None, written: str) -> None:
    assert quantities.share(part) == written


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0]))
def test_a_share_below_the_promise_is_never_rounded_up_to_it(part: float, promised: float) -> None:
    if part < promised:
        written = quantities.share(part).removesuffix(" %").removeprefix("under ")
        assert Decimal(written) < 100 * Decimal(repr(promised)) or part == 0


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "–"), (0, "0 s"), (4.256, "4.26 s"), (300, "300 s"), (786, "13.1 min"), (9000, "2.5 h"),
        (5e6, "57.9 days"),
    ],
)  # fmt: skip
def test_a_duration_is_written_in_a_readable_unit(seconds: float | None, written: str) -> None:
    assert quantities.duration(seconds) == written


def test_durations_in_one_list_share_a_unit() -> None:
    assert quantities.durations([0.0, 4.5, None, 7300.0]) == ["0 s", "4.5 s", "–", "7,300 s"]
    assert quantities.durations([0.0, 786.0, 90_000.0]) == ["0 min", "13.1 min", "1,500 min"]
    assert quantities.durations([]) == []


@pytest.mark.parametrize(
    ("value", "written"), [(None, "–"), (1.234, "1.23"), (12.34, "12.3"), (1234.0, "1,234")]
)
def test_a_ratio_keeps_two_decimals_where_they_matter(value: float | None, written: str) -> None:
    assert quantities.times(value) == written
