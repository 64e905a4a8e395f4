"""`sluice recommend --report`: the days held out with both settings, and pictures of the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sluice_cli.recommend_tables import Presented
from sluice_cli.terminal import Console
from sluice_cli.usage_errors import UsageError
from sluice_report.quantities import duration, number, share
from sluice_sim.study.candidates import applied
from sluice_sim.study.recommendation import Recommendation
from sluice_sim.study.sweep import run_in_turn
from sluice_sim.workloads import traces
from sluice_sim.workloads.traces import DAY_S

DAYS_PICTURE = "days.png"


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
        if found.changes:
            written.append(directory / DAYS_PICTURE)
            written[-1].write_bytes(_days_picture(presented, found))
    except OSError as error:
        raise UsageError(f"{directory}: the report could not be written: {error.strerror}") from error
    Console(stderr=True, highlight=False).print(
        f"report of day {day + 1}: {', '.join(map(str, written))}", style="dim", soft_wrap=True
    )


def _days_picture(presented: Presented, found: Recommendation) -> bytes:
    from sluice_report import held_out_days

    verdict = (
        f"{number(found.recommended.instance_hours.mean)} instance-hours a day instead of "
        f"{number(found.present.instance_hours.mean)}; {share(found.recommended.attainment)} of the messages "
        f"start within {duration(found.present.promise_s)} instead of {share(found.present.attainment)}"
    )
    present, recommended = (
        held_out_days.JudgedDays(
            instance_hours=[day.instance_hours for day in figures.days],
            late_percent=[None if day.share is None else 100 * (1 - day.share) for day in figures.days],
        )
        for figures in (found.present, found.recommended)
    )
    return held_out_days.png(
        presented.workload,
        verdict,
        first_day=found.tuned_days + 1,
        present=present,
        recommended=recommended,
        allowed_late_percent=round(100 * (1 - presented.advice.keep_share), 6),
    )


def worst_day(found: Recommendation) -> int:
    """The day held out, from 0, of which the present settings start the smallest share in time."""
    days = found.present.days
    return min(range(len(days)), key=lambda day: (days[day].share is None, days[day].share or 0.0))
