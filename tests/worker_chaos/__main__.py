"""The long run: `python -m tests.worker_chaos` runs every scenario with real processes.

Each prints its seed, which repeats its random choices: `--scenario NAME --seed SEED`. The timing of processes
still depends on the machine.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.worker_chaos.cloud import cloud
from tests.worker_chaos.run import Verdict
from tests.worker_chaos.scenario_environment import MAX_DURATION_S, Environment
from tests.worker_chaos.scenario_table import DETECTED_BY, SCENARIOS

CONSOLE = Console(stderr=True)
MUTANT_S = 30.0
"""Ends the run of a worker with a defect that has not been detected."""
MIN_MESSAGES = 100
"""The fewest messages with which a scenario shows anything."""


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only these.")
@click.option("--seed", default=1, show_default=True, help="Of the faults, the ends and the messages.")
@click.option("--share", default=1.0, show_default=True, help="Of each scenario's messages.")
@click.option(
    "--mutations", is_flag=True, help="Instead, run workers with one defect each, which must be detected."
)
@click.option("--json", "as_json", is_flag=True, help="The verdicts as one JSON document.")
def main(names: Sequence[str], seed: int, share: float, mutations: bool, as_json: bool) -> None:
    """Run scenarios; exit 1 if one violates an invariant, or if a defect violates none."""
    folder = Path(tempfile.mkdtemp(prefix="worker-chaos-"))
    if mutations:
        _run_mutations(seed, folder)
        return
    verdicts = []
    for number, name in enumerate(names or SCENARIOS):
        scenario, full = SCENARIOS[name]
        with environment_of(name, max(int(full * share), MIN_MESSAGES), seed, folder / str(number)) as env:
            verdict = scenario(env, max(int(full * share), MIN_MESSAGES))
        verdict.name = name
        verdicts.append(verdict)
        if not as_json:
            _report(verdict)
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    broken = [verdict.name for verdict in verdicts if verdict.broken]
    if broken:
        sys.exit(f"invariants violated in {', '.join(broken)};  seed {seed}; logs in {folder}")
    shutil.rmtree(folder)


def _run_mutations(seed: int, folder: Path) -> None:
    """Run the scenario that should detect each defect."""
    undetected = []
    for mutation, (name, count, sentence) in DETECTED_BY.items():
        with environment_of(name, count, seed, folder / mutation, mutation=mutation, limit_s=MUTANT_S) as env:
            verdict = SCENARIOS[name][0](env, count)
        found = [broken for broken in verdict.broken if sentence in broken]
        click.echo(f"{mutation} ({verdict.duration_s} s): {found[0][:200] if found else 'NOT DETECTED'}")
        undetected += [] if found else [mutation]
    if undetected:
        sys.exit(f"not detected: {', '.join(undetected)}; seed {seed}; logs in {folder}")
    shutil.rmtree(folder)


@contextmanager
def environment_of(
    name: str,
    count: int,
    seed: int,
    folder: Path,
    *,
    mutation: str | None = None,
    limit_s: float = MAX_DURATION_S,
) -> Iterator[Environment]:
    """A scenario's environment with a separate account, and a progress bar on a terminal."""
    columns = (TextColumn(name), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with cloud() as account, Progress(*columns, console=CONSOLE, disable=not CONSOLE.is_terminal) as progress:
        bar = progress.add_task(name, total=count)
        yield Environment(
            cloud=account,
            folder=folder / name,
            seed=seed,
            mutation=mutation,
            limit_s=limit_s,
            progress=lambda done: progress.update(bar, completed=done),
        )


def _report(verdict: Verdict) -> None:
    rows: list[tuple[str, object]] = [
        ("seed", verdict.seed),
        ("messages", verdict.messages),
        ("processed twice", f"{verdict.twice} ({verdict.twice / verdict.messages:.2%})"),
        *(("started again", f"{times} {reason}") for reason, times in verdict.started_again.items()),
        *(("ended", f"{times} by {by}") for by, times in sorted(verdict.ended.items())),
        *(("exit status", f"{times} of {what}") for what, times in verdict.statuses.items()),
        ("requests", verdict.requests),
        *(("fault", f"{times} {kind}") for kind, times in sorted(verdict.faults.items())),
        ("seconds", verdict.duration_s),
        *(("BROKEN", found) for found in verdict.broken),
    ]
    click.echo(f"== {verdict.name}: {'broken' if verdict.broken else 'held'}")
    for what, found in rows:
        click.echo(f"  {what:<16} {found}")


if __name__ == "__main__":
    main()
