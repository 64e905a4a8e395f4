"""What a run comes to: the numbers by which policies are compared.

Owns their definitions. Elasticity (there a_U, a_O, tau_U, tau_O and jitter) is that of the SPEC research
group and of BUNGEE, with the running instances as supply and the clairvoyant plan as demand. Refuses to put
a number where there is none: without a bound what depends on it is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.queue_kernel import (
    Floats,
    Ints,
)
from sluice_sim.simulator.run import Run
from sluice_sim.study.lower_bound import Bound

HOUR_S = 3600.0
MIN_LOAD = 1.0
"""Instances busy on average below which a cost ratio says more of whole instances than of the policy."""

Result = dict[str, Any]
"""The keys of `--json`, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A step function of time: `level[i]` from `at_s[i]` on; it begins at 0 s."""

    at_s: Floats
    level: Ints

    def __call__(self, moments_s: Floats) -> Ints:
        """Its level at these moments."""
        found: Ints = self.level[np.searchsorted(self.at_s, moments_s, "right") - 1]
        return found

    def changes(self, until_s: float) -> int:
        """Moments before `until_s` at which the level changes."""
        moved = self.level[1:] != self.level[:-1]
        return int((moved & (self.at_s[1:] < until_s)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run says by itself; the rest takes a bound. Names are those of the result."""

    policy: str
    promise_s: float
    messages: int
    processed: int
    dead_letters: int
    lost: int
    redelivered: int
    attainment: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    instance_hours: float
    launches: int
    launches_refused: int
    interruptions: int
    peak_instances: int
    peak_backlog: int
    mean_load: float
    """Instances that the messages of the trace keep busy on average."""
    mean_processing_s: float
    """Seconds that a message takes on average."""
    scale_in: str
    target_per_instance: float | None
    """Messages per instance that the policy holds at the end; None where it holds none of the workload's."""
    target_because: str | None
    """How it came about, and what limited it."""
    target_limits: Sequence[str]
    """The parameters of workload.yaml that keep it from what the promise allows."""
    simulated_s: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """How supply followed demand."""

    missing_instances: float
    """Instances missing, averaged over the time."""
    surplus_instances: float
    """Instances too many, averaged over the time."""
    missing_time_share: float
    """Share of the time in which instances were missing."""
    surplus_time_share: float
    """Share of the time in which there were too many."""
    extra_changes_per_hour: float
    """Changes of supply beyond those of demand; below 0 where it moved less."""


def measure(run: Run) -> Measured:
    """The numbers that need no bound.

    A wait is from a message's arrival to the start of the processing that succeeded, and percentiles are
    those of all messages, each an actual wait. A message never processed has waited until the end of the run,
    and has not been served in time whatever the promise.
    """
    messages = run.messages
    processed = messages.state == queue_kernel.PROCESSED
    wait_s = np.where(processed, messages.started_s, run.end_s)
    wait_s -= messages.arrival_s
    count = wait_s.size
    in_time = int((processed & (wait_s <= run.promise_s)).sum())
    wait_s.sort()

    def percentile(share: float) -> float | None:
        return float(wait_s[math.ceil(share * count) - 1]) if count else None

    launched_s = np.array([one.launched_s for one in run.instances])
    return Measured(
        policy=run.policy,
        promise_s=run.promise_s,
        messages=count,
        processed=int(processed.sum()),
        dead_letters=run.dead_letters,
        lost=run.lost,
        redelivered=run.redelivered,
        attainment=in_time / count if count else None,
        wait_p50_s=percentile(0.5),
        wait_p95_s=percentile(0.95),
        wait_p99_s=percentile(0.99),
        wait_max_s=percentile(1.0),
        instance_hours=float((_gone_s(run) - launched_s).sum()) / HOUR_S,
        launches=len(run.instances),
        launches_refused=run.launches_refused,
        interruptions=run.interruptions,
        peak_instances=int(supply(run).level.max()),
        peak_backlog=_peak_backlog(run),
        mean_load=float(messages.service_s.sum()) / run.concurrency / (run.load.horizon_s or math.inf),
        mean_processing_s=run.load.mean_service_s,
        scale_in=run.scale_in,
        target_per_instance=run.target.messages_per_instance if run.target else None,
        target_because=run.target.because if run.target else None,
        target_limits=run.target.limits if run.target else (),
        simulated_s=run.end_s,
        wall_s=run.wall_s,
    )


