"""A run's picture shows any simulation, and a compact drawing looks the same as the original."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image

from sluice_report.chart.compact_svg import compact
from sluice_report.chart.palette import LIGHT
from sluice_report.simulation import comparison, overview, page, picture
from tests.report.simulation import builders

Corners = list[tuple[float, float]]


def _report(known: object = None, **changes: object) -> page.RunReport:
    run = builders.run(**changes)
    return page.describe("sluice", run, builders.measured(run, known), known, runs=1)


def _pixels(png: bytes) -> np.ndarray:
    """An array of rows, columns and colour channels (red, green, blue; 0 to 255)."""
    return np.rint(image.imread(io.BytesIO(png), format="png")[:, :, :3] * 255).astype(int)


def _shows(pixels: np.ndarray, role: str) -> int:
    rgb = [int(LIGHT[role][at : at + 2], 16) for at in (1, 3, 5)]
    return int((pixels.reshape(-1, 3) == rgb).all(axis=1).sum())


def test_a_png_shows_arrivals_backlog_fleet_plan_waits_promise_and_cost_in_their_colours() -> None:
    report = _report(known=builders.bound())
    pixels = _pixels(picture.png(report.name, report.verdict, report.panels, report.series))
    assert pixels.shape[1] == 1720
    for role in ("arriving", "waiting", "running", "desired", "plan", "p50", "target", "processing"):
        assert _shows(pixels, role) > 200, role


def test_an_interval_shows_its_maximum_fleet_size() -> None:
    """Two instances for one minute of a day: the mean of half an hour is almost zero."""
    end_s = 86_400.0
    swing = builders.instances((0, 36_000), (0, 36_000))
    report = _report(end_s=end_s, instances=swing, terminated_s=np.array([36_060.0, 36_060.0]),
                 snapshots=[builders.snapshot(at) for at in np.arange(0, end_s + 1, 60)])  # fmt: skip
    svg = picture.drawing("swing", report.panels, report.narrow, width=350).svg
    heights = _heights(svg, "spread")
    assert max(heights) - min(heights) > 80


def test_the_promise_is_drawn_on_the_scale_of_the_waits() -> None:
    report = _report()
    svg = picture.drawing("sluice", report.panels, report.series, width=760).svg
    waits = _heights(svg, "p99")
    none, longest = max(waits), min(waits)
    promise = float(re.search(r'<path d="M[\d.]+ ([\d.]+)H[^>]*stroke: var\(--target\)', svg)[1])
    assert promise == pytest.approx(none - (none - longest) * 300 / 400, abs=0.2)


def _heights(svg: str, role: str) -> list[float]:
    """Heights of the corners of the only area in a role's colour."""
    ((area, lift),) = re.findall(
        rf'<use xlink:href="#(\w+)" x="0" y="([\d.]+)" style="fill: var\(--{role}\)', svg
    )
    path = re.search(rf'<path id="{area}" d="([^"]*)"', svg)[1]
    return [float(lift) + y for _, y in _corners(path.replace("z", ""))]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"log": []},
        {"arrival_s": [], "wait_s": [], "log": []},
        {"wait_s": [100_000.0] * 60},
        {"wait_s": [0.0] * 60},
        {"wait_s": [float("nan")] * 60},
        {"instances": [], "terminated_s": np.zeros(0)},
        {"end_s": 30.0, "snapshots": [builders.snapshot(0.0)], "arrival_s": [1.0], "wait_s": [1.0]},
        {"end_s": 60 * 86_400.0},
    ],
    ids=lambda changes: ",".join(changes) or "as built",
)
@pytest.mark.parametrize("known", [None, builders.bound([0.0], instance_hours=0.0)])
@pytest.mark.slow
def test_any_simulation_can_be_described_and_drawn(changes: dict, known: object) -> None:
    changes = dict(changes)
    if changes.get("end_s", 0) > 86_400:
        changes["snapshots"] = [builders.snapshot(at) for at in np.arange(0, changes["end_s"] + 1, 3600.0)]
    report = _report(known=known, **changes)
    assert len(picture.drawing("sluice", report.panels, report.narrow, width=350).svg) > 5000
    titles = [panel.title for panel in report.panels]
    texts = json.dumps([page._data(report, 100), report.verdict, *titles])
    assert not re.search(r"\b(nan|inf)\b", texts, flags=re.IGNORECASE)


