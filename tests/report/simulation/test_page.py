"""The page of a simulation has all of the runs' content, and is self-contained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sluice_report import simulation
from sluice_report.chart import palette
from sluice_report.simulation import page, picture
from sluice_sim.simulator.run import Run
from tests.report.conftest import Elements
from tests.report.simulation import builders

HARD = "2 -> 3: <script>alert('1')</script> & $\\frac{1}{2}$ \"quoted\" </script>"


def three_runs() -> tuple[Run, ...]:
    """One run with everything that is hard to show, one without late messages, one without messages."""
    hard = [
        *builders.decisions(),
        builders.log_entry(1510, HARD),
        builders.log_entry(1511, "3 -> 2: <b>less</b>"),
    ]
    return (
        builders.run(log=hard),
        builders.run("static", wait_s=[1.0] * 60, log=[]),
        builders.run("quiet <b>", arrival_s=[], wait_s=[], log=[]),
    )


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """A report of three runs."""

    runs: Sequence[Run]
    results: Sequence[dict]
    paths: Sequence[Path]
    html: str
    read: Elements


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    runs, bounds = three_runs(), [builders.bound(), builders.bound(), None]
    results = [builders.measured(run, bound) for run, bound in zip(runs, bounds, strict=True)]
    paths = simulation.write(
        runs, results, tmp_path_factory.mktemp("simulated") / "new", bounds=bounds, workload="queue-proc"
    )
    html = paths[0].read_text(encoding="utf-8")
    return WrittenReport(runs=runs, results=results, paths=paths, html=html, read=Elements(html))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    """One run that lost two messages, on a page limited to three decisions."""
    log = [builders.log_entry(60.0 * (at // 4), f"{at} -> {at + 1}: x") for at in range(8)]
    run = builders.run(log=log, lost=2)
    results = [builders.measured(run)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "MAX_DECISIONS", 3)
        paths = simulation.write([run], results, tmp_path_factory.mktemp("alone"), names=["boot 180 s"])
    html = paths[0].read_text(encoding="utf-8")
    return WrittenReport(runs=[run], results=results, paths=paths, html=html, read=Elements(html))


def _data(html: str) -> list[dict]:
    return [json.loads(data) for data in re.findall(r'class="data">(.*?)</script>', html)]


@pytest.mark.slow
def test_the_report_is_one_page_an_overview_and_a_picture_for_each_run(written: WrittenReport) -> None:
    names = ["report.html", "overview.png", "sluice.png", "static.png", "quiet-b.png"]
    assert [path.name for path in written.paths] == names
    assert {path.name for path in written.paths[0].parent.iterdir()} == set(names)


def test_a_single_run_has_no_overview(alone: WrittenReport) -> None:
    assert [path.name for path in alone.paths] == ["report.html", "boot-180-s.png"]
    assert "What this workload would cost" in alone.html
    assert "| boot 180 s |" in alone.read.visible_text()
    assert alone.html.count("<svg") == 2


def test_the_page_lists_every_interval_with_the_runs_numbers(written: WrittenReport) -> None:
    data = _data(written.html)[0]
    assert data["columns"] == [
        "arrivals", "busiest minute", "waiting", "in flight", "desired", "running", "half within",
        "95 of 100", "99 of 100", "all within", "late", "hours so far", "hindsight",
    ]  # fmt: skip
    assert len(data["rows"]) == 30
    assert data["rows"][3] == [
        "3 min to 4 min", "6", "6", "19", "0", "1", "0", "5 s", "400 s", "400 s", "400 s", "2", "0.05", "1",
    ]  # fmt: skip
    assert data["rows"][12][7:11] == ["–"] * 4


def test_the_page_lists_every_decision_with_its_time_and_reason(written: WrittenReport) -> None:
    decided = _data(written.html)[0]["decisions"]
    assert decided[0] == [1, "1 min", "Sluice", builders.BOOTSTRAP.replace("->", "→")]
    assert [text for *_, text in decided] == [one.text.replace("->", "→") for one in written.runs[0].log]


def test_the_page_counts_the_decisions_that_it_leaves_out(alone: WrittenReport) -> None:
    (data,) = _data(alone.html)
    assert [interval for interval, *_ in data["decisions"]] == [0, 0, 1]
    assert data["more"] == {"0": 2, "1": 3}


def test_every_number_of_the_result_is_beside_the_charts(written: WrittenReport) -> None:
    in_words = {"policy", "promise_s", "promise_kept", "attainable", "scale_in", "warnings"}
    in_words |= {"target_because", "target_limits", "no_cost_ratio_because", "switch"}
    assert set(page.METRICS) == set(written.results[0]) - in_words
    text = written.read.visible_text()
    for shown in ("Promise kept | Messages that start within the promise. | 66.6 %", "Cost ratio", "3.27"):
        assert shown in text


def test_the_comparison_names_the_cheapest_and_marks_the_frontier(written: WrittenReport) -> None:
    text = written.read.visible_text()
    assert "static is the cheapest that starts 99 % in time, at 0.817 instance-hours." in text
    assert "| static | on the frontier | 100 % |" in text
    assert "| sluice | 66.6 % |" in text


def test_a_lost_message_is_shown_as_a_failure(alone: WrittenReport) -> None:
    assert '<dd class="not-ok">2<small>' in alone.html


def test_no_message_lost_is_no_failure(written: WrittenReport) -> None:
    assert 'class="not-ok"' not in written.html


def test_texts_of_a_run_are_escaped(written: WrittenReport) -> None:
    assert "<script>alert" not in written.html
    assert "<b>less" not in written.html
    assert "quiet <b>" in written.read.visible_text()
    scripts = [attributes.get("type") for tag, attributes in written.read.elements if tag == "script"]
    assert scripts == ["application/json"] * 3 + [None]


def test_the_page_loads_nothing_from_elsewhere(written: WrittenReport) -> None:
    assert not re.search(r"(https?:)?//[a-z]", written.html, flags=re.IGNORECASE)
    assert "@import" not in written.html
    for tag, attributes in written.read.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "link") or attributes["rel"] == "icon"
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)


def test_ids_are_unique_and_every_reference_has_its_id(written: WrittenReport) -> None:
    ids = [attributes["id"] for _, attributes in written.read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', written.html))
    assert {first or second for first, second in referred} <= set(ids)


def test_the_drawings_take_every_colour_and_the_font_from_the_page(written: WrittenReport) -> None:
    drawings = re.findall(r"<svg .*?</svg>", written.html, flags=re.DOTALL)
    assert len(drawings) == 2 + 2 * len(written.runs)
    for drawing in drawings:
        assert not re.findall(r"#[0-9a-f]{6}\b", drawing)
        assert "DejaVu" not in drawing
        assert set(re.findall(r"var\(--([a-z0-9-]+)\)", drawing)) <= {*palette.LIGHT, "font"}


def test_the_same_run_makes_the_same_drawing(written: WrittenReport) -> None:
    again = page.describe("static", written.runs[1], written.results[1], builders.bound(), runs=3)
    assert picture.drawing("static", again.panels, again.series, width=page.WIDE).svg in written.html


def test_two_months_of_eleven_policies_stay_small_enough_for_a_phone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end_s, random = 58 * 86_400.0, np.random.default_rng(0)
    looked_s, arrival_s = (np.sort(random.uniform(0, end_s, count)) for count in (1400, 20_000))
    decided_s = np.sort(random.uniform(0, end_s, 9000)).tolist()
    text = "{} -> {}: as the backlog and the promise ask for, and then a word more"
    log = [builders.log_entry(at, text.format(int(at) % 97, int(at) % 89)) for at in decided_s]
    snapshots = [
        builders.snapshot(at, visible=many, in_flight=many // 7, desired=many // 9)
        for at, many in zip(looked_s.tolist(), random.integers(0, 5000, 1400).tolist(), strict=True)
    ]
    wait_s = random.uniform(0, 900, 20_000)
    run = builders.run(arrival_s=arrival_s, wait_s=wait_s, end_s=end_s, snapshots=snapshots, log=log)
    one = page.describe("one", run, builders.measured(run), None, runs=11)
    monkeypatch.setattr(page, "MAX_DECISIONS", page.MAX_DECISIONS // 11)
    html = page.render([one], [], ratios=False, workload="")
    (section,) = re.findall(r"<section.*?</section>", html, flags=re.DOTALL)
    assert len(section) > 100_000
    assert len(html) + 10 * len(section) < 3_000_000


def test_two_runs_with_one_name_are_rejected(tmp_path: Path) -> None:
    run = builders.run()
    with pytest.raises(ValueError, match=r"used twice: sluice"):
        simulation.write([run, run], [builders.measured(run)] * 2, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_report_without_runs_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no run"):
        simulation.write([], [], tmp_path)
