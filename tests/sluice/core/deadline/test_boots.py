import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.deadline.boots import (
    LOST_AFTER,
    MAX_WEIGHT,
    PRIOR_WEIGHT,
    QUANTILES,
    RESOLUTION_S,
    Booting,
    BootTimes,
    boot_times,
    booting_launches,
    expected_ready,
    launches_at,
    measured_boots,
    quantiles_s,
    warm_lead_s,
    with_samples,
)
from sluice.core.deadline.state import BootSamples, EngineState, Launch
from sluice.core.model import BootTime
from tests.support.builders import engine_state


def launch(at_s: float, instances: int) -> Launch:
    return Launch(at_s=at_s, instances=instances)


def samples(*pairs: tuple[float, float]) -> tuple[BootSamples, ...]:
    return tuple(BootSamples(boot_s=boot_s, weight=weight) for boot_s, weight in pairs)


def times(*cold_s: float) -> BootTimes:
    """These boot times for every kind of start."""
    return BootTimes(cold_s=cold_s, warm_s=cold_s)


def read(now_s: float, *launches: Launch, booting: int, refused: int = 0, before_s: float = 90) -> Booting:
    """All that boot no more run."""
    state = engine_state(before_s, launches=launches)
    return booting_launches(state, now_s, booting=booting, refused=refused, started=10**6)


def remembered(state: EngineState, now_s: float, found: Booting) -> EngineState:
    return replace(
        state,
        read_s=now_s,
        launches=found.launches,
        ready=found.ready,
        ready_since_s=found.ready_since_s,
        boots=with_samples(state.boots, found.complete),
    )


# --- which launches still boot ----------------------------------------------------------------------------


def test_the_oldest_instance_is_ready_first() -> None:
    found = read(100, launch(0, 3), launch(50, 2), booting=1)
    assert found.launches == (launch(50, 1),)
    assert sorted((one.boot_s, one.weight) for one in found.ready) == [(50, 1), (100, 3)]


def test_a_launch_that_is_ready_in_parts_keeps_its_moment() -> None:
    found = read(100, launch(0, 3), booting=2)
    assert found.launches == (launch(0, 2),)
    assert found.ready == samples((100, 1))
    assert (found.ready_since_s, found.complete) == (100, ())


def test_instances_that_boot_beyond_the_known_launches_were_launched_just_now() -> None:
    assert read(100, launch(0, 3), booting=5).launches == (launch(0, 3), launch(100, 2))


@pytest.mark.parametrize("refused", [2, 3, 50])
def test_refused_launches_teach_no_boot_time(refused: int) -> None:
    booting = max(0, 3 - refused)
    found = read(100, launch(90, 3), booting=booting, refused=refused)
    assert sum(one.instances for one in found.launches) == booting
    assert (found.ready, found.complete) == ((), ())


def test_only_the_launch_of_the_previous_tick_can_have_been_refused() -> None:
    found = read(100, launch(10, 3), booting=3, refused=3)
    assert found.launches == (launch(10, 3),)


def test_of_the_instances_that_boot_no_more_the_oldest_teach_and_only_as_many_as_started() -> None:
    state = engine_state(90, launches=(launch(0, 2), launch(60, 3)))
    found = booting_launches(state, 100, booting=1, refused=0, started=3)
    assert found.launches == (launch(60, 1),)
    assert found.ready == samples((40, 1), (100, 2))


@given(
    st.lists(st.tuples(st.integers(0, 89), st.integers(1, 20)), max_size=6),
    st.integers(0, 20),
    st.integers(0, 150),
    st.integers(0, 30),
)
def test_the_launches_hold_exactly_the_instances_that_boot_oldest_first(
    older: list[tuple[int, int]], newest: int, booting: int, refused: int
) -> None:
    launches = [launch(at_s, count) for at_s, count in sorted(older)]
    launches += [launch(90, newest)] if newest else []
    found = read(100, *launches, booting=booting, refused=refused)
    assert sum(one.instances for one in found.launches) == booting
    assert [one.at_s for one in found.launches] == sorted(one.at_s for one in found.launches)
    assert all(one.instances > 0 for one in found.launches)
    learned = sum(one.weight for one in (*found.ready, *found.complete))
    known = sum(one.instances for one in launches) - min(refused, newest)
    assert learned == max(0, known - booting)