@pytest.mark.parametrize("costs", [[1.0], [1.0, 1.0], [1.02, 1.31, 1.04], [1.2, 400.0], [3.0, 3.0]])
@pytest.mark.parametrize("ratios", [True, False])
def test_any_comparison_is_drawn_with_every_name(costs: list[float], ratios: bool) -> None:
    results = [
        {"attainment": 1 - 0.1**place, "cost_ratio": cost if ratios else None, "instance_hours": cost}
        for place, cost in enumerate(costs)
    ]
    names = [f"policy-{place}" for place in range(len(costs))]
    svg = overview.drawing(comparison.compare(names, results), ratios=ratios, width=350).svg
    for name in names:
        assert f">{name}<" in svg


def test_a_costlier_run_is_further_right_and_a_more_punctual_one_higher() -> None:
    results = [
        {"attainment": 0.9, "cost_ratio": 1.5},
        {"attainment": 0.999, "cost_ratio": 1.5},
        {"attainment": 0.9, "cost_ratio": 3.0},
    ]
    compared = comparison.compare(["low", "high", "dear"], results)
    svg = overview.drawing(compared, ratios=True, width=760).svg
    uses = re.findall(r'<use xlink:href="#[^"]+" x="([\d.]+)" y="([\d.]+)" style="fill', svg)
    (low, high, dear) = [(float(x), float(y)) for x, y in uses[-3:]]
    assert low[0] == high[0] < dear[0]
    assert high[1] < low[1] == dear[1]


STAIRCASE = st.lists(st.tuples(st.booleans(), st.floats(-50, 50)), min_size=1, max_size=40)


@given(STAIRCASE)
def test_a_compact_path_has_the_area_ends_and_extent_of_the_original(steps: list) -> None:
    corners: Corners = [(100.0, 100.0)]
    for along_x, by in steps:
        x, y = corners[-1]
        corners.append((round(x + by, 1), y) if along_x else (x, round(y + by, 1)))
    path = "M 100 100 " + " ".join(f"L {x} {y}" for x, y in corners[1:])
    short = compact(f'<path d="{path}"/>')
    drawn = _corners(re.search(r'd="([^"]*)"', short)[1])
    assert (drawn[0], drawn[-1]) == (corners[0], corners[-1])
    assert _area(drawn) == pytest.approx(_area(corners), abs=1e-6)
    for side in (0, 1):
        assert {min(c[side] for c in drawn), max(c[side] for c in drawn)} == {
            min(c[side] for c in corners), max(c[side] for c in corners),
        }  # fmt: skip
    assert len(short) <= len(path) + 12


def test_a_path_with_curves_is_unchanged() -> None:
    curved = '<path d="M 0 3 C 0.795609 3 1.55874 2.683901 2.12132 2.12132 z"/>'
    assert compact(curved) == curved


def _corners(path: str) -> Corners:
    corners: Corners = []
    for command, rest in re.findall(r"([MLHV])([^A-Z]*)", path):
        values = [float(value) for value in rest.split()]
        x, y = corners[-1] if corners else (0.0, 0.0)
        corners.append(
            (values[0], values[1])
            if command in "ML"
            else (values[0], y)
            if command == "H"
            else (x, values[0])
        )
    return corners


def _area(corners: Corners) -> float:
    turned = [*corners[1:], corners[0]]
    return sum(x * ny - nx * y for (x, y), (nx, ny) in zip(corners, turned, strict=True))
