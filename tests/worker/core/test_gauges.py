"""A worker's state as series for a dashboard and as a trend in its log line."""

from __future__ import annotations

from dataclasses import replace

from sluice_worker.core.counters import Counters
from sluice_worker.core.gauges import TREND_REPORTS, GaugeHistory, Gauges
from sluice_worker.core.metrics import Unit, gauge_series, series
from sluice_worker.core.model import Depth, Priority
from tests.support.builders import GROUP
from tests.worker.core.builders import depth

FLEET = GROUP.dimensions


def gauges(*, buffered: int = 0, busy: int = 0, **depths: Depth | None) -> Gauges:
    return Gauges(
        buffered={Priority.HIGH: buffered, Priority.LOW: 1},
        buffer_use=0.25,
        pushed=7,
        popped=5,
        pollers=2,
        slots=4,
        busy=busy,
        depths=depths,
    )


def test_each_gauge_is_one_value_under_the_fleets_dimensions_and_few_more() -> None:
    found = list(gauge_series(gauges(buffered=3, busy=2, uploads=depth(40, 6)), FLEET))
    assert all(list(each.counts.values()) == [1] for each in found)
    assert [
        (each.name, dict(each.dimensions.items() - FLEET.items()), *each.counts, each.unit) for each in found
    ] == [
        ("BufferedMessages", {"Priority": "high"}, 3, Unit.COUNT),
        ("BufferedMessages", {"Priority": "low"}, 1, Unit.COUNT),
        ("BufferUtilization", {}, 25.0, Unit.PERCENT),
        ("MessagesPushed", {}, 7, Unit.COUNT),
        ("MessagesPopped", {}, 5, Unit.COUNT),
        ("Pollers", {}, 2, Unit.COUNT),
        ("Slots", {}, 4, Unit.COUNT),
        ("BusySlots", {}, 2, Unit.COUNT),
        ("QueueMessagesVisible", {"QueueName": "uploads"}, 40, Unit.COUNT),
        ("QueueMessagesInFlight", {"QueueName": "uploads"}, 6, Unit.COUNT),
    ]
    assert all(FLEET.items() <= each.dimensions.items() for each in found)


def test_an_unknown_depth_is_not_published() -> None:
    found = list(gauge_series(gauges(uploads=None, rebuilds=depth(0, 0)), FLEET))
    queues = [dict(each.dimensions)["QueueName"] for each in found if "QueueName" in each.dimensions]
    assert queues == ["rebuilds", "rebuilds"]


def test_an_interval_with_gauges_publishes_them_beside_its_counts() -> None:
    known = gauges(buffered=3)
    minute = replace(Counters(0.0).close(60.0), gauges=known)
    assert list(series(minute, FLEET, with_wait=True)) == list(gauge_series(known, FLEET))


def test_an_interval_without_gauges_publishes_none() -> None:
    assert list(series(Counters(0.0).close(60.0), FLEET, with_wait=True)) == []


def test_the_line_shows_an_unknown_depth_as_null() -> None:
    assert gauges(buffered=3, uploads=None, rebuilds=depth(9, 1)).line() == {
        "buffer": {"high": 3, "low": 1},
        "bufferUse": 0.25,
        "pushed": 7,
        "popped": 5,
        "queues": {"uploads": None, "rebuilds": {"visible": 9, "inFlight": 1}},
        "pollers": 2,
        "slots": 4,
        "busy": 0,
    }


def test_a_trend_is_the_difference_from_five_reports_ago() -> None:
    history = GaugeHistory()
    trends = []
    for number in range(TREND_REPORTS + 3):
        history.add(gauges(buffered=10 * number, busy=-number, uploads=depth(number**2)))
        trends.append(history.trend())
    assert trends[0] == {"reports": 0, "buffered": 0, "busy": 0, "visible": {"uploads": 0}}
    assert trends[2] == {"reports": 2, "buffered": 20, "busy": -2, "visible": {"uploads": 4}}
    assert trends[7] == {"reports": 5, "buffered": 50, "busy": -5, "visible": {"uploads": 49 - 4}}


def test_the_trend_of_a_depth_that_is_or_was_unknown_is_unknown() -> None:
    for before, after in ((None, depth(3)), (depth(3), None), (None, None)):
        history = GaugeHistory()
        history.add(gauges(uploads=before))
        history.add(gauges(uploads=after))
        assert history.trend()["visible"] == {"uploads": None}
