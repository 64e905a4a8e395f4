"""The simulation of a workload's settings is what the embedded AWS did with them.

The histories are played by the embedded AWS, not by the simulator: its workers poll, its metrics are late,
its schedules start within a random second of their minute, and its stacks are deployed at any second.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import pytest

from sluice_cli.recommend_past import past_of_history
from sluice_cli.workloads import CHECKOUT
from sluice_operator.account import open_account
from sluice_operator.history import read_history
from sluice_operator.session import AwsSession
from sluice_operator.status import registered_workload
from sluice_sim.embedded import account_with_a_past, recorded_days
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.recorded_days import Days, poisson
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import Scenario
from sluice_sim.study.candidates import applied
from sluice_sim.study.judging import figures_of
from sluice_sim.study.reproduction import Reproduction
from sluice_sim.study.sweep import run_in_turn

pytestmark = pytest.mark.slow

HOUR = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What arrives, at which workload, and what is drawn at random around it."""

    scenario: Scenario
    parameters: Mapping[str, str]
    seed: int
    phase_s: float
    metric_delay_s: float


def days(base: Scenario, flow: Iterator[int], **changes: object) -> Days:
    """A scenario with these messages a minute, each at a random moment of it, one per receive."""
    arriving = tuple(flow)
    same = {field.name: getattr(base, field.name) for field in fields(Scenario)}
    given = {"steady": None, "bursts": {}, "batch": 1, "max_minutes": len(arriving) + 1, **changes}
    return Days(**same | given, flow=arriving)


def wave(minutes: int, peak: float, period: int, seed: int, bursts: Mapping[int, int]) -> Iterator[int]:
    """Poisson arrivals that rise and fall, and messages that come within one minute."""
    drawn = random.Random(seed)
    for minute in range(minutes):
        mean = peak * (0.55 - 0.45 * math.cos(2 * math.pi * minute / period))
        yield poisson(drawn, mean) + bursts.get(minute, 0)


def on_and_off(minutes: int, mean: float, on: int, off: int, seed: int) -> Iterator[int]:
    """Poisson arrivals with pauses in which the fleet goes home."""
    drawn = random.Random(seed)
    for minute in range(minutes):
        yield poisson(drawn, mean) if minute % (on + off) < on else 0


CASES = {
    "a service whose load rises and falls": Case(
        scenario=days(
            QUEUE_PROC,
            wave(8 * HOUR, 12, 4 * HOUR, 1, {130: 60, 400: 60}),
            boot_s=70,
            durations=((0, 45.0), (240, 55.0), (480, 40.0)),
        ),
        parameters={
            **recorded_days.PARAMETERS,
            "ScaleOutCooldownSeconds": "60",
            "ScaleInCooldownSeconds": "180",
        },
        seed=101,
        phase_s=7.3,
        metric_delay_s=20.0,
    ),
    "a group that goes home between its work": Case(
        scenario=days(TRANSCRIPTION, on_and_off(8 * HOUR, 6, 75, 85, 2), boot_s=150, durations=((0, 60.0),)),
        parameters={"MaxCapacity": "25", "InstanceWarmupSeconds": "240"},
        seed=102,
        phase_s=41.2,
        metric_delay_s=90.0,
    ),
    "a group that the deadline engine scales": Case(
        scenario=days(
            PHOTO_IMPORT,
            wave(6 * HOUR, 14, 3 * HOUR, 3, {100: 150, 250: 150}),
            boot_s=180,
            durations=((0, 20.0), (180, 30.0), (360, 20.0)),
        ),
        parameters={"MaxCapacity": "40", "TickSeconds": "30", "ProcessingSeconds": "20"},
        seed=103,
        phase_s=53.6,
        metric_delay_s=60.0,
    ),
}


def reproduced(case: Case, folder) -> Reproduction:
    """Play the case on the embedded AWS, and simulate its settings on what arrived."""
    minutes = len(case.scenario.flow)
    recorded = recorded_days.record(
        CHECKOUT,
        case.scenario,
        minutes,
        parameters=case.parameters,
        seed=case.seed,
        phase_s=case.phase_s,
        metric_delay_s=case.metric_delay_s,
    )
    with embedded_aws(CHECKOUT) as aws:
        run = Demo(aws, CHECKOUT).add_workload(case.scenario, case.parameters)
        account_with_a_past.put(recorded, aws.clock.now, run.deployed)
        account = open_account(AwsSession(), "sluice")
        workload = registered_workload(account.ports.registry, run.name, lambda: 60.0)
        until = datetime.fromtimestamp(aws.clock.now // 60 * 60, UTC)
        history = read_history(account.ports.metrics, workload, until - timedelta(minutes=minutes), until)
        past = past_of_history(account, workload, history, folder)
    [outcome] = run_in_turn([applied(past.experiment, {})], with_bound=False)
    return past.happened.compared(figures_of(outcome.run))


@pytest.mark.parametrize("name", CASES)
def test_hours_and_promise_are_those_that_happened(name, tmp_path):
    found = reproduced(CASES[name], tmp_path)
    said = (
        f"{found.hours_error:+.1%} of the hours, {found.share_error_points:+.1f} points; desired is off by "
        f"{found.desired_error:.2f}, running by {found.running_error:.2f}"
    )
    assert found.happened_instance_hours > 20
    assert list(found.problems()) == [], said
