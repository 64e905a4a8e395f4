"""`sluice recommend --report`: pictures of the worst day that was held out, present against recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sluice_cli.recommend_tables import Presented
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_sim.study.candidates import applied
from sluice_sim.study.recommendation import Recommendation
from sluice_sim.study.sweep import run_in_turn
from sluice_sim.workloads import traces
from sluice_sim.workloads.traces import DAY_S


def write_report(presented: Presented, folder: Path, directory: Path) -> None:
    """Simulate the day again with both settings, and write the report of `simulate` about them."""
    from sluice_report.simulation import write  # matplotlib takes over a second to import

    found = presented.advice.recommendation
    if found is None:
        return
    day = found.tuned_days + worst_day(found)
    path = folder / "worst-day.csv"
    traces.write(traces.part(presented.past.trace, day * DAY_S, (day + 1) * DAY_S), path)
    present = replace(presented.advice.present, trace=path)
    experiments = [present] + ([applied(present, found.changes)] if found.changes else [])
    outcomes = run_in_turn(experiments, with_bound=False)
    names: Sequence[str] = ("present", "recommended")[: len(experiments)]
    try:
        written = write(
            [outcome.run for outcome in outcomes if outcome.run is not None],
            [outcome.result for outcome in outcomes],
            directory,
            names=names,
            workload=f"{presented.workload}, day {day + 1}",
        )
    except OSError as error:
        raise UsageError(f"{directory}: the report could not be written: {error.strerror}") from error
    Console(stderr=True, highlight=False).print(
        f"report of day {day + 1}: {', '.join(map(str, written))}", style="dim", soft_wrap=True
    )


def worst_day(found: Recommendation) -> int:
    """The day held out, from 0, of which the present settings start the smallest share in time."""
    days = found.present.days
    return min(range(len(days)), key=lambda day: (days[day].share is None, days[day].share or 0.0))
