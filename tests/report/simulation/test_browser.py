"""The simulation's page opens in a browser without errors, fits a phone, and responds to pointing."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from sluice_report.simulation import page as pages
from tests.report.browser import needs_chromium, opened
from tests.report.conftest import Elements
from tests.report.simulation import builders

pytestmark = needs_chromium

POINT_AND_OPEN = """<script>
const seen = [...document.querySelectorAll(".play .chart")].find((drawing) => drawing.clientWidth);
const box = seen.getBoundingClientRect(), { left, right, first, last } = seen.dataset;
const part = Number(left) + (1 - first + 0.5) / (last - first + 1) * (right - left);
const place = { clientX: box.left + part * box.width, clientY: box.top + 50 };
seen.dispatchEvent(new PointerEvent("pointermove", place));
document.querySelectorAll("details").forEach((details) => { details.open = true; });
</script></body>"""
"""Points at the first decision and opens every list."""

PHONE = """<body style="margin:0">
<iframe style="width:390px;height:844px;border:0" srcdoc="PAGE"></iframe>
<script>
addEventListener("load", () => {
  const root = document.querySelector("iframe").contentDocument.documentElement;
  document.title = `${root.clientWidth} ${root.scrollWidth}`;
});
</script></body>"""
"""An iframe, because a window cannot be narrower than 500 px."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, bound = builders.run(), builders.bound()
    report = pages.describe("sluice", run, builders.measured(run, bound), bound, runs=1)
    written = tmp_path_factory.mktemp("page") / "report.html"
    written.write_text(pages.render([report], [], ratios=True, workload="queue-proc"), encoding="utf-8")
    return written


@pytest.fixture(scope="module")
def pointed(page: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """The document after pointing at the first decision and opening every list, and the console."""
    place = tmp_path_factory.mktemp("pointed")
    (place / "page.html").write_text(_with_pointing(page), encoding="utf-8")
    return opened(place / "page.html", place / "profile")


def _with_pointing(page: Path) -> str:
    return page.read_text(encoding="utf-8").replace("</body>", POINT_AND_OPEN)


def test_the_page_opens_without_console_messages(pointed: tuple[str, list[str]]) -> None:
    document, console = pointed
    assert console == []
    assert document.count("<svg") == 2


def test_pointing_shows_the_numbers_and_reasons_of_that_time(pointed: tuple[str, list[str]]) -> None:
    tip = pointed[0].split('<div class="tip" role="status"')[1].split("</div>")[0]
    assert "hidden" not in tip.split(">")[0]
    text = Elements(f"<div{tip}").visible_text()
    assert text.startswith("1 min to 2 min | arrivals | 6 | busiest minute | 6 | waiting | 7 |")
    assert text.endswith("bootstrap 0 → 1: work waits and nothing runs (by tick) | 1 min, Sluice")


def test_opening_the_lists_shows_every_decision_and_every_interval(pointed: tuple[str, list[str]]) -> None:
    section = pointed[0].split('<section id="run-1"')[1].split("</section>")[0]
    assert len(re.findall(r'<span class="when">', section.split("<ol")[1].split("</ol>")[0])) == 4
    assert len(re.findall(r'<th scope="row">[^<]* to [^<]*</th>', section)) == 30


def test_nothing_is_wider_than_a_phone(page: Path, tmp_path: Path) -> None:
    phone = tmp_path / "phone.html"
    phone.write_text(PHONE.replace("PAGE", html.escape(_with_pointing(page))), encoding="utf-8")
    document, console = opened(phone, tmp_path / "profile")
    assert console == []
    visible, whole = map(int, re.findall(r"<title>(\d+) (\d+)</title>", document)[0])
    assert 360 < visible <= 390
    assert whole == visible


def test_an_error_in_the_page_would_be_seen(page: Path, tmp_path: Path) -> None:
    broken = page.read_text(encoding="utf-8").replace("const positions = rows", "const on = rows")
    assert broken != page.read_text(encoding="utf-8")
    wrong = tmp_path / "broken.html"
    wrong.write_text(broken, encoding="utf-8")
    _, console = opened(wrong, tmp_path / "profile")
    assert any("positions is not defined" in line for line in console)
