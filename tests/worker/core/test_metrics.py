from collections.abc import Mapping

from sluice.core.model import MSG_PROCESSING_DURATION
from sluice_worker.core.counters import (
    Minute,
    Tally,
)
from sluice_worker.core.metrics import MSG_WAIT_DURATION, Series, series
from sluice_worker.core.model import Outcome
from tests.support.builders import GROUP

FLEET = GROUP.dimensions


def published(tally: Tally, *, with_wait: bool = False) -> list[Series]:
    return list(series(tally.close(60.0), FLEET, with_wait=with_wait))


def said(name: str, counts: Mapping[float, int], **more: str) -> Series:
    return Series(name=name, dimensions={**FLEET, **more}, counts=counts)


def test_a_success_is_published_under_exactly_the_fleets_dimensions_and_once_more_under_its_outcome() -> None:
    tally = Tally(0.0)
    tally.ended(Outcome.SUCCESS, 2.0)
    assert published(tally) == [
        said(MSG_PROCESSING_DURATION, {2.0: 1}),
        said(MSG_PROCESSING_DURATION, {2.0: 1}, Outcome="success"),
    ]


def test_what_failed_is_published_under_its_outcome_alone_and_moves_no_target() -> None:
    tally = Tally(0.0)
    tally.ended(Outcome.FAILURE, 0.1)
    tally.ended(Outcome.TIMEOUT, 3600)
    assert published(tally) == [
        said(MSG_PROCESSING_DURATION, {0.1: 1}, Outcome="failure"),
        said(MSG_PROCESSING_DURATION, {3600.0: 1}, Outcome="timeout"),
    ]


def test_nothing_is_published_of_a_minute_without_messages() -> None:
    """A zero would pull the average of the processing times down."""
    assert published(Tally(0.0), with_wait=True) == []


def test_waits_are_published_only_where_they_are_asked_for() -> None:
    tally = Tally(0.0)
    tally.began(5.0)
    assert published(tally) == []
    tally.began(7.0)
    assert published(tally, with_wait=True) == [said(MSG_WAIT_DURATION, {7.0: 1})]


def test_an_outcome_that_nothing_had_is_no_series() -> None:
    minute = Minute(
        began_at=0, length_s=60, durations_s={Outcome.SUCCESS: {}, Outcome.FAILURE: {}}, waits_s={}, kept=0
    )
    assert list(series(minute, FLEET, with_wait=True)) == []
