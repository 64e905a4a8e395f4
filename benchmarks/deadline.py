"""How far the deadline engine keeps a promise on bursts, and what it costs: `python benchmarks/deadline.py`.

Simulates the deployed code over a generated bursty half-day, and with `--traces DIR` over the real traces
found there: 5 s per message, a boot of 180 s, a start promised within 300 s, at most 9000 instances. Each
condition makes the counts older, or the processing or boot times vary; in the first ones the margin is fixed,
in the others the engine learns it. Checks the limits of every cell for
every seed, and exits with 1 if one is missed: those of the real traces were set beforehand, those of the
generated one are 3 % above what was measured. `--policies` simulates every policy with fresh counts and a
margin of 15 s instead, `--warm-pools` several sizes of a warm pool (45 s, 1 % of the price); `--sensitivity`
halves and doubles each constant of the engine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks.promise import TRACES, workers  # noqa: E402
from sluice.core.deadline import arrivals, boots, decision, learning, plan, promise  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402
from sluice_cli.terminal import Console  # noqa: E402
from sluice_report.quantities import share as percentage  # noqa: E402
from sluice_sim import policies  # noqa: E402
from sluice_sim.simulator.run import Load  # noqa: E402
from sluice_sim.study.experiment import (  # noqa: E402
    BoundSettings,
    Experiment,
    Generated,
    LoadSettings,
    bound_of,
    bound_settings,
    load_of,
    run_experiment,
    trace_of,
)
from sluice_sim.study.result import Measured, measure  # noqa: E402
from sluice_sim.template import deployment  # noqa: E402
from sluice_sim.workloads.service_times import Boot  # noqa: E402

PROMISE_S = 300.0
MIN_ATTAINMENT = 0.99
DAY_S = 86_400.0
NASA_DAYS = 7
BURSTY = "bursty"
ENGINE = "deadline"
POOL_SIZES = (3, 10, 30, 100, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the engine meets, and by which factor over the lower bound it may cost on each trace."""

    name: str
    cost_ratios: Mapping[str, float]
    margin_s: int | None = None
    """The margin all the time; None: it begins with the default, and is learned."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the experiment."""


def _limits(bursty: float, azure: float, fb2009: float, nab: float, nasa: float) -> dict[str, float]:
    return {BURSTY: bursty, "azure": azure, "fb2009": fb2009, "nab": nab, "nasa": nasa}


OLD_COUNTS: Mapping[str, Any] = {"count_lag_s": 30.0}
VARYING: Mapping[str, Any] = {"variation": 1.5}
FIXED_MARGINS = (
    Condition(name="fresh counts, margin 0", margin_s=0, cost_ratios=_limits(1.36, 1.22, 1.53, 1.36, 1.06)),
    Condition(
        name="fresh counts, margin 15 s", margin_s=15, cost_ratios=_limits(1.40, 1.26, 1.63, 1.40, 1.08)
    ),
    Condition(
        name="counts 30 s old, margin 35 s",
        margin_s=35,
        cost_ratios=_limits(1.56, 1.35, 1.90, 1.46, 1.10),
        settings=OLD_COUNTS,
    ),
    Condition(
        name="coefficient of variation 1.5, margin 15 s",
        margin_s=15,
        cost_ratios=_limits(1.50, 1.31, 1.72, 1.52, 1.12),
        settings=VARYING,
    ),
    Condition(
        name="boots of 120 to 240 s, margin 15 s",
        margin_s=15,
        cost_ratios=_limits(1.47, 1.29, 1.76, 1.43, 1.10),
        settings={"boot": Boot(min_s=120.0, max_s=240.0)},
    ),
)
LEARNED_MARGINS = (
    Condition(name="fresh counts", cost_ratios=_limits(1.40, 1.22, 1.56, 1.36, 1.07)),
    Condition(
        name="counts 30 s old",
        cost_ratios=_limits(1.56, 1.30, 1.80, 1.42, 1.10),
        settings=OLD_COUNTS,
    ),
    Condition(
        name="coefficient of variation 1.5",
        cost_ratios=_limits(1.50, 1.29, 1.66, 1.48, 1.12),
        settings=VARYING,
    ),
    Condition(
        name="boots of 120 to 240 s",
        cost_ratios=_limits(1.47, 1.26, 1.70, 1.40, 1.10),
        settings={"boot": Boot(min_s=120.0, max_s=240.0)},
    ),
    Condition(
        name="boots of 60 to 300 s",
        cost_ratios=_limits(1.56, 1.30, 2.00, 1.46, 1.12),
        settings={"boot": Boot(min_s=60.0, max_s=300.0)},
    ),
)
CONDITIONS = FIXED_MARGINS + LEARNED_MARGINS


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The engine with one constant changed, another policy, or a warm pool."""

    name: str
    policy: str = ENGINE
    patched: tuple[tuple[str, float], ...] = ()
    """(constant, value)."""
    warm_pool: int = 0
    warm_reuse: bool = False


DEPLOYED = Variant(name=ENGINE)
ENGINE_MODULES = (arrivals, boots, decision, learning, plan, promise)
WITHOUT_LEARNING = (("MAX_RAISE_S", 0.0), ("STEP_DOWN_S", 0.0))
"""Constants that leave the margin as it is."""
CONSTANTS: tuple[tuple[Any, str], ...] = (
    (arrivals, "RATE_WINDOW_S"),
    (arrivals, "OVERDUE_MEMORY_S"),
    (arrivals, "MAX_COHORTS"),
    (boots, "PRIOR_WEIGHT"),
    (boots, "MAX_WEIGHT"),
    (boots, "QUANTILES"),
    (plan, "FIRST_START"),
    (plan, "MIN_WORK_SHARE"),
    (plan, "SPREAD_WEIGHT"),
)


def other_policies() -> list[Variant]:
    """Every policy of the simulator."""
    return [Variant(name=name, policy=name) for name in policies.names()]


def warm_pools() -> list[Variant]:
    """The engine without a warm pool, and with several sizes of one, with and without reuse."""
    return [
        DEPLOYED,
        *(
            Variant(name=f"pool of {size}{', reuse' * reuse}", warm_pool=size, warm_reuse=reuse)
            for reuse in (False, True)
            for size in POOL_SIZES
        ),
    ]


def sensitivity() -> list[Variant]:
    """The engine as deployed, and with each constant halved and doubled."""
    variants = [DEPLOYED]
    for module, constant in CONSTANTS:
        value = getattr(module, constant)
        for factor in (0.5, 2):
            changed = type(value)(value * factor)
            variants.append(Variant(name=f"{constant} {changed:g}", patched=((constant, changed),)))
    return variants


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The results of one run."""

    variant: str
    condition: str
    trace: str
    seed: int
    attainment: float
    cost_ratio: float


