"""`.ci/run` runs a share of the long runs that is large enough to be meaningful."""

import re
from pathlib import Path

import pytest

from tests.chaos.__main__ import MIN_COUNT_TO_REACH_ALL
from tests.worker_chaos.scenario_table import DETECTED_BY, SCENARIOS

RUN = Path(__file__).resolve().parents[1] / ".ci/run"


def requested(target: str, variable: str) -> float:
    """The value that it passes to this target of make."""
    [value] = re.findall(rf"^make {target} {variable}=(\S+)$", RUN.read_text(encoding="utf-8"), re.MULTILINE)
    return float(value)


def test_enough_interleavings_run_to_reach_every_reason_and_limit() -> None:
    assert requested("chaos", "COUNT") >= MIN_COUNT_TO_REACH_ALL


@pytest.mark.parametrize("defect", DETECTED_BY)
def test_real_workers_get_enough_messages_to_show_the_defect(defect: str) -> None:
    scenario, messages, _ = DETECTED_BY[defect]
    _, all_of_it = SCENARIOS[scenario]
    assert int(all_of_it * requested("worker-chaos", "SHARE")) >= messages
