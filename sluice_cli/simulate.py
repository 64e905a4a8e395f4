"""`sluice simulate`: the cost of a configuration, and whether it keeps its promise, before a deploy."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.text import Text

from sluice.document.schedule_lines import written
from sluice_cli import completion, settings, tables
from sluice_cli.outputs import require_writable_directory
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import (
    UsageError,
    as_usage_errors,
)
from sluice_cli.workloads import CHECKOUT, COMPLETE, config_file, parameters, template_parameters
from sluice_report.quantities import duration
from sluice_sim import policies
from sluice_sim.study.experiment import (
    Experiment,
    has_tick,
    overridden,
)
from sluice_sim.study.sweep import (
    Outcome,
    frontier,
    run_all,
    run_in_turn,
)

WIDTH = 160
"""Characters per line where the output is not a terminal."""


@click.command()
@click.argument("workload", shell_complete=COMPLETE)
@config_file
@settings.settings
@click.option(
    "--policy",
    "policy",
    show_default="sluice; deadline for a workload with Scaling=deadline",
    metavar="NAME[,NAME]|all",
    shell_complete=completion.several(lambda _: [*policies.names(), "all"]),
    help="Ways of scaling to simulate: " + ", ".join(policies.names()) + ".",
)
@click.option(
    "--set",
    "overrides",
    metavar="PARAMETER=VALUE",
    multiple=True,
    shell_complete=completion.names(template_parameters),
    help="Another value for a parameter of workload.yaml; repeatable.",
)
@click.option(
    "--sweep",
    "sweeps",
    metavar="NAME=V1,V2,...",
    multiple=True,
    shell_complete=completion.names(
        lambda ctx: [
            *(f"{name}=" for name in settings.names(ctx.command)),
            *template_parameters(ctx),
        ]
    ),
    help="Simulate every combination: NAME is an option without its dashes or a parameter of workload.yaml; "
    "repeatable.",
)
@click.option("--no-bound", is_flag=True, help="Leave out the lower bound and what is compared with it.")
@click.option(
    "--report",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    help="Write report.html and pictures there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers alone, as JSON.")
def simulate(
    workload: str,
    policy: str | None,
    overrides: tuple[str, ...],
    sweeps: tuple[str, ...],
    no_bound: bool,
    directory: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Simulate a trace of arrivals against a workload and a way of scaling.

    WORKLOAD is an environment of samconfig.toml or a file with a workload document. Messages arrive at random
    moments of the trace's intervals, drawn with the seed; every wait is exact. The result is compared with a
    lower bound: the cost of a plan that knows every arrival in advance, which no policy can beat.

    --json prints one object; for several policies a list of them; for a sweep a list of
    {"set": ..., "frontier": ..., "result": ...}.
    """
    _require_one_processing_time(options)
    if directory is not None and sweeps:
        raise UsageError(
            "--report shows runs, not sweeps: leave --sweep out, or compare policies by --policy"
        )
    if directory is not None:
        require_writable_directory(directory)
    with as_usage_errors():
        first = Experiment(
            root=CHECKOUT,
            parameters={**parameters(workload), **dict(settings.pairs(overrides, "--set"))},
            policy="sluice",
            **options,
        )
        _require_groups(first)
        deployed_policy = "deadline" if first.deployed().workload.deadline is not None else "sluice"
        grid = _grid(policy or deployed_policy, sweeps)
        experiments = [_with_grid_values(first, point) for point in grid]
        _require_subject(
            "warm-", "warm-pool", "a warm pool", any(one.warm_pool for one in experiments), sweeps
        )
        has_downstream = any(one.downstream_capacity is not None for one in experiments)
        _require_subject(
            "downstream-", "downstream-capacity", "a downstream with a limit", has_downstream, sweeps
        )
        for experiment in experiments:
            experiment.warm_pool_settings()
            experiment.switch_at_s()
            _require_used(experiment, grid, overrides, sweeps)
            experiment.deployed()  # reports now what would fail after the first runs
    with as_usage_errors(), ProgressBar(Console(stderr=True)) as bar:
        if len(experiments) == 1 or directory is not None:
            outcomes = run_in_turn(experiments, with_bound=not no_bound, on_progress=bar.show)
        else:
            outcomes = run_all(
                experiments,
                with_bound=not no_bound,
                on_done=lambda done, of: bar.show(f"{len(experiments)} runs", done / of),
            )
    closed = sys.stdout is None  # the shell's `>&-` closes it
    is_terminal = (not closed and sys.stdout.isatty()) or "COLUMNS" in os.environ
    console = Console(stderr=as_json, highlight=False, width=None if is_terminal else WIDTH)
    _print_setup(console, workload, first, swept=bool(sweeps))
    labels = _labels(grid)
    if as_json:
        click.echo(json.dumps(_as_json(outcomes, labels, swept=bool(sweeps)), allow_nan=False, indent=2))
    else:
        _show(console, outcomes, labels, swept=bool(sweeps))
    if directory is not None:
        _report(outcomes, directory, workload, console)
    if any(outcome.result["lost"] for outcome in outcomes):
        raise click.ClickException("messages were lost: this is a defect of the simulator, please report it")


