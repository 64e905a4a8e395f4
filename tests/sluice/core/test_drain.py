"""The fewest instances that drain a backlog in time, and how long a fleet takes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.drain import Work, drain_s, instances_to_drain

DAY_S = 86_400.0

counts = st.integers(0, 1000)
rates = st.floats(0, 100)
seconds = st.floats(1, 1e5)


def work(
    backlog: float, arrivals_per_s: float = 0.0, processing_s: float = 1.0, concurrency: float = 1
) -> Work:
    return Work(
        backlog=backlog,
        arrivals_per_s=arrivals_per_s,
        processing_s=processing_s,
        concurrency_per_instance=concurrency,
    )


works = st.builds(work, st.floats(0, 1e6), rates, st.floats(0.01, 100), st.integers(1, 64))


@pytest.mark.parametrize(("within_days", "instances"), [(14, 19), (7, 24)])
def test_the_consumer_guides_backlog_is_drained_in_two_weeks_by_19_and_in_one_by_24(within_days, instances):
    guide = work(2_800_000, arrivals_per_s=600_000 / DAY_S, processing_s=2.0)
    assert guide.messages_per_s_per_instance * DAY_S == 43_200
    assert instances_to_drain(guide, within_days * DAY_S) == instances


def test_what_is_launched_works_only_once_it_has_booted():
    assert instances_to_drain(work(600), 60) == 10
    assert instances_to_drain(work(600), 60, boot_s=30) == 20
    assert instances_to_drain(work(600), 60, running=5, boot_s=30) == 15


def test_no_number_drains_in_less_than_a_boot_what_those_that_run_cannot():
    assert instances_to_drain(work(600), 30, running=9, boot_s=30) is None
    assert instances_to_drain(work(600), 30, running=20, boot_s=30) == 20
    assert instances_to_drain(work(600), 30, running=40, boot_s=30) == 20


def test_an_exact_quotient_starts_no_further_instance():
    assert instances_to_drain(work(0, arrivals_per_s=0.1 * 3, processing_s=1 / 0.1), 60) == 3


def test_a_short_burst_of_the_load_does_not_ask_for_less_than_the_arrivals_need():
    busy = work(0, arrivals_per_s=10)
    assert busy.steady_instances == 10
    assert instances_to_drain(busy, 60, running=12) == 10


def test_a_fleet_no_larger_than_the_load_never_drains():
    assert drain_s(work(100, arrivals_per_s=10), 10, running=10) == math.inf
    assert drain_s(work(100, arrivals_per_s=10), 11, running=11) == pytest.approx(100)


def test_an_empty_queue_is_drained_at_once():
    assert drain_s(work(0), 0) == 0
    assert instances_to_drain(work(0), 60) == 0


def test_what_runs_may_drain_the_queue_before_a_launch_has_booted():
    assert drain_s(work(100), 20, running=10, boot_s=60) == pytest.approx(10)


@given(works, seconds, counts, st.floats(0, 1000))
def test_the_answer_drains_in_time_and_one_instance_less_does_not(load, within_s, running, boot_s):
    instances = instances_to_drain(load, within_s, running=running, boot_s=boot_s)
    slack = 1 + 1e-6
    if instances is None:
        assert within_s <= boot_s
        assert drain_s(load, running, running=running) > within_s / slack
        return
    if load.backlog:
        assert drain_s(load, instances, running=running, boot_s=boot_s) <= within_s * slack
    if instances > max(running, load.steady_instances + 1):
        assert drain_s(load, instances - 1, running=running, boot_s=boot_s) >= within_s / slack
