import pytest

from sluice.core.deadline.floor import Floor
from sluice.core.deadline.promise import (
    longest_boot_s,
    shortest_promise_s,
    ways_out_by_cost,
    why_out_of_reach,
)
from tests.support.builders import deadline


@pytest.mark.parametrize(("promise_s", "is_kept"), [(228, True), (227, False)])
def test_a_promise_needs_a_boot_a_tick_a_margin_and_a_tenth_of_itself_for_work(
    promise_s: float, is_kept: bool
) -> None:
    """180 + 10 + 15 + promise / 10 <= promise from 227.8 s on."""
    settings = deadline(promise_s=promise_s, margin_s=15)
    assert (why_out_of_reach(settings, 180) is None) is is_kept


def test_a_promise_that_launches_cannot_keep_is_explained_with_three_ways_out() -> None:
    problem = why_out_of_reach(deadline(promise_s=60, margin_s=15), 180)
    assert problem == (
        "a start within 60 s needs 211 s: a boot of 180 s, a tick of 10 s, a margin of 15 s, and 6 s "
        "for messages before it. Set a minimum above zero, use a warm pool, or promise a longer latency"
    )


def test_a_promise_that_starts_from_the_warm_pool_cannot_keep_is_explained_by_their_boot() -> None:
    problem = why_out_of_reach(deadline(promise_s=60, margin_s=15), 45, warm=True)
    assert problem == (
        "a start within 60 s needs 76 s: a boot of 45 s from the warm pool, a tick of 10 s, a margin of "
        "15 s, and 6 s for messages before it. Set a minimum above zero or promise a longer latency"
    )


def test_the_measured_boot_counts_and_not_the_documents() -> None:
    settings = deadline(promise_s=100, boot_s=180)
    assert why_out_of_reach(settings, 80) is None
    assert why_out_of_reach(settings, 180) is not None


@pytest.mark.parametrize("changes", [{"tick_s": 60}, {"margin_s": 60}, {"promise_s": 200}])
def test_a_longer_tick_a_wider_margin_or_a_shorter_promise_may_put_it_out_of_reach(
    changes: dict[str, float],
) -> None:
    settings = {"promise_s": 240, "margin_s": 20} | changes
    assert why_out_of_reach(deadline(promise_s=240, margin_s=20), 180) is None
    assert why_out_of_reach(deadline(**settings), 180) is not None


def test_the_shortest_promise_and_the_longest_boot_are_just_within_reach() -> None:
    settings = deadline(promise_s=60, margin_s=15)
    longer = deadline(promise_s=shortest_promise_s(settings, 180) + 0.01, margin_s=15)
    assert why_out_of_reach(longer, 180) is None
    assert why_out_of_reach(settings, longest_boot_s(settings) - 0.01) is None
    assert why_out_of_reach(settings, longest_boot_s(settings) + 0.01) is not None


def test_a_promise_shorter_than_a_tick_and_the_margin_has_no_way_out_by_a_warm_pool() -> None:
    floor = Floor(held=4, needed=80, mean_load=0.5)
    assert "a warm pool of 40" in ways_out_by_cost(floor, deadline(promise_s=60), 180, 2)
    assert "warm pool" not in ways_out_by_cost(floor, deadline(promise_s=10), 180, 2)
