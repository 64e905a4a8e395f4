"""A blue/green workload's picture has a panel for each color, and one for the steps of a switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sluice_report.demo import panels, sentences
from sluice_report.demo.annotations import annotate
from sluice_report.demo.page import render
from sluice_report.demo.picture import drawing, png
from sluice_sim.embedded.timeline import Timeline
from tests.report.demo.builders import color, minute, switched, timeline


def titles(of: Timeline) -> list[str]:
    return [panel.title for panel in panels.build(of.minutes, annotate(of.minutes), of.summary.switch)]


def test_the_panels_name_the_colors_and_how_long_the_switch_took() -> None:
    assert titles(switched())[0] == (
        "The switch: green is the active color after 90 s, blue is at zero after 140 s, nothing is held any "
        "more after 290 s"
    )
    assert "Blue is the active color until minute 2; 2 instances at most, none from minute 4 on" in titles(
        switched()
    )
    assert "Green is the active color from minute 3 on; 2 instances at most" in titles(switched())


def test_a_single_fleet_has_neither() -> None:
    assert not [title for title in titles(timeline()) if "active color" in title or "switch" in title]


def test_a_switch_that_ended_badly_says_so_in_place_of_its_times() -> None:
    assert titles(switched(is_done=False, outcome="blue stays up"))[0] == "The switch: blue stays up"


def test_an_idle_color_that_runs_nothing_says_so() -> None:
    rows = [minute(1, colors=(color("blue", 1, active=True), color("green", 0)))]
    assert sentences.color("green", rows) == "Green is never the active color; it runs nothing"
    assert sentences.color("blue", rows) == "Blue is the active color throughout; 1 instance at most"


@pytest.mark.parametrize("width", [350.0, 760.0])
def test_the_drawing_names_the_steps_that_have_room(width: float) -> None:
    svg = drawing(switched(), width=width).svg
    assert "finish" in svg
    assert "begin" in svg


def test_the_picture_that_stands_alone_is_drawn_too() -> None:
    assert png(switched()).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"out_of_order": 1}, "1 out of order in their message group"),
        ({"ended_at_work": 2}, "2 instances ended at work"),
        ({"old_color_desired": 3}, "3 desired of the old color"),
    ],
)
def test_a_run_whose_switch_broke_its_word_is_not_done(changes: dict[str, Any], said: str) -> None:
    well = switched().summary
    assert well.ok
    broken = replace(well, **changes)
    assert not broken.ok
    assert said in sentences.verdict(broken)


def test_the_page_has_each_colors_numbers_minute_by_minute() -> None:
    rows = render([switched()]).split('<tr><th scope="row">')
    cells = ["<td>2</td><td>2</td><td>2</td>", "<td>0</td><td>0</td><td>0</td>"]
    assert "".join(cells) in next(row for row in rows if row.startswith("1<"))
    assert "".join(cells[::-1]) in next(row for row in rows if row.startswith("4<"))