def traces_of(folder: Path | None) -> tuple[dict[str, Path | Generated], list[str]]:
    """The traces to simulate, and the files that are missing."""
    found: dict[str, Path | Generated] = {BURSTY: Generated(shape="bursty", days=0.5)}
    missing = []
    for name in ("azure", "fb2009", "nab", "nasa") if folder is not None else ():
        path = Path(folder or "") / TRACES[name][0]
        if path.is_file():
            found[name] = path
        else:
            missing.append(str(path))
    return found, missing


# ---- Simulating


def measured(
    traces: Mapping[str, Path | Generated],
    conditions: Sequence[Condition],
    variants: Sequence[Variant],
    seeds: int,
    *,
    on_done: Callable[[float], None] = lambda _: None,
) -> list[Figures]:
    """Simulate every variant on every trace in every condition with every seed, spread over the cores.

    Runs with the same load and the same settings of the bound share one bound.
    """
    cells = [
        (name, _experiment(trace, condition, variant, seed), condition, variant)
        for seed in range(1, seeds + 1)
        for name, trace in traces.items()
        for condition in conditions
        for variant in variants
    ]
    with workers() as pool:
        bounds = {
            key: pool.submit(_bound_hours, *key)
            for key in dict.fromkeys(_bound_key(name, experiment) for name, experiment, _, _ in cells)
        }
        runs = [
            pool.submit(
                simulated,
                name,
                experiment,
                variant,
                WITHOUT_LEARNING if condition.margin_s is not None else (),
            )
            for name, experiment, condition, variant in cells
        ]
        futures = [*bounds.values(), *runs]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            on_done(done / len(futures))
    return [
        Figures(
            variant=variant.name,
            condition=condition.name,
            trace=name,
            seed=experiment.seed,
            attainment=run.result().attainment or 0.0,
            cost_ratio=run.result().instance_hours / bounds[_bound_key(name, experiment)].result(),
        )
        for run, (name, experiment, condition, variant) in zip(runs, cells, strict=True)
    ]


def _experiment(trace: Path | Generated, condition: Condition, variant: Variant, seed: int) -> Experiment:
    return experiment_of(
        trace,
        variant.policy,
        PROMISE_S,
        seed,
        {} if condition.margin_s is None else {"MarginSeconds": str(condition.margin_s)},
        warm_pool=variant.warm_pool,
        warm_reuse=variant.warm_reuse,
        **condition.settings,
    )


def experiment_of(
    trace: Path | Generated,
    policy: str,
    promise_s: float,
    seed: int,
    parameters: Mapping[str, str] | None = None,
    **settings: Any,
) -> Experiment:
    """A workload of 5 s per message; `parameters` are the stack's, `settings` fields of the experiment."""
    return Experiment(
        root=ROOT,
        parameters={
            **deployment.environments(ROOT)["transcription"],
            "MessagesPerInstance": "60",
            "ProcessingSeconds": "5",
            "MaxCapacity": "9000",
            **(parameters or {}),
        },
        policy=policy,
        trace=trace,
        promise_s=promise_s,
        seed=seed,
        **settings,
    )


def simulated(
    name: str, experiment: Experiment, variant: Variant, more: Sequence[tuple[str, float]] = ()
) -> Measured:
    """One run, with the variant's constants of the engine and `more` of them changed."""
    load, start_s = loaded(name, experiment.load_settings)
    with _patched([*variant.patched, *more]):
        return measure(run_experiment(experiment, load, start_s))


