"""What a switch between two colors costs: the same run with it and without it, compared.

Both runs have the same messages, boots and lateness, so whatever differs is the switch's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.simulator.run import Run

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """From arrival to start, of the messages that arrived within a period; None without any."""

    messages: int
    mean_s: float | None
    p95_s: float | None
    """By nearest rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDuration:
    """A step of the switch, with its waits."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchCost:
    """A switch in numbers; times are seconds of the run."""

    to: str | None
    """None for a switch that was refused."""
    status: str
    """How its execution ended, in AWS's words."""
    cause: str
    began_s: float
    ended_s: float
    """When nothing was left to do or to undo."""
    steps: Sequence[StepDuration]
    received_again: int
    """Messages of the run that were received more than once."""
    killed_in_flight: int
    """Messages whose instance ended while it worked on them."""
    before: Waits
    during: Waits
    during_without: Waits
    """Of the messages that arrived during the switch, in the run without it."""
    after: Waits
    extra_instance_hours: float
    """Instance-hours above those of the run without the switch."""
    instance_hours_ratio: float | None
    """Instance-hours over those of the run without the switch; None if there it costs nothing."""

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s


def switch_cost(run: Run, without: Run) -> SwitchCost:
    """Compare a run that has a switch with the same run without it."""
    switch = run.switches[0]
    ended_s = run.end_s if switch.restored_s is None else switch.restored_s
    until_s = max(run.end_s, without.end_s)
    billed_s, otherwise_s = (_billed_s(one, until_s) for one in (run, without))
    return SwitchCost(
        to=switch.to,
        status=switch.status,
        cause=switch.cause,
        began_s=switch.began_s,
        ended_s=ended_s,
        steps=[StepDuration(step=step, seconds=seconds) for step, seconds in switch.durations_s()],
        received_again=int((run.messages.receives > 1).sum()),
        killed_in_flight=run.redelivered,
        before=_waits(run, 0.0, switch.began_s),
        during=_waits(run, switch.began_s, ended_s),
        during_without=_waits(without, switch.began_s, ended_s),
        after=_waits(run, ended_s, math.inf),
        extra_instance_hours=(billed_s - otherwise_s) / HOUR_S,
        instance_hours_ratio=billed_s / otherwise_s if otherwise_s else None,
    )


def as_numbers(cost: SwitchCost) -> Mapping[str, object]:
    """The numbers under the keys of `--json`."""
    return {**asdict(cost), "duration_s": cost.duration_s}


def _waits(run: Run, first_s: float, end_s: float) -> Waits:
    messages = run.messages
    within = (messages.arrival_s >= first_s) & (messages.arrival_s < end_s)
    started_s = np.where(messages.state == queue_kernel.PROCESSED, messages.started_s, run.end_s)
    waits_s: Floats = np.sort((started_s - messages.arrival_s)[within])
    count = waits_s.size
    if not count:
        return Waits(messages=0, mean_s=None, p95_s=None)
    return Waits(
        messages=count, mean_s=float(waits_s.mean()), p95_s=float(waits_s[math.ceil(0.95 * count) - 1])
    )


def _billed_s(run: Run, until_s: float) -> float:
    """Seconds of running instances; those that are alive at the end are billed until `until_s`."""
    terminated_s = np.where(np.isnan(run.terminated_s), until_s, run.terminated_s)
    launched_s = np.array([one.launched_s for one in run.instances])
    return float((terminated_s - launched_s).sum()) + run.warm_pool_cost_s
