"""A small share of the long run, which `python -m tests.worker_chaos` runs in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker_chaos.cloud import Cloud
from tests.worker_chaos.run import Verdict
from tests.worker_chaos.scenario_environment import Environment
from tests.worker_chaos.scenario_table import SCENARIOS

pytestmark = pytest.mark.processes

SEED = 1
MAX_DURATION_S = 60.0


def run_scenario(account: Cloud, folder: Path, name: str, count: int, mutation: str | None = None) -> Verdict:
    scenario, _ = SCENARIOS[name]
    return scenario(
        Environment(cloud=account, folder=folder, seed=SEED, mutation=mutation, limit_s=MAX_DURATION_S), count
    )


def test_killed_workers_lose_nothing_over_a_failing_sqs(account: Cloud, tmp_path: Path) -> None:
    verdict = run_scenario(account, tmp_path, "kills-and-faults", 100)

    assert verdict.broken == []
    assert verdict.ended
    assert verdict.faults


def test_a_queue_that_two_colors_hand_to_each_other_loses_nothing_and_keeps_its_order(
    account: Cloud, tmp_path: Path
) -> None:
    verdict = run_scenario(account, tmp_path, "colors", 100)

    assert verdict.broken == []
    log = (tmp_path / "workers.log").read_text()
    for color in ("blue", "green"):
        assert f"is {color}, the color of this worker" in log
    assert "messages are received again" in log


def test_a_worker_that_ignores_groups_is_detected(account: Cloud, tmp_path: Path) -> None:
    verdict = run_scenario(account, tmp_path, "groups", 60, mutation="groups-ignored")

    assert any("times the order of a group was broken" in violation for violation in verdict.broken)
