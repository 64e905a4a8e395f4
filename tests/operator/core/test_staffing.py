"""The formulas of queueing theory against independent calculations, and against the simulator."""

from __future__ import annotations

import heapq
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from sluice_operator.core import staffing
from sluice_sim.study.experiment import Generated
from sluice_sim.study.sweep import run_in_turn
from tests.sim.simulator.builders import experiment

loads = st.floats(0.01, 200)
shares = st.floats(0.0001, 0.5)


@pytest.mark.parametrize(("slots", "load"), [(1, 0.5), (2, 1.0), (10, 8.0), (100, 90.0), (1000, 950.0)])
def test_erlang_c_is_what_the_poisson_distribution_gives(slots: int, load: float) -> None:
    """C = P(N = k) / (P(N = k) + (1 - load / k) P(N < k)) of a Poisson N."""
    exactly, fewer = poisson.pmf(slots, load), poisson.cdf(slots - 1, load)
    expected = exactly / (exactly + (1 - load / slots) * fewer)
    assert staffing.wait_probability(slots, load) == pytest.approx(expected, rel=1e-9)


def test_erlang_c_of_one_server_is_its_load_and_of_too_few_is_certain() -> None:
    assert staffing.wait_probability(1, 0.7) == pytest.approx(0.7)
    assert staffing.wait_probability(3, 3.0) == 1.0
    assert staffing.late_share(3, 3.5, 1e6) == 1.0


@pytest.mark.parametrize(("slots", "load", "promise_s"), [(2, 1.4, 5.0), (5, 4.0, 10.0), (10, 8.5, 5.0)])
def test_the_simulator_starts_as_many_late_as_the_formula_says(
    tmp_path: Path, slots: int, load: float, promise_s: float
) -> None:
    service_s = 5.0
    file = tmp_path / "durations.csv"
    rows = [f"{-service_s * math.log1p(-(part + 0.5) / 2000):.6f}" for part in range(2000)]
    file.write_text("\n".join(["duration_s", *rows]) + "\n", encoding="utf-8")
    per_day = round(load / service_s * 86_400)
    base = experiment()
    bounds = {"MinCapacity": f"{slots}", "MaxCapacity": f"{slots}"}
    fixed = experiment(
        parameters=dict(base.parameters) | bounds,
        trace=Generated(shape="steady", days=4, per_day=per_day),
        durations=file,
        promise_s=promise_s,
    )
    [outcome] = run_in_turn([fixed], with_bound=False, on_progress=lambda *_: None)
    late = 1 - outcome.result["attainment"]
    assert late == pytest.approx(staffing.late_share(slots, load, promise_s / service_s), rel=0.15)


@pytest.mark.parametrize("variation", [0.0, 2.0])
def test_waits_stretch_with_the_spread_of_the_processing_times(variation: float) -> None:
    """Allen-Cunneen's approximation against a queue that is played: within a third."""
    slots, load, count = 4, 3.2, 200_000
    drawn = random.Random(5)
    sigma = math.sqrt(math.log1p(variation**2))
    free, clock, waits = [0.0] * slots, 0.0, []
    for _ in range(count):
        clock += drawn.expovariate(load)
        begin = max(clock, heapq.heappop(free))
        heapq.heappush(free, begin + drawn.lognormvariate(-(sigma**2) / 2, sigma))
        waits.append(begin - clock)
    late = sum(wait > 2.0 for wait in waits) / count
    stretched = staffing.late_share(slots, load, 2.0, staffing.variability(variation))
    assert late == pytest.approx(stretched, rel=0.34)
    assert abs(late - stretched) < abs(late - staffing.late_share(slots, load, 2.0))


@given(loads, shares, st.floats(0, 50), st.integers(1, 8))
def test_the_fewest_slots_keep_the_promise_and_fewer_do_not(
    load: float, late: float, wait: float, multiple: int
) -> None:
    slots = staffing.fewest_slots(load, late, wait, multiple=multiple)
    assert slots % multiple == 0
    assert staffing.late_share(slots, load, wait) <= late + 1e-12
    if slots > multiple:
        assert staffing.late_share(slots - multiple, load, wait) > late


