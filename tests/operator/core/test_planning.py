"""From a demand to settings, and what is said where they cannot keep the promise."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_operator.core.demand import Arrivals, Demand
from sluice_operator.core.engine_choice import Scaling
from sluice_operator.core.planning import Plan, plan, visibility_timeout_s
from sluice_operator.core.shortfalls import Shortfall
from sluice_sim.study.experiment import Generated
from sluice_sim.study.sweep import run_in_turn
from sluice_sim.workloads import generators
from tests.operator.core.builders import DAY_S, demand, per_day
from tests.sim.simulator.builders import experiment

demands = st.builds(
    demand,
    arrivals=st.floats(0.0001, 50).map(lambda per_s: Arrivals(per_s=per_s)),
    processing_s=st.floats(0.1, 60),
    longest_s=st.none(),
    processing_cv=st.floats(0, 3),
    concurrency=st.integers(1, 16),
    promise_s=st.floats(1, 3600),
    promise_percent=st.floats(50, 99.9),
    boot_s=st.floats(0, 600),
)


def only(shortfalls: Any) -> Shortfall:
    [one] = shortfalls
    assert isinstance(one, Shortfall)
    return one


def counted(shape: str = "spiky", days: float = 1, per_day: int = 200_000) -> Arrivals:
    trace = generators.generate(shape, days=days, per_day=per_day, interval_s=60, seed=0)
    return Arrivals.counted(trace.arrivals.tolist(), trace.interval_s)


# ---- Sizes


@given(demands)
def test_a_plan_keeps_what_it_promises_and_its_numbers_fit_the_template(load: Demand) -> None:
    made = plan(load)
    assert not made.shortfalls
    assert made.late_share <= load.late_allowed + 1e-12
    assert made.steady >= made.load_instances
    assert 0 <= made.minimum <= made.bootstrap <= made.maximum
    assert made.bootstrap >= 1
    assert 1 <= made.idle_minutes <= 120
    assert made.cold_share <= load.late_allowed
    assert 30 <= made.visibility_timeout_s <= 43_200
    assert made.minimum <= made.mean_instances <= made.maximum
    assert made.target > 0


def test_the_margin_grows_with_the_percent_and_a_promise_needs_less_than_no_wait_at_all() -> None:
    strict, loose = (plan(demand(promise_s=2.0, promise_percent=percent)) for percent in (99.9, 80.0))
    assert strict.steady > loose.steady >= math.ceil(strict.load_instances)
    assert strict.safety_factor > loose.safety_factor
    assert plan(demand()).steady < plan(demand()).at_once
    assert plan(demand()).safety_factor < plan(demand()).at_once_factor


def test_spread_processing_times_need_more() -> None:
    even, spread = (plan(demand(promise_s=4.0, processing_cv=cv)).steady for cv in (0.0, 3.0))
    assert spread > even


def test_an_instance_that_works_on_several_at_a_time_counts_as_so_many() -> None:
    assert plan(demand(concurrency=4)).load_instances == pytest.approx(13.89 / 4, abs=0.01)
    assert plan(demand(concurrency=4)).steady == 4


def test_without_arrivals_one_instance_is_enough_for_the_promise_and_the_backlog_sizes_the_rest() -> None:
    made = plan(demand(arrivals=per_day(0), backlog=432_000, drain_within_s=DAY_S))
    assert (made.steady, made.draining, made.maximum) == (1, 11, 11)
    assert made.mean_instances == 0
    assert made.drained_by_maximum_s <= DAY_S


def test_a_steady_fleet_without_a_spare_instance_never_drains_what_waits() -> None:
    even = demand(arrivals=Arrivals(per_s=0.0), backlog=10, processing_s=1.0)
    assert plan(even).drained_by_steady_s == pytest.approx(190)
    assert plan(demand()).drained_by_steady_s == 0


def test_the_busiest_time_of_a_trace_sizes_the_maximum_and_a_longer_promise_flattens_it() -> None:
    short, long = (plan(demand(arrivals=counted(), promise_s=promise_s)) for promise_s in (480.0, 3600.0))
    assert short.maximum == short.busiest
    assert short.busiest is not None
    assert long.busiest is not None
    assert short.busiest > long.busiest >= long.steady


def test_a_light_load_costs_what_it_runs_and_a_fleet_for_bursts_its_boots() -> None:
    light = plan(demand(arrivals=per_day(100), processing_s=5.0))
    assert light.mean_instances == pytest.approx(1 - math.exp(-100 / DAY_S * (300 + 180 + 5)))
    none_at_night = Arrivals.counted(([60] * 600 + [0] * 840), 60.0)
    halved = plan(demand(arrivals=none_at_night))
    assert halved.mean_instances == pytest.approx(2 * 600 / 1440, rel=0.05)
    bursts, even = (plan(demand(arrivals=counted(shape), promise_s=300.0)) for shape in ("bursty", "steady"))
    assert bursts.mean_instances > 1.15 * even.mean_instances


def test_a_minimum_is_billed_all_the_time() -> None:
    held = plan(demand(promise_s=60.0, arrivals=counted("idle-then-dump")))
    assert held.minimum == 5
    assert held.mean_instances >= 5


@pytest.mark.parametrize("shape", ["steady", "diurnal", "spiky", "bursty"])
@pytest.mark.parametrize("promise_s", [300.0, 900.0])
@pytest.mark.slow
def test_the_simulator_keeps_the_promise_with_the_plan_for_about_its_instance_hours(
    shape: str, promise_s: float
) -> None:
    load = demand(arrivals=counted(shape), processing_s=5.0, promise_s=promise_s)
    made = plan(load)
    settings = {
        "MaxCapacity": f"{made.maximum}",
        "Scaling": made.scaling.value,
        "MessagesPerInstance": f"{made.target:.2f}",
        "AcceptableLatencySeconds": f"{promise_s:g}",
        "ProcessingSeconds": "5",
        "BootstrapCapacity": "backlog",
        "IdleMinutes": f"{made.idle_minutes}",
    }
    planned = experiment(
        parameters=dict(experiment().parameters) | settings,
        policy="deadline" if made.scaling is Scaling.DEADLINE else "sluice",
        trace=Generated(shape=shape, days=1, per_day=200_000),
        promise_s=promise_s,
    )
    [outcome] = run_in_turn([planned], with_bound=False)
    assert outcome.result["attainment"] >= 0.99
    assert 24 * made.mean_instances == pytest.approx(outcome.result["instance_hours"], rel=0.2)


# ---- Settings


def test_a_promise_that_leaves_target_tracking_its_time_and_a_boot_gets_it() -> None:
    made = plan(demand(promise_s=420.0))
    assert (made.scaling, made.target) == (Scaling.TARGET_TRACKING, 90), "(420 s - 60 s - 180 s) / 2 s"
    assert plan(demand(promise_s=419.0)).scaling is Scaling.DEADLINE
    assert plan(demand(promise_s=419.0), Scaling.TARGET_TRACKING).scaling_because == "as asked for"


def test_work_longer_than_the_promise_leaves_gets_an_instance_each() -> None:
    jobs = plan(demand(arrivals=per_day(100), processing_s=900.0, longest_s=900.0))
    assert jobs.scaling is Scaling.DEADLINE
    assert "a slot of its own" in jobs.scaling_because
    assert not jobs.shortfalls


def test_a_shorter_promise_than_a_boot_holds_what_the_load_needs() -> None:
    made = plan(demand(promise_s=60.0, arrivals=counted("idle-then-dump")))
    assert made.minimum == made.steady
    assert "From zero the promise cannot be kept: a start takes 205 s, the promise is 60 s" in made.notes[0]


def test_a_load_that_never_pauses_for_long_keeps_a_short_promise_from_zero_by_its_idle_minutes() -> None:
    made = plan(demand(arrivals=per_day(100), processing_s=5.0, promise_s=60.0))
    assert (made.minimum, made.idle_minutes) == (0, 69)
    assert 0 < made.cold_share <= 0.01
    assert "0.96 % of the messages find no instance" in made.notes[0]
    busy = plan(demand(promise_s=60.0))
    assert (busy.minimum, busy.idle_minutes) == (0, 5)


def test_a_fleet_waits_as_long_as_it_boots_before_it_ends_and_five_minutes_at_least() -> None:
    assert plan(demand()).idle_minutes == 5
    assert plan(demand(boot_s=601.0, promise_s=3600.0)).idle_minutes == 11
    assert plan(demand(boot_s=9999.0, promise_s=DAY_S)).idle_minutes == 120


@pytest.mark.parametrize(("longest_s", "timeout_s"), [(0.5, 30), (15.0, 30), (60.1, 121), (50_000.0, 43_200)])
def test_the_visibility_timeout_is_twice_the_longest_within_what_sqs_takes(
    longest_s: float, timeout_s: int
) -> None:
    assert visibility_timeout_s(longest_s) == timeout_s
    notes = plan(demand(longest_s=longest_s)).notes
    said = any("A visibility timeout ends at 12 hours" in note for note in notes)
    assert said is (longest_s > 21_600)


def test_without_a_longest_time_the_spread_gives_one_which_is_said() -> None:
    made = plan(demand(longest_s=None, processing_cv=1.0))
    sigma = math.sqrt(math.log(2))
    expected = 2.0 * math.exp(3.0902 * sigma - sigma**2 / 2)
    assert made.visibility_timeout_s == max(30, math.ceil(2 * expected))
    assert any(f"assumed to be {expected:.3g} s" in note for note in made.notes)


def test_a_mean_alone_and_intervals_longer_than_the_promise_are_said() -> None:
    assert any("Only the mean of the arrivals is known" in note for note in plan(demand()).notes)
    hourly = Arrivals.counted([60_000] * 48, 3600.0)
    said = plan(demand(arrivals=hourly)).notes
    assert any("counted by 3600 s, longer than the promise" in note for note in said)


# ---- What cannot be kept


def made_possible(load: Demand, made: Plan, way_out: str) -> Demand:
    """The demand with what a way out says."""
    number = float(re.sub(r"[^0-9.]", "", way_out.split(" messages at")[0]))
    if "a maximum of" in way_out:
        return replace(load, maximum=int(number))
    if "a promise of" in way_out:
        return replace(load, promise_s=number)
    if "days to drain" in way_out:
        return replace(load, drain_within_s=number * DAY_S)
    if "at a time" in way_out:
        return replace(load, concurrency=int(number))
    assert "s a message" in way_out, way_out
    return replace(load, processing_s=number)


@pytest.mark.parametrize(
    ("load", "problem"),
    [
        (demand(maximum=10), "At most 10 instances never keep up: the arrivals alone keep 13.9 busy"),
        (
            demand(maximum=14, promise_s=0.5),
            "14 instances are too few for the promise, which takes 2",
        ),
        (
            demand(maximum=15, arrivals=counted(), promise_s=480.0),
            "At most 15 instances are too few for the busiest time, which takes",
        ),
        (
            demand(maximum=20, backlog=2_800_000, drain_within_s=7 * DAY_S),
            "At most 20 instances are too few to drain the backlog in time, which takes 24",
        ),
    ],
    ids=["never", "promise", "busiest", "drain"],
)
def test_a_maximum_too_small_is_said_and_each_way_out_makes_it_possible(load: Demand, problem: str) -> None:
    made = plan(load)
    found = only(made.shortfalls)
    assert problem in found.problem
    assert "a maximum of" in found.ways_out[0]
    assert len(found.ways_out) >= 3
    for way_out in found.ways_out:
        assert not plan(made_possible(load, made, way_out), made.scaling).shortfalls, way_out
    assert str(found).startswith(f"{found.problem}. What would make it possible: a maximum of")


def test_bursts_that_rise_within_a_start_later_than_the_promise_are_said() -> None:
    steep = demand(arrivals=counted("bursty"), processing_s=5.0, promise_s=60.0)
    found = only(plan(steep).shortfalls)
    assert re.match(r"Bursts of \d+(\.\d+)? times the mean load rise within the 205 s", found.problem)
    assert found.ways_out[0] == "a promise of 234 s"
    assert not plan(replace(steep, promise_s=234.0)).shortfalls
    quick = plan(replace(steep, boot_s=29.0))
    assert not quick.shortfalls, "the boot that the third way out names"
    gentle = plan(replace(steep, arrivals=counted("diurnal")))
    assert not gentle.shortfalls
    assert any("unless the floor that the deadline engine learns" in note for note in gentle.notes)


def test_a_target_below_one_message_is_said_with_what_makes_it_one() -> None:
    load = demand(arrivals=per_day(100), processing_s=600.0, longest_s=600.0)
    found = only(plan(load, Scaling.TARGET_TRACKING).shortfalls)
    assert "The target would be 0.6 messages per instance" in found.problem
    assert found.ways_out[:2] == ["a promise of 840 s", "2 messages at a time on each instance"]
    assert plan(replace(load, promise_s=840.0), Scaling.TARGET_TRACKING).target >= 1
    assert plan(replace(load, concurrency=2), Scaling.TARGET_TRACKING).target >= 1
    assert not plan(load, Scaling.DEADLINE).shortfalls


def test_a_time_to_drain_within_a_boot_is_said() -> None:
    found = only(plan(demand(backlog=100, drain_within_s=120.0)).shortfalls)
    assert "No number of instances drains the backlog within 120 s: they boot for 180 s" in found.problem


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        (demand(arrivals=per_day(1e11)), "check the units of the arrivals and of the processing time"),
        (demand(arrivals=per_day(1e15)), "is not between 0 and 10,000,000"),
        (demand(processing_s=0.002, promise_s=7 * DAY_S), "(2ms are milliseconds, 2s are seconds)"),
    ],
    ids=["fleet", "load", "target"],
)
def test_numbers_beyond_any_workload_are_refused(load: Demand, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        plan(load)
