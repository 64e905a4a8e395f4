"""The benchmark of the deadline engine: its limits hold on a generated load, and a missed one is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import deadline
from benchmarks.deadline import BURSTY, CONDITIONS, DEPLOYED, ENGINE, FIXED_MARGINS, Figures, Variant
from sluice_sim.simulator.run import Load

pytestmark = pytest.mark.slow

TRACES, _ = deadline.traces_of(None)
WITHIN_LIMITS = Figures(
    variant=ENGINE, condition=CONDITIONS[0].name, trace=BURSTY, seed=1, attainment=0.99, cost_ratio=1.36
)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one after the other: the other tests use the other cores."""
    monkeypatch.setattr(deadline, "workers", lambda: ThreadPoolExecutor(1))


def test_in_every_condition_bursts_start_in_time_within_the_cost_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[float] = []

    def recorded(*key: Any) -> float:
        computed.append(bound_hours(*key))
        return computed[-1]

    bound_hours = deadline._bound_hours
    monkeypatch.setattr(deadline, "_bound_hours", recorded)
    figures = deadline.measured(TRACES, CONDITIONS, [DEPLOYED], 1)
    assert deadline.missed(figures, CONDITIONS) == []
    assert len(computed) == len(set(computed)), "conditions that change neither load nor boot share a bound"
    assert {one.condition for one in figures} == {condition.name for condition in CONDITIONS}


def test_a_worse_law_misses_its_limits() -> None:
    blind = Variant(name=ENGINE, patched=(("MIN_WORK_SHARE", 0.6),))
    figures = deadline.measured(TRACES, CONDITIONS[:1], [blind], 1)
    assert deadline.missed(figures, CONDITIONS) != []


def test_a_warm_pool_that_reuses_instances_keeps_the_promise_for_less() -> None:
    cold, *_, pooled = [
        one for one in deadline.warm_pools() if one == DEPLOYED or one.name == "pool of 10, reuse"
    ]
    without, with_pool = deadline.measured(TRACES, FIXED_MARGINS[1:2], [cold, pooled], 1)
    assert with_pool.attainment >= 0.99
    assert with_pool.cost_ratio < 0.95 * without.cost_ratio


def test_results_at_their_limits_pass_and_each_missed_limit_is_named() -> None:
    assert deadline.missed([WITHIN_LIMITS], CONDITIONS) == []
    late, dear = replace(WITHIN_LIMITS, attainment=0.9899), replace(WITHIN_LIMITS, cost_ratio=1.361)
    other = replace(late, variant="static")
    assert deadline.missed([late, dear, other], CONDITIONS) == [
        "fresh counts, margin 0: bursty, seed 1: 98.9 % in time; at least 99.0 % required",
        "fresh counts, margin 0: bursty, seed 1: 1.361 times the bound; at most 1.36 allowed",
    ]


def test_the_table_shows_the_worst_of_the_seeds() -> None:
    figures = [WITHIN_LIMITS, replace(WITHIN_LIMITS, seed=2, attainment=0.995, cost_ratio=1.2)]
    text = deadline.table(figures, [CONDITIONS[0].name], [BURSTY], "condition")
    assert text.splitlines()[1].endswith("99.0 % / 1.360")


def test_the_first_days_of_a_load_are_its_messages_until_then() -> None:
    load = Load(arrival_s=np.array([0.0, 86_399.0, 86_400.0]), service_s=np.ones(3), horizon_s=3 * 86_400.0)
    early = deadline.first_days(load, 1)
    assert (early.arrival_s.tolist(), early.horizon_s) == ([0.0, 86_399.0], 86_400.0)


def test_every_constant_of_the_engine_is_halved_and_doubled() -> None:
    variants = deadline.sensitivity()
    assert len(variants) == 1 + 2 * len(deadline.CONSTANTS)
    assert {variant.patched[0][0] for variant in variants[1:]} == {name for _, name in deadline.CONSTANTS}