@pytest.mark.parametrize("late", [0.5, 0.1, 0.05, 0.01])
@pytest.mark.parametrize("load", [10.0, 100.0, 2000.0])
def test_the_square_root_rule_needs_as_many_slots_as_erlang_c(load: float, late: float) -> None:
    by_rule = load + staffing.safety_factor(load, late, 0.0) * math.sqrt(load)
    assert by_rule + 0.5 == pytest.approx(staffing.fewest_slots(load, late, 0.0), abs=1.5)


def test_a_margin_of_nobody_waiting_is_larger_than_that_of_a_promise() -> None:
    assert staffing.safety_factor(100, 0.05, 0.0) > staffing.safety_factor(100, 0.05, 1.0) > 0


def test_a_load_beyond_any_fleet_is_refused() -> None:
    with pytest.raises(ValueError, match="not between 0 and 10,000,000"):
        staffing.fewest_slots(1e9, 0.01, 0.0)


@pytest.mark.parametrize(
    ("arrivals_per_s", "idle_s", "promise_s"), [(1 / 300, 300, 60), (1 / 100, 200, 30), (1 / 60, 120, 100)]
)
def test_as_many_messages_find_no_instance_as_in_a_queue_with_set_ups_that_is_played(
    arrivals_per_s: float, idle_s: float, promise_s: float
) -> None:
    """One instance of many slots, so that messages wait for a set-up alone."""
    start_s, service_s, count = 200.0, 5.0, 200_000
    drawn = random.Random(3)
    clock, gone_s, ready_s, late = 0.0, -1.0, 0.0, 0
    for _ in range(count):
        clock += drawn.expovariate(arrivals_per_s)
        if clock > gone_s:
            ready_s = clock + start_s
        begin = max(clock, ready_s)
        gone_s = max(gone_s, begin + service_s + idle_s)
        late += begin - clock > promise_s
    share = staffing.cold_share(arrivals_per_s * service_s, 100, arrivals_per_s, idle_s, start_s, promise_s)
    assert share == pytest.approx(late / count, rel=0.12)


def test_a_start_within_the_promise_and_a_fleet_that_never_ends_make_none_late() -> None:
    assert staffing.cold_share(0.1, 1, 0.01, 300, 60, 60) == 0
    assert staffing.cold_share(50, 60, 10, 300, 200, 60) == pytest.approx(0, abs=1e-12)
    assert staffing.cold_share(1.0, 1, 1.0, 0, 200, 60) == 0, "it is never empty"
    assert staffing.cold_share(2000.0, 2100, 100.0, 0, 200, 60) == 0


def test_a_trace_counts_who_finds_no_instance_after_the_idle_time() -> None:
    quiet = [0] * 10
    counts = [4, 2, *quiet, 3, 1]
    late = staffing.cold_share_of_trace(counts, 60.0, 300.0, 90.0, 60.0)
    assert late == pytest.approx((4 + 3) / 10), "those a minute later wait 30 s for the same instance"
    assert staffing.cold_share_of_trace(counts, 60.0, 900.0, 90.0, 60.0) == pytest.approx(4 / 10)
    assert staffing.cold_share_of_trace(counts, 60.0, 300.0, 60.0, 60.0) == 0


def test_a_fleet_runs_while_messages_arrive_and_for_a_while_after() -> None:
    assert staffing.running_share(0.0, 300) == 0
    assert staffing.running_share(1 / 300, 300) == pytest.approx(1 - math.exp(-1))


def test_a_constant_rate_has_no_peak_and_a_burst_has_one_that_a_longer_slack_flattens() -> None:
    assert staffing.peak_rate([60] * 100, 60.0, 90.0) == pytest.approx(1.0)
    burst = [0, 0, 600, 0, 0]
    short, long = (staffing.peak_rate(burst, 60.0, slack_s) for slack_s in (60.0, 600.0))
    assert short == pytest.approx(600 * (1 - math.exp(-1)) / 60)
    assert long == pytest.approx(600 * (1 - math.exp(-0.1)) / 60)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50), st.floats(1, 1e4))
def test_the_peak_is_between_nothing_and_the_busiest_interval(counts: list[int], slack_s: float) -> None:
    assert 0 <= staffing.peak_rate(counts, 60.0, slack_s) <= max(counts) / 60 * (1 + 1e-9)