def _bound_key(name: str, experiment: Experiment) -> tuple[str, LoadSettings, BoundSettings]:
    """What the bound depends on. It is that of the fleet without a pool, so that all pools compare."""
    without_pool = replace(experiment, warm_pool=0)
    return name, experiment.load_settings, bound_settings(without_pool, experiment.duration_s)


def _bound_hours(name: str, settings: LoadSettings, bound: BoundSettings) -> float:
    return bound_of(bound, loaded(name, settings)[0]).instance_hours


def loaded(name: str, settings: LoadSettings) -> tuple[Load, float | None]:
    """The messages, of nasa those of its first week, and when the trace begins."""
    trace = trace_of(settings)
    load = load_of(settings, trace)
    return (first_days(load, NASA_DAYS) if name == "nasa" else load), trace.start_s


def first_days(load: Load, days: float) -> Load:
    """The messages of the first days of a load."""
    early = load.arrival_s < days * DAY_S
    return replace(
        load,
        arrival_s=load.arrival_s[early],
        service_s=load.service_s[early],
        horizon_s=min(load.horizon_s, days * DAY_S),
    )


@contextmanager
def _patched(constants: Sequence[tuple[str, float]]) -> Iterator[None]:
    if not constants:
        yield
        return
    boots.boot_times.cache_clear()
    with ExitStack() as patches:
        for constant, value in constants:
            for module in ENGINE_MODULES:
                if hasattr(module, constant):
                    patches.enter_context(patch.object(module, constant, value))
        yield
    boots.boot_times.cache_clear()


# ---- Checking and printing


def missed(figures: Sequence[Figures], conditions: Sequence[Condition]) -> list[str]:
    """One sentence for every limit that the deployed engine misses with some seed."""
    limits = {condition.name: condition.cost_ratios for condition in conditions}
    found = []
    for one in figures:
        if one.variant != ENGINE:
            continue
        which, allowed = f"{one.condition}: {one.trace}, seed {one.seed}", limits[one.condition][one.trace]
        if one.attainment < MIN_ATTAINMENT:
            found.append(
                f"{which}: {percentage(one.attainment)} in time; at least {percentage(MIN_ATTAINMENT)} "
                "required"
            )
        if one.cost_ratio > allowed:
            found.append(f"{which}: {one.cost_ratio:.3f} times the bound; at most {allowed:g} allowed")
    return found


def table(figures: Sequence[Figures], names: Sequence[str], traces: Sequence[str], row: str) -> str:
    """Share in time / cost over the bound by trace, worst of the seeds; `row` names the field of a line."""
    cells = [["", *traces]]
    for name in names:
        cells.append([name])
        for trace in traces:
            own = [one for one in figures if getattr(one, row) == name and one.trace == trace]
            attainment = min(one.attainment for one in own)
            cells[-1].append(f"{percentage(attainment)} / {max(one.cost_ratio for one in own):.3f}")
    return aligned(cells)


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text, in columns."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


@click.command()
@click.option(
    "--traces",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also run the real traces in this folder, the first week of nasa.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Seeds for each run.")
@click.option("--policies", "others", is_flag=True, help="Simulate every policy; checks no limits.")
@click.option(
    "--warm-pools", "pools", is_flag=True, help="Simulate several sizes of a warm pool; checks no limits."
)
@click.option(
    "--sensitivity", "changed", is_flag=True, help="Halve and double each constant; checks no limits."
)
@click.option("--json", "as_json", is_flag=True, help="Print every run's figures, as JSON.")
def main(folder: Path | None, seeds: int, others: bool, pools: bool, changed: bool, as_json: bool) -> None:
    """Share in time / cost over the lower bound: the worst of the seeds."""
    if others + pools + changed > 1:
        raise click.UsageError(
            "--policies, --warm-pools and --sensitivity each choose what is simulated: give one of them"
        )
    traces, missing = traces_of(folder)
    for path in missing:
        click.echo(f"{path}: no such file, so its column is left out", err=True)
    variants = (
        other_policies() if others else warm_pools() if pools else sensitivity() if changed else [DEPLOYED]
    )
    conditions = (
        FIXED_MARGINS[1:2]
        if others or pools
        else (*FIXED_MARGINS[1:2], *FIXED_MARGINS[3:])
        if changed
        else CONDITIONS
    )
    with ProgressBar(Console(stderr=True)) as bar:
        figures = measured(
            traces, conditions, variants, seeds, on_done=partial(bar.show, "runs and lower bounds")
        )
    compares = others or pools or changed
    found = missed(figures, conditions) if not compares else []
    if as_json:
        click.echo(json.dumps({"figures": [asdict(one) for one in figures], "missed": found}, indent=2))
    elif compares:
        for condition in conditions:
            own = [one for one in figures if one.condition == condition.name]
            click.echo(f"{condition.name}:")
            click.echo(table(own, [one.name for one in variants], list(traces), "variant"))
    else:
        click.echo(table(figures, [one.name for one in conditions], list(traces), "condition"))
    for sentence in found:
        click.echo(f"missed: {sentence}", err=True)
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
