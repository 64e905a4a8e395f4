"""The long run: `python -m tests.worker_chaos` plays every scenario with real processes.

Each prints its seed, with which it is drawn again: `--scenario NAME --seed SEED`. What processes make of the
same draws is up to the machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.worker_chaos.cloud import cloud
from tests.worker_chaos.mutant import MUTATIONS
from tests.worker_chaos.play import Verdict
from tests.worker_chaos.scenarios import SCENARIOS
from tests.worker_chaos.stage import Stage

BAR = Console(stderr=True)
LEAST = 100
"""Messages, below which a scenario shows nothing."""


@click.command()
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only these.")
@click.option("--seed", default=1, show_default=True, help="Of the faults, the ends and the messages.")
@click.option("--share", default=1.0, show_default=True, help="Of each scenario's messages.")
@click.option("--mutation", type=click.Choice(list(MUTATIONS)), help="Workers with this defect.")
@click.option("--json", "as_json", is_flag=True, help="The verdicts as one JSON document.")
def main(names: Sequence[str], seed: int, share: float, mutation: str | None, as_json: bool) -> None:
    """Play scenarios; exit 1 where one breaks a promise."""
    folder = Path(tempfile.mkdtemp(prefix="worker-chaos-"))
    verdicts = []
    for name in names or SCENARIOS:
        verdict = _played(name, seed, share, mutation, folder / name)
        verdicts.append(verdict)
        if not as_json:
            _told(verdict)
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    broken = [verdict.name for verdict in verdicts if verdict.broken]
    if broken:
        sys.exit(f"broken promises in {', '.join(broken)}; seed {seed}; logs in {folder}")


def _played(name: str, seed: int, share: float, mutation: str | None, folder: Path) -> Verdict:
    scenario, full = SCENARIOS[name]
    count = max(int(full * share), LEAST)
    columns = (TextColumn(name), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with cloud() as account, Progress(*columns, console=BAR, disable=not BAR.is_terminal) as progress:
        bar = progress.add_task(name, total=count)
        stage = Stage(
            cloud=account,
            folder=folder,
            seed=seed,
            mutation=mutation,
            progress=lambda done: progress.update(bar, completed=done),
        )
        verdict = scenario(stage, count)
    verdict.name = name
    return verdict


def _told(verdict: Verdict) -> None:
    rows: list[tuple[str, object]] = [
        ("seed", verdict.seed),
        ("messages", verdict.messages),
        ("processed twice", f"{verdict.twice} ({verdict.twice / verdict.messages:.2%})"),
        *(("begun again", f"{times} {why}") for why, times in verdict.begun_again.items()),
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