def _require_one_processing_time(options: Mapping[str, Any]) -> None:
    """UsageError if a file of processing times comes with another description of them."""
    if options["durations"] is None:
        return
    source = click.get_current_context().get_parameter_source
    for name, option in (("duration_s", "--duration-s"), ("variation", "--duration-cv")):
        if source(name) is not ParameterSource.DEFAULT:
            raise UsageError(f"--durations and {option} both set the processing times: give only one of them")


def _require_groups(experiment: Experiment) -> None:
    """UsageError if message groups are given for a queue that has none."""
    workload = experiment.deployed().workload
    if experiment.groups is not None and not workload.is_fifo:
        raise UsageError(
            f"--groups {experiment.groups}: {workload.queue_url} is a standard queue, and only a FIFO queue "
            "has message groups: leave it out"
        )


def _require_subject(prefix: str, option: str, what: str, exists: bool, sweeps: Sequence[str]) -> None:
    """UsageError if an option with the prefix describes what no run has, as `option` would make it."""
    if exists:
        return
    ctx = click.get_current_context()
    swept = {name for name, _ in settings.pairs(sweeps, "--sweep")}
    for name, param in settings.names(ctx.command).items():
        is_given = ctx.get_parameter_source(str(param.name)) is not ParameterSource.DEFAULT
        if name.startswith(prefix) and name != option and (is_given or name in swept):
            raise UsageError(f"--{name} describes {what}, and there is none: give --{option} N, too")


def _require_used(
    experiment: Experiment, grid: Sequence[GridPoint], overrides: Sequence[str], sweeps: Sequence[str]
) -> None:
    """UsageError if the one policy replaces what was given; of several, the result of each says so."""
    if len({point["policy"] for point in grid}) > 1:
        return
    given = {name for name, _ in [*settings.pairs(overrides, "--set"), *settings.pairs(sweeps, "--sweep")]}
    for setting in overridden(experiment):
        if setting.name in given or not setting.name[0].isupper():
            raise UsageError(str(setting))


GridPoint = Mapping[str, tuple[str, Any]]
"""One combination of a grid: per setting, its text on the command line and its parsed value."""


def _grid(policy: str, sweeps: Sequence[str]) -> list[GridPoint]:
    swept = {name: text.split(",") for name, text in settings.pairs(sweeps, "--sweep")}
    chosen = swept.pop("policy", None) or policy.split(",")
    axes = {"policy": [(name, name) for name in _policies(chosen)]}
    ctx = click.get_current_context()
    known = settings.names(ctx.command)
    for name, texts in swept.items():
        param = known.get(name)
        if param is None and not name[0].isupper():
            raise UsageError(
                f"--sweep {name}: neither a parameter of workload.yaml nor one of {', '.join(known)}"
            )
        axes[name] = [
            (text, text if param is None else param.type.convert(text, param, ctx)) for text in texts
        ]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _labels(grid: Sequence[GridPoint]) -> list[dict[str, str]]:
    """The values in which the points of a grid differ, as written on the command line."""
    apart = [name for name in grid[0] if len({point[name][0] for point in grid}) > 1 or name != "policy"]
    return [{name: point[name][0] for name in apart} for point in grid]


def _policies(chosen: Sequence[str]) -> list[str]:
    known = policies.names()
    if "all" in chosen:
        return known
    if unknown := [name for name in chosen if name not in known]:
        raise UsageError(f"{', '.join(unknown)}: no such policy; there are {', '.join(known)}, and all")
    return list(dict.fromkeys(chosen))


def _with_grid_values(first: Experiment, point: GridPoint) -> Experiment:
    """The experiment with the values of one grid point."""
    command = click.get_current_context().command
    known = settings.names(command)
    fields = {str(known[name].name): value for name, (_, value) in point.items() if name in known}
    overrides = {name: value for name, (_, value) in point.items() if name not in known}
    changed = replace(first, parameters={**first.parameters, **overrides}, **fields)
    if changed.tick_s is not None and not has_tick(changed.policy):
        raise UsageError(f"policy {changed.policy} has no tick period to set: leave --tick-s out")
    return changed


