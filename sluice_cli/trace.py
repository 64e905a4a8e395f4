"""`sluice trace`: write a generated trace of arrivals."""

from __future__ import annotations

from pathlib import Path

import click

from sluice_cli import completion
from sluice_cli.outputs import require_writable_file
from sluice_cli.settings import Seconds
from sluice_cli.usage_errors import (
    UsageError,
    as_usage_errors,
)
from sluice_sim.workloads import (
    generators,
    traces,
)


@click.command(
    epilog="Shapes: " + " ".join(f"{shape}: {generators.about(shape)}" for shape in generators.SHAPES)
)
@click.argument("shape", shell_complete=completion.names(lambda _: generators.SHAPES))
@click.option("--days", type=Seconds(min=0, min_open=True), default=1.0, show_default=True)
@click.option("--per-day", type=click.IntRange(min=1), default=200_000, show_default=True, help="Messages.")
@click.option(
    "--interval-s",
    type=Seconds(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds a row stands for.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, readable=False), help="The file to write. [default: SHAPE.csv]"
)
def trace(shape: str, days: float, per_day: int, interval_s: float, seed: int, out: Path | None) -> None:
    """Write a trace of arrivals of this SHAPE, for `sluice simulate --trace`.

    The same seed writes the same file.
    """
    path = out or Path(f"{shape}.csv")
    require_writable_file(path)
    with as_usage_errors():
        made = generators.generate(shape, days=days, per_day=per_day, interval_s=interval_s, seed=seed)
    try:
        traces.write(made, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    click.echo(f"{path}: {made.total:,} messages in {made.arrivals.size:,} intervals of {interval_s:g} s")
