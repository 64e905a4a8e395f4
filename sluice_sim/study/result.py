"""The results of a run: the numbers by which policies are compared.

Elasticity (a_U, a_O, tau_U, tau_O and jitter there) is defined by the SPEC research group and BUNGEE, with
the running instances as supply and the lower bound's plan as demand. Without a bound, every number that
depends on it is None.
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
from sluice_sim.study.switch_cost import SwitchCost, as_numbers

HOUR_S = 3600.0
MIN_LOAD = 1.0
"""Mean busy instances below which a cost ratio reflects rounding to whole instances, not the policy."""

Result = dict[str, Any]
"""The numbers, with the keys of `--json` in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A step function of time: `level[i]` from `at_s[i]` on, starting at 0 s."""

    at_s: Floats
    level: Ints

    def __call__(self, moments_s: Floats) -> Ints:
        """The level at each of these times."""
        found: Ints = self.level[np.searchsorted(self.at_s, moments_s, "right") - 1]
        return found

    def changes(self, until_s: float) -> int:
        """Number of level changes before `until_s`."""
        moved = self.level[1:] != self.level[:-1]
        return int((moved & (self.at_s[1:] < until_s)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The numbers that need no bound, under the names of the result."""

    policy: str
    promise_s: float
    messages: int
    processed: int
    dead_letters: int
    lost: int
    redelivered: int
    attempts: int
    """Times that a message was received and worked on."""
    failed_attempts: int
    """Attempts that the downstream failed."""
    failed_share: float | None
    """Failed attempts / attempts; None without an attempt."""
    failed_instance_hours: float
    """Instance-hours spent on failed attempts."""
    attainment: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    instance_hours: float
    """Billed from launch to termination, and the warm pool's cost."""
    warm_pool_size: int | None
    """None without a warm pool."""
    warm_pool_hours: float
    """Cost of the warm pool in hours of a running instance."""
    launches: int
    warm_launches: int
    """Launches that the warm pool had an instance for."""
    launches_refused: int
    interruptions: int
    peak_instances: int
    peak_backlog: int
    mean_load: float
    """Instances that the trace keeps busy on average."""
    mean_processing_s: float
    """Mean service time in seconds."""
    scale_in: str
    target_per_instance: float | None
    """The policy's target at the end, messages per instance; None if it does not use the workload's."""
    target_because: str | None
    """How the target came about, and what limited it."""
    target_limits: Sequence[str]
    """The parameters of workload.yaml that keep the target from the value the promise allows."""
    simulated_s: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """How closely supply follows demand."""

    missing_instances: float
    """Missing instances, averaged over time."""
    surplus_instances: float
    """Surplus instances, averaged over time."""
    missing_time_share: float
    """Share of time with missing instances."""
    surplus_time_share: float
    """Share of time with surplus instances."""
    extra_changes_per_hour: float
    """Changes of supply minus changes of demand, per hour."""


def measure(run: Run) -> Measured:
    """Compute the numbers that need no bound.

    A wait lasts from a message's arrival to the start of the processing that succeeded. Percentiles are over
    all messages, by nearest rank. A message that was never processed has waited until the end of the run, and
    counts as late whatever the promise.
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

    attempts = int(messages.receives.sum(dtype=np.int64))
    launched_s = np.array([one.launched_s for one in run.instances])
    billed_s = float((_terminated_s(run) - launched_s).sum()) + run.warm_pool_cost_s
    return Measured(
        policy=run.policy,
        promise_s=run.promise_s,
        messages=count,
        processed=int(processed.sum()),
        dead_letters=run.dead_letters,
        lost=run.lost,
        redelivered=run.redelivered,
        attempts=attempts,
        failed_attempts=run.failed_attempts,
        failed_share=run.failed_attempts / attempts if attempts else None,
        failed_instance_hours=run.failed_s / run.concurrency / HOUR_S,
        attainment=in_time / count if count else None,
        wait_p50_s=percentile(0.5),
        wait_p95_s=percentile(0.95),
        wait_p99_s=percentile(0.99),
        wait_max_s=percentile(1.0),
        instance_hours=billed_s / HOUR_S,
        warm_pool_size=run.warm_pool_size,
        warm_pool_hours=run.warm_pool_cost_s / HOUR_S,
        launches=len(run.instances),
        warm_launches=sum(one.warm for one in run.instances),
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
    """Running instances over time, each from when it is ready until it is gone."""
    terminated_s = _terminated_s(run)
    ready_s = np.array([one.ready_s for one in run.instances])
    ran = ready_s < terminated_s
    at_s, place = np.unique(np.concatenate([[0.0], ready_s[ran], terminated_s[ran]]), return_inverse=True)
    moves = np.concatenate([[0], np.ones(ran.sum(), np.int64), np.full(ran.sum(), -1)])
    net = np.bincount(place, weights=moves, minlength=at_s.size)
    return Steps(at_s=at_s, level=np.cumsum(net).astype(np.int64))


def demand(bound: Bound) -> Steps:
    """The lower bound's plan, rounded to whole instances; 0 after its end.

    The plan of a linear program has fractions of instances, which no supply can equal. Rounded up, a plan
    that needs a tenth of an instance for ten minutes would demand one for all of them.
    """
    level = np.append(np.floor(bound.demand + 0.5), 0).astype(np.int64)
    at_s: Floats = bound.slot_s * np.arange(level.size, dtype=np.float64)
    return Steps(at_s=at_s, level=level)


def elasticity(supplied: Steps, demanded: Steps, until_s: float) -> Elasticity:
    """Compare supply and demand from 0 to `until_s`, without sampling."""
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


def result(
    measured: Measured, supplied: Steps, bound: Bound | None, switch: SwitchCost | None = None
) -> Result:
    """All numbers, under the keys of `--json` and in their order; None if they need a missing bound.

    `findings.with_findings` fills in `promise_kept` and `warnings`, which need the experiment.
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
        "switch": None if switch is None else as_numbers(switch),
        "warnings": [],
        **timing,
    }


def _no_ratio(measured: Measured, bound: Bound | None) -> str | None:
    """Why there is no cost ratio; None if there is one."""
    if bound is None:
        return "the lower bound was left out"
    if measured.mean_load < MIN_LOAD or not bound.instance_hours:
        return (
            f"the messages keep {measured.mean_load:.2g} of an instance busy on average: the lower bound "
            "counts fractions of instances, and every policy pays whole ones"
        )
    return None


def _terminated_s(run: Run) -> Floats:
    """When each instance was gone; instances still alive are billed until the end of the run."""
    terminated_s: Floats = np.where(np.isnan(run.terminated_s), run.end_s, run.terminated_s)
    return terminated_s


def _peak_backlog(run: Run) -> int:
    """The largest number of messages that had arrived and were not done.

    A dead letter counts until its last attempt began: the time of its move is not recorded.
    """
    messages = run.messages
    done = messages.state == queue_kernel.PROCESSED
    left_s = np.where(done, messages.started_s + messages.service_s, messages.started_s)
    left_s[messages.state == queue_kernel.WAITING] = math.inf
    left_s.sort()
    left = np.searchsorted(left_s, messages.arrival_s, "right")
    return int((np.arange(1, left.size + 1) - left).max(initial=0))
