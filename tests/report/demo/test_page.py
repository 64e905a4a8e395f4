"""The page has all of the timeline's content, and is self-contained."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path

import pytest

import sluice_report
from sluice_report import quantities
from sluice_report.chart import palette
from sluice_report.demo import page
from sluice_sim.embedded.timeline import Cause
from sluice_sim.promise import Waits
from tests.report.conftest import HARD, Report
from tests.report.demo import builders

LATE = Waits(promise_s=480.0, attainment=36 / 84, p50_s=240.0, p99_s=900.0)


def test_the_report_is_one_page_and_a_picture_for_each_workload(report: Report) -> None:
    assert [path.name for path in report.written] == ["report.html", "transcription.png", "queue-proc.png"]
    assert {path.name for path in report.written[0].parent.iterdir()} == {
        path.name for path in report.written
    }


def test_the_page_has_a_lesson_only_if_the_timeline_has_one(report: Report) -> None:
    lessons = re.findall(r'<p class="lesson">(.*?)</p>', report.html)
    with_lesson, without_lesson = report.timelines
    assert [unescape(lesson) for lesson in lessons] == [with_lesson.explanation]
    assert without_lesson.explanation == ""


def test_the_page_lists_every_minute_with_the_timelines_numbers(report: Report) -> None:
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>(.*?)</tr>', report.html)
    shown = [(int(number), re.findall(r"<td>(.*?)</td>", cells)) for number, cells in rows]
    finished_run = [row for timeline in report.timelines for row in timeline.minutes]
    assert len(shown) == len(finished_run)
    for (number, cells), row in zip(shown, finished_run, strict=True):
        values = (
            row.visible, row.in_flight, row.desired, row.running, row.sent, row.backlog_per_instance,
            row.tracked_per_instance, row.target, row.processing_s,
        )  # fmt: skip
        assert number == row.minute
        assert cells == ["–" if value is None else quantities.number(value) for value in values]


def test_the_summary_has_each_workloads_outcome(report: Report) -> None:
    text = report.read.visible_text()
    assert re.findall(r"\| (promise kept|not done) \|", text) == ["promise kept", "not done"]
    assert "| nothing left, back at its minimum |" in text
    assert "not done: 24 of 9,024 processed, 9,000 left, 3 desired (minimum 0)" in text
    assert "1 bootstrap, 1 shutdown" in text


def test_the_list_of_events_is_complete_and_numbers_all_but_arrivals(
    report: Report,
) -> None:
    for index, timeline in enumerate(report.timelines, 1):
        section = report.html.split(f'<section id="play-{index}"')[1].split("</section>")[0]
        listed = section.split('<ol class="events">')[1].split("</ol>")[0]
        items = re.findall(r'<li data-minute="(\d+)">(.*?)</li>', listed, flags=re.DOTALL)
        events = [(row.minute, event) for row in timeline.minutes for event in row.events]
        assert [int(minute) for minute, _ in items] == [minute for minute, _ in events]
        numbers = [int(number) for _, item in items for number in re.findall(r">(\d+)</i>", item)]
        assert numbers == list(range(1, len(events) - Counter(e.kind for _, e in events)["arrival"] + 1))


def test_a_decision_is_listed_with_its_minute_trigger_and_reason(report: Report) -> None:
    text = report.read.visible_text()
    assert "| 1 | minute 2 | Sluice, by tick | bootstrap 0 → 1: work waits and nothing runs |" in text
    assert "| 2 | minute 4 | AWS | target tracking 1 → 3: 24 per instance against a target of 8 |" in text
    assert "| Sluice, by alarm | shutdown 3 → 0: the queue is proven empty (0 for 5 min and now) |" in text


def test_texts_of_a_timeline_are_escaped(report: Report) -> None:
    text = HARD.removesuffix(" (by schedule)").replace("->", "→")
    assert text in report.read.visible_text()
    assert "<script>alert" not in report.html
    assert "<b>9000" not in report.html
    assert [tag for tag, _ in report.read.elements].count("script") == 1


def test_the_page_loads_nothing_from_elsewhere(report: Report) -> None:
    assert not re.search(r"(https?:)?//[a-z]", report.html.replace("// Pointing", ""), flags=re.IGNORECASE)
    assert "@import" not in report.html
    for tag, attributes in report.read.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base")
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)


def test_ids_are_unique_and_every_reference_has_its_id(report: Report) -> None:
    ids = [attributes["id"] for _, attributes in report.read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', report.html))
    assert {first or second for first, second in referred} <= set(ids)


def test_the_drawings_take_every_colour_and_the_font_from_the_page(report: Report) -> None:
    drawings = re.findall(r"<svg .*?</svg>", report.html, flags=re.DOTALL)
    assert len(drawings) == 2 * len(report.timelines)
    for drawing in drawings:
        assert not re.findall(r"#[0-9a-f]{6}\b", drawing)
        assert "DejaVu" not in drawing
        assert set(re.findall(r"var\(--([a-z-]+)\)", drawing)) <= {*palette.LIGHT, "font"}


def test_both_variants_of_the_palette_have_the_same_roles_and_light_colours_differ() -> None:
    assert set(palette.LIGHT) == set(palette.DARK)
    assert len(set(palette.LIGHT.values())) == len(palette.LIGHT)


@pytest.mark.slow
def test_the_same_timelines_make_the_same_files(report: Report, tmp_path: Path) -> None:
    again = sluice_report.write(report.timelines, tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in report.written]


def test_two_timelines_with_one_name_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"used twice: transcription"):
        sluice_report.write([builders.timeline(), builders.timeline()], tmp_path)


def test_a_timeline_without_minutes_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no minute was simulated of transcription"):
        sluice_report.write([builders.flat(0)], tmp_path)


def test_importing_the_report_loads_neither_matplotlib_nor_jinja() -> None:
    code = (
        "import sys, sluice_report; print([m for m in ('matplotlib', 'jinja2', 'numpy') if m in sys.modules])"
    )
    root = Path(sluice_report.__file__).resolve().parents[1]
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_a_read_only_home_causes_no_warning(tmp_path: Path) -> None:
    (tmp_path / "not-a-directory").touch()
    code = (
        "import sys; from pathlib import Path; import sluice_report; from tests.report.demo import builders;"
        f"sluice_report.write([builders.flat()], Path({str(tmp_path / 'out')!r}))"
    )
    home = str(tmp_path / "not-a-directory")
    environ = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"), home)
    root = Path(sluice_report.__file__).resolve().parents[1]
    wrote = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environ, capture_output=True, text=True, check=False
    )
    assert (wrote.returncode, wrote.stderr) == (0, "")


@pytest.mark.parametrize(
    ("changes", "outcome", "is_good"),
    [
        ({}, "promise kept", True),
        ({"waits": LATE}, "promise not kept", False),
        ({"left": 3, "waits": LATE}, "not done", False),
        ({"waits": None}, "done", True),
    ],
)
def test_a_fleet_back_at_its_minimum_is_not_a_success_if_its_promise_was_not_kept(
    changes: dict, outcome: str, is_good: bool
) -> None:
    html = page.render([builders.timeline(**changes)])
    assert f'class="{"ok" if is_good else "not-ok"}"><b>{outcome}</b>' in html


def test_the_page_shows_waits_hours_and_why_messages_were_late() -> None:
    html = page.render([builders.timeline(waits=LATE, late_by_cause={Cause.NONE_RUNNING: 1.0})])
    for label, value in (
        ("Instance-hours", "0.25"),
        ("Wait p50", "240 s"),
        ("Wait p99", "900 s"),
        ("Started in time", "42.8 % (within 480 s)"),
    ):
        assert f'<td data-label="{label}">{value}</td>' in html
    assert '<p class="late">Of the time that late messages waited, in 100 % no instance ran' in html
    assert '<p class="late">' not in page.render([builders.timeline()])
