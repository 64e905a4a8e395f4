"""The report of `sluice simulate`: one self-contained page, a picture per run, and one that compares them.

It only presents the runs: every number comes from their results. Importing this package is cheap; matplotlib
and jinja2 are loaded when a report is written.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice_sim.simulator.run import Run
    from sluice_sim.study.lower_bound import Bound


def write(
    runs: Sequence[Run],
    results: Sequence[Mapping[str, object]],
    directory: Path,
    *,
    bounds: Sequence[Bound | None] | None = None,
    names: Sequence[str] | None = None,
    workload: str = "",
) -> list[Path]:
    """Write `report.html`, one PNG per run and, for several runs, `overview.png`; return the paths.

    The page's path comes first. `results` has the keys of `--json`; `names` distinguishes runs of one policy
    (default: the policies' names). Creates the directory if needed and overwrites files of the same
    names. Raises ValueError if there is no run or two runs share a name, and OSError if the
    directory cannot be written.
    """
    # Without a writable home matplotlib warns about its font cache: it works, so the user need not know.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from sluice_report.simulation import (  # matplotlib takes over a second to import
        comparison,
        overview,
        page,
        picture,
    )

    run_names = [run.policy for run in runs] if names is None else list(names)
    files = _files(run_names)
    run_bounds = [None] * len(runs) if bounds is None else bounds
    directory.mkdir(parents=True, exist_ok=True)
    reports = [
        page.describe(name, run, result, bound, runs=len(runs))
        for name, run, result, bound in zip(run_names, runs, results, run_bounds, strict=True)
    ]
    compared, ratios = comparison.compare(run_names, results), comparison.uses_cost_ratios(results)
    html = directory / "report.html"
    html.write_text(page.render(reports, compared, ratios=ratios, workload=workload), encoding="utf-8")
    written = [html]
    if len(reports) > 1 and compared:
        written.append(directory / "overview.png")
        written[-1].write_bytes(overview.png(compared, ratios=ratios))
    for report, file in zip(reports, files, strict=True):
        written.append(directory / file)
        written[-1].write_bytes(picture.png(report.name, report.verdict, report.panels, report.series))
    return written


def _files(names: Sequence[str]) -> list[str]:
    """The name of each run's PNG."""
    if not names:
        raise ValueError("nothing to report: there is no run")
    files = [re.sub(r"[^\w.+-]+", "-", name).strip("-.") + ".png" for name in names]
    if duplicates := sorted({name for name, file in zip(names, files, strict=True) if files.count(file) > 1}):
        raise ValueError(f"each run needs its own name; used twice: {', '.join(duplicates)}")
    return files
