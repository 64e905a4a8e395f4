"""Small loads and workloads for the tests of policies, and the results of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from sluice_sim import policies
from sluice_sim.simulator.context import Policy
from sluice_sim.simulator.downstream import Downstream
from sluice_sim.simulator.fleet import Conditions
from sluice_sim.simulator.run import (
    Load,
    Run,
    simulate,
)
from sluice_sim.simulator.warm_pool import WarmPoolSettings
from sluice_sim.template import deployment
from sluice_sim.template.deployment import Deployed

ROOT = Path(__file__).resolve().parents[3]
MINUTE_S, HOUR_S = 60.0, 3600.0
SERVICE_S, BOOT_S, PROMISE_S = 5.0, 180.0, 300.0
PER_INSTANCE = PROMISE_S / SERVICE_S
"""Messages that one instance starts within the promise: the target of the policies that have one."""


@cache
def deployed(environment: str = "transcription", minimum: int = 0, maximum: int = 100) -> Deployed:
    parameters = deployment.environments(ROOT)[environment]
    bounds = {"MinCapacity": str(minimum), "MaxCapacity": str(maximum)}
    return deployment.deployed(ROOT, parameters | bounds)


def load(*arrivals_s: Sequence[float], hours: float = 1.0, service_s: float = SERVICE_S) -> Load:
    arrival_s = np.sort(np.concatenate([np.asarray(some, float) for some in arrivals_s]))
    return Load(arrival_s=arrival_s, service_s=np.full(arrival_s.size, service_s), horizon_s=hours * HOUR_S)


def dump(messages: int, at_s: float = MINUTE_S, within_s: float = 1.0) -> Sequence[float]:
    return list(np.linspace(at_s, at_s + within_s, messages))


def flow(per_s: float, begin_s: float, end_s: float, seed: int = 0) -> Sequence[float]:
    random = np.random.default_rng(seed)
    return list(random.uniform(begin_s, end_s, round(per_s * (end_s - begin_s))))


def run_policy(
    policy: str | Policy,
    what: Load,
    workload: Deployed | None = None,
    *,
    promise_s: float = PROMISE_S,
    boot_s: float = BOOT_S,
    measured_boot_s: float = BOOT_S,
    concurrency: int = 1,
    refusal_ratio: float = 0.0,
    interruptions_per_instance_hour: float = 0.0,
    warm_pool: WarmPoolSettings | None = None,
    downstream: Downstream | None = None,
) -> Run:
    return simulate(
        workload or deployed(),
        what,
        Conditions(
            boot_s=lambda: boot_s,
            concurrency=concurrency,
            refusal_ratio=refusal_ratio,
            interruptions_per_instance_hour=interruptions_per_instance_hour,
            warm_pool=warm_pool,
            downstream=downstream,
        ),
        policies.named(policy) if isinstance(policy, str) else policy,
        promise_s=promise_s,
        boot_s=measured_boot_s,
    )


def moves(run: Run) -> list[tuple[float, str, int, int]]:
    """Every change of the desired count: (time, source, from, to)."""
    found = []
    for entry in run.log:
        change = re.search(r"(\d+) -> (\d+):", entry.text)
        assert change is not None, entry.text
        found.append((entry.at_s, entry.source, int(change[1]), int(change[2])))
    return found


def waits_s(run: Run) -> np.ndarray:
    return run.messages.started_s - run.messages.arrival_s


def hours(run: Run) -> float:
    """Instance-hours from launch to termination."""
    terminated_s = np.where(np.isnan(run.terminated_s), run.end_s, run.terminated_s)
    launched_s = np.array([one.launched_s for one in run.instances])
    return float((terminated_s - launched_s).sum()) / HOUR_S


def peak(run: Run) -> int:
    return max(snapshot.running for snapshot in run.snapshots)


def unprocessed(run: Run) -> int:
    return int((run.messages.state != 1).sum())
