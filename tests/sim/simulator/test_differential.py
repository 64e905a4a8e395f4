"""Runs small scenarios in the embedded AWS and in the simulator: both must agree in every minute.

The tolerance is 0, because the scenarios avoid what differs by design. Embedded workers poll every 5 seconds,
so messages arrive in bursts and take a multiple of 5 seconds. Nothing ends at a full minute, where the two
differ in the order of reading and finishing. In the embedded AWS a burst arrives just after the other events
of a full minute, hence a millisecond after it in the simulator.

The deadline engine decides at each tick that the minute's tick has queued. If the minutes start on time, both
agree in every decision to the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from sluice_sim import policies
from sluice_sim.aws_rules import scheduler
from sluice_sim.embedded.cloud import START, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION
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
# More bursts come while the instances for the first still boot; a boot ends between two ticks.
BY_DEADLINE = replace(
    PHOTO_IMPORT,
    boot_s=183,
    bursts={4: 150, 5: 60, 6: 150, 13: 1},
    parameters={"ProcessingSeconds": "10", "BootSeconds": "183"},
    max_minutes=30,
)
# Two message groups keep two instances busy, however many run.
TWO_GROUPS = replace(
    BY_DEADLINE,
    bursts={4: 100},
    message_groups=2,
    parameters=BY_DEADLINE.parameters | {"QueueName": "photo-import.fifo"},
)
DEADLINES = {"deadlines": BY_DEADLINE, "deadlines of two message groups": TWO_GROUPS}
# The floor raises the fleet before the first burst, the ceiling cuts it later; until then both have the
# workload's own bounds.
QUIET = {"Schedule1": "quiet,SUN-SAT,12:05,UTC,0,5", "Schedule4": "after,SUN-SAT,12:50,UTC,0,5"}
SCHEDULED = replace(
    TRANSCRIPTION,
    parameters=QUIET
    | {"Schedule2": "busy,THU,13:22,Europe/Berlin,3,5", "Schedule3": "cut,SUN-SAT,12:44,UTC,1,2"},
)
SCHEDULED_SERVICE = replace(
    SERVICE, parameters={name: line.replace(",5", ",10") for name, line in SCHEDULED.parameters.items()}
)
SCHEDULED_FLEETS = {"group": SCHEDULED, "service": SCHEDULED_SERVICE}
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
    parameters = environments(ROOT)[scenario.environment or scenario.name] | dict(scenario.parameters)
    deployed = deployment.deployed(ROOT, parameters)
    minutes = np.repeat(list(scenario.bursts), list(scenario.bursts.values()))
    arrivals = minutes * MINUTE_S + JUST_AFTER_S
    load = Load(
        arrival_s=arrivals,
        service_s=np.full(arrivals.size, scenario.duration_s(0)),
        horizon_s=float(scenario.max_minutes * MINUTE_S),
        groups=np.arange(arrivals.size) % scenario.message_groups if deployed.workload.is_fifo else None,
    )
    conditions = Conditions(
        boot_s=lambda: scenario.boot_s,
        concurrency=scenario.concurrency,
        visibility_timeout_s=scenario.visibility_timeout_s,
    )
    deadline = deployed.workload.deadline
    return simulate(
        deployed,
        load,
        conditions,
        policies.named("deadline" if deadline else "sluice"),
        promise_s=deadline.promise_s if deadline else 300.0,
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


@pytest.mark.parametrize("kind", SCHEDULED_FLEETS)
def test_both_have_the_bounds_that_schedules_set_and_the_same_fleet_at_every_full_minute(kind: str) -> None:
    """With the same seed the scheduled actions are late by the same seconds."""
    scenario, bounds = SCHEDULED_FLEETS[kind], []
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        demo.add_workload(scenario)
        deployed = deployment.deployed(ROOT, environments(ROOT)[scenario.name] | dict(scenario.parameters))
        fleet = deployed.workload.fleet
        read, name = (
            (aws.groups.bounds, fleet.name)
            if kind == "group"
            else (aws.services.bounds, f"service/{fleet.cluster}/{fleet.service}")
        )
        aws.clock.every(MINUTE_S, lambda: bounds.append(read(name)), first=START.timestamp() + MINUTE_S)
        [timeline] = demo.run()
    run = simulated(scenario)
    assert len({low for low, _ in bounds}) == len(run.scheduled) - 1 == 3

    def set_by(at_s: float) -> tuple[int, int]:
        [*_, last] = [each.bounds for each in run.scheduled if each.at_s <= at_s]
        return last.min, last.max

    assert bounds == [set_by(MINUTE_S * minute) for minute in range(1, len(bounds) + 1)]
    rows = [(row.minute, row.desired, row.running, row.visible, row.in_flight) for row in timeline.minutes]
    snapshots = [
        (round(at.now_s / MINUTE_S), at.desired, at.running, at.visible, at.in_flight) for at in run.snapshots
    ]
    assert snapshots[1 : len(rows) + 1] == rows
    by_schedule = [change(one.text) for one in run.log if "a schedule sets" in one.text]
    assert by_schedule[0] == ("0", "3"), "the floor raises"
    assert by_schedule[1][1] == "2", "the ceiling lowers"


@pytest.mark.parametrize("kind", SCENARIOS)
def test_both_fleets_and_queues_are_the_same_at_every_full_minute(kind: str) -> None:
    timeline, run = run_both(kind)
    rows = [(row.minute, row.desired, row.running, row.visible, row.in_flight) for row in timeline.minutes]
    snapshots = [
        (round(at.now_s / MINUTE_S), at.desired, at.running, at.visible, at.in_flight) for at in run.snapshots
    ]
    assert snapshots[1 : len(rows) + 1] == rows


# ---- The deadline engine -----------------------------------------------------------------------------------

PUNCTUAL_S = 0
Scaled = tuple[float, str]
"""(seconds of the run, the logged decision)."""


@cache
def run_both_by_deadline(kind: str, max_lateness_s: int) -> tuple[Timeline, list[Scaled], Run]:
    """Both runs, and every decision of the embedded one that acted; schedules start up to so late."""
    with mock.patch.object(scheduler, "MAX_LATENESS_S", max_lateness_s), embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        demo.add_workload(DEADLINES[kind])
        [timeline] = demo.run()
        acted = [line for line in aws.log if line.record.get("outcome") == "acted"]
        assert demo.aws.autoscaling.describe_policies()["ScalingPolicies"], "the fallback is there"
        assert aws.scaled == [], "and never acts"
        run = simulated(DEADLINES[kind])
    scaled = [
        (line.at - START.timestamp(), f"{line.record['message']} (by {line.record['trigger']})")
        for line in acted
    ]
    return timeline, scaled, run


def raised(scaled: Iterable[Scaled]) -> list[tuple[float, int]]:
    """(seconds of the run, instances launched) of each decision that launches."""
    changes = [(at_s, *map(int, change(text))) for at_s, text in scaled]
    return [(at_s, after - before) for at_s, before, after in changes if after > before]


@pytest.mark.parametrize("kind", DEADLINES)
def test_both_engines_decide_the_same_with_the_same_numbers_in_the_same_second(kind: str) -> None:
    timeline, scaled, run = run_both_by_deadline(kind, PUNCTUAL_S)
    assert scaled == [(one.at_s, one.text) for one in run.log]
    assert len(raised(scaled)) > 1
    assert scaled[-1][1].startswith("scale 1 -> 0")
    assert timeline.summary.ok


@pytest.mark.parametrize("kind", DEADLINES)
def test_fleets_and_queues_are_the_same_at_every_full_minute_without_a_decision(kind: str) -> None:
    """The row of the embedded AWS follows the decision of its second, the simulator's comes before it."""
    timeline, scaled, run = run_both_by_deadline(kind, PUNCTUAL_S)
    decided_s = {at_s for at_s, _ in scaled}
    both = [
        (
            (row.desired, row.running, row.visible, row.in_flight),
            (at.desired, at.running, at.visible, at.in_flight),
        )
        for row, at in zip(timeline.minutes, run.snapshots[1:], strict=False)
        if row.minute * MINUTE_S not in decided_s
    ]
    assert len(both) > 15
    assert [embedded for embedded, _ in both] == [one for _, one in both]


