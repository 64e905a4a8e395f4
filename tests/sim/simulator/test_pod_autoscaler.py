"""The HorizontalPodAutoscaler's arithmetic and default behaviour, as Kubernetes' documentation has them."""

from __future__ import annotations

import pytest

from sluice_sim.simulator.pod_autoscaler import (
    STABILISATION_S,
    SYNC_S,
    PodAutoscaler,
    for_average_value,
    for_value,
)


@pytest.mark.parametrize(
    ("value", "target", "current", "recommended"),
    [
        (200, 100, 1, 2),  # the documentation's example: twice the target doubles
        (50, 100, 2, 1),  # half of it halves
        (109, 100, 5, 5),  # within a tenth nothing changes
        (91, 100, 5, 5),
        (111, 100, 10, 12),  # beyond, the result is rounded up
        (89, 100, 10, 9),
        (0, 100, 5, 1),  # to 0 goes KEDA alone
    ],
)
def test_a_mean_per_pod_multiplies_the_pods(
    value: float, target: float, current: int, recommended: int
) -> None:
    assert for_value(value, target, current, current) == recommended


def test_a_mean_per_pod_multiplies_the_pods_that_are_ready() -> None:
    assert for_value(300, 100, current=8, ready=2) == 6
    assert for_value(300, 100, current=8, ready=0) == 1


@pytest.mark.parametrize(
    ("value", "target", "current", "recommended"),
    [
        (300, 100, 1, 3),
        (301, 100, 1, 4),
        (310, 100, 3, 3),
        (331, 100, 3, 4),
        (0, 100, 3, 1),
    ],
)
def test_a_whole_is_divided_by_what_one_pod_takes(
    value: float, target: float, current: int, recommended: int
) -> None:
    assert for_average_value(value, target, current) == recommended


def test_by_value_a_metric_that_the_pods_do_not_change_multiplies_them_at_every_sync() -> None:
    """Why pods beside a fleet never use Value on the fleet's backlog per instance."""
    by_value = by_average = 1
    for _ in range(5):
        by_value = for_value(120, 60, by_value, ready=by_value)
        by_average = for_average_value(120, 60, by_average)
    assert (by_value, by_average) == (32, 2)


@pytest.mark.parametrize(("current", "limit"), [(1, 5), (3, 7), (4, 8), (5, 10), (20, 40)])
def test_a_sync_adds_four_or_doubles_whichever_is_more(current: int, limit: int) -> None:
    assert PodAutoscaler().desired(1000, current, 0.0) == limit
    assert PodAutoscaler().desired(current + 1, current, 0.0) == current + 1


def test_it_scales_down_to_the_highest_recommendation_of_five_minutes() -> None:
    autoscaler = PodAutoscaler()
    assert autoscaler.desired(8, 10, 0.0) == 8
    times = [number * SYNC_S for number in range(1, round(STABILISATION_S / SYNC_S) + 1)]
    sizes = [autoscaler.desired(2, 8, at_s) for at_s in times]
    assert sizes == [8] * (len(times) - 1) + [2]


def test_a_peak_within_the_window_keeps_what_there_is_and_no_more() -> None:
    autoscaler = PodAutoscaler()
    autoscaler.desired(10, 2, 0.0)
    assert autoscaler.desired(1, 6, SYNC_S) == 6


def test_what_it_forgot_does_not_hold_it_up() -> None:
    autoscaler = PodAutoscaler()
    autoscaler.desired(10, 10, 0.0)
    autoscaler.forget()
    assert autoscaler.desired(1, 10, SYNC_S) == 1
