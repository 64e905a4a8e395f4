"""Runs several experiments: in turn, keeping the whole runs, or in parallel on all cores without them.

Loads reach other processes as files in a temporary folder that each of them maps, so that a load is created
once and held in memory once. Also finds the results that no other result beats.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sluice_sim.simulator.run import (
    Load,
    Run,
)
from sluice_sim.study.experiment import (
    BoundSettings,
    Experiment,
    LoadSettings,
    bound_of,
    bound_settings,
    load_of,
    run_experiment,
    trace_of,
    without_switch,
)
from sluice_sim.study.findings import with_findings
from sluice_sim.study.lower_bound import Bound
from sluice_sim.study.result import (
    Measured,
    Result,
    Steps,
    measure,
    result,
    supply,
)
from sluice_sim.study.switch_cost import SwitchCost, switch_cost

T = TypeVar("T")
OnStep = Callable[[str, float], None]
"""Called with the current step and the share of it that is done, 0 to 1."""
OnDone = Callable[[int, int], None]
"""Called with the number of finished tasks and of all tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A load in files, and its properties that are needed without reading them."""

    folder: Path
    start_s: float | None
    horizon_s: float
    messages: int
    mean_service_s: float
    grouped: bool

    def load(self) -> Load:
        """Map the arrays copy-on-write: processes share all pages that none of them modifies."""
        return Load(
            arrival_s=self._array("arrival_s"),
            service_s=self._array("service_s"),
            horizon_s=self.horizon_s,
            groups=self._array("groups") if self.grouped else None,
        )

    def _array(self, name: str) -> Any:
        # An empty file cannot be mapped.
        return np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="c" if self.messages else None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one experiment."""

    result: Result
    promise_s: float
    bound: Bound | None
    run: Run | None
    """The run, if experiments ran in turn."""


def run_in_turn(
    experiments: Sequence[Experiment], *, with_bound: bool, on_progress: OnStep = lambda _, __: None
) -> list[Outcome]:
    """Run the experiments one after the other in this process, and keep every run."""
    loads: dict[LoadSettings, tuple[Load, float | None]] = {}
    bounds: dict[tuple[LoadSettings, BoundSettings], Bound] = {}
    outcomes = []
    for experiment in experiments:
        settings = experiment.load_settings
        if settings not in loads:
            on_progress("the trace", 0.0)
            trace = trace_of(settings)
            loads[settings] = load_of(settings, trace), trace.start_s
        load, start_s = loads[settings]
        run = run_experiment(experiment, load, start_s, on_progress=partial(on_progress, experiment.policy))
        switch = _switch_cost(experiment, run, load, start_s)
        bound = None
        if with_bound:
            key = settings, bound_settings(experiment, load.mean_service_s)
            if key not in bounds:
                bounds[key] = bound_of(key[1], load, on_progress=partial(on_progress, "the lower bound"))
            bound = bounds[key]
        numbers = with_findings(result(measure(run), supply(run), bound, switch), experiment)
        outcomes.append(Outcome(result=numbers, promise_s=run.promise_s, bound=bound, run=run))
    return outcomes


def run_all(
    experiments: Sequence[Experiment], *, with_bound: bool, on_done: OnDone = lambda _, __: None
) -> list[Outcome]:
    """Run the experiments in parallel; outcomes are in their order, without the runs."""
    loads = list(dict.fromkeys(experiment.load_settings for experiment in experiments))
    with tempfile.TemporaryDirectory(prefix="sluice-sweep-") as folder, _workers(len(experiments)) as pool:
        stored = _stored(loads, Path(folder), pool)
        keys = [_bound_key(experiment, stored) for experiment in experiments]
        runs = [pool.submit(_measured, one, stored[one.load_settings]) for one in experiments]
        plans = {
            key: pool.submit(_bound, key[1], stored[key[0]]) for key in dict.fromkeys(keys) if with_bound
        }
        _wait([*runs, *plans.values()], on_done)
    outcomes = []
    for experiment, future, key in zip(experiments, runs, keys, strict=True):
        bound = plans[key].result() if with_bound else None
        measured, supplied, switch = future.result()
        numbers = with_findings(result(measured, supplied, bound, switch), experiment)
        outcomes.append(Outcome(result=numbers, promise_s=key[1].promise_s, bound=bound, run=None))
    return outcomes


