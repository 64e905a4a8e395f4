import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sluice.core.deadline.plan import Cohort, Processing, Shortage, Supply, fewest_launches

NOW_S = 1_768_478_430.0
Slots = Sequence[tuple[float, float]]


def cohort(messages: float, due_in_s: float = 285) -> Cohort:
    return Cohort(since_s=NOW_S + due_in_s - 300, due_s=NOW_S + due_in_s, messages=messages)


def supply(
    busy: float = 0, idle: float = 0, booting: Slots = (), processing_s: float = 5, variation: float = 0
) -> Supply:
    return Supply(
        now_s=NOW_S,
        busy_slots=busy,
        idle_slots=idle,
        booting=[(NOW_S + in_s, slots) for in_s, slots in booting],
        processing=Processing(mean_s=processing_s, variation=variation),
    )


def plan(
    cohorts: Sequence[Cohort],
    available: Supply,
    *,
    boots: Slots = ((180, 1),),
    min_work_s: float = 30,
) -> Shortage | None:
    """The plan if an instance launched now has these slots after so many seconds."""
    launch = [(NOW_S + boot_s, slots) for boot_s, slots in boots]
    return fewest_launches(cohorts, available, launch=launch, min_work_s=min_work_s)


def launches(*args: object, **settings: object) -> int:
    shortage = plan(*args, **settings)  # type: ignore[arg-type]
    return 0 if shortage is None else shortage.instances


# --- an independent model: try 0, 1, 2 ... instances, and count what every slot starts --------------------


def started(ready_in_s: float, by_s: float, processing_s: float) -> float:
    """Messages that one slot starts, which is ready so many seconds from now."""
    if by_s < ready_in_s:
        return 0
    return max(1, (by_s - ready_in_s) / processing_s + 0.5)


def lateness(
    instances: int, cohorts: Sequence[Cohort], available: Supply, boots: Slots, min_work_s: float
) -> float:
    """By how many messages the worst cohort starts late with so many launches; <= 0 if none does."""
    processing_s, variation = available.processing.mean_s, available.processing.variation
    mean_boot_s = sum(boot_s * slots for boot_s, slots in boots) / sum(slots for _, slots in boots)
    worst, ahead = -math.inf, 0.0
    for one in cohorts:
        ahead += one.messages
        by_s = max(one.due_s - NOW_S, mean_boot_s + min_work_s)
        starts = available.busy_slots * by_s / processing_s
        starts += available.idle_slots * started(0, by_s, processing_s)
        starts += sum(
            slots * started(moment - NOW_S, by_s, processing_s) for moment, slots in available.booting
        )
        starts += instances * sum(slots * started(boot_s, by_s, processing_s) for boot_s, slots in boots)
        worst = max(worst, ahead + 0.5 * variation * math.sqrt(ahead) - starts)
    return worst


def _is_ready_when_due(
    cohorts: Sequence[Cohort], available: Supply, boots: Slots, min_work_s: float
) -> Iterator[bool]:
    """Whether slots become ready in the moment in which a cohort is due: rounding decides if they count."""
    mean_boot_s = sum(boot_s * slots for boot_s, slots in boots) / sum(slots for _, slots in boots)
    ready_s = [boot_s for boot_s, _ in boots] + [moment - NOW_S for moment, _ in available.booting]
    for one, moment_s in product(cohorts, ready_s):
        yield abs(max(one.due_s - NOW_S, mean_boot_s + min_work_s) - moment_s) < 1e-5


COUNTS = st.floats(min_value=0, max_value=5000)
SLOTS = st.floats(min_value=0, max_value=200)
COHORTS = st.lists(st.tuples(COUNTS, st.floats(min_value=-600, max_value=600)), max_size=12).map(
    lambda rows: [cohort(*row) for row in sorted(rows, key=lambda row: row[1])]
)
SUPPLIES = st.builds(
    supply,
    busy=SLOTS,
    idle=SLOTS,
    booting=st.lists(st.tuples(st.floats(min_value=0, max_value=400), SLOTS), max_size=6).map(sorted),
    processing_s=st.floats(min_value=0.05, max_value=2000),
    variation=st.floats(min_value=0, max_value=3),
)
BOOTS = st.lists(
    st.tuples(st.floats(min_value=1, max_value=600), st.floats(min_value=0.05, max_value=4)),
    min_size=1,
    max_size=8,
)


