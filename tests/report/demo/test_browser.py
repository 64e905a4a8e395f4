"""The page opens in a browser without errors, and pointing at a chart shows the minute's reasons."""

from __future__ import annotations

from pathlib import Path

from tests.report.browser import needs_chromium, opened
from tests.report.conftest import Elements, Report

pytestmark = needs_chromium

POINT_AT_THE_DECISION = """<script>
const chart = [...document.querySelectorAll(".chart")].find((drawing) => drawing.clientWidth);
const box = chart.getBoundingClientRect(), { left, right, first, last } = chart.dataset;
const at = Number(left) + (2 - first + 0.5) / (last - first + 1) * (right - left);
const place = { clientX: box.left + at * box.width, clientY: box.top + 50 };
chart.dispatchEvent(new PointerEvent("pointermove", place));
</script></body>"""


def test_the_page_opens_without_console_messages(report: Report, tmp_path: Path) -> None:
    document, console = opened(report.written[0], tmp_path)
    assert console == []
    assert document.count("<svg") == 4


def test_pointing_at_a_decision_shows_its_minute_its_numbers_and_its_reason(
    report: Report, tmp_path: Path
) -> None:
    page = tmp_path / "pointed.html"
    page.write_text(report.html.replace("</body>", POINT_AT_THE_DECISION), encoding="utf-8")
    document, console = opened(page, tmp_path / "profile")
    assert console == []
    tip = document.split('<div class="tip" role="status"')[1].split("</div>")[0]
    assert "hidden" not in tip.split(">")[0]
    text = Elements(f"<div{tip}").visible_text()
    assert text.startswith(
        "minute 2 | waiting | 24 | in flight | 0 | desired | 1 | running | 0 | arriving | 0 "
        "| backlog per instance | 24"
    )
    assert text.endswith("bootstrap 0 → 1: work waits and nothing runs")
    assert 'data-minute="2" class="now"' in document


def test_an_error_in_the_page_would_be_seen(report: Report, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    broken = report.html.replace("const items =", "const things =")
    assert broken != report.html
    page.write_text(broken, encoding="utf-8")
    _, console = opened(page, tmp_path / "profile")
    assert any("items is not defined" in line for line in console)
