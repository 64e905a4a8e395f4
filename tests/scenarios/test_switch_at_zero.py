"""Staging is normally shut down: a switch then changes the active color alone, which the next work starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice_cli.demo_operator import switch
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import COMPILER_STAGING
from sluice_sim.embedded.timeline import Timeline
from tests.scenarios.conftest import ROOT

pytestmark = pytest.mark.slow

SWITCHED_IN, ARRIVING_IN = 2, 6


@pytest.fixture(scope="module")
def staging() -> Timeline:
    """An operator switches the sleeping workload; four minutes later messages come."""
    scenario = replace(COMPILER_STAGING, switched_in=SWITCHED_IN, bursts={ARRIVING_IN: 6}, max_minutes=40)
    with embedded_aws(ROOT) as aws:
        [timeline] = Demo(aws, ROOT, operator=switch).run_scenarios([scenario], [])
        return timeline


def test_of_a_workload_that_sleeps_only_the_color_flips_in_one_go(staging: Timeline) -> None:
    seen = staging.summary.switch
    assert seen is not None
    assert (seen.is_done, seen.outcome) == (True, "green is active, blue is at zero")
    assert [step.step for step in seen.steps] == ["begin", "flip", "finish"]
    assert {step.began_s for step in seen.steps} == {step.ended_s for step in seen.steps} == {150.0}
    assert {row.desired for row in staging.minutes[:ARRIVING_IN]} == {0}


def test_the_messages_after_it_start_the_new_color_and_never_the_old_one(staging: Timeline) -> None:
    colors = [{size.color: size for size in row.colors} for row in staging.minutes]
    assert {(row["blue"].desired, row["blue"].running) for row in colors} == {(0, 0)}
    assert max(row["green"].running for row in colors) > 0
    assert (staging.summary.processed, staging.summary.out_of_order) == (6, 0)
    assert staging.summary.ok