@given(COHORTS, SUPPLIES, BOOTS, st.floats(min_value=0.1, max_value=90))
def test_with_the_planned_launches_no_cohort_is_late_and_with_one_fewer_one_is(
    cohorts: list[Cohort], available: Supply, boots: list[tuple[float, float]], min_work_s: float
) -> None:
    assume(not any(_is_ready_when_due(cohorts, available, boots, min_work_s)))
    found = launches(cohorts, available, boots=boots, min_work_s=min_work_s)
    rounding = 1e-5 * max(1.0, sum(one.messages for one in cohorts))
    assert lateness(found, cohorts, available, boots, min_work_s) <= rounding
    if found:
        assert lateness(found - 1, cohorts, available, boots, min_work_s) > -rounding


@given(COHORTS.filter(len), SUPPLIES, st.data())
def test_more_messages_never_need_fewer_launches(
    cohorts: list[Cohort], available: Supply, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(cohorts) - 1))
    more = list(cohorts)
    more[at] = more[at]._replace(messages=more[at].messages + data.draw(COUNTS))
    assert launches(more, available) >= launches(cohorts, available)


@given(COHORTS, SUPPLIES, st.floats(min_value=0, max_value=100))
def test_more_slots_never_need_more_launches(cohorts: list[Cohort], available: Supply, more: float) -> None:
    assert launches(cohorts, replace(available, idle_slots=available.idle_slots + more)) <= launches(
        cohorts, available
    )


def test_nothing_waits_and_nothing_is_launched() -> None:
    assert plan([], supply()) is None
    assert plan([cohort(0)], supply()) is None


@pytest.mark.parametrize("slots", [1, 900, 9000 / 7, 8997.3])
@pytest.mark.parametrize("boots_s", [161.9, 167.29, 268.76])
@pytest.mark.parametrize("processing_s", [0.01, 5])
def test_instances_that_boot_and_just_suffice_are_enough(
    slots: float, boots_s: float, processing_s: float
) -> None:
    """Moments are seconds since the epoch: their rounding errors must not launch an instance."""
    boots_s = NOW_S + boots_s - NOW_S  # as close as two moments can be distinguished
    messages = slots * ((285 - boots_s) / processing_s + 0.5)
    available = supply(booting=[(boots_s, slots)], processing_s=processing_s)
    assert plan([cohort(messages - 1e-3)], available) is None
    assert launches([cohort(messages + 1e-3)], available) == 1


def test_a_busy_slot_starts_a_message_each_processing_time() -> None:
    assert plan([cohort(57)], supply(busy=1)) is None
    assert launches([cohort(58)], supply(busy=1)) == 1


def test_an_idle_slot_starts_its_first_message_at_once() -> None:
    assert plan([cohort(57.5)], supply(idle=1)) is None
    assert launches([cohort(58)], supply(idle=1)) == 1
    assert plan([cohort(1)], supply(idle=1, processing_s=1200)) is None


def test_an_instance_that_is_ready_in_time_starts_one_message_however_long_it_takes() -> None:
    jobs = [cohort(60)]
    assert launches(jobs, supply(processing_s=1200)) == 60
    assert plan(jobs, supply(booting=[(180, 60)], processing_s=1200)) is None
    assert launches(jobs, supply(booting=[(180, 59)], processing_s=1200)) == 1


def test_an_instance_that_is_ready_too_late_starts_nothing() -> None:
    assert launches([cohort(21)], supply(booting=[(286, 1)])) == launches([cohort(21)], supply()) == 1


def test_the_cohort_that_needs_the_most_launches_decides_and_is_named() -> None:
    first, second, third = cohort(20, 285), cohort(200, 290), cohort(5, 300)
    shortage = plan([first, second, third], supply())
    assert shortage is not None
    assert shortage.cohort == second
    assert shortage.messages == 220
    assert shortage.instances == math.ceil(220 / (110 / 5 + 0.5)) == 10


