"""Searches for the cheapest settings that keep the promise: tuned on half of the days, judged on the others.

The search follows coordinates and halves twice. First each setting is changed alone, on the busiest days of
the first half, as many as the time allows. The best values are combined on the same days. The best few of all
run on the whole first half, and the cheapest that keeps the promise there is the recommendation. The second
half is not looked at until then. The present settings run once on each half.

A schedule is a floor: alone it only costs more where the promise is kept already. So the best one is also
combined with the settings that are cheaper and break the promise, which it may mend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from sluice_sim.study.candidates import (
    SCHEDULES_AXIS,
    Axis,
    Changes,
    applied,
    axes,
    fitted,
    merged,
    present_value,
)
from sluice_sim.study.experiment import Experiment
from sluice_sim.study.judging import Figures, figures_of
from sluice_sim.study.search_budget import Budget
from sluice_sim.study.sweep import OnStep, ParallelRuns, cores
from sluice_sim.study.weekly import Floor, floors
from sluice_sim.workloads import traces
from sluice_sim.workloads.traces import DAY_S, Trace

FINALISTS = 4
MIN_GAIN = 0.005
"""A cost that is lower by less than this ratio is the same cost."""
MAX_COMBINED, BEST_OF_AXIS, MAX_MENDED = 3, 2, 2
MAX_COMBINATIONS = MAX_COMBINED * (MAX_COMBINED - 1) // 2 * BEST_OF_AXIS**2 + 1
SETTLE_S = 7200.0
"""Simulated before the first day of a part, for its fleet and its target to be those of the day before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive days of a trace, with the time before them in which a simulation settles."""

    path: Path
    settle_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """The days to tune on, and those to judge by."""

    tuned: Part
    judged: Part
    tuned_days: int
    judged_days: int


def halves(trace: Trace, folder: Path) -> Halves:
    """Cut a trace of whole days, at least two; its parts are written to `folder`."""
    days = round(trace.arrivals.size * trace.interval_s / DAY_S)
    tuned_days = days // 2
    return Halves(
        tuned=_part(trace, 0, tuned_days, folder / "tuned.csv"),
        judged=_part(trace, tuned_days, days, folder / "judged.csv"),
        tuned_days=tuned_days,
        judged_days=days - tuned_days,
    )


def run_parts(
    runs: ParallelRuns, what: str, experiments: Sequence[tuple[Experiment, Part]], on_step: OnStep
) -> list[Figures]:
    """Simulate each experiment on its part, in parallel."""
    on_step(what, 0.0)
    return runs.each(
        [replace(experiment, trace=part.path) for experiment, part in experiments],
        [partial(figures_of, settle_s=part.settle_s) for _, part in experiments],
        lambda done, of: on_step(what, done / of),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Changes of the present settings, and what they came to."""

    changes: Changes
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The changes, and both settings judged on the days that they were not tuned on."""

    changes: Changes
    """Empty if nothing better than the present settings was found."""
    present: Figures
    recommended: Figures
    tuned_days: int
    judged_days: int
    probe_days: int
    """Days of the first half on which every setting was tried."""
    tried: int
    """Settings, the present ones among them."""

    @property
    def saving(self) -> float:
        """Of the instance-hours, as a ratio; below 0 if the recommendation costs more."""
        before, after = self.present.instance_hours.mean, self.recommended.instance_hours.mean
        return 1 - after / before if before else 0.0


def recommend(
    present: Experiment,
    trace: Trace,
    parts: Halves,
    now: tuple[Figures, Figures],
    folder: Path,
    runs: ParallelRuns,
    *,
    keep_share: float,
    time_zone: str | None = "UTC",
    on_step: OnStep = lambda _, __: None,
) -> Recommendation:
    """Recommend settings for a trace of whole days, at least two.

    `keep_share` of the messages must start within the promise of `present`; `now` are the figures of the
    present settings on each of the `parts`. Schedules are proposed in the time zone, none for None. The
    busiest days of the trace are written to `folder`.
    """
    tuned_days = parts.tuned_days
    on_tuned, on_judged = (Tried(changes={}, figures=figures) for figures in now)
    search = _Search(present=present, runs=runs, keep_share=keep_share, on_step=on_step)
    budget = Budget(
        present=present,
        present_s_per_day=max(figures.cpu_s_per_day for figures in now),
        cores=cores(),
    )
    found = axes(
        present,
        promise_s=on_tuned.figures.promise_s,
        processing_s=on_tuned.figures.mean_service_s,
        running=on_tuned.figures.minutes.running,
        floors=_floors(
            traces.part(trace, 0, tuned_days * DAY_S),
            present,
            on_tuned.figures.mean_service_s,
            time_zone,
        ),
    )
    options = [option for axis in found for option in axis.options]
    mended = MAX_MENDED * len(found) if any(axis.name == SCHEDULES_AXIS for axis in found) else 0
    probe_days = budget.probe_days(options, MAX_COMBINATIONS + mended, tuned_days)
    on_probe, probe = [on_tuned], parts.tuned
    if probe_days < tuned_days:
        first = _busiest(on_tuned.figures, probe_days)
        probe, on_probe = _part(trace, first, first + probe_days, folder / "probe.csv"), []
    alone = on_probe + search.run("one setting at a time", probe, [*([] if on_probe else [{}]), *options])
    combined = search.run("settings together", probe, search.combinations(found, alone))
    finalists = search.best([*alone, *combined])
    if probe_days < tuned_days:
        finalists = finalists[: budget.finalists([each.changes for each in finalists], tuned_days, FINALISTS)]
        finalists = search.run("the best settings", parts.tuned, [each.changes for each in finalists])
    chosen = search.chosen([on_tuned, *finalists])
    changed = search.run("the days held out", parts.judged, [chosen] if chosen else [])
    return Recommendation(
        changes={
            name: text
            for name, text in fitted(present, chosen).items()
            if text != present_value(present, name)
        },
        present=on_judged.figures,
        recommended=changed[0].figures if changed else on_judged.figures,
        tuned_days=tuned_days,
        judged_days=parts.judged_days,
        probe_days=probe_days,
        tried=len(alone) + len(combined),
    )


@dataclass(slots=True, kw_only=True)
class _Search:
    present: Experiment
    runs: ParallelRuns
    keep_share: float
    on_step: OnStep

    def run(self, what: str, part: Part, changes: Sequence[Changes]) -> list[Tried]:
        """Simulate these changes on a part of the trace."""
        experiments = [(applied(self.present, each), part) for each in changes]
        found = run_parts(self.runs, what, experiments, self.on_step)
        return [Tried(changes=each, figures=figures) for each, figures in zip(changes, found, strict=True)]

    def keeps(self, figures: Figures) -> bool:
        return figures.attainment >= self.keep_share

    def rank(self, tried: Tried) -> tuple[bool, float, float]:
        """The cheapest that keeps the promise comes first; those that break it follow by what is late."""
        figures = tried.figures
        hours = figures.instance_hours.mean
        return (False, hours, 0.0) if self.keeps(figures) else (True, 1 - figures.attainment, hours)

    def improves(self, tried: Tried, present: Tried) -> bool:
        """Whether it is cheaper and keeps the promise, or keeps more of a promise that is broken now."""
        broken, value, _ = self.rank(tried)
        broken_now, now, _ = self.rank(present)
        return broken < broken_now or (broken == broken_now and value < now * (1 - MIN_GAIN))

    def combinations(self, found: Sequence[Axis], alone: Sequence[Tried]) -> list[Changes]:
        """The best values of different settings together: pairs, and the best few of all."""
        present, rest = alone[0], list(alone[1:])
        best_of_axes: list[list[Tried]] = []
        for axis in found:
            own, rest = rest[: len(axis.options)], rest[len(axis.options) :]
            better = sorted((each for each in own if self.improves(each, present)), key=self.rank)
            if better:
                best_of_axes.append(better)
        best_of_axes.sort(key=lambda better: self.rank(better[0]))
        best_of_axes = best_of_axes[:MAX_COMBINED]
        made: list[Changes] = [
            merged(one.changes, other.changes)
            for index, better in enumerate(best_of_axes)
            for later in best_of_axes[index + 1 :]
            for one in better[:BEST_OF_AXIS]
            for other in later[:BEST_OF_AXIS]
        ]
        if len(best_of_axes) > 2:
            made.append(merged(*(better[0].changes for better in best_of_axes)))
        made += self.mended(found, alone)
        known = [each.changes for each in alone]
        return [each for index, each in enumerate(made) if each not in known and each not in made[:index]]

    def mended(self, found: Sequence[Axis], alone: Sequence[Tried]) -> list[Changes]:
        """The best schedule with the two cheapest values of each other setting that cost less than now."""
        present, rest = alone[0], list(alone[1:])
        scheduled: list[Tried] = []
        cheaper: list[Tried] = []
        for axis in found:
            own, rest = rest[: len(axis.options)], rest[len(axis.options) :]
            if axis.name == SCHEDULES_AXIS:
                scheduled = [each for each in own if any(each.changes.values())]
            else:
                less = [each for each in own if _hours(each) < _hours(present) * (1 - MIN_GAIN)]
                cheaper += sorted(less, key=_hours)[:MAX_MENDED]
        if not scheduled:
            return []
        floor = min(scheduled, key=self.rank).changes
        return [merged(each.changes, floor) for each in cheaper]

    def best(self, tried: Sequence[Tried]) -> list[Tried]:
        """The first few of those with changes, the best first."""
        return sorted((each for each in tried if each.changes), key=self.rank)[:FINALISTS]

    def chosen(self, finalists: Sequence[Tried]) -> Changes:
        """The changes of the best; of equally cheap ones those that change least, and none for no gain."""
        present = next(each for each in finalists if not each.changes)
        better = [each for each in finalists if self.improves(each, present)]
        if not better:
            return {}
        first = min(better, key=self.rank)
        broken, value, _ = self.rank(first)
        alike = [
            each
            for each in better
            if self.rank(each)[0] == broken and self.rank(each)[1] <= value * (1 + MIN_GAIN)
        ]
        return min(alike, key=lambda each: (len(each.changes), self.rank(each))).changes


def _floors(tuned: Trace, present: Experiment, processing_s: float, time_zone: str | None) -> list[Floor]:
    """The floors that the days to tune on suggest."""
    if time_zone is None or tuned.start_s is None:
        return []
    return floors(
        tuned,
        time_zone=time_zone,
        instance_s=processing_s / present.slots_per_instance,
        boot_s=present.boot.mean_s,
    )


def _hours(tried: Tried) -> float:
    return tried.figures.instance_hours.mean


def _busiest(tuned: Figures, probe_days: int) -> int:
    """The first of the consecutive days with the most messages."""
    messages = [day.messages for day in tuned.days]
    totals = [sum(messages[first:][:probe_days]) for first in range(len(messages) - probe_days + 1)]
    return int(np.argmax(totals))


def _part(trace: Trace, first: int, last: int, path: Path) -> Part:
    """Write the days from `first` up to `last` of a trace, and what comes just before them."""
    settle_s = min(SETTLE_S, first * DAY_S)
    traces.write(traces.part(trace, first * DAY_S - settle_s, last * DAY_S), path)
    return Part(path=path, settle_s=settle_s)
