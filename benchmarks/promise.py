"""How far each way of counting keeps a promise, and what it costs: `python benchmarks/promise.py`.

Simulates generated days with the deployed code, and with `--traces DIR` the real traces found there: 5 s per
message, a boot of 180 s, a start promised within 300 s. Checks the limits that `sluice` has to keep for every
seed, and exits with 1 if it misses one. `--sensitivity` simulates `sluice` with other margins (beta), windows
and quantiles of the arrivals instead.

Longer than 300 lines because the table of workloads, their limits and the report of them are read together.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from sluice.core import sustained_arrivals  # noqa: E402
from sluice.core.minutes import MINUTE  # noqa: E402
from sluice.core.model import Unknown  # noqa: E402
from sluice.usecases import offered_load  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402
from sluice_cli.terminal import Console  # noqa: E402
from sluice_report.quantities import share as percentage  # noqa: E402
from sluice_sim.study.experiment import (  # noqa: E402
    Experiment,
    Generated,
    bound_of,
    bound_settings,
    load_of,
    run_experiment,
    trace_of,
)
from sluice_sim.study.result import measure  # noqa: E402
from sluice_sim.template import deployment  # noqa: E402

PROMISE_S = 300.0
PLAIN, EFFECTIVE, NATIVE = "backlog-per-instance", "sluice", "sluice, native"
ASG = ("transcription", {"MessagesPerInstance": "60", "ProcessingSeconds": "5"})
ECS = (
    "queue-proc",
    {
        "AcceptableLatencySeconds": "300",
        "MessagesPerInstance": "60",
        "MaxMessagesPerInstance": "1000",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that `sluice` has to keep in a row, for every seed; None is no limit."""

    attainment: float | None = None
    """Minimum share of the messages that start within the promise."""
    cost_ratio: float | None = None
    """Maximum instance-hours, as a multiple of the lower bound's."""
    launches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A load, and the workload that serves it."""

    name: str
    trace: Path | Generated
    environment: str
    overrides: Mapping[str, str]
    maximum: int
    limits: Limits = Limits()

    def experiment(self, way: Way, seed: int) -> Experiment:
        """One run of the row."""
        own = deployment.environments(ROOT)[self.environment]
        return Experiment(
            root=ROOT,
            parameters={**own, **self.overrides, "MaxCapacity": str(self.maximum), **way.overrides},
            policy=way.policy,
            trace=self.trace,
            promise_s=PROMISE_S,
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of scaling; `window_minutes` and `quantile` are those of the sustained arrivals."""

    name: str
    policy: str = EFFECTIVE
    overrides: Mapping[str, str] = field(default_factory=dict)
    window_minutes: int = sustained_arrivals.WINDOW_MINUTES
    quantile: str = "median"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The results of one run."""

    row: str
    way: str
    seed: int
    attainment: float
    cost_ratio: float
    launches: int


DAY, STEADY = Generated(shape="diurnal"), Generated(shape="steady")
GENERATED = (
    Row(
        name="diurnal day, ASG",
        trace=DAY,
        environment=ASG[0],
        overrides=ASG[1],
        maximum=60,
        limits=Limits(attainment=0.99, cost_ratio=1.28, launches=260),
    ),
    Row(
        name="diurnal day, ECS",
        trace=DAY,
        environment=ECS[0],
        overrides=ECS[1],
        maximum=60,
        limits=Limits(attainment=0.99, cost_ratio=1.38, launches=260),
    ),
    Row(
        name="steady day, ASG",
        trace=STEADY,
        environment=ASG[0],
        overrides=ASG[1],
        maximum=60,
        limits=Limits(attainment=0.99, cost_ratio=1.35),
    ),
    Row(
        name="steady day, ECS",
        trace=STEADY,
        environment=ECS[0],
        overrides=ECS[1],
        maximum=60,
        limits=Limits(attainment=0.99, cost_ratio=1.35),
    ),
)
TRACES = {
    "nasa": ("nasa_http_1m.csv", 60, Limits(attainment=0.99, cost_ratio=1.60)),
    "azure": ("azure_functions_1m.csv", 5000, Limits()),
    "nab": ("nab_elb_requests_5m.csv", 60, Limits()),
    "fb2009": ("fb2009_hadoop_tasks_1m.csv", 5000, Limits()),
}
"""Name -> file, MaxCapacity (beyond its peak), limits."""
WAYS = (
    Way(name=PLAIN, policy=PLAIN),
    Way(name=EFFECTIVE),
    Way(name=NATIVE, overrides={"MetricSource": "native"}),
)
MARGINS = ("0", "0.15", "0.3", "0.6", "1")
WINDOWS_MINUTES = (3, 5, 10, 20)
Quantile = Callable[[Sequence[float]], float]


def trace_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """The rows of the traces found in the folder, and the files that are missing."""
    paths = {name: folder / file for name, (file, _, _) in TRACES.items()}
    rows = [
        Row(
            name=name,
            trace=paths[name],
            environment=ASG[0],
            overrides=ASG[1],
            maximum=maximum,
            limits=limits,
        )
        for name, (_, maximum, limits) in TRACES.items()
        if paths[name].is_file()
    ]
    return rows, [str(path) for path in paths.values() if not path.is_file()]


def variants() -> list[Way]:
    """The plain way, and the deployed one with one constant changed at a time."""
    ways = [Way(name=PLAIN, policy=PLAIN)]
    ways += [Way(name=f"margin {margin}", overrides={"ArrivalMargin": margin}) for margin in MARGINS]
    ways += [Way(name=f"window {minutes} min", window_minutes=minutes) for minutes in WINDOWS_MINUTES]
    return ways + [Way(name=f"quantile {name}", quantile=name) for name in QUANTILES]


# ---- Simulating


def measured(
    rows: Sequence[Row],
    ways: Sequence[Way],
    seeds: int,
    *,
    on_done: Callable[[float], None] = lambda _: None,
) -> list[Figures]:
    """Simulate every row in every way with every seed; runs and bounds are spread over the cores."""
    cases = [(row, seed) for row in rows for seed in range(1, seeds + 1)]
    with workers() as pool:
        runs = [(row, way, seed, pool.submit(_run, row, way, seed)) for row, seed in cases for way in ways]
        loads = {_bound_key(row, seed): (row, seed) for row, seed in cases}
        bounds = {key: pool.submit(_bound_hours, row, seed) for key, (row, seed) in loads.items()}
        futures: list[Future[Any]] = [*bounds.values(), *(future for _, _, _, future in runs)]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            on_done(done / len(futures))
    figures = []
    for row, way, seed, future in runs:
        attainment, instance_hours, launches = future.result()
        hours = bounds[_bound_key(row, seed)].result()
        figures.append(
            Figures(
                row=row.name,
                way=way.name,
                seed=seed,
                attainment=attainment,
                cost_ratio=instance_hours / hours,
                launches=launches,
            )
        )
    return figures


def workers() -> Executor:
    """One process per core, each with a fresh interpreter."""
    return ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))


def _bound_key(row: Row, seed: int) -> tuple[object, ...]:
    """Rows that agree in these share a lower bound, which is the same for a group and a service."""
    return row.trace, row.maximum, seed


def _run(row: Row, way: Way, seed: int) -> tuple[float, float, int]:
    """Share in time, instance-hours, launches."""
    experiment = row.experiment(way, seed)
    trace = trace_of(experiment.load_settings)
    load = load_of(experiment.load_settings, trace)
    with counting(way):
        numbers = measure(run_experiment(experiment, load, trace.start_s))
    return numbers.attainment or 0.0, numbers.instance_hours, numbers.launches


def _bound_hours(row: Row, seed: int) -> float:
    """Instance-hours of the row's lower bound."""
    experiment = row.experiment(Way(name=EFFECTIVE), seed)
    load = load_of(experiment.load_settings, trace_of(experiment.load_settings))
    return bound_of(bound_settings(experiment, load.mean_service_s), load).instance_hours


