from collections.abc import Mapping

from sluice.core.model import MSG_PROCESSING_DURATION
from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.metrics import MSG_WAIT_DURATION, Series, series
from sluice_worker.core.model import Outcome
from tests.support.builders import GROUP

FLEET = GROUP.dimensions


def published(counters: Counters, *, with_wait: bool = False) -> list[Series]:
    return list(series(counters.close(60.0), FLEET, with_wait=with_wait))


def series_of(name: str, counts: Mapping[float, int], **more: str) -> Series:
    return Series(name=name, dimensions={**FLEET, **more}, counts=counts)


def test_a_success_is_published_under_exactly_the_fleets_dimensions_and_once_more_under_its_outcome() -> None:
    counters = Counters(0.0)
    counters.record_end(Outcome.SUCCESS, 2.0)
    assert published(counters) == [
        series_of(MSG_PROCESSING_DURATION, {2.0: 1}),
        series_of(MSG_PROCESSING_DURATION, {2.0: 1}, Outcome="success"),
    ]


def test_what_failed_is_published_under_its_outcome_alone_and_moves_no_target() -> None:
    counters = Counters(0.0)
    counters.record_end(Outcome.FAILURE, 0.1)
    counters.record_end(Outcome.TIMEOUT, 3600)
    assert published(counters) == [
        series_of(MSG_PROCESSING_DURATION, {0.1: 1}, Outcome="failure"),
        series_of(MSG_PROCESSING_DURATION, {3600.0: 1}, Outcome="timeout"),
    ]


def test_nothing_is_published_of_an_interval_without_messages() -> None:
    """A zero would pull the average of the processing times down."""
    assert published(Counters(0.0), with_wait=True) == []


def test_waits_are_published_only_where_they_are_asked_for() -> None:
    counters = Counters(0.0)
    counters.record_start(5.0)
    assert published(counters) == []
    counters.record_start(7.0)
    assert published(counters, with_wait=True) == [series_of(MSG_WAIT_DURATION, {7.0: 1})]


def test_an_outcome_without_messages_has_no_series() -> None:
    minute = ReportInterval(
        began_at=0,
        length_s=60,
        durations_s={Outcome.SUCCESS: {}, Outcome.FAILURE: {}},
        waits_s={},
        within_promise=0,
    )
    assert list(series(minute, FLEET, with_wait=True)) == []
