"""What the floor of the deadline engine keeps and costs: `python benchmarks/short_promise.py`.

Simulates the deployed code where the promise (60 s) is shorter than a boot (180 s), beside a fleet that is
fixed at its busiest ten minutes, on a generated day and with `--traces DIR` on the real traces found there.
Exits with 1 if fewer than 99 % start in time, or the engine costs as much as the fixed fleet, where a floor
pays: on the generated day, nab and nasa.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks.deadline import DEPLOYED, MIN_ATTAINMENT, aligned, experiment_of, simulated, traces_of  # noqa: E402
from benchmarks.promise import workers  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402
from sluice_cli.terminal import Console  # noqa: E402
from sluice_report.quantities import share as percentage  # noqa: E402
from sluice_sim.study.experiment import Generated  # noqa: E402

PROMISE_S = 60.0
DIURNAL = "diurnal"
FLOOR_PAYS = (DIURNAL, "nab", "nasa")
ENGINE, FIXED = "deadline", "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The results of one run."""

    trace: str
    policy: str
    seed: int
    attainment: float
    instance_hours: float
    launches: int


def measured(
    traces: Mapping[str, Path | Generated], seeds: int, *, on_done: Callable[[float], None] = lambda _: None
) -> list[Figures]:
    """Simulate both fleets on every trace with every seed, spread over the cores."""
    with workers() as pool:
        runs = {
            (name, policy, seed): pool.submit(
                simulated, name, experiment_of(trace, policy, PROMISE_S, seed), DEPLOYED
            )
            for name, trace in traces.items()
            for policy in (ENGINE, FIXED)
            for seed in range(1, seeds + 1)
        }
        for done, future in enumerate(as_completed(runs.values()), start=1):
            future.result()
            on_done(done / len(runs))
    return [
        Figures(
            trace=name,
            policy=policy,
            seed=seed,
            attainment=run.result().attainment or 0.0,
            instance_hours=run.result().instance_hours,
            launches=run.result().launches,
        )
        for (name, policy, seed), run in runs.items()
    ]


def missed(figures: Sequence[Figures]) -> list[str]:
    """One sentence for every trace on which a floor pays and the engine is late, or costs too much."""
    fixed = {(one.trace, one.seed): one.instance_hours for one in figures if one.policy == FIXED}
    found = []
    for one in figures:
        if one.policy != ENGINE or one.trace not in FLOOR_PAYS:
            continue
        if one.attainment < MIN_ATTAINMENT:
            found.append(
                f"{one.trace}, seed {one.seed}: {percentage(one.attainment)} in time; at least "
                f"{percentage(MIN_ATTAINMENT)} required"
            )
        if one.instance_hours >= fixed[one.trace, one.seed]:
            found.append(
                f"{one.trace}, seed {one.seed}: {one.instance_hours:.0f} instance-hours; the fixed fleet "
                f"takes {fixed[one.trace, one.seed]:.0f}"
            )
    return found


def table(figures: Sequence[Figures]) -> str:
    """Share in time / instance-hours / launches by trace, the worst of the seeds."""
    traces = list(dict.fromkeys(one.trace for one in figures))
    lines = [["", *traces]]
    for policy in (ENGINE, FIXED):
        lines.append([policy])
        for trace in traces:
            own = [one for one in figures if (one.policy, one.trace) == (policy, trace)]
            lines[-1].append(
                f"{percentage(min(one.attainment for one in own))} / "
                f"{max(one.instance_hours for one in own):,.0f} / {max(one.launches for one in own):,}"
            )
    return aligned(lines)


@click.command()
@click.option(
    "--traces",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also run the real traces in this folder, the first week of nasa.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Seeds for each run.")
@click.option("--json", "as_json", is_flag=True, help="Print every run's figures, as JSON.")
def main(folder: Path | None, seeds: int, as_json: bool) -> None:
    """Share in time / instance-hours / launches with a promise of 60 s: the worst of the seeds."""
    real, missing = traces_of(folder)
    for path in missing:
        click.echo(f"{path}: no such file, so its column is left out", err=True)
    traces = {**real, DIURNAL: Generated(shape="diurnal", days=2.0)}
    with ProgressBar(Console(stderr=True)) as bar:
        figures = measured(traces, seeds, on_done=partial(bar.show, "runs"))
    found = missed(figures)
    if as_json:
        click.echo(json.dumps({"figures": [asdict(one) for one in figures], "missed": found}, indent=2))
    else:
        click.echo(table(figures))
    for sentence in found:
        click.echo(f"missed: {sentence}", err=True)
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