def supply(run: Run) -> Steps:
    """Running instances: from when they are ready until they are gone."""
    gone_s = _gone_s(run)
    ready_s = np.array([one.ready_s for one in run.instances])
    ran = ready_s < gone_s
    at_s, place = np.unique(np.concatenate([[0.0], ready_s[ran], gone_s[ran]]), return_inverse=True)
    moves = np.concatenate([[0], np.ones(ran.sum(), np.int64), np.full(ran.sum(), -1)])
    net = np.bincount(place, weights=moves, minlength=at_s.size)
    return Steps(at_s=at_s, level=np.cumsum(net).astype(np.int64))


def demand(bound: Bound) -> Steps:
    """The clairvoyant plan, to the nearest whole instance; nothing once it is done.

    The plan of a linear program has fractions of instances. Rounded up, a plan that needs a tenth of one for
    ten minutes would demand one for all of them; as it is, no supply would ever equal it.
    """
    level = np.append(np.floor(bound.demand + 0.5), 0).astype(np.int64)
    at_s: Floats = bound.slot_s * np.arange(level.size, dtype=np.float64)
    return Steps(at_s=at_s, level=level)


def elasticity(supplied: Steps, demanded: Steps, until_s: float) -> Elasticity:
    """Both compared from 0 to `until_s`, exactly."""
    edges = np.union1d(supplied.at_s, demanded.at_s)
    edges = np.append(edges[edges < until_s], until_s)
    begins, lengths = edges[:-1], np.diff(edges)
    surplus = supplied(begins) - demanded(begins)
    return Elasticity(
        missing_instances=float((np.maximum(-surplus, 0) * lengths).sum()) / until_s,
        surplus_instances=float((np.maximum(surplus, 0) * lengths).sum()) / until_s,
        missing_time_share=float(lengths[surplus < 0].sum()) / until_s,
        surplus_time_share=float(lengths[surplus > 0].sum()) / until_s,
        extra_changes_per_hour=HOUR_S * (supplied.changes(until_s) - demanded.changes(until_s)) / until_s,
    )


def result(measured: Measured, supplied: Steps, bound: Bound | None) -> Result:
    """Everything, under the keys of `--json` and in their order; None where there is no bound.

    What takes the circumstances of the run, `findings.judged` fills in.
    """
    numbers = asdict(measured)
    timing = {name: numbers.pop(name) for name in ("simulated_s", "wall_s")}
    missing = _no_ratio(measured, bound)
    compared: Result = (
        {field.name: None for field in fields(Elasticity)}
        if bound is None
        else asdict(elasticity(supplied, demand(bound), measured.simulated_s))
    )
    return {
        **numbers,
        "promise_kept": None,
        "lower_bound_instance_hours": bound and bound.instance_hours,
        "attainable": bound and bound.attainable,
        "cost_ratio": None if missing or not bound else measured.instance_hours / bound.instance_hours,
        "no_cost_ratio_because": missing,
        **compared,
        "warnings": [],
        **timing,
    }


def _no_ratio(measured: Measured, bound: Bound | None) -> str | None:
    """Why costs are not compared; None where they are."""
    if bound is None:
        return "the lower bound was left out"
    if measured.mean_load < MIN_LOAD or not bound.instance_hours:
        return (
            f"the messages keep {measured.mean_load:.2g} of an instance busy on average: the lower bound "
            "counts fractions of instances, and every policy pays whole ones"
        )
    return None


def _gone_s(run: Run) -> Floats:
    """When each instance was gone; those still alive are billed to the end of the run."""
    gone_s: Floats = np.where(np.isnan(run.gone_s), run.end_s, run.gone_s)
    return gone_s


def _peak_backlog(run: Run) -> int:
    """The most messages that had arrived and were not done, whatever the moment.

    A dead letter counts until its last attempt began: when it was buried is not kept.
    """
    messages = run.messages
    done = messages.state == queue_kernel.PROCESSED
    left_s = np.where(done, messages.started_s + messages.service_s, messages.started_s)
    left_s[messages.state == queue_kernel.WAITING] = math.inf
    left_s.sort()
    left = np.searchsorted(left_s, messages.arrival_s, "right")
    return int((np.arange(1, left.size + 1) - left).max(initial=0))
