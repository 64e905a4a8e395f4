"""The picture of the days held out shows each of them with both settings."""

import struct

import pytest

from sluice_report import held_out_days
from sluice_report.chart.rendering import style
from sluice_report.held_out_days import JudgedDays

PRESENT = JudgedDays(instance_hours=[100.0, 90.0, 120.0], late_percent=[2.0, None, 0.5])
RECOMMENDED = JudgedDays(instance_hours=[80.0, 70.0, 95.0], late_percent=[0.2, None, 0.1])


@pytest.fixture
def panels():
    with style():
        figure = held_out_days._figure("queue-proc", "80 instead of 100", 4, (PRESENT, RECOMMENDED), 1.0)
        figure.canvas.draw()
        yield figure.axes


def test_every_day_has_a_bar_for_each_choice_of_settings(panels):
    hours, late = panels
    heights = [[bar.get_height() for bar in bars] for bars in hours.containers]
    assert heights == [PRESENT.instance_hours, RECOMMENDED.instance_hours]
    assert [[bar.get_height() for bar in bars] for bars in late.containers] == [[2.0, 0, 0.5], [0.2, 0, 0.1]]
    assert [label.get_text() for label in late.get_xticklabels()] == ["day 4", "day 5", "day 6"]


def test_what_may_be_late_is_within_the_picture(panels):
    _, late = panels
    [allowed] = late.lines
    assert set(allowed.get_ydata()) == {1.0}
    assert late.get_ylim()[1] > 2.0


def test_it_is_a_png_of_the_reports_width():
    made = held_out_days.png(
        "queue-proc",
        "80 instance-hours a day instead of 100",
        first_day=4,
        present=PRESENT,
        recommended=RECOMMENDED,
        allowed_late_percent=1.0,
    )
    assert made[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", made[16:20]) == (2 * 860,)
