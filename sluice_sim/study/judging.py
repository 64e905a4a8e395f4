"""The figures of a run day by day, and their mean and range: what a recommendation is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.run import Run
from sluice_sim.study.reproduction import Minutes, minutes_of
from sluice_sim.workloads.traces import DAY_S

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """One day of a run; a message belongs to the day of its arrival."""

    instance_hours: float
    """Billed, with what the warm pool costs."""
    messages: int
    in_time: int
    """Messages that started within the promise."""

    @property
    def share(self) -> float | None:
        """The share that started in time, 0 to 1; None without messages."""
        return self.in_time / self.messages if self.messages else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A mean, and the smallest and largest value of the days."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A run, day by day."""

    days: tuple[DayFigures, ...]
    minutes: Minutes
    mean_service_s: float
    promise_s: float
    cpu_s: float
    """Seconds of processor time that the simulation took."""
    peak_instances: int

    @property
    def cpu_s_per_day(self) -> float:
        """Seconds of processor time that a day of it took to simulate."""
        return self.cpu_s / len(self.days)

    @property
    def instance_hours(self) -> Range:
        """Per day."""
        return _range([day.instance_hours for day in self.days])

    @property
    def share(self) -> Range | None:
        """Of the messages that started in time: over all messages, and over the days; None without any."""
        shares = [day.share for day in self.days if day.share is not None]
        if not shares:
            return None
        together = sum(day.in_time for day in self.days) / sum(day.messages for day in self.days)
        return Range(mean=together, min=min(shares), max=max(shares))

    @property
    def attainment(self) -> float:
        """The share over all messages; 1 without messages, of which none is late."""
        return 1.0 if self.share is None else self.share.mean


def figures_of(run: Run, settle_s: float = 0.0) -> Figures:
    """The figures of a run; what happens after the trace counts to its last day.

    The first `settle_s` of the run count to none: a fleet that begins at its minimum, with a target that was
    not yet retuned, is not what the day before would have left.
    """
    days = max(1, round((run.load.horizon_s - settle_s) / DAY_S))
    begins = settle_s + np.arange(days) * DAY_S
    edges = np.append(begins, max(run.end_s, settle_s + days * DAY_S))
    ended_s = np.where(np.isnan(run.terminated_s), run.end_s, run.terminated_s)
    launched_s = np.array([one.launched_s for one in run.instances])
    counted = slice(int(run.messages.arrival_s.searchsorted(settle_s)), None)
    arrival_s = run.messages.arrival_s[counted]
    in_time = (run.messages.state[counted] == queue_kernel.PROCESSED) & (
        run.messages.started_s[counted] - arrival_s <= run.promise_s
    )
    day_of = np.clip((arrival_s - settle_s) // DAY_S, 0, days - 1).astype(np.int64)
    counts = np.bincount(day_of, minlength=days)
    in_time_counts = np.bincount(day_of, weights=in_time, minlength=days)
    pool_s = run.warm_pool_cost_s * (1 - settle_s / run.load.horizon_s) / days
    settled = minutes_of(run).since(settle_s)
    return Figures(
        days=tuple(
            DayFigures(
                instance_hours=float(
                    np.clip(np.minimum(ended_s, end) - np.maximum(launched_s, begin), 0, None).sum() + pool_s
                )
                / HOUR_S,
                messages=int(counts[day]),
                in_time=int(in_time_counts[day]),
            )
            for day, (begin, end) in enumerate(pairwise(edges))
        ),
        minutes=settled,
        mean_service_s=run.load.mean_service_s,
        promise_s=run.promise_s,
        cpu_s=run.cpu_s,
        peak_instances=int(settled.running.max(initial=0)),
    )


def joined(first: Figures, second: Figures) -> Figures:
    """The figures of two stretches of time that follow each other, with the same settings and promise."""
    return Figures(
        days=first.days + second.days,
        minutes=first.minutes.followed_by(second.minutes),
        mean_service_s=(first.mean_service_s + second.mean_service_s) / 2,
        promise_s=first.promise_s,
        cpu_s=first.cpu_s + second.cpu_s,
        peak_instances=max(first.peak_instances, second.peak_instances),
    )


def _range(values: Sequence[float]) -> Range:
    return Range(mean=sum(values) / len(values), min=min(values), max=max(values))
