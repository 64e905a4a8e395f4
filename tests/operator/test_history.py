"""The past of a blue/green workload is that of both its colors."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import AutoScalingGroup, Color, ColoredFleet
from sluice.errors import ConfigError
from sluice_operator.history import read_history, read_share_in_time
from tests.support.builders import NOW, workload
from tests.support.fakes import FakeMetrics

START = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
END = START + timedelta(hours=2)
FLIP_MINUTE = 60
BLUE, GREEN = (AutoScalingGroup(name=f"transcription-{color}") for color in ("blue", "green"))
SWITCHED = workload(
    fleet=GREEN,
    idle=ColoredFleet(color=Color.BLUE, fleet=BLUE, policy_arn=None),
    duration_metric=replace(workload().duration_metric, dimensions=GREEN.dimensions),
)


@pytest.fixture
def metrics():
    """Blue ran 3 instances for an hour, then green 2; each message took 40 s on blue and 20 s on green."""
    metrics = FakeMetrics()
    for minute in range(120):
        at = START + timedelta(minutes=minute)
        metrics.put(SWITCHED.queue_metric("NumberOfMessagesSent"), at, 2.0)
        metrics.put(SWITCHED.queue_metric("ApproximateNumberOfMessagesVisible"), at, 1.0)
        for fleet, size in ((BLUE, 3.0 * (minute < FLIP_MINUTE)), (GREEN, 2.0 * (minute >= FLIP_MINUTE))):
            running = fleet.running_metric
            metrics.put(running, at, size)
            metrics.put(_desired(running), at, size)
        active = Color.BLUE if minute < FLIP_MINUTE else Color.GREEN
        seen = SWITCHED.with_active(active)
        metrics.put(seen.duration_metric, at, 40.0 if active is Color.BLUE else 20.0)
    return metrics


def _desired(running):
    return replace(running, name="GroupDesiredCapacity")


def test_instances_and_processing_times_of_before_a_switch_are_those_of_the_other_color(metrics):
    history = read_history(metrics, SWITCHED, START, END)
    sizes = [history.running[at] for at in sorted(history.running)]
    assert sizes == [3.0] * 60 + [2.0] * 60
    assert sorted(history.desired) == sorted(history.running)
    assert {each.seconds for each in history.processing_times} == {40.0, 20.0}
    assert sum(each.messages for each in history.processing_times) == 120


def test_the_share_in_time_is_that_of_the_messages_of_both_colors(metrics):
    for minute in range(120):
        at = START + timedelta(minutes=minute)
        color, waited = (Color.BLUE, 500.0) if minute < FLIP_MINUTE else (Color.GREEN, 1.0)
        metrics.put(SWITCHED.with_active(color).wait_metric, at, waited)
    assert read_share_in_time(metrics, SWITCHED, 300.0, START, END) == pytest.approx(0.5)


def test_a_color_that_is_new_and_has_no_past_takes_nothing_from_that_of_the_other(metrics):
    metrics.samples = {
        key: found for key, found in metrics.samples.items() if "transcription-green" not in str(key)
    }
    history = read_history(metrics, SWITCHED, START, END)
    assert set(history.running.values()) == {3.0, 0.0}
    with pytest.raises(ConfigError, match="MsgWaitDuration"):
        read_share_in_time(metrics, SWITCHED, 300.0, START, END)