def test_launches_of_which_none_gets_ready_are_remembered_in_a_bounded_number_of_parts() -> None:
    """A day of ticks of 5 s, each with a launch: the moment of a part is at most 5 % of its age too early."""
    state, most = engine_state(0), 0
    for tick in range(1, 17_280):
        now_s = 5.0 * tick
        found = booting_launches(state, now_s, booting=tick, refused=0, started=0)
        parts = found.launches
        assert sum(one.instances for one in parts) == tick
        most = max(most, len(parts))
        state = remembered(state, now_s, found)
    ends_s = [*(one.at_s - 5 for one in parts[1:]), now_s]
    assert all(
        end_s - one.at_s <= 0.05 * (now_s - one.at_s) for one, end_s in zip(parts, ends_s, strict=True)
    )
    assert most <= 300


# --- what they teach --------------------------------------------------------------------------------------


def test_a_launch_that_overlaps_no_other_teaches_when_all_of_it_is_ready() -> None:
    state = engine_state(90, launches=(launch(0, 2),))
    first = booting_launches(state, 100, booting=1, refused=0, started=1)
    assert first.complete == ()
    last = booting_launches(remembered(state, 100, first), 150, booting=0, refused=0, started=1)
    assert last.complete == samples((100, 1), (150, 1))
    assert (last.ready, last.ready_since_s) == ((), None)


def test_launches_that_overlap_teach_together() -> None:
    state = engine_state(90, launches=(launch(0, 1), launch(80, 1)))
    first = booting_launches(state, 100, booting=1, refused=0, started=1)
    assert (first.complete, first.ready) == ((), samples((100, 1)))
    later = remembered(state, 100, first)
    later = replace(later, launches=(*later.launches, launch(110, 5)))  # after the first was ready
    last = booting_launches(later, 180, booting=5, refused=0, started=1)
    assert last.complete == samples((100, 1), (100, 1))


def learned_mean_s(*, every_s: int, instances: int, shortest_s: int, longest_s: int) -> tuple[float, float]:
    """The mean that boots of uniform length teach if launches overlap, and their true mean."""
    chance = random.Random(1)
    state = engine_state(0)
    ends: list[float] = []
    learned: list[tuple[float, float]] = []
    true: list[float] = []
    for now_s in range(10, 60_000, 10):
        ends = [end_s for end_s in ends if end_s > now_s]
        found = booting_launches(state, now_s, booting=len(ends), refused=0, started=10**6)
        learned += [(one.boot_s, one.weight) for one in found.complete]
        state = remembered(state, now_s, found)
        # A gap now and then, so that overlapping launches end at some time.
        if now_s % every_s == 0 and now_s % 2000 < 1000:
            boots_s = [chance.uniform(shortest_s, longest_s) for _ in range(instances)]
            true += boots_s
            ends += [now_s + boot_s for boot_s in boots_s]
            state = replace(state, launches=(*state.launches, launch(now_s, instances)))
    weight = sum(one for _, one in learned)
    return sum(boot_s * one for boot_s, one in learned) / weight, sum(true) / len(true)


@pytest.mark.parametrize(("every_s", "instances"), [(10, 3), (50, 3), (100, 3), (1000, 40), (1000, 1000)])
def test_boots_that_overlap_teach_their_true_mean(every_s: int, instances: int) -> None:
    learned, true = learned_mean_s(every_s=every_s, instances=instances, shortest_s=60, longest_s=300)
    # A boot is seen at the tick after its end: half a tick late on average.
    assert learned == pytest.approx(true + 5, abs=6)


def test_newer_boots_fade_the_older_ones_and_all_weigh_a_bounded_number() -> None:
    boots = with_samples((), samples((60, MAX_WEIGHT)))
    boots = with_samples(boots, samples((300, 50)))
    assert boots == samples((60, MAX_WEIGHT - 50), (300, 50))
    for _ in range(100):
        boots = with_samples(boots, samples((300, 10)))
    assert [one.boot_s for one in boots] == [60, 300] or [one.boot_s for one in boots] == [300]
    assert sum(one.weight for one in boots) == pytest.approx(MAX_WEIGHT, abs=0.1)
    assert boots[-1].weight > 0.99 * MAX_WEIGHT


