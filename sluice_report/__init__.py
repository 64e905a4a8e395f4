"""The demo's report: one self-contained page and one picture per workload, from what was played.

Owns how a story looks. Decides nothing and counts nothing that the story does not say. Light to import:
matplotlib and jinja2 are loaded when a report is written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice_sim.embedded.timeline import Timeline


def write(stories: Sequence[Timeline], directory: Path) -> tuple[Path, ...]:
    """Write `report.html` and one `<name>.png` per story; the paths written, the page first.

    Makes the directory where it is missing and replaces what an earlier report left under the same names.
    Raises ValueError where two stories share a name or one has no minute, and OSError where the directory
    cannot be written.
    """
    # A home that cannot be written costs matplotlib a moment, not the reader a warning.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from sluice_report.demo.page import render  # matplotlib takes over a second to import
    from sluice_report.demo.picture import png

    names = [story.summary.name for story in stories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each story needs a name of its own; told twice: {', '.join(twice)}")
    if unplayed := [story.summary.name for story in stories if not story.minutes]:
        raise ValueError(f"nothing to report: no minute was played of {', '.join(unplayed)}")
    directory.mkdir(parents=True, exist_ok=True)
    html = directory / "report.html"
    html.write_text(render(stories), encoding="utf-8")
    pictures = []
    for story in stories:
        pictures.append(directory / f"{story.summary.name}.png")
        pictures[-1].write_bytes(png(story))
    return (html, *pictures)
