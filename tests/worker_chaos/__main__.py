"""The long run: `python -m tests.worker_chaos` runs every scenario with real processes.

Each prints its seed, which repeats its draws: `--scenario NAME --seed SEED`. The timing of processes still
depends on the machine.
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
from tests.worker_chaos.scenario_table import DETECTED_BY, SCENARIOS
from tests.worker_chaos.stage import LIMIT_S, Stage

BAR = Console(stderr=True)
MUTANT_S = 30.0
"""By then a defect has violated an invariant, or the run is over."""
MIN_MESSAGES = 100
"""The minimum of messages with which a scenario shows anything."""


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only these.")
@click.option("--seed", default=1, show_default=True, help="Of the faults, the ends and the messages.")
@click.option("--share", default=1.0, show_default=True, help="Of each scenario's messages.")
@click.option("--mutations", is_flag=True, help="Instead: workers with a defect each, which must be noticed.")
@click.option("--json", "as_json", is_flag=True, help="The verdicts as one JSON document.")
def main(names: Sequence[str], seed: int, share: float, mutations: bool, as_json: bool) -> None:
    """Play scenarios; exit 1 where one breaks a promise, or where a defect breaks none."""
    folder = Path(tempfile.mkdtemp(prefix="worker-chaos-"))
    if mutations:
        _run_mutations(seed, folder)
        return
    verdicts = []
    for number, name in enumerate(names or SCENARIOS):
        scenario, full = SCENARIOS[name]
        with staged(name, max(int(full * share), MIN_MESSAGES), seed, folder / str(number)) as stage:
            verdict = scenario(stage, max(int(full * share), MIN_MESSAGES))
        verdict.name = name
        verdicts.append(verdict)
        if not as_json:
            _report(verdict)
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    broken = [verdict.name for verdict in verdicts if verdict.broken]
    if broken:
        sys.exit(f"broken promises in {', '.join(broken)}; seed {seed}; logs in {folder}")
    shutil.rmtree(folder)


def _run_mutations(seed: int, folder: Path) -> None:
    """Play each defect before the scenario that should notice it."""
    unnoticed = []
    for mutation, (name, count, sentence) in DETECTED_BY.items():
        with staged(name, count, seed, folder / mutation, mutation=mutation, limit_s=MUTANT_S) as stage:
            verdict = SCENARIOS[name][0](stage, count)
        said = [broken for broken in verdict.broken if sentence in broken]
        click.echo(f"{mutation} ({verdict.duration_s} s): {said[0][:200] if said else 'NOT NOTICED'}")
        unnoticed += [] if said else [mutation]
    if unnoticed:
        sys.exit(f"nobody noticed {', '.join(unnoticed)}; seed {seed}; logs in {folder}")
    shutil.rmtree(folder)


@contextmanager
def staged(
    name: str, count: int, seed: int, folder: Path, *, mutation: str | None = None, limit_s: float = LIMIT_S
) -> Iterator[Stage]:
    """A stage in an account of its own, a bar on a terminal."""
    columns = (TextColumn(name), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with cloud() as account, Progress(*columns, console=BAR, disable=not BAR.is_terminal) as progress:
        bar = progress.add_task(name, total=count)
        yield Stage(
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
        *(("begun again", f"{times} {reason}") for reason, times in verdict.begun_again.items()),
        *(("ended", f"{times} by {by}") for by, times in sorted(verdict.ended.items())),
        *(("exit status", f"{times} of {what}") for what, times in verdict.statuses.items()),
        ("requests", verdict.requests),
        *(("fault", f"{times} {kind}") for kind, times in sorted(verdict.faults.items())),
        ("seconds", verdict.duration_s),
        *(("BROKEN", said) for said in verdict.broken),
    ]
    click.echo(f"== {verdict.name}: {'broken' if verdict.broken else 'held'}")
    for what, said in rows:
        click.echo(f"  {what:<16} {said}")


if __name__ == "__main__":
    main()
