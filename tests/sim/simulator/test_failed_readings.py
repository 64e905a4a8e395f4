"""Reads that fail in the middle of a run: no unsafe decision meanwhile, and normal operation afterwards.

Faults in AWS's responses are in `tests/faults`; here the simulated ports fail while the control loop runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from sluice.core.model import Unknown
from sluice_sim.policies.sluice import Policy
from sluice_sim.simulator import ports
from sluice_sim.simulator.run import Run
from tests.sim.policies.builders import (
    MINUTE_S,
    dump,
    load,
    run_policy,
    unprocessed,
)

BEGIN_S, END_S = 20 * MINUTE_S, 50 * MINUTE_S
# Messages before the readings fail and while they do, and none for an hour afterwards.
LOAD = load(dump(200, at_s=3 * MINUTE_S), dump(60, at_s=30 * MINUTE_S), hours=2.0)
FAILING = {
    "queue": (ports.SimulatedQueues, "queue"),
    "fleet": (ports.SimulatedFleets, "fleet"),
    "metrics": (ports.SimulatedMetrics, "metric"),
}


@pytest.fixture(params=FAILING)
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Policy]:
    port, what = FAILING[request.param]
    read: Callable[..., object] = port.read

    def failing(self: object, keys: Collection[object], *more: object) -> object:
        now_s = self.context.fleet.now_s  # type: ignore[attr-defined]
        if BEGIN_S <= now_s < END_S:
            return {one: Unknown(reason=f"this {what} cannot be read") for one in keys}
        return read(self, keys, *more)

    monkeypatch.setattr(port, "read", failing)
    policy = Policy()
    return run_policy(policy, LOAD), policy


def test_sluice_never_scales_in_while_a_reading_fails(run: tuple[Run, Policy]) -> None:
    lowered_s = [one.at_s for one in run[0].log if one.text.startswith("shutdown")]
    assert lowered_s
    assert not [at_s for at_s in lowered_s if BEGIN_S <= at_s < END_S]


def test_each_failed_reading_is_reported(run: tuple[Run, Policy]) -> None:
    failures = [(at_s, why) for at_s, why in run[1].report.failures if "cannot be read" in why]
    assert failures
    assert all(BEGIN_S <= at_s < END_S for at_s, _ in failures)


def test_once_readings_work_again_all_is_processed_and_the_fleet_shuts_down(
    run: tuple[Run, Policy],
) -> None:
    assert unprocessed(run[0]) == 0
    assert run[0].lost == 0
    assert run[0].snapshots[-1].desired == 0
