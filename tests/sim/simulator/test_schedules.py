"""Schedules in a run: what they set, when, and that every policy is held to it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sluice_sim import policies
from sluice_sim.aws_rules.action_runs import MAX_LATENESS_S
from sluice_sim.simulator.run import Run
from sluice_sim.simulator.schedules import in_force, scheduled_bounds
from sluice_sim.study.experiment import Experiment, Generated
from sluice_sim.study.sweep import run_in_turn
from sluice_sim.template import deployment
from sluice_sim.template.deployment import SettingError
from tests.sim.simulator.builders import ROOT, trace_file

HOUR_S, MINUTE_S = 3600.0, 60.0
MONDAY = datetime(2026, 1, 12, tzinfo=UTC)
THREE_HOURS = Generated(shape="steady", days=0.125, per_day=8000)
FLOOR = {
    "Schedule1": "busy,MON-FRI,1:00,UTC,3,6",
    "Schedule2": "cut,MON,3:00,Europe/Berlin,0,1",
    "Schedule3": "quiet,SUN-SAT,2:30,UTC,0,10",
}
"""In UTC: at least 3 from 1:00, at most 1 from 2:00, free from 2:30 on, which is in force at midnight too."""


def experiment(environment="queue-proc", trace=THREE_HOURS, policy="sluice", **parameters) -> Experiment:
    given = deployment.environments(ROOT)[environment] | {"MaxCapacity": "10"} | FLOOR | parameters
    return Experiment(root=ROOT, parameters=given, policy=policy, trace=trace, duration_s=20.0)


def run(**changes) -> Run:
    [outcome] = run_in_turn([experiment(**changes)], with_bound=False)
    return outcome.run


def desired(finished: Run, from_h: float, until_h: float) -> list[int]:
    """At each full minute, without the first two, within which AWS may be late."""
    begin_s, end_s = from_h * HOUR_S + MAX_LATENESS_S, until_h * HOUR_S
    return [each.desired for each in finished.snapshots if begin_s < each.now_s <= end_s]


@pytest.mark.parametrize("policy", policies.names())
@pytest.mark.slow
def test_every_policy_is_held_to_the_bounds_in_force(policy: str) -> None:
    finished = run(policy=policy)
    assert min(desired(finished, 1, 2)) >= 3
    assert max(desired(finished, 1, 2)) <= 6
    assert max(desired(finished, 2, 2.5)) <= 1
    assert finished.lost == 0


@pytest.mark.parametrize("environment", ["queue-proc", "transcription"])
def test_a_start_raises_and_lowers_the_fleet_and_comes_at_most_two_minutes_late(environment: str) -> None:
    """A group's action and a service's are written differently, and do the same."""
    finished = run(environment=environment)
    assert [(each.bounds.min, each.bounds.max) for each in finished.scheduled] == [
        (0, 10), (3, 6), (0, 1), (0, 10)
    ]  # fmt: skip
    late_s = [
        each.at_s - hours * HOUR_S for each, hours in zip(finished.scheduled, (0, 1, 2, 2.5), strict=True)
    ]
    assert late_s[0] == 0
    assert all(0 <= each <= MAX_LATENESS_S for each in late_s)
    texts = [one.text for one in finished.log if one.source == "AWS" and "a schedule sets" in one.text]
    assert texts[-1].endswith("-> 1: a schedule sets 0 to 1 instances")


def test_a_run_begins_with_what_the_schedule_that_started_last_had_set() -> None:
    """On Monday at midnight a floor of Sunday evening is in force, and its instances boot at once."""
    finished = run(Schedule3="night,SUN,23:00,UTC,2,10")
    assert (finished.snapshots[0].desired, finished.scheduled[0].bounds.min) == (2, 2)
    assert desired(finished, 0, 0.9)[-1] >= 2


def test_the_last_start_counts_over_weeks_and_time_zones() -> None:
    actions = list(scheduled_bounds(experiment().deployed()))
    starts = {hour: in_force(actions, MONDAY.replace(hour=hour)).bounds.max for hour in (0, 1, 2, 3)}
    assert starts == {0: 10, 1: 6, 2: 1, 3: 10}
    assert in_force([actions[1]], MONDAY.replace(hour=1)).bounds.max == 1, "a week ago"
    assert in_force([], MONDAY) is None


def test_without_schedules_a_run_has_the_bounds_of_its_workload() -> None:
    finished = run(**dict.fromkeys(FLOOR, ""), MinCapacity="2")
    assert finished.scheduled == []
    assert min(desired(finished, 0, 3)) == 2


def test_a_trace_without_a_date_is_refused_beside_schedules(tmp_path) -> None:
    trace = trace_file(tmp_path, "0,5", "60,5")
    with pytest.raises(SettingError, match=r"schedules start by the clock: write them in ISO 8601"):
        run(trace=trace)
    assert run(trace=trace, **dict.fromkeys(FLOOR, "")).lost == 0
