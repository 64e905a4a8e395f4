"""Scaling contexts for tests: a workload as its stack deploys it, over a fleet of the test's choice."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sluice.core.model import AutoScalingGroup
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import SimulatedFleet
from sluice_sim.template import deployment
from sluice_sim.template.deployment import Deployed
from tests.sim.simulator.fleets import beside, simulated_fleet

ROOT = Path(__file__).resolve().parents[3]


@cache
def deployed(environment: str = "transcription", minimum: int = 0, maximum: int = 5) -> Deployed:
    """An example workload with a static target of 10."""
    sizes = {"MinCapacity": str(minimum), "MaxCapacity": str(maximum)}
    target = {"TargetType": "static", "MessagesPerInstance": "10"}
    return deployment.deployed(ROOT, {**deployment.environments(ROOT)[environment], **sizes, **target})


def blue_green(environment: str, *, minimum: int = 0, maximum: int = 5) -> Deployed:
    """The same with a second fleet on its queue."""
    of = deployed(environment, minimum, maximum)
    kind = "AutoScalingGroup" if isinstance(of.workload.fleet, AutoScalingGroup) else "Service"
    return of.changed(**{f"Green{kind}Name": f"{environment}-green"})


def pair(environment: str, subject: SimulatedFleet | None = None) -> ScalingContext:
    """A context of two colors on one queue; blue is the given fleet, and active."""
    run = context(environment, subject)
    run.deployed = blue_green(environment)
    assert run.deployed.workload.idle is not None
    run.fleets = {**run.fleets, run.deployed.workload.idle.fleet: beside(run.fleet)}
    return run


def context(
    environment: str = "transcription", subject: SimulatedFleet | None = None, *, count_lag_s: float = 0.0
) -> ScalingContext:
    """A context at the start of its run; without a given fleet nothing ever arrives."""
    subject, of = subject or simulated_fleet([], 1), deployed(environment)
    subject.bounds = of.workload.bounds
    return ScalingContext(
        clock=subject.queue.clock,
        fleets={of.workload.fleet: subject},
        deployed=of,
        promise_s=300.0,
        mean_service_s=5.0,
        boot_s=0.0,
        peak_rate_per_s=1.0,
        count_lag_s=count_lag_s,
    )
