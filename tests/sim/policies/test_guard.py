"""The downstream guard, played as deployed: what it saves where a downstream fails, and what it delays."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from sluice.core.pause import ENABLED, OUT_SUSPENDED
from sluice_sim import policies
from sluice_sim.policies.sluice import Policy
from sluice_sim.simulator.downstream import Downstream
from sluice_sim.simulator.run import Load, Run
from sluice_sim.study.result import Measured, measure
from tests.sim.policies.builders import deployed, dump, flow, load, run_policy

HALF_HOUR_S = 1800.0
CAPACITY = 10
MAXIMUM = 40
RATES_PER_S = (0.05, 0.1, 0.15, 0.2, 0.25, 0.25, 0.2, 0.15, 0.1, 0.05, 0.05)
"""Messages a second in each half hour, of a minute each: at most 15 at a time."""
HELD: dict[str, str] = {"GuardFailedPercent": "10", "GuardMinutes": "240"}
GROUP, SERVICE = "transcription", "queue-proc"


@cache
def wave() -> Load:
    flows = [
        flow(rate, HALF_HOUR_S * index, HALF_HOUR_S * (index + 1), seed=index)
        for index, rate in enumerate(RATES_PER_S)
    ]
    return load(*flows, service_s=60.0, hours=len(RATES_PER_S) / 2)


def played(policy: Any, capacity: int = CAPACITY, environment: str = GROUP, **guard: str) -> Run:
    workload = deployed(environment, maximum=MAXIMUM)
    return run_policy(
        policies.named(policy) if isinstance(policy, str) else policy,
        wave(),
        workload.changed(**guard) if guard else workload,
        promise_s=600.0,
        downstream=Downstream(capacity=capacity),
    )


@cache
def compared(policy: str) -> tuple[Measured, Measured]:
    """Without and with the guard."""
    return measure(played(policy)), measure(played(policy, **HELD))


def guard_log(run: Run) -> list[str]:
    return [entry.text for entry in run.log if entry.text.startswith("guard ")]


@pytest.mark.parametrize("policy", ["sluice", "deadline"])
@pytest.mark.slow
def test_a_guard_that_holds_as_long_as_the_overload_saves_failures_dead_letters_and_hours(
    policy: str,
) -> None:
    without, with_guard = compared(policy)
    assert with_guard.failed_attempts < 0.4 * without.failed_attempts
    assert with_guard.dead_letters < 0.1 * without.dead_letters
    assert with_guard.failed_instance_hours < 0.4 * without.failed_instance_hours
    assert with_guard.instance_hours < 0.75 * without.instance_hours
    assert with_guard.peak_instances < 1.5 * CAPACITY < without.peak_instances


@pytest.mark.parametrize("policy", ["sluice", "deadline"])
def test_it_delays_what_waits_meanwhile(policy: str) -> None:
    without, with_guard = compared(policy)
    assert without.attainment is not None
    assert with_guard.attainment is not None
    assert without.wait_p50_s is not None
    assert with_guard.wait_p50_s is not None
    assert with_guard.attainment < without.attainment - 0.2
    assert with_guard.wait_p50_s > 2 * without.wait_p50_s
    assert with_guard.peak_backlog > without.peak_backlog


@pytest.mark.parametrize("policy", ["sluice", "deadline"])
@pytest.mark.slow
def test_a_guard_changes_nothing_while_the_downstream_is_well(policy: str) -> None:
    plain, guarded = played(policy, capacity=1000), played(policy, capacity=1000, **HELD)
    assert guard_log(guarded) == []
    assert [entry.text for entry in guarded.log] == [entry.text for entry in plain.log]


@pytest.mark.parametrize(
    ("minutes", "why"),
    [("240", "the downstream has recovered"), ("60", "the longest hold of the guard is over")],
)
def test_what_holds_and_releases_is_logged_with_the_failed_share(minutes: str, why: str) -> None:
    held, released = guard_log(played("sluice", **HELD | {"GuardMinutes": minutes}))
    assert "guard holds scale-out: the downstream fails (" in held
    assert "messages failed in 5 minutes (threshold 10 %)" in held
    assert f"guard releases scale-out: {why}" in released


def test_the_growth_of_the_dead_letter_queue_engages_the_guard_too() -> None:
    growth = {"GuardDeadLettersPerMinute": "0.5", "DeadLetterQueueName": "dead", "GuardMinutes": "240"}
    run = played("sluice", **growth)
    assert "the dead-letter queue grew by" in guard_log(run)[0]
    assert run.dead_letters < compared("sluice")[0].dead_letters


@pytest.mark.parametrize(("environment", "field"), [(GROUP, ENABLED), (SERVICE, OUT_SUSPENDED)])
def test_awss_policy_is_held_while_the_guard_holds_and_as_before_afterwards(
    environment: str, field: str
) -> None:
    class Watched(Policy):
        def attach(self, context: Any) -> None:
            super().attach(context)
            context.clock.every(60.0, lambda: seen.append(self._plane.aws.held[field]))

    seen: list[bool] = []
    run = played(Watched(), environment=environment, **HELD)
    assert len(guard_log(run)) >= 2
    before = seen[0]
    assert 30 < seen.count(not before) < 260
    assert seen[-1] is before


def test_a_guard_saves_nothing_once_the_fleet_is_at_its_maximum() -> None:
    workload, burst = deployed(maximum=MAXIMUM), load(dump(600), service_s=60.0)
    limited = Downstream(capacity=CAPACITY)
    plain, guarded = (
        measure(run_policy("deadline", burst, each, promise_s=600.0, downstream=limited))
        for each in (workload, workload.changed(**HELD))
    )
    assert guarded.failed_attempts == plain.failed_attempts > 0
