"""The same switch in the embedded AWS and in the simulator: the same steps, the same fleets within a minute.

Embedded workers poll every five seconds and read the draining color at each poll, simulated ones learn it
within ten; which of two idle workers gets a message differs too. So blue is busy when the switch begins, and
sizes may change a minute apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sluice.core.model import Color
from sluice_sim import policies
from sluice_sim.account import arn
from sluice_sim.embedded.cloud import START, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSLATION
from sluice_sim.embedded.timeline import Scenario
from sluice_sim.simulator.fleet import Conditions, ScaleIn
from sluice_sim.simulator.run import Load, simulate
from sluice_sim.template import deployment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MINUTE_S = 60
SWITCH_AT_S = 12 * MINUTE_S + 2.5
"""Between two polls, ticks and readings."""
PLAYED_MINUTES = 45
GROUP = replace(
    TRANSLATION, steady=None, bursts={3: 40, 9: 60}, max_minutes=PLAYED_MINUTES, quiet_minutes=PLAYED_MINUTES
)
SERVICE = replace(
    QUEUE_PROC,
    durations=((0, 60),),
    boot_s=60,
    batch=1,
    bursts=GROUP.bursts,
    steady=None,
    max_minutes=PLAYED_MINUTES,
    quiet_minutes=PLAYED_MINUTES,
    parameters={
        "GreenServiceName": "queue-proc-green",
        "MaxCapacity": "5",
        "TargetType": "static",
        "MessagesPerInstance": "2",
    },
)
DEADLINE = {
    "Scaling": "deadline",
    "ProcessingSeconds": "60",
    "BootSeconds": "60",
    "AcceptableLatencySeconds": "300",
}
SCENARIOS = {
    "group": GROUP,
    "service": SERVICE,
    "group by deadlines": replace(GROUP, parameters=GROUP.parameters | DEADLINE),
    "service by deadlines": replace(SERVICE, parameters=SERVICE.parameters | DEADLINE),
}

Played = tuple[Sequence[tuple[str, float]], Mapping[Color, Sequence[int]]]
"""The steps in order, each with the second of the run in which it began, and the desired sizes by minute."""


def embedded(scenario: Scenario) -> Played:
    desired: dict[Color, list[int]] = {color: [] for color in Color}
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        run = demo.add_workload(scenario)
        given = json.dumps({"workload": run.name, "to": None, "by": "a test"})
        begin = lambda: aws.machines.start(arn("states", "stateMachine:sluice-switch"), given, "one")  # noqa: E731
        aws.clock.at(START.timestamp() + SWITCH_AT_S, begin)

        def record() -> None:
            for color, fleet in zip(Color, run._fleets.values(), strict=True):
                desired[color].append(fleet.size().desired)

        aws.clock.every(MINUTE_S, record, first=START.timestamp(), priority=-1)
        [timeline] = demo.run()
        [execution] = aws.machines._executions.values()
        entered = [
            (event["stateEnteredEventDetails"]["name"].lower(), event["timestamp"].timestamp())
            for event in execution.events
            if event["type"] == "TaskStateEntered"
        ]
    assert execution.status == "SUCCEEDED", execution.cause
    assert timeline.summary.ok
    assert timeline.summary.processed_twice == 0
    return [(step, at - START.timestamp()) for step, at in entered], desired


def simulated(scenario: Scenario) -> Played:
    parameters = deployment.environments(ROOT)[scenario.environment or scenario.name] | dict(
        scenario.parameters
    )
    deployed = deployment.deployed(ROOT, parameters)
    deadline = deployed.workload.deadline
    arrivals = np.repeat(list(scenario.bursts), list(scenario.bursts.values())) * MINUTE_S + 0.001
    run = simulate(
        deployed,
        Load(
            arrival_s=arrivals,
            service_s=np.full(arrivals.size, scenario.duration_s(0)),
            horizon_s=float(PLAYED_MINUTES * MINUTE_S),
        ),
        Conditions(boot_s=lambda: scenario.boot_s, scale_in=ScaleIn.PROTECT),
        policies.named("deadline" if deadline else "sluice"),
        promise_s=deadline.promise_s if deadline else 300.0,
        boot_s=scenario.boot_s,
        start_s=START.timestamp(),
        switch_at_s=SWITCH_AT_S,
    )
    [switch] = run.switches
    assert (switch.status, run.lost, run.redelivered) == ("SUCCEEDED", 0, 0)
    assert run.messages.receives.tolist() == [1] * arrivals.size
    sizes = {color: [size.desired for size in its] for color, its in run.sizes.items()}
    return [(step.step.value, step.at_s) for step in switch.steps], sizes


@cache
def both(kind: str) -> tuple[Played, Played]:
    return embedded(SCENARIOS[kind]), simulated(SCENARIOS[kind])


def collapsed(steps: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Each step once, when it first began."""
    return [one for place, one in enumerate(steps) if place == 0 or steps[place - 1][0] != one[0]]


@pytest.mark.parametrize("kind", SCENARIOS)
def test_both_take_the_same_steps_in_the_same_order_within_a_minute(kind: str) -> None:
    (embedded_steps, _), (simulated_steps, _) = both(kind)
    ours, theirs = collapsed(simulated_steps), collapsed(embedded_steps)
    order = ["begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish"]
    assert [step for step, _ in ours] == [step for step, _ in theirs] == order
    assert [at_s for _, at_s in ours] == [pytest.approx(at_s, abs=MINUTE_S) for _, at_s in theirs]


@pytest.mark.parametrize("kind", SCENARIOS)
def test_both_colors_have_the_same_desired_size_within_a_minute(kind: str) -> None:
    (_, expected), (_, found) = both(kind)
    for color in Color:
        theirs, ours = expected[color], found[color]
        assert max(theirs) > 1, f"{color} ran"
        for minute in range(1, min(len(theirs), len(ours)) - 1):
            assert ours[minute] in theirs[minute - 1 : minute + 2], (color, minute, theirs, ours)
