"""The lower bound: below every run that keeps the promise, and close to the best one."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_sim import policies
from sluice_sim.simulator.fleet import (
    Conditions,
    ScaleIn,
)
from sluice_sim.simulator.run import (
    Load,
    Run,
    simulate,
)
from sluice_sim.study import lower_bound as lower_bound_module
from sluice_sim.study.lower_bound import (
    Bound,
    chosen_slot_s,
    lower_bound,
)
from sluice_sim.template import deployment
from sluice_sim.template.deployment import Deployed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
HOUR_S = 3600.0
ROUNDING = 1 + 1e-6


def load(arrival_s: Sequence[float], service_s: float | Sequence[float], horizon_s: float = 0.0) -> Load:
    arrivals = np.sort(np.asarray(arrival_s, float))
    return Load(
        arrival_s=arrivals,
        service_s=np.broadcast_to(np.asarray(service_s, float), arrivals.shape).copy(),
        horizon_s=max(horizon_s, float(arrivals.max(initial=0.0))),
    )


def steady(hours: float, per_s: float, service_s: float) -> Load:
    return load(np.arange(0, hours * HOUR_S, 1 / per_s), service_s, hours * HOUR_S)


def bursts(seed: int, *, hours: float = 3.0) -> Load:
    """A base flow and three bursts."""
    random = np.random.default_rng(seed)
    flow = random.uniform(0, hours * HOUR_S, random.integers(20, 200))
    at = random.uniform(0, 0.8 * hours * HOUR_S, 3)
    dumps = np.concatenate([begin + random.uniform(0, 200, random.integers(5, 150)) for begin in at])
    arrivals = np.concatenate([flow, dumps])
    return load(arrivals, random.exponential(12.0, arrivals.size) + 0.5, hours * HOUR_S)


def bounded(
    what: Load,
    *,
    promise_s: float = 300.0,
    boot_s: float = 180.0,
    concurrency: int = 1,
    minimum: int = 0,
    maximum: int = 1000,
    late_ratio: float = 0.0,
    slot_s: float | None = None,
) -> Bound:
    return lower_bound(
        what,
        concurrency=concurrency,
        promise_s=promise_s,
        minimum=minimum,
        maximum=maximum,
        boot_s=boot_s,
        late_ratio=late_ratio,
        slot_s=slot_s,
    )


# ---- By hand


def test_one_message_costs_its_boot_and_its_service() -> None:
    found = bounded(load([0.0], 60.0), promise_s=0.0, boot_s=180.0, slot_s=60.0)
    assert found.instance_hours * HOUR_S == pytest.approx(180 + 60)
    assert list(found.demand) == pytest.approx([1.0])


def test_two_messages_far_apart_cost_the_cheaper_of_two_boots_and_idling() -> None:
    near, far = (load([0.0, apart_s], 60.0) for apart_s in (120.0, 1200.0))
    assert bounded(near, promise_s=0.0, slot_s=60.0).instance_hours * HOUR_S == pytest.approx(180 + 180)
    assert bounded(far, promise_s=0.0, slot_s=60.0).instance_hours * HOUR_S == pytest.approx(2 * (180 + 60))


def test_a_long_promise_needs_one_launch_and_a_short_one_needs_ten() -> None:
    dump = load([0.0] * 10, 60.0)
    assert bounded(dump, promise_s=0.0, slot_s=60.0).instance_hours * HOUR_S == pytest.approx(10 * 240)
    assert bounded(dump, promise_s=540.0, slot_s=60.0).instance_hours * HOUR_S == pytest.approx(180 + 600)


def test_concurrency_shares_an_instance() -> None:
    dump = load([0.0] * 10, 60.0)
    found = bounded(dump, promise_s=0.0, concurrency=5, slot_s=60.0)
    assert found.instance_hours * HOUR_S == pytest.approx(2 * 240)


def test_messages_that_may_be_late_wait_for_an_existing_instance() -> None:
    dump = load([0.0] * 10, 60.0)
    found = bounded(dump, promise_s=0.0, late_ratio=0.9, slot_s=60.0)
    assert found.instance_hours * HOUR_S == pytest.approx(180 + 10 * 60)


def test_the_minimum_is_billed_though_nothing_comes() -> None:
    found = bounded(load([], 1.0, HOUR_S), minimum=2)
    assert found.instance_hours == pytest.approx(2.0)


def test_an_unattainable_promise_is_reported_and_bounded_without_a_maximum() -> None:
    dump = load([0.0] * 10, 60.0)
    found = bounded(dump, promise_s=60.0, maximum=2, slot_s=60.0)
    assert not found.attainable
    assert found.demand.max() > 2
    assert bounded(dump, promise_s=540.0, maximum=2, slot_s=60.0).attainable


def test_an_unattainable_promise_is_reported_for_a_long_trace_with_an_allowance_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond one window the allowance has a price, at which no amount of late work is infeasible."""
    monkeypatch.setattr(lower_bound_module, "WINDOW_SLOTS", 130)
    overloaded = steady(2.0, per_s=0.5, service_s=10.0)
    found = bounded(overloaded, promise_s=60.0, maximum=3, late_ratio=0.01)
    assert not found.attainable
    assert found.instance_hours == bounded(overloaded, promise_s=60.0, late_ratio=0.01).instance_hours


