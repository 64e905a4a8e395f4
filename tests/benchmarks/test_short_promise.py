"""The benchmark of the floor: a generated day keeps its limits, and a missed one is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks import short_promise
from benchmarks.short_promise import DIURNAL, ENGINE, FIXED, Figures
from sluice_sim.study.experiment import Generated

pytestmark = pytest.mark.slow

KEPT = Figures(trace=DIURNAL, policy=ENGINE, seed=1, attainment=0.99, instance_hours=99, launches=3)
BESIDE = replace(KEPT, policy=FIXED, instance_hours=100)


def test_a_floor_keeps_a_promise_shorter_than_a_boot_for_less_than_a_fixed_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(short_promise, "workers", lambda: ThreadPoolExecutor(1))
    figures = short_promise.measured({DIURNAL: Generated(shape="diurnal", days=2.0)}, 1)
    assert short_promise.missed(figures) == []
    assert {one.policy for one in figures} == {ENGINE, FIXED}


def test_each_missed_limit_is_named() -> None:
    assert short_promise.missed([KEPT, BESIDE]) == []
    late, dear = replace(KEPT, attainment=0.98), replace(KEPT, instance_hours=100)
    elsewhere = [replace(late, trace="azure"), replace(BESIDE, trace="azure")]
    assert short_promise.missed([late, BESIDE, *elsewhere]) == [
        "diurnal, seed 1: 98.0 % in time; at least 99.0 % required"
    ]
    assert short_promise.missed([dear, BESIDE]) == [
        "diurnal, seed 1: 100 instance-hours; the fixed fleet takes 100"
    ]
    assert short_promise.table([KEPT, BESIDE]).splitlines()[1] == "deadline  99.0 % / 99 / 3"