class ParallelRuns:
    """Runs experiments in several rounds on one pool of processes, with each load created once."""

    def __init__(self, folder: Path, pool: Executor) -> None:
        self._folder, self._pool = folder, pool
        self._loads: dict[LoadSettings, _Stored] = {}

    def each(
        self,
        experiments: Sequence[Experiment],
        extracts: Sequence[Callable[[Run], T]],
        on_done: OnDone = lambda _, __: None,
    ) -> list[T]:
        """What the extract of each experiment, a function of a module, makes of its run; in their order."""
        for settings in dict.fromkeys(experiment.load_settings for experiment in experiments):
            if settings not in self._loads:
                folder = self._folder / str(len(self._loads))
                self._loads[settings] = self._pool.submit(_store, settings, folder).result()
        runs = [
            self._pool.submit(_run, experiment, self._loads[experiment.load_settings], extract)
            for experiment, extract in zip(experiments, extracts, strict=True)
        ]
        _wait(runs, on_done)
        return [run.result() for run in runs]


@contextlib.contextmanager
def parallel_runs() -> Iterator[ParallelRuns]:
    """A pool with one process per core for several rounds of experiments."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-runs-") as folder,
        _workers(cores()) as pool,
    ):
        yield ParallelRuns(Path(folder), pool)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def frontier(results: Iterable[Result]) -> list[bool]:
    """Whether each result is on the frontier: no other one costs less and attains as much, or the reverse."""
    points = [(one["instance_hours"], -(one["attainment"] or 0.0)) for one in results]
    return [
        not any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)
        for point in points
    ]


def _stored(loads: Sequence[LoadSettings], folder: Path, pool: Executor) -> dict[LoadSettings, _Stored]:
    folders = [folder / str(number) for number in range(len(loads))]
    return dict(zip(loads, pool.map(_store, loads, folders), strict=True))


def _store(settings: LoadSettings, folder: Path) -> _Stored:
    folder.mkdir()
    trace = trace_of(settings)
    load = load_of(settings, trace)
    np.save(folder / "arrival_s.npy", load.arrival_s)
    np.save(folder / "service_s.npy", load.service_s)
    if load.groups is not None:
        np.save(folder / "groups.npy", load.groups)
    return _Stored(
        folder=folder,
        start_s=trace.start_s,
        horizon_s=load.horizon_s,
        messages=load.arrival_s.size,
        mean_service_s=load.mean_service_s,
        grouped=load.groups is not None,
    )


def _bound_key(
    experiment: Experiment, stored: dict[LoadSettings, _Stored]
) -> tuple[LoadSettings, BoundSettings]:
    settings = experiment.load_settings
    return settings, bound_settings(experiment, stored[settings].mean_service_s)


def _run(experiment: Experiment, stored: _Stored, extract: Callable[[Run], T]) -> T:
    return extract(run_experiment(experiment, stored.load(), stored.start_s))


def _measured(experiment: Experiment, stored: _Stored) -> tuple[Measured, Steps, SwitchCost | None]:
    load, start_s = stored.load(), stored.start_s
    run = run_experiment(experiment, load, start_s)
    return measure(run), supply(run), _switch_cost(experiment, run, load, start_s)


def _switch_cost(experiment: Experiment, run: Run, load: Load, start_s: float | None) -> SwitchCost | None:
    """What the run's switch costs, by the same run without it; None for a run without a switch."""
    if not run.switches:
        return None
    return switch_cost(run, run_experiment(without_switch(experiment), load, start_s))


def _bound(settings: BoundSettings, stored: _Stored) -> Bound:
    return bound_of(settings, stored.load())


def _wait(futures: Sequence[Future[Any]], on_done: OnDone) -> None:
    """Wait for all futures; the first failure is raised."""
    for done, future in enumerate(as_completed(futures), start=1):
        future.result()
        on_done(done, len(futures))


@contextlib.contextmanager
def _workers(tasks: int) -> Iterator[ProcessPoolExecutor]:
    """A pool with one process per core, each with a fresh interpreter; a failure cancels waiting tasks.

    Ctrl-C reaches this process only, which then terminates the others: they start with SIGINT blocked.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=max(1, min(cores(), tasks)), mp_context=context)
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        pool.submit(os.getpid)  # the first task starts all processes, with SIGINT blocked
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield pool
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
