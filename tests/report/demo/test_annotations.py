"""Which events get a number, and which numbers share a label."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sluice_report.demo.annotations import (
    LABEL_HEIGHT,
    Annotation,
    annotate,
    label_width,
    labels,
)
from sluice_sim.embedded.timeline import (
    Event,
    EventKind,
)
from tests.report.demo import builders


def _annotated(*rows: tuple[int, tuple[Event, ...]]) -> tuple[Annotation, ...]:
    minutes = tuple(builders.minute(number, *events) for number, events in rows)
    return annotate(minutes)


def test_events_are_numbered_in_their_order_and_arrivals_are_not() -> None:
    annotations = _annotated((3, (builders.arrival(), builders.decision())), (5, (builders.tracking(),)))
    assert [(annotation.minute, annotation.number) for annotation in annotations] == [
        (3, None),
        (3, 1),
        (5, 2),
    ]


def test_the_trigger_is_split_from_the_reason() -> None:
    (annotation,) = _annotated((1, (builders.decision("bootstrap 0 -> 1: work waits (by alarm)"),)))
    assert (annotation.source, annotation.text) == ("Sluice, by alarm", "bootstrap 0 → 1: work waits")


def test_a_bracket_without_a_trigger_stays_in_the_reason() -> None:
    (annotation,) = _annotated((1, (builders.decision("shutdown 5 -> 0: proven (by two reads, 5 min)"),)))
    assert (annotation.source, annotation.text) == ("Sluice", "shutdown 5 → 0: proven (by two reads, 5 min)")


def test_equal_arrivals_in_consecutive_minutes_are_one_annotation() -> None:
    flow = builders.arrival("30 messages arrive")
    annotations = _annotated(
        *((number, (flow,)) for number in range(4, 10)), (11, (flow,)), (12, (builders.arrival(),))
    )
    assert [annotation.sentence for annotation in annotations] == [
        "30 messages arrive every minute until 9",
        "30 messages arrive",
        "24 messages arrive",
    ]


def test_distant_annotations_have_their_own_label_and_close_ones_share_one() -> None:
    annotations = _annotated(
        (1, (builders.decision(),)), (2, (builders.tracking(),)), (30, (builders.note(),))
    )
    assert [label.text for label in labels(annotations, 20)] == ["1", "2", "3"]
    assert [label.text for label in labels(annotations, 5)] == ["1–2", "3"]


def test_a_shared_label_looks_like_its_most_severe_annotation() -> None:
    annotations = _annotated(
        (1, (builders.tracking(), builders.decision())), (40, (builders.decision(), builders.failure()))
    )
    assert [label.kind for label in labels(annotations, 5)] == [EventKind.DECISION, EventKind.FAILURE]


@given(
    st.lists(st.tuples(st.integers(1, 300), st.sampled_from(list(EventKind))), max_size=80),
    st.floats(0.5, 30),
)
def test_labels_never_touch_and_cover_every_number(events: list, points_per_minute: float) -> None:
    rows = [
        (number, tuple(Event(kind=kind, text="x") for at, kind in events if at == number))
        for number in sorted({at for at, _ in events})
    ]
    annotations = _annotated(*rows)
    shown = labels(annotations, points_per_minute)
    for before, after in pairwise(shown):
        right = before.minute * points_per_minute - LABEL_HEIGHT / 2 + label_width(before.text)
        assert right < after.minute * points_per_minute - LABEL_HEIGHT / 2
    covered = [int(number) for label in shown for number in label.text.split("–")]
    numbers = [annotation.number for annotation in annotations if annotation.number is not None]
    assert covered[:1] == numbers[:1]
    assert covered[-1:] == numbers[-1:]
    assert covered == sorted(covered)