@pytest.mark.parametrize("late_ratio", [0.0, 0.01])
@pytest.mark.parametrize("hours", [12.0, 30.0])
def test_steady_arrivals_cost_their_service_time_within_two_percent(hours: float, late_ratio: float) -> None:
    even = steady(hours, per_s=0.7, service_s=5.0)
    found = bounded(even, late_ratio=late_ratio)
    assert found.attainable
    assert found.instance_hours == pytest.approx(even.service_s.sum() / HOUR_S, rel=0.02)
    windowed = bounded(even, late_ratio=late_ratio, slot_s=30.0)
    assert windowed.instance_hours == pytest.approx(even.service_s.sum() / HOUR_S, rel=0.02)


def test_the_plan_does_all_the_work() -> None:
    even = steady(12.0, per_s=0.7, service_s=5.0)
    found = bounded(even)
    assert found.demand.sum() * found.slot_s >= even.service_s.sum() / ROUNDING


def test_slots_are_short_against_the_promise_unless_the_trace_is_long() -> None:
    day, months = steady(24.0, 0.01, 5.0), steady(24.0 * 58, 0.001, 5.0)
    assert chosen_slot_s(day, 300.0) == 61
    assert chosen_slot_s(day, 60.0) == 15
    assert chosen_slot_s(day, 3600.0) == 63
    assert chosen_slot_s(months, 300.0) == 84
    assert chosen_slot_s(steady(0.1, 1.0, 1.0), 10.0) == 1


# ---- Every relaxation stays one


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    late_ratio=st.sampled_from([0.0, 0.02, 0.2]),
    minimum=st.sampled_from([0, 1]),
)
def test_cutting_into_windows_only_lowers_the_bound(seed: int, late_ratio: float, minimum: int) -> None:
    what = bursts(seed)
    whole = bounded(what, late_ratio=late_ratio, slot_s=20.0, minimum=minimum)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower_bound_module, "WINDOW_SLOTS", 130)
        cut = bounded(what, late_ratio=late_ratio, slot_s=20.0, minimum=minimum)
    assert cut.instance_hours <= whole.instance_hours * ROUNDING
    assert cut.demand.size == whole.demand.size


