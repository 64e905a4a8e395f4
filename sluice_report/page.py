"""The page: one self-contained HTML file that tells every story.

Owns what the template is given: the drawings in two widths, the chronicle, the figures. The template escapes
everything but the drawings, whose texts matplotlib has escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from sluice_report import palette, panels, quantities, wording
from sluice_report.marks import Mark, chronicle
from sluice_report.picture import Drawing, drawing
from sluice_sim.embedded.story import Story

WIDE, NARROW = 760.0, 350.0
"""Widths of the two drawings in points, which the page shows at about as many pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What the page says about one story."""

    story: Story
    heading: str
    verdict: str
    decisions: str
    panels: tuple[str, ...]
    marks: tuple[Mark, ...]
    drawings: tuple[tuple[str, Drawing], ...]


def render(stories: Sequence[Story]) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=PackageLoader("sluice_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": lambda value: "–" if value is None else quantities.number(value)}
    return environment.get_template("report.html").render(
        sections=[_section(story) for story in stories], light=palette.LIGHT, dark=palette.DARK
    )


def _section(story: Story) -> Section:
    marks = chronicle(story)
    decisions = sorted(story.summary.decisions.items())
    return Section(
        story=story,
        heading=wording.heading(story),
        verdict=wording.verdict(story.summary),
        decisions=", ".join(f"{amount} {kind}" for kind, amount in decisions) or "none",
        panels=tuple(panel.title for panel in panels.of(story.minutes, marks)),
        marks=marks,
        drawings=(("wide", drawing(story, width=WIDE)), ("narrow", drawing(story, width=NARROW))),
    )
