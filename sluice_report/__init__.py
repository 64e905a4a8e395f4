"""The demo's report: one self-contained HTML page, and one picture per workload.

It only presents the run: every number comes from it. Importing this package is cheap; matplotlib and jinja2
are loaded when a report is written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice_sim.embedded.timeline import Minute, Timeline


def write(timelines: Sequence[Timeline], directory: Path) -> tuple[Path, ...]:
    """Write `report.html` and one `<name>.png` per timeline; return the paths, the page first.

    Creates the directory if needed and overwrites an earlier report's files of the same names. Raises
    ValueError if two timelines share a name or one has no minute, and OSError if the directory cannot be
    written.
    """
    _silence_matplotlib()
    from sluice_report.demo.page import render  # matplotlib takes over a second to import
    from sluice_report.demo.picture import png

    names = [timeline.summary.name for timeline in timelines]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each timeline needs its own name; used twice: {', '.join(duplicates)}")
    if empty := [timeline.summary.name for timeline in timelines if not timeline.minutes]:
        raise ValueError(f"nothing to report: no minute was simulated of {', '.join(empty)}")
    directory.mkdir(parents=True, exist_ok=True)
    html = directory / "report.html"
    html.write_text(render(timelines), encoding="utf-8")
    pictures = []
    for timeline in timelines:
        pictures.append(directory / f"{timeline.summary.name}.png")
        pictures[-1].write_bytes(png(timeline))
    return (html, *pictures)


def write_picture(
    name: str, finding: str, minutes: Sequence[Minute], directory: Path, *, all_events: str
) -> Path:
    """Write `<name>.png` of these minutes below this finding; returns its path.

    Raises ValueError if there is no minute, and OSError if the directory cannot be written.
    """
    _silence_matplotlib()
    from sluice_report.demo.layout import Heading
    from sluice_report.demo.picture import png_of

    if not minutes:
        raise ValueError(f"nothing to draw: no minute of {name}")
    directory.mkdir(parents=True, exist_ok=True)
    picture = directory / f"{name}.png"
    picture.write_bytes(png_of(minutes, Heading(name=name, finding=finding, all_events=all_events)))
    return picture


def _silence_matplotlib() -> None:
    # Without a writable home matplotlib warns about its font cache: it works, so the user need not know.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