def test_instances_that_are_ready_between_two_windows_are_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst at the start of the second window, whose launches belonged to no window."""
    dump = load([3600.0] * 100, 20.0, 2 * HOUR_S)
    whole = bounded(dump, slot_s=60.0, promise_s=120.0)
    monkeypatch.setattr(lower_bound_module, "WINDOW_SLOTS", 62)
    cut = bounded(dump, slot_s=60.0, promise_s=120.0)
    monkeypatch.setattr(lower_bound_module, "CARRY_PASSES", 0)
    free = bounded(dump, slot_s=60.0, promise_s=120.0)
    assert free.instance_hours < 0.6 * whole.instance_hours
    assert free.instance_hours < 0.8 * cut.instance_hours
    assert cut.instance_hours <= whole.instance_hours * ROUNDING


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), late_ratio=st.sampled_from([0.0, 0.02]), minimum=st.sampled_from([0, 1]))
def test_carried_over_messages_only_raise_the_bound_of_a_long_trace(
    seed: int, late_ratio: float, minimum: int
) -> None:
    what = bursts(seed)
    found = []
    for passes in (0, lower_bound_module.CARRY_PASSES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lower_bound_module, "WINDOW_SLOTS", 130)
            patch.setattr(lower_bound_module, "CARRY_PASSES", passes)
            found.append(bounded(what, late_ratio=late_ratio, slot_s=20.0, minimum=minimum).instance_hours)
    assert found[0] <= found[1] * ROUNDING


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), times=st.integers(2, 6), late_ratio=st.sampled_from([0.0, 0.05]))
def test_coarser_slots_only_lower_the_bound(seed: int, times: int, late_ratio: float) -> None:
    what = bursts(seed)
    fine = bounded(what, slot_s=20.0, late_ratio=late_ratio)
    coarse = bounded(what, slot_s=20.0 * times, late_ratio=late_ratio)
    assert coarse.instance_hours <= fine.instance_hours * ROUNDING


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_weaker_requirements_never_cost_more(seed: int) -> None:
    what = bursts(seed)
    strict = bounded(what, minimum=1, maximum=60, late_ratio=0.01, slot_s=60.0)
    for easier in (
        bounded(what, minimum=0, maximum=60, late_ratio=0.01, slot_s=60.0),
        bounded(what, minimum=1, maximum=600, late_ratio=0.01, slot_s=60.0),
        bounded(what, minimum=1, maximum=60, late_ratio=0.05, slot_s=60.0),
        bounded(what, minimum=1, maximum=60, late_ratio=0.01, promise_s=600.0, slot_s=60.0),
        bounded(what, minimum=1, maximum=60, late_ratio=0.01, boot_s=90.0, slot_s=60.0),
        bounded(what, minimum=1, maximum=60, late_ratio=0.01, concurrency=2, slot_s=60.0),
    ):
        assert not strict.attainable or easier.instance_hours <= strict.instance_hours * ROUNDING


# ---- Below whatever keeps the promise


@cache
def small_fleet(minimum: int) -> Deployed:
    transcription = deployment.environments(ROOT)["transcription"]
    return deployment.deployed(ROOT, {**transcription, "MinCapacity": str(minimum), "MaxCapacity": "40"})


def billed_hours(run: Run) -> float:
    terminated_s = np.where(np.isnan(run.terminated_s), run.end_s, run.terminated_s)
    launched_s = np.array([one.launched_s for one in run.instances])
    return float((terminated_s - launched_s).sum()) / HOUR_S


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(
        ["static", "sluice", "deadline", "staffing", "keda", "keda-backlog", "hpa", "direct"]
    ),
    concurrency=st.sampled_from([1, 3]),
    scale_in=st.sampled_from(list(ScaleIn)),
    boot_s=st.sampled_from([30.0, 180.0]),
    minimum=st.sampled_from([0, 2]),
    slot_s=st.sampled_from([None, 30.0, 60.0]),
)
def test_no_simulated_run_is_billed_less_than_the_bound_at_what_it_attained(
    seed: int,
    policy: str,
    concurrency: int,
    scale_in: ScaleIn,
    boot_s: float,
    minimum: int,
    slot_s: float | None,
) -> None:
    what = bursts(seed)
    conditions = Conditions(boot_s=lambda: boot_s, concurrency=concurrency, scale_in=scale_in)
    deployed = small_fleet(minimum)
    run = simulate(deployed, what, conditions, policies.named(policy), promise_s=300.0, boot_s=boot_s)
    assert run.dead_letters == 0
    late = float((run.messages.started_s - what.arrival_s > 300.0).mean())
    found = bounded(
        what,
        boot_s=boot_s,
        concurrency=concurrency,
        minimum=minimum,
        maximum=deployed.workload.bounds.max,
        late_ratio=late,
        slot_s=slot_s,
    )
    assert found.instance_hours <= billed_hours(run) * ROUNDING


def cheapest_plan_s(
    what: Load, *, promise_s: float, boot_s: float, late: int, slots: int, max_instances: int
) -> float:
    """The fewest billed seconds of all plans in whole instances and minutes, simulated message by message."""
    cheapest = math.inf
    for plan in itertools.product(range(max_instances + 1), repeat=slots):
        launches = sum(max(0, now - before) for before, now in itertools.pairwise((0, *plan)))
        cost = 60.0 * sum(plan) + boot_s * launches
        if cost < cheapest and late_by(plan, what, promise_s) <= late:
            cheapest = cost
    return cheapest


def late_by(plan: Sequence[int], what: Load, promise_s: float) -> float:
    """How many messages start too late; infinite if not all are done."""
    spans = []  # when each instance takes messages
    for level in range(1, max(plan, default=0) + 1):
        for runs, minutes in itertools.groupby(enumerate(plan), key=lambda one, level=level: one[1] >= level):
            if runs:
                first, *_ = numbers = [number for number, _ in minutes]
                spans.append((60.0 * first, 60.0 * (numbers[-1] + 1)))
    heapq.heapify(spans)
    late = 0
    for arrival_s, service_s in zip(what.arrival_s, what.service_s, strict=True):
        while spans and max(spans[0][0], arrival_s) + service_s > spans[0][1]:
            heapq.heappop(spans)
        if not spans:
            return math.inf
        free_s, until_s = spans[0]
        start_s = max(free_s, arrival_s)
        late += start_s - arrival_s > promise_s
        heapq.heapreplace(spans, (start_s + service_s, until_s))
    return late


@settings(max_examples=25)
@given(
    arrival_s=st.lists(st.integers(0, 240), min_size=1, max_size=5),
    service_s=st.integers(5, 60),
    promise_s=st.sampled_from([0.0, 30.0, 90.0]),
    boot_s=st.sampled_from([0.0, 60.0, 180.0]),
    late=st.integers(0, 2),
)
def test_the_bound_is_below_the_best_of_all_plans_tried(
    arrival_s: list[int], service_s: int, promise_s: float, boot_s: float, late: int
) -> None:
    what = load(arrival_s, service_s)
    late = min(late, len(arrival_s))
    best_s = cheapest_plan_s(what, promise_s=promise_s, boot_s=boot_s, late=late, slots=7, max_instances=2)
    if math.isinf(best_s):
        return
    for slot_s in (5.0, 60.0):
        found = bounded(
            what,
            promise_s=promise_s,
            boot_s=boot_s,
            maximum=2,
            late_ratio=late / len(arrival_s),
            slot_s=slot_s,
        )
        assert found.attainable
        assert found.instance_hours * HOUR_S <= best_s * ROUNDING


def test_the_test_detects_a_bound_that_is_too_high() -> None:
    """The best plan for one message equals the bound, so any error shows."""
    what = load([0.0], 60.0)
    best_s = cheapest_plan_s(what, promise_s=0.0, boot_s=60.0, late=0, slots=2, max_instances=1)
    assert bounded(what, promise_s=0.0, boot_s=60.0, slot_s=60.0).instance_hours * HOUR_S == best_s
    slower = replace(what, service_s=what.service_s + 60.0)
    assert bounded(slower, promise_s=0.0, boot_s=60.0, slot_s=60.0).instance_hours * HOUR_S > best_s