def _print_setup(console: Console, workload: str, first: Experiment, *, swept: bool) -> None:
    """Print what is simulated, and the defaults that apply."""
    deployed = first.deployed()
    bounds = deployed.workload.bounds
    durations = str(first.durations) if first.durations is not None else f"{first.duration_s:g} s"
    boot = f"{first.boot.min_s:g}" + (f"-{first.boot.max_s:g}" * (first.boot.min_s != first.boot.max_s))
    facts = [
        f"{first.trace}",
        f"{durations} a message",
        f"{first.slots_per_instance} at a time",
        f"{bounds.min} to {bounds.max} instances",
        f"boot {boot} s",
        f"seed {first.seed}",
    ]
    if first.warm_pool:
        warm = first.warm_boot.min_s, first.warm_boot.max_s
        facts.append(f"warm pool of {first.warm_pool}, {'-'.join(f'{s:g}' for s in dict.fromkeys(warm))} s")
    if first.downstream_capacity is not None:
        facts.append(f"a downstream for {first.downstream_capacity:,} at a time")
    if (groups := first.load_settings.groups) is not None:
        facts.append(f"FIFO, {groups} message groups")
    if first.switch_at_min is not None:
        facts.append(f"a switch after {first.switch_at_min:g} min")
    if schedules := deployed.workload.schedules:
        facts.append(f"schedules {' and '.join(map(written, schedules))}")
    if swept:
        facts.append("except for the swept values")
    console.print(f"[bold]{workload}[/]: {', '.join(facts)}", soft_wrap=True)
    defaults = ", ".join(f"{name}={value}" for name, value in deployed.defaults.items())
    console.print(f"[dim]by workload.yaml's defaults: {defaults or 'nothing'}[/]", soft_wrap=True)


def _show(
    console: Console, outcomes: Sequence[Outcome], labels: Sequence[Mapping[str, str]], *, swept: bool
) -> None:
    if len(outcomes) == 1:
        only = outcomes[0]
        console.print(tables.verdict(only.result, only.promise_s), soft_wrap=True)
        console.print(tables.one(only.result, only.promise_s))
        if only.result["switch"] is not None:
            console.print(tables.switch(only.result["switch"]))
    else:
        _show_comparison(console, outcomes, labels, swept=swept)
    for warning, warned in tables.warnings([outcome.result for outcome in outcomes], labels):
        which = f"{', '.join(warned)}: " if warned else ""
        console.print(Text(f"{which}{warning}", style="yellow"), soft_wrap=True)


def _show_comparison(
    console: Console, outcomes: Sequence[Outcome], labels: Sequence[Mapping[str, str]], *, swept: bool
) -> None:
    """Print a table: policies in their order, a sweep sorted by cost."""
    promises = {outcome.promise_s for outcome in outcomes}
    heading = f"≤ {duration(promises.pop())}" if len(promises) == 1 else "in time"
    results = [outcome.result for outcome in outcomes]
    rows = list(zip(results, labels, frontier(results), strict=True))
    if swept:
        rows.sort(key=lambda row: float(row[0]["instance_hours"]))
    wide, narrow = (tables.comparison(rows, promise=heading, wide=wide) for wide in (True, False))
    room = console.options.update(max_width=WIDTH)
    console.print(wide if console.measure(wide, options=room).maximum <= console.width else narrow)
    console.print(
        f"[green]{tables.BEST}[/] the cost-attainment frontier: no other run costs less and starts more "
        "messages in time",
        soft_wrap=True,
    )


def _as_json(outcomes: Sequence[Outcome], labels: Sequence[Mapping[str, str]], *, swept: bool) -> Any:
    results = [outcome.result for outcome in outcomes]
    if swept:
        return [
            {"set": label, "frontier": best, "result": result}
            for label, best, result in zip(labels, frontier(results), results, strict=True)
        ]
    return results if len(results) > 1 else results[0]


def _report(outcomes: Sequence[Outcome], directory: Path, workload: str, console: Console) -> None:
    from sluice_report.simulation import write  # matplotlib takes over a second to import

    try:
        written = write(
            [outcome.run for outcome in outcomes if outcome.run is not None],
            [outcome.result for outcome in outcomes],
            directory,
            bounds=[outcome.bound for outcome in outcomes],
            workload=workload,
        )
    except OSError as error:
        raise UsageError(f"{directory}: the report could not be written: {error.strerror}") from error
    console.print(f"report: {', '.join(map(str, written))}", style="dim", soft_wrap=True)
