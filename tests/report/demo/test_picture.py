"""The picture shows any run, in the right colours."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image

from sluice_report.chart.palette import LIGHT
from sluice_report.demo import picture
from sluice_sim.embedded.timeline import Timeline
from tests.report.conftest import Report
from tests.report.demo import builders

pytestmark = pytest.mark.slow


def _pixels(png: bytes) -> np.ndarray:
    """An array of rows, columns and colour channels (red, green, blue; 0 to 255)."""
    return np.rint(image.imread(io.BytesIO(png), format="png")[:, :, :3] * 255).astype(int)


def test_a_png_is_wide_enough_for_a_page_and_not_blank(report: Report) -> None:
    for path in report.written[1:]:
        pixels = _pixels(path.read_bytes())
        height, width, _ = pixels.shape
        assert width == 1720
        assert height > 800
        assert 0.02 < (pixels != 255).any(axis=2).mean() < 0.9


def test_a_png_shows_the_backlog_the_fleet_and_the_target_in_their_colours(report: Report) -> None:
    pixels = _pixels(report.written[1].read_bytes()).reshape(-1, 3)
    for colour in ("waiting", "in-flight", "running", "desired", "per-instance", "target", "processing"):
        rgb = [int(LIGHT[colour][at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels == rgb).all(axis=1).sum() > 50, colour


def test_a_longer_list_of_events_makes_a_taller_png_up_to_what_a_png_lists() -> None:
    def height(decisions: int) -> int:
        rows = tuple(
            builders.minute(number, builders.decision()) if number <= decisions else builders.minute(number)
            for number in range(1, 61)
        )
        return len(_pixels(picture.png(Timeline(summary=builders.summary(), minutes=rows))))

    heights = [height(decisions) for decisions in (1, 14, 15, 60)]
    assert heights[0] < heights[1] < heights[2] == heights[3]


def test_titles_and_axis_numbers_are_text_in_the_drawing_and_scale_to_a_phone() -> None:
    wide, narrow = (picture.drawing(builders.timeline(), width=width) for width in (760, 350))
    for drawing in (wide, narrow):
        assert "24 messages arrive" in drawing.svg
        assert ">target 8<" in drawing.svg
        assert re.search(r">minute \d<", drawing.svg)
        sizes = [float(size) for size in re.findall(r'font[^;"]*?([\d.]+)px', drawing.svg)]
        assert len(sizes) > 10
        assert min(sizes) >= 8.5
    assert 'viewBox="0 0 350 ' in narrow.svg
    assert (wide.first, wide.last) == (1, 9)
    assert 0 < wide.left < wide.right < 1


def test_the_tracked_metric_is_drawn_as_backlog_plus_arrivals_against_the_target() -> None:
    timeline = Timeline(summary=builders.summary(), minutes=builders.arriving())
    pixels = _pixels(picture.png(timeline)).reshape(-1, 3)
    for colour in ("of-backlog", "of-arrivals", "per-instance", "target", "arriving", "plan"):
        rgb = [int(LIGHT[colour][at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels == rgb).all(axis=1).sum() > 50, colour
    svg = picture.drawing(timeline, width=760).svg
    for label in ("of the backlog", "of arrivals", "sustained", "arriving", "target 8"):
        assert f">{label}<" in svg


def test_a_workload_that_tracks_the_backlog_alone_has_no_panel_of_arrivals() -> None:
    rows = tuple(
        replace(row, effective_backlog_per_instance=None, arrivals_per_s=None) for row in builders.arriving()
    )
    svg = picture.drawing(Timeline(summary=builders.summary(), minutes=rows), width=760).svg
    assert ">target 8<" in svg
    assert "sustained" not in svg
    assert "of arrivals" not in svg


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"effective_backlog_per_instance": 0.0},
        {"effective_backlog_per_instance": 9.0, "sent": 5},
        {"effective_backlog_per_instance": 9.0, "backlog_per_instance": None, "arrivals_per_s": 0.0},
        {"effective_backlog_per_instance": 9e6, "sent": 2_800_000, "arrivals_per_s": 40_000.0},
        {"target": None},
        {"backlog_per_instance": None},
        {"backlog_per_instance": None, "target": None},
        {"backlog_per_instance": 2.8e6, "target": 0.1},
        {"visible": 2_800_000, "in_flight": 0, "desired": 30, "running": 30},
        {"in_flight": 7, "running": 1},
        {"processing_s": 0.0},
        {"target": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("length", [1, 2, 400])
def test_any_run_can_be_drawn(changes: dict, length: int) -> None:
    timeline = builders.flat(length, **changes)
    assert len(picture.drawing(timeline, width=350).svg) > 1000


def test_a_target_line_far_below_the_burst_does_not_touch_the_axis() -> None:
    rows = (builders.minute(1, backlog_per_instance=5000.0), builders.minute(2, backlog_per_instance=8.0))
    svg = picture.drawing(Timeline(summary=builders.summary(), minutes=rows), width=760).svg
    assert "logarithmic scale" in svg
    (line,) = re.findall(r'<path d="M [\d.]+ ([\d.]+)[^>]*url\(#(\w+)\)[^>]*dash[^>]*--target', svg)
    panel = re.search(
        rf'id="{line[1]}">\s*<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg
    )
    axis_y = float(panel[1]) + float(panel[2])
    assert axis_y - float(line[0]) > 12
