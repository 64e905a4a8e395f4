"""One report, written once, with two workloads; the second has everything that is hard to show."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

import sluice_report
from sluice_sim.embedded.timeline import Timeline
from tests.report.demo import builders

HARD = "retune 8 -> 4: <script>alert('1')</script> & $\\frac{1}{2}$ \"quoted\" (by schedule)"


def hard_timeline() -> Timeline:
    rows = builders.minutes()
    burst = builders.minute(
        10,
        builders.failure(),
        builders.note(),
        builders.decision(HARD),
        builders.arrival("<b>9000</b> arrive"),
        visible=9000,
        in_flight=1,
        desired=3,
        running=1,
        backlog_per_instance=9001,
        target=4.0,
        processing_s=2.5,
        sent=9000,
        arrivals_per_s=0.5,
        effective_backlog_per_instance=9003.0,
    )
    silent = builders.minute(11, visible=9000, desired=3, running=3, backlog_per_instance=None, target=None)
    return Timeline(
        summary=builders.summary(name="queue-proc", sent=9024, left=9000, final_desired=3),
        minutes=(*rows, burst, silent),
    )


class Elements(HTMLParser):
    """Every element with its attributes, and every text with its element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.elements[-1][0], " ".join(data.split())))

    def visible_text(self) -> str:
        """The text that a reader sees."""
        return " | ".join(text for tag, text in self.texts if tag not in ("style", "script"))


@dataclass(frozen=True, kw_only=True)
class Report:
    """A written report and its timelines."""

    timelines: tuple[Timeline, ...]
    written: tuple[Path, ...]
    html: str
    read: Elements


@pytest.fixture(scope="package")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    timelines = (builders.timeline(), hard_timeline())
    written = sluice_report.write(timelines, tmp_path_factory.mktemp("report") / "new")
    html = written[0].read_text(encoding="utf-8")
    return Report(timelines=timelines, written=written, html=html, read=Elements(html))
