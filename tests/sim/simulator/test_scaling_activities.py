"""Scaling activities of AWS's target tracking are logged with their numbers, as all decisions are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sluice_sim import policies
from sluice_sim.simulator.fleet import Conditions
from sluice_sim.simulator.run import (
    Load,
    simulate,
)
from sluice_sim.template import deployment

ROOT = Path(__file__).resolve().parents[3]


def test_a_scaling_activity_of_target_tracking_is_logged_with_its_metric_and_target() -> None:
    deployed = deployment.deployed(ROOT, deployment.environments(ROOT)["transcription"])
    load = Load(
        arrival_s=np.sort(np.random.default_rng(0).uniform(0, 60, 40)),
        service_s=np.full(40, 60.0),
        horizon_s=1800.0,
    )
    run = simulate(
        deployed,
        load,
        Conditions(boot_s=lambda: 180.0),
        policies.named("sluice"),
        promise_s=480,
        boot_s=180,
    )
    moved = [one.text for one in run.log if one.source == "AWS"]
    assert moved
    reason = r"(\d+) -> (\d+): target tracking, [\d.]+ per instance against a target of 8"
    assert [text for text in moved if not re.fullmatch(reason, text)] == []
    last = int(run.log[-1].text.split(" -> ")[1].split(":")[0])
    assert last == run.snapshots[-1].desired
