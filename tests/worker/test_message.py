"""What a handler may do with its message."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from sluice_worker.core.model import MAX_VISIBILITY_S
from tests.worker.runtime.parts import message

INFINITE = float("inf")


@pytest.mark.parametrize("seconds", [float("nan"), INFINITE, -INFINITE, -1, "60", None, Decimal("nan")])
def test_a_deadline_can_only_be_moved_by_a_number_of_seconds(seconds: Any) -> None:
    """NaN would disable it: no comparison with NaN is true."""
    one = message(deadline_at=time.monotonic() + 60)
    before = one.deadline_at
    with pytest.raises(ValueError, match=r"extend\(.*\): give the seconds from now, a finite number"):
        one.extend(seconds)
    assert one.deadline_at == before


@pytest.mark.parametrize(("seconds", "moves_to_s"), [(0, 0), (90, 90), (2.5, 2.5), (10**9, MAX_VISIBILITY_S)])
def test_a_deadline_is_moved_by_seconds_up_to_twelve_hours(seconds: float, moves_to_s: float) -> None:
    one = message()
    one.extend(seconds)
    assert moves_to_s - 60 < one.remaining_s <= moves_to_s
