"""What a switch costs: the differences of two runs, written by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sluice.core.model import Color
from sluice.core.switch_record import Step
from sluice_sim.simulator.switches import PlayedSwitch, StepTaken
from sluice_sim.study.experiment import without_switch
from sluice_sim.study.switch_cost import switch_cost
from tests.sim.simulator.builders import experiment, run


def step(at_s, step, outcome="next", wait_s=0):
    return StepTaken(at_s=at_s, step=Step(step), outcome=outcome, detail="", wait_s=wait_s)


SWITCH = PlayedSwitch(
    began_s=100.0,
    to=Color.GREEN,
    steps=[step(100.0, "begin"), step(100.0, "ready", "wait", 10), step(110.0, "ready"), step(110.0, "flip")],
    ended_s=200.0,
    restored_s=200.0,
    status="SUCCEEDED",
)
ARRIVALS = [10.0, 50.0, 100.0, 150.0, 300.0]


def test_each_message_counts_where_it_arrived_and_the_same_ones_are_compared():
    switched = replace(run(ARRIVALS, [12.0, 54.0, 130.0, 160.0, 301.0]), switches=[SWITCH])
    cost = switch_cost(switched, run(ARRIVALS, [12.0, 54.0, 110.0, 156.0, 301.0]))
    assert (cost.before.messages, cost.before.mean_s, cost.before.p95_s) == (2, 3.0, 4.0)
    assert (cost.during.messages, cost.during.mean_s, cost.during.p95_s) == (2, 20.0, 30.0)
    assert (cost.during_without.messages, cost.during_without.mean_s) == (2, 8.0)
    assert (cost.after.messages, cost.after.mean_s) == (1, 1.0)


def test_a_step_lasts_until_the_next_one_begins():
    cost = switch_cost(replace(run(ARRIVALS, ARRIVALS), switches=[SWITCH]), run(ARRIVALS, ARRIVALS))
    assert [(one.step, one.seconds) for one in cost.steps] == [
        ("begin", 0.0),
        ("ready", 10.0),
        ("flip", 90.0),
    ]
    assert cost.duration_s == 100.0


def test_both_runs_are_billed_to_the_same_moment():
    short, long = ((0.0, 60.0, np.nan),), ((0.0, 60.0, np.nan), (100.0, 160.0, 460.0))
    switched = replace(run(ARRIVALS, ARRIVALS, lives=long, end_s=3600.0), switches=[SWITCH])
    cost = switch_cost(switched, run(ARRIVALS, ARRIVALS, lives=short, end_s=1800.0))
    assert cost.extra_instance_hours == pytest.approx(0.1)
    assert cost.instance_hours_ratio == pytest.approx(1.1)


def test_the_run_without_a_switch_differs_in_nothing_else():
    pair = experiment(
        policy="sluice",
        switch_at_min=30.0,
        parameters={**experiment().parameters, "GreenAutoScalingGroupName": "transcription-green"},
    )
    other = without_switch(pair)
    assert (other.switch_at_min, other.simulated_scale_in) == (None, pair.simulated_scale_in)
    assert other.load_settings == pair.load_settings


def test_nothing_was_processed_before_the_first_message():
    cost = switch_cost(replace(run([300.0], [300.0]), switches=[SWITCH]), run([300.0], [300.0]))
    assert (cost.before.messages, cost.before.mean_s, cost.during.p95_s) == (0, None, None)
