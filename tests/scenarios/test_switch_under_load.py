"""A switch between two colors while messages keep arriving, at any moment of any minute.

Operator, state machine, function and workers are those of `sluice demo --scenario compiler-aarch64-switch`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import boto3
import pytest
from click.testing import CliRunner

import sluice.usecases.switch
from sluice.core.model import Reason
from sluice.core.switch import Next, Wait
from sluice.core.switch_record import Step, Switch
from sluice_cli.demo_operator import switch
from sluice_cli.main import main
from sluice_operator.core.switching import WAY
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import COMPILER_SWITCH
from sluice_sim.embedded.timeline import ColorSize, Minute, Scenario, SteadyArrivals, Summary
from sluice_sim.embedded.workers import Assignment, SimulatedWorkers
from tests.scenarios.conftest import ROOT

pytestmark = pytest.mark.slow

LONGEST_MINUTES = 90
SERVICE = replace(
    COMPILER_SWITCH,
    name="letters",
    environment="queue-proc",
    parameters={
        "Name": "letters",
        "QueueName": "letters.fifo",
        "ServiceName": "letters-blue",
        "GreenServiceName": "letters-green",
        "MinCapacity": "1",
        "MaxCapacity": "6",
        "TargetType": "static",
        "MessagesPerInstance": "3",
    },
)
KINDS = {"asg": COMPILER_SWITCH, "ecs": SERVICE}


@dataclass(frozen=True, kw_only=True)
class Switched:
    """What a run did, and what AWS has of both fleets at its end."""

    summary: Summary
    minutes: tuple[Minute, ...]
    held: Mapping[str, object]
    """Color -> what suspends its scaling."""
    bounds: Mapping[str, tuple[int, int]]
    """Color -> minimum and maximum."""
    draining: str

    @property
    def ends_s(self) -> dict[str, float | None]:
        """When each step of the switch ended."""
        assert self.summary.switch is not None
        return {step.step: step.ended_s for step in self.summary.switch.steps}

    def of(self, color: str) -> list[tuple[int, ColorSize]]:
        """(second, size) of a color at each minute's end."""
        return [(60 * row.minute, size) for row in self.minutes for size in row.colors if size.color == color]


def scenario_of(kind: str, seed: int) -> Scenario:
    """The load, the boot and the moment of the switch are random, and so is the lateness of each schedule."""
    random = Random(seed)
    switched_in = random.randint(8, 18)
    return replace(
        KINDS[kind],
        boot_s=random.uniform(40, 200),
        durations=((0, random.uniform(20, 100)),),
        message_groups=random.randint(6, 14),
        steady=SteadyArrivals(first=random.randint(0, 3), last=switched_in + 13, per_minute=2),
        bursts={switched_in + random.randint(-2, 6): random.randint(5, 20)},
        switched_in=switched_in,
    )


def play(kind: str, seed: int, *, waiting: int | None = None, **options: Any) -> Switched:
    """Until the switch has ended and every message is processed; `waiting` arrive as it begins."""
    scenario = scenario_of(kind, seed)
    if waiting is not None and scenario.switched_in is not None:
        scenario = replace(scenario, bursts={scenario.switched_in: waiting})
    with embedded_aws(ROOT, seed=seed) as aws:
        demo = Demo(aws, ROOT, operator=switch, **options)
        run = demo.add_workload(scenario)
        for minute in demo.minutes():
            seen, row = run.summary.switch, run.minutes[-1]
            assert minute < LONGEST_MINUTES, seen
            is_over = seen is not None and seen.outcome and minute > scenario.last_arrival
            if is_over and row.visible + row.in_flight == 0:
                break
        timeline = run.timeline()
        name = scenario.parameters["Name"]
        told = boto3.client("ssm").get_parameter(Name=f"/sluice/workloads/{name}/draining-color")
        return Switched(
            summary=timeline.summary,
            minutes=timeline.minutes,
            held=held(kind, scenario),
            bounds=bounds(kind, scenario),
            draining=told["Parameter"]["Value"],
        )


def fleets(scenario: Scenario, parameter: str) -> dict[str, str]:
    return {
        "blue": scenario.parameters[parameter],
        "green": scenario.parameters[f"Green{parameter}"],
    }


def groups(scenario: Scenario) -> dict[str, Any]:
    client = boto3.client("autoscaling")
    return {
        color: client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
        for color, name in fleets(scenario, "AutoScalingGroupName").items()
    }


def targets(scenario: Scenario) -> dict[str, Any]:
    client = boto3.client("application-autoscaling")
    return {
        color: client.describe_scalable_targets(
            ServiceNamespace="ecs", ResourceIds=[f"service/workers/{name}"]
        )["ScalableTargets"][0]
        for color, name in fleets(scenario, "ServiceName").items()
    }