@contextmanager
def counting(way: Way) -> Iterator[None]:
    """Patch the deployed code, which has one window and the median, to this way's window and quantile."""
    read_minutes = way.window_minutes + sustained_arrivals.MAX_LATE_MINUTES
    with ExitStack() as patches:
        for module, name, value in (
            (sustained_arrivals, "WINDOW_MINUTES", way.window_minutes),
            (sustained_arrivals, "MIN_KNOWN_MINUTES", -(-way.window_minutes // 2)),
            (sustained_arrivals, "READ_MINUTES", read_minutes),
            (offered_load, "READ_MINUTES", read_minutes),
        ):
            patches.enter_context(patch.object(module, name, value))
        if way.quantile != DEPLOYED_QUANTILE:
            sustained = partial(_sustained_per_s, QUANTILES[way.quantile])
            patches.enter_context(patch.object(offered_load, "sustained_arrivals_per_s", sustained))
        yield


def _sustained_per_s(quantile: Quantile, sent: Mapping[datetime, float], minute: datetime) -> float | Unknown:
    """Another quantile instead of the median, with the deployed rules for late and missing values."""
    known = {at: count for at, count in sent.items() if at < minute}
    newest = max(known, default=minute)
    window = {
        at: count for at, count in known.items() if at > newest - MINUTE * sustained_arrivals.WINDOW_MINUTES
    }
    level = quantile(list(window.values())) if window else 0.0
    return sustained_arrivals.sustained_arrivals_per_s(dict.fromkeys(window, level), minute)


def _quartile(number: int, counts: Sequence[float]) -> float:
    if len(counts) == 1:
        return counts[0]
    return statistics.quantiles(counts, n=4, method="inclusive")[number - 1]


DEPLOYED_QUANTILE = "median"
QUANTILES: Mapping[str, Quantile] = {
    DEPLOYED_QUANTILE: statistics.median,
    "0.25": partial(_quartile, 1),
    "0.75": partial(_quartile, 3),
    "mean": statistics.fmean,
}


# ---- Checking limits


def worst(figures: Sequence[Figures], row: str, way: str) -> Figures:
    """The worst over the seeds: lowest share in time, highest cost, most launches."""
    own = [one for one in figures if (one.row, one.way) == (row, way)]
    return Figures(
        row=row,
        way=way,
        seed=len(own),
        attainment=min(one.attainment for one in own),
        cost_ratio=max(one.cost_ratio for one in own),
        launches=max(one.launches for one in own),
    )


def missed(figures: Sequence[Figures], rows: Sequence[Row]) -> list[str]:
    """One sentence for every limit that `sluice` misses with some seed."""
    found = []
    for row in rows:
        limits = row.limits
        plain = {one.seed: one for one in figures if (one.row, one.way) == (row.name, PLAIN)}
        for one in figures:
            if (one.row, one.way) != (row.name, EFFECTIVE):
                continue
            which = f"{row.name}, seed {one.seed}"
            if limits.attainment is not None and one.attainment < limits.attainment:
                found.append(
                    f"{which}: {percentage(one.attainment)} in time; at least "
                    f"{percentage(limits.attainment)} required"
                )
            if limits.cost_ratio is not None and one.cost_ratio > limits.cost_ratio:
                found.append(
                    f"{which}: {one.cost_ratio:.3f} times the bound; at most {limits.cost_ratio:g} allowed"
                )
            if limits.launches is not None and one.launches > limits.launches:
                found.append(f"{which}: {one.launches} launches; at most {limits.launches} allowed")
            if one.attainment < plain[one.seed].attainment:
                found.append(
                    f"{which}: {percentage(one.attainment)} in time, fewer than the "
                    f"{percentage(plain[one.seed].attainment)} of {PLAIN}"
                )
    return found


# ---- Printing


def table(figures: Sequence[Figures], rows: Sequence[Row], ways: Sequence[Way], *, transposed: bool) -> str:
    """Share in time / cost over the bound / launches, worst of the seeds; transposed: one line per way."""
    lines, columns = [row.name for row in rows], [way.name for way in ways]
    if transposed:
        lines, columns = columns, lines
    table_cells = [["", *columns]]
    for line in lines:
        pairs = [(column, line) if transposed else (line, column) for column in columns]
        table_cells.append([line, *(_cell(worst(figures, row, way)) for row, way in pairs)])
    widths = [max(len(cells[column]) for cells in table_cells) for column in range(len(table_cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table_cells
    )


def _cell(one: Figures) -> str:
    return f"{percentage(one.attainment)} / {one.cost_ratio:.2f} / {one.launches:,}"


def _as_json(figures: Sequence[Figures], missing: Sequence[str], found: Sequence[str] | None) -> Any:
    return {"figures": [asdict(one) for one in figures], "missing_traces": missing, "missed": found}


@click.command()
@click.option(
    "--traces",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=f"Also run the real traces in this folder: {', '.join(file for file, _, _ in TRACES.values())}.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds for each run.")
@click.option("--row", "only", multiple=True, help="Only the rows whose name contains this; repeatable.")
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Simulate other margins, windows and quantiles of the arrivals; checks no limits.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every run's figures, as JSON.")
def main(folder: Path | None, seeds: int, only: tuple[str, ...], sensitivity: bool, as_json: bool) -> None:
    """Share in time / cost over the lower bound / launches: the worst of the seeds."""
    traced, missing = trace_rows(folder) if folder is not None else ([], [])
    for path in missing:
        click.echo(f"{path}: no such file, so its row is left out", err=True)
    rows = [row for row in (*GENERATED, *traced) if not only or any(part in row.name for part in only)]
    if not rows:
        raise click.UsageError(f"no row's name contains {' or '.join(only)}")
    ways = variants() if sensitivity else list(WAYS)
    with ProgressBar(Console(stderr=True)) as bar:
        figures = measured(
            rows,
            ways,
            seeds,
            on_done=partial(bar.show, "runs and lower bounds"),
        )
    found = None if sensitivity else missed(figures, rows)
    if as_json:
        click.echo(json.dumps(_as_json(figures, missing, found), indent=2))
    else:
        click.echo(table(figures, rows, ways, transposed=sensitivity))
    for sentence in found or []:
        click.echo(f"missed: {sentence}", err=True)
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
