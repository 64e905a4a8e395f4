"""The report of `sluice simulate`: one self-contained page, a picture for each run, one that compares them.

Owns how runs look. Decides nothing and measures nothing that the runs' results do not say.
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
    """Write `report.html`, one PNG per run and, of several runs, `overview.png`; the paths, the page first.

    `results` has the keys of `--json`; `names` tells runs of one policy apart (the policies' names, unless
    given). Makes the directory where it is missing and replaces what an earlier report left under the same
    names. Raises ValueError where there is nothing to report or two runs share a name, and OSError where the
    directory cannot be written.
    """
    # A home that cannot be written costs matplotlib a moment, not the reader a warning.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from sluice_report.simulation import (  # matplotlib takes over a second to import
        comparison,
        overview,
        page,
        picture,
    )

    called = [run.policy for run in runs] if names is None else list(names)
    files = _files(called)
    known = [None] * len(runs) if bounds is None else bounds
    directory.mkdir(parents=True, exist_ok=True)
    told = [
        page.tell(name, run, result, bound, runs=len(runs))
        for name, run, result, bound in zip(called, runs, results, known, strict=True)
    ]
    compared, ratios = comparison.entries(called, results), comparison.in_ratios(results)
    html = directory / "report.html"
    html.write_text(page.render(told, compared, ratios=ratios, workload=workload), encoding="utf-8")
    written = [html]
    if len(told) > 1 and compared:
        written.append(directory / "overview.png")
        written[-1].write_bytes(overview.png(compared, ratios=ratios))
    for one, file in zip(told, files, strict=True):
        written.append(directory / file)
        written[-1].write_bytes(picture.png(one.name, one.verdict, one.panels, one.course))
    return written


def _files(names: Sequence[str]) -> list[str]:
    """A PNG's name for each run."""
    if not names:
        raise ValueError("nothing to report: there is no run")
    files = [re.sub(r"[^\w.+-]+", "-", name).strip("-.") + ".png" for name in names]
    if twice := sorted({name for name, file in zip(names, files, strict=True) if files.count(file) > 1}):
        raise ValueError(f"each run needs a name of its own; told twice: {', '.join(twice)}")
    return files