@pytest.mark.parametrize("kind", DEADLINES)
def test_if_minutes_start_late_the_same_instances_are_launched_within_a_tick(kind: str) -> None:
    """SQS delays by whole seconds, so ticks that are queued late are up to half a second off: a cohort that
    would just start in time in one engine may need an instance or two in the other."""
    _, scaled, run = run_both_by_deadline(kind, scheduler.MAX_LATENESS_S)
    embedded, expected = raised(scaled), raised((one.at_s, one.text) for one in run.log)
    for one, other in ((embedded[0], expected[0]), (embedded[-1], expected[-1])):
        assert one == (pytest.approx(other[0], abs=10.5), pytest.approx(other[1], abs=1))
    assert sum(count for _, count in embedded) == pytest.approx(sum(count for _, count in expected), abs=2)


def test_two_message_groups_get_four_instances_until_two_of_them_are_seen_idle() -> None:
    timeline, scaled, _ = run_both_by_deadline("deadlines of two message groups", PUNCTUAL_S)
    assert [change(text) for _, text in scaled] == [
        ("0", "2"),
        ("2", "4"),
        ("4", "2"),
        ("2", "1"),
        ("1", "0"),
    ]
    assert max(row.in_flight for row in timeline.minutes) == 2


def test_both_engines_learn_the_same_margin_from_the_same_late_messages() -> None:
    """A promise of 200 s leaves too little time for a boot of 183 s: most of a burst starts late."""
    late = replace(
        BY_DEADLINE,
        bursts={5: 200},
        parameters=BY_DEADLINE.parameters | {"AcceptableLatencySeconds": "200"},
        max_minutes=45,
        quiet_minutes=45,
    )
    with mock.patch.object(scheduler, "MAX_LATENESS_S", PUNCTUAL_S), embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        demo.add_workload(late)
        demo.run()
        learned = [line.record for line in aws.log if line.record.get("reason") == "too_many_late"]
        run = simulated(late)
    expected = [one.text for one in run.log if one.text.startswith("margin")]
    assert [f"{record['message']} (by {record['trigger']})" for record in learned] == expected
    assert expected[0].startswith("margin 20 -> 30 s: too many messages started late (80.00% of 200 messages")