def test_messages_of_an_earlier_cohort_start_before_those_of_a_later_one() -> None:
    alone, behind = (
        launches([cohort(10, 290)], supply()),
        launches([cohort(90, 285), cohort(10, 290)], supply()),
    )
    assert (alone, behind) == (1, math.ceil(100 / (110 / 5 + 0.5)))


@pytest.mark.parametrize("due_in_s", [-5000, 0, 209])
def test_messages_that_are_late_in_any_case_are_due_a_while_after_a_boot(due_in_s: float) -> None:
    """Otherwise each launch would start none of them in time, and the number would have no bound."""
    expected = math.ceil(1000 / (30 / 5 + 0.5))
    assert launches([cohort(1000, due_in_s)], supply()) == expected == launches([cohort(1000, 210)], supply())


def test_a_wider_spread_of_the_processing_time_needs_a_reserve() -> None:
    even = launches([cohort(2150)], supply())
    assert even == 100
    spread = launches([cohort(2150)], supply(variation=2))
    assert spread == math.ceil((2150 + math.sqrt(2150)) / 21.5) == 103


@pytest.mark.parametrize("slots", [0.25, 0.5, 1, 1.5, 8])
def test_an_instance_counts_as_many_messages_at_a_time_as_it_works_on(slots: float) -> None:
    assert launches([cohort(2150)], supply(), boots=[(180, slots)]) == math.ceil(100 / slots)


def test_of_boots_that_vary_only_those_count_that_are_ready_by_then() -> None:
    # In 285 s one half of an instance has started messages for 105 s, and the other half is not ready.
    boots = [(180, 0.5), (300, 0.5)]
    assert launches([cohort(21)], supply(), boots=boots, min_work_s=0) == math.ceil(21 / (0.5 * 21.5))


# --- a warm pool ------------------------------------------------------------------------------------------


def with_pool(cohorts: Sequence[Cohort], pool: int, available: Supply | None = None) -> int:
    """Launches with so many instances in a pool, which are ready after 45 s instead of 180 s."""
    shortage = fewest_launches(
        cohorts,
        available or supply(),
        launch=[(NOW_S + 180, 1)],
        warm_launch=[(NOW_S + 45, 1)],
        warm_instances=pool,
        min_work_s=30,
    )
    return 0 if shortage is None else shortage.instances


def test_the_first_launches_are_ready_after_a_warm_boot_and_the_rest_after_a_cold_one() -> None:
    """By 285 s a warm start has begun (285 - 45) / 5 + 0.5 = 48.5 messages, a cold one 21.5."""
    assert with_pool([cohort(970)], 20) == 20
    assert with_pool([cohort(970 + 215)], 20) == 30
    assert with_pool([cohort(970)], 0) == math.ceil(970 / 21.5)


def test_messages_due_before_a_cold_boot_are_saved_from_the_pool() -> None:
    assert with_pool([cohort(90, due_in_s=80)], 20) == 12, "each starts 7.5 within 35 s"


def test_what_the_pool_cannot_save_is_due_after_a_cold_boot() -> None:
    """By 210 s, 30 s after the boot, five warm starts have begun 33.5 messages each, a cold one 6.5."""
    assert with_pool([cohort(900, due_in_s=80)], 5) == 5 + math.ceil((900 - 5 * 33.5) / 6.5)


@given(COHORTS, SUPPLIES, st.integers(0, 50))
def test_with_a_pool_no_cohort_is_late_after_the_cold_boot(
    cohorts: list[Cohort], available: Supply, pool: int
) -> None:
    count = with_pool(cohorts, pool, available)
    pooled = min(count, pool)
    booting = sorted([*available.booting, (NOW_S + 45, pooled)])
    with_warm = replace(available, booting=booting)
    rounding = 1e-5 * max(1.0, sum(one.messages for one in cohorts))
    late = lateness(count - pooled, cohorts, with_warm, ((180, 1),), 30)
    assert late <= rounding
    if count > pool:
        assert lateness(count - pooled - 1, cohorts, with_warm, ((180, 1),), 30) > -rounding


@given(COHORTS, SUPPLIES, st.integers(0, 50))
def test_a_pool_never_needs_more_launches(cohorts: list[Cohort], available: Supply, pool: int) -> None:
    assert with_pool(cohorts, pool + 1, available) <= max(with_pool(cohorts, pool, available), pool + 1)