def held(kind: str, scenario: Scenario) -> dict[str, object]:
    if kind == "asg":
        return {color: group["SuspendedProcesses"] for color, group in groups(scenario).items()}
    states = {color: target.get("SuspendedState", {}) for color, target in targets(scenario).items()}
    return {color: [name for name, is_held in state.items() if is_held] for color, state in states.items()}


def bounds(kind: str, scenario: Scenario) -> dict[str, tuple[int, int]]:
    if kind == "asg":
        return {color: (group["MinSize"], group["MaxSize"]) for color, group in groups(scenario).items()}
    found = targets(scenario).items()
    return {color: (target["MinCapacity"], target["MaxCapacity"]) for color, target in found}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_killed_or_out_of_order_and_everything_is_restored(kind: str, seed: int) -> None:
    switched = play(kind, seed)
    summary = switched.summary
    assert summary.switch is not None
    assert summary.switch.outcome == "green is active, blue is at zero"
    assert (summary.left, summary.processed, summary.processed_twice) == (0, summary.sent, 0)
    assert (summary.ended_at_work, summary.out_of_order) == (0, 0)
    began_s, retired_s = summary.switch.steps[0].began_s, switched.ends_s["retire"]
    assert retired_s is not None
    assert {size.desired for at_s, size in switched.of("green") if at_s <= began_s} == {0}
    after = [size for at_s, size in switched.of("blue") if at_s > retired_s]
    assert {(size.desired, size.running, size.active) for size in after} == {(0, 0, False)}
    before = max(size.running for at_s, size in switched.of("blue") if at_s <= began_s)
    flipped_s = switched.ends_s["flip"]
    assert flipped_s is not None
    working = [size.running for at_s, size in switched.of("green") if flipped_s < at_s <= flipped_s + 120]
    assert min(working) >= min(before, 1)
    assert switched.held == {"blue": [], "green": []}
    assert switched.bounds == {"blue": (0, 6), "green": (1, 6)}
    assert switched.draining == "none"


def test_the_demo_shows_the_switch_in_its_json_its_table_and_its_report(tmp_path: Path) -> None:
    chosen = ["--scenario", COMPILER_SWITCH.name, "--report", str(tmp_path)]
    answer = CliRunner(mix_stderr=False).invoke(main, ["demo", *chosen, "--json"])
    assert answer.exit_code == 0, answer.stderr
    [workload] = json.loads(answer.stdout)["workloads"]
    shown = workload["switch"]
    assert (workload["ok"], shown["well"]) == (True, True)
    assert (shown["out_of_order"], shown["ended_at_work"], shown["old_color_desired"]) == (0, 0, 0)
    assert [step["step"] for step in shown["steps"]] == [step.value for step in WAY]
    assert re.search(r"5/5 \* ●●●●● +0/5 +○○○○○", answer.stderr), "green boots"
    assert "→ switch, flip of green: the new color is active" in answer.stderr
    page = (tmp_path / "report.html").read_text()
    assert "The switch: green is the active color after" in page
    assert "Blue is the active color until minute" in page
    assert (tmp_path / f"{COMPILER_SWITCH.name}.png").is_file()


def idle_at_once(switch: Switch, *_: object) -> Wait:
    """A defect: the old color counts as drained although nobody has looked."""
    return Wait(next=Next.NEXT, reason=Reason.COLOR_DRAINED, detail="it is so", switch=switch)


@pytest.mark.parametrize("kind", KINDS)
def test_instances_that_are_retired_without_a_proof_are_seen_to_end_at_work(kind: str) -> None:
    busy = sluice.usecases.switch._busy

    def none_is_busy(switching: Any, of: Any) -> Any:
        return 0 if switching.request.step is Step.RETIRE else busy(switching, of)

    with (
        mock.patch.object(sluice.usecases.switch, "drained", idle_at_once),
        mock.patch.object(sluice.usecases.switch, "_busy", none_is_busy),
    ):
        switched = play(kind, 1, waiting=40)
    assert switched.summary.ended_at_work > 0
    assert not switched.summary.ok


def deaf(aws: EmbeddedAws, assignment: Assignment) -> SimulatedWorkers:
    """A defect: workers that do not know the draining color, and go on receiving."""
    return SimulatedWorkers(aws, replace(assignment, receives=lambda: True))


def test_a_color_whose_workers_go_on_receiving_is_not_retired() -> None:
    switched = play("asg", 2, waiting=60, worker_factory=deaf, plane={"SwitchDrainMinutes": "5"})
    summary = switched.summary
    assert summary.switch is not None
    assert not summary.switch.is_done
    assert "stays up" in summary.switch.outcome
    assert summary.old_color_desired > 0
    assert (summary.left, summary.processed, summary.ended_at_work) == (0, summary.sent, 0)
    assert not summary.ok
    assert switched.held == {"blue": [], "green": []}
    assert switched.draining == "none"
