"""Runs small scenarios in the embedded AWS and in the simulator: both must agree in every minute.

The tolerance is 0, because the scenarios avoid what differs by design. Embedded workers poll every 5 seconds,
so messages arrive in bursts and take a multiple of 5 seconds. Nothing ends at a full minute, where the two
differ in the order of reading and finishing. In the embedded AWS a burst arrives just after the other events
of a full minute, hence a millisecond after it in the simulator.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sluice_sim import policies
from sluice_sim.embedded.cloud import START, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.timeline import (
    EventKind,
    Scenario,
    Timeline,
)
from sluice_sim.simulator.fleet import Conditions
from sluice_sim.simulator.run import (
    Load,
    Run,
    simulate,
)
from sluice_sim.template import deployment
from sluice_sim.template.deployment import environments

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MINUTE_S = 60
JUST_AFTER_S = 0.001

Decided = tuple[int, str, str, str]
"""(minute, source, old value, new value)."""

# A dynamic target, long enough for a retune to act between two bursts.
SERVICE = replace(
    QUEUE_PROC,
    durations=((0, 5),),
    boot_s=43,
    batch=1,
    bursts={3: 120, 50: 100},
    steady=None,
    max_minutes=70,
)
# Ten messages at each full minute, for long enough to be a sustained flow. Ticks come at other seconds in the
# two, and may find a queue empty that was not a moment ago: it ends before that could prove anything.
FLOW = replace(SERVICE, bursts=dict.fromkeys(range(3, 17), 10))
# AWS's own metrics steer it: visible messages, and those sent, per instance in service.
NATIVE = replace(TRANSCRIPTION, parameters={"MetricSource": "native"})
NATIVE_BACKLOG = replace(NATIVE, parameters={"MetricSource": "native", "TrackedMetric": "backlog"})
BACKLOG = replace(TRANSCRIPTION, parameters={"TrackedMetric": "backlog"})
SCENARIOS = {
    "group": TRANSCRIPTION,
    "group by its backlog": BACKLOG,
    "group on native metrics": NATIVE,
    "group on native metrics by its backlog": NATIVE_BACKLOG,
    "service": SERVICE,
    "service under a sustained flow": FLOW,
}


def embedded_timeline(scenario: Scenario) -> Timeline:
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        demo.add_workload(scenario)
        [timeline] = demo.run()
        return timeline


def simulated(scenario: Scenario) -> Run:
    parameters = environments(ROOT)[scenario.name] | dict(scenario.parameters)
    minutes = np.repeat(list(scenario.bursts), list(scenario.bursts.values()))
    arrivals = minutes * MINUTE_S + JUST_AFTER_S
    load = Load(
        arrival_s=arrivals,
        service_s=np.full(arrivals.size, scenario.duration_s(0)),
        horizon_s=float(scenario.max_minutes * MINUTE_S),
    )
    conditions = Conditions(
        boot_s=lambda: scenario.boot_s,
        concurrency=scenario.concurrency,
        visibility_timeout_s=scenario.visibility_timeout_s,
    )
    return simulate(
        deployment.deployed(ROOT, parameters),
        load,
        conditions,
        policies.named("sluice"),
        promise_s=300.0,
        boot_s=scenario.boot_s,
        start_s=START.timestamp(),
    )


@cache
def run_both(kind: str) -> tuple[Timeline, Run]:
    return embedded_timeline(SCENARIOS[kind]), simulated(SCENARIOS[kind])


def decisions(timeline: Timeline) -> list[Decided]:
    source = {EventKind.DECISION: "Sluice", EventKind.TARGET_TRACKING: "AWS"}
    return [
        (row.minute - 1, source[event.kind], *change(event.text))
        for row in timeline.minutes
        for event in row.events
        if event.kind in source
    ]


def change(text: str) -> tuple[str, str]:
    found = re.search(r"(\S+) -> ([\d.]+)", text)
    assert found, text
    return found[1], found[2]


@pytest.mark.parametrize("kind", SCENARIOS)
def test_both_decide_the_same_in_the_same_minutes(kind: str) -> None:
    timeline, run = run_both(kind)
    expected = decisions(timeline)
    over = len(timeline.minutes)
    logged = [(int(one.at_s // MINUTE_S), one.source, *change(one.text)) for one in run.log]
    assert [one for one in logged if one[0] < over] == expected
    bootstrapped, at_zero = ("0", "1"), "0"
    assert next(one[2:] for one in expected if one[1] == "Sluice") == bootstrapped
    assert expected[-1][3] == at_zero
    assert "AWS" in {source for _, source, _, _ in expected}


def test_the_service_is_retuned_between_its_bursts() -> None:
    timeline, _ = run_both("service")
    assert (40, "Sluice", "30", "15") in decisions(timeline)


def test_a_sustained_flow_is_given_tasks_although_its_queue_is_empty() -> None:
    timeline, _ = run_both("service under a sustained flow")
    grown = [one for one in decisions(timeline) if one[1] == "AWS" and int(one[3]) > int(one[2])]
    assert grown
    assert {timeline.minutes[minute].visible for minute, *_ in grown} == {0}


@pytest.mark.parametrize("kind", SCENARIOS)
def test_both_fleets_and_queues_are_the_same_at_every_full_minute(kind: str) -> None:
    timeline, run = run_both(kind)
    rows = [(row.minute, row.desired, row.running, row.visible, row.in_flight) for row in timeline.minutes]
    snapshots = [
        (round(at.now_s / MINUTE_S), at.desired, at.running, at.visible, at.in_flight) for at in run.snapshots
    ]
    assert snapshots[1 : len(rows) + 1] == rows