@given(st.lists(st.lists(st.tuples(st.floats(0, 4000), st.integers(1, 2000)), max_size=5), max_size=20))
def test_measured_boots_never_weigh_more_than_their_bound(
    batches: list[list[tuple[float, float]]],
) -> None:
    boots: tuple[BootSamples, ...] = ()
    for batch in batches:
        boots = with_samples(boots, samples(*batch))
        assert sum(one.weight for one in boots) <= MAX_WEIGHT * (1 + 1e-9)
        assert [one.boot_s for one in boots] == sorted({one.boot_s for one in boots})
        assert all(one.boot_s % RESOLUTION_S == 0 for one in boots)


# --- when the booting ones are expected -------------------------------------------------------------------


def test_until_boots_are_measured_the_documents_time_is_expected() -> None:
    assert quantiles_s((), 180) == (180,) * QUANTILES


def test_quantiles_are_equally_likely_boot_times() -> None:
    boots = samples((60, 98), (300, 98))
    assert quantiles_s(boots, 180) == (60,) * 4 + (300,) * 4
    assert quantiles_s(samples((60, PRIOR_WEIGHT)), 180) == (60,) * 4 + (180,) * 4


@given(
    st.lists(st.tuples(st.integers(0, 200), st.floats(0.01, 200)), max_size=20, unique_by=lambda one: one[0]),
    st.floats(1, 3600),
)
def test_quantiles_are_in_order_and_of_the_measured_or_the_documents_times(
    pairs: list[tuple[int, float]], prior_s: float
) -> None:
    boots = samples(*sorted((5.0 * boot, weight) for boot, weight in pairs))
    found = quantiles_s(boots, prior_s)
    assert len(found) == QUANTILES
    assert list(found) == sorted(found)
    assert {*found} <= {prior_s, *(one.boot_s for one in boots)}
    # Each is the smallest time within which its share of all boots is ready.
    known = [*((one.boot_s, one.weight) for one in boots), (prior_s, PRIOR_WEIGHT)]
    total = sum(weight for _, weight in known)
    for index, value in enumerate(found):
        share = (2 * index + 1) / (2 * QUANTILES)
        assert sum(weight for boot_s, weight in known if boot_s <= value) >= share * total * (1 - 1e-9)
        assert sum(weight for boot_s, weight in known if boot_s < value) <= share * total * (1 + 1e-9)


def test_an_instance_is_expected_by_the_times_that_it_has_not_outlasted() -> None:
    quantiles = (60.0, 120.0, 180.0, 240.0)
    assert expected_ready([launch(0, 4)], 0, times(*quantiles)) == [(60, 1), (120, 1), (180, 1), (240, 1)]
    assert expected_ready([launch(0, 4)], 130, times(*quantiles)) == [(180, 2), (240, 2)]


def test_an_instance_that_outlasts_every_time_is_expected_now_and_after_twice_the_slowest_never() -> None:
    quantiles = (60.0, 120.0)
    assert expected_ready([launch(0, 4)], 120, times(*quantiles)) == [(120, 4)]
    assert expected_ready([launch(0, 4)], LOST_AFTER * 120, times(*quantiles)) == [(240, 4)]
    assert expected_ready([launch(0, 4)], LOST_AFTER * 120 + 1, times(*quantiles)) == []


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 9)), max_size=8))
def test_no_instance_is_expected_before_now_and_none_twice(launched: list[tuple[int, int]]) -> None:
    launches = [launch(at_s, count) for at_s, count in launched]
    expected = expected_ready(launches, 1000, times(60.0, 120.0, 600.0))
    assert expected == sorted(expected)
    assert all(moment_s >= 1000 for moment_s, _ in expected)
    assert sum(count for _, count in expected) == pytest.approx(sum(one.instances for one in launches))


# --- starts from a warm pool ------------------------------------------------------------------------------


def warm(at_s: float, instances: int) -> Launch:
    return Launch(at_s=at_s, instances=instances, warm=True)


def test_a_start_from_the_warm_pool_is_ready_before_a_cold_one_that_was_launched_earlier() -> None:
    state = engine_state(90, launches=(launch(0, 2), warm(60, 3)))
    found = booting_launches(state, 110, booting=2, refused=0, started=3, lead_s=135)
    assert found.launches == (launch(0, 2),)
    assert found.ready == (BootSamples(boot_s=50, weight=3, warm=True),)
    assert booting_launches(state, 180, booting=3, refused=0, started=2, lead_s=10).launches == (warm(60, 3),)


def test_the_pools_instances_are_launched_first_and_refused_last() -> None:
    assert launches_at(0, 5, warm=2) == [warm(0, 2), launch(0, 3)]
    assert launches_at(0, 2, warm=9) == [warm(0, 2)]
    assert launches_at(0, 2, warm=0) == [launch(0, 2)]
    state = engine_state(90, launches=(warm(90, 2), launch(90, 3)))
    assert booting_launches(state, 100, booting=1, refused=4, started=0).launches == (warm(90, 1),)


def test_launches_that_others_made_come_from_the_pool_as_far_as_it_had_instances() -> None:
    found = booting_launches(engine_state(90, warm=2), 100, booting=3, refused=0, started=0)
    assert found.launches == (warm(100, 2), launch(100, 1))


def test_each_kind_of_start_has_boot_times_of_its_own() -> None:
    new = [BootSamples(boot_s=45, weight=MAX_WEIGHT, warm=True)]
    measured = with_samples(samples((180, 150)), new)
    assert measured == (*samples((180, 150)), *new)
    learned = boot_times(measured, 180)
    assert set(learned.cold_s) == {180}
    assert set(learned.warm_s) == {45}
    assert warm_lead_s(measured, 180) == 135


def test_until_a_start_from_the_warm_pool_is_measured_it_is_taken_to_save_half_of_a_boot() -> None:
    assert warm_lead_s((), 180) == 90
    assert warm_lead_s(samples((60, 1e6)), 180) == 30


def test_a_start_from_the_pool_counts_as_a_cold_one_until_it_was_measured() -> None:
    assert boot_times((), 180) == times(*[180.0] * QUANTILES)


def test_a_booting_instance_is_expected_by_its_kind_of_start() -> None:
    known = BootTimes(cold_s=(180.0,), warm_s=(45.0,))
    assert expected_ready([launch(0, 2), warm(0, 1)], 0, known) == [(45, 1), (180, 2)]


def test_slow_launches_of_both_kinds_take_little_memory() -> None:
    both = tuple(one for tick in range(200) for one in (warm(10 * tick, 1), launch(10 * tick, 1)))
    found = booting_launches(engine_state(1990, launches=both), 2000, booting=400, refused=0, started=0)
    assert sum(one.instances for one in found.launches) == 400
    assert len(found.launches) <= 240
    assert [one.at_s for one in found.launches] == sorted(one.at_s for one in found.launches)


# --- what is reported -------------------------------------------------------------------------------------


def test_boot_times_are_reported_by_kind_of_start_as_mean_and_90th_percentile() -> None:
    """By weight: nine of ten cold boots took 180 s at most; the document's boot time does not count."""
    cold = samples((300, 0.5), (120, 4), (180, 5), (240, 0.5))
    warm = tuple(replace(one, warm=True) for one in samples((40, 3), (50, 1)))
    assert measured_boots((*warm, *cold)) == (
        BootTime(warm=False, mean_s=165, p90_s=180),
        BootTime(warm=True, mean_s=42.5, p90_s=50),
    )


def test_a_kind_of_start_that_was_not_measured_is_not_reported() -> None:
    assert measured_boots(()) == ()
    faded = samples((180, 0.0))  # what is stored of a weight below a twentieth
    assert measured_boots(faded) == ()
    warm = tuple(replace(one, warm=True) for one in samples((40, 3)))
    assert measured_boots((*faded, *warm)) == (BootTime(warm=True, mean_s=40, p90_s=40),)
