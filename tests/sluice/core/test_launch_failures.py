from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.launch_failures import (
    GROUP_FAILURE_MAX_AGE,
    MAX_MESSAGE_CHARS,
    SERVICE_FAILURE_MAX_AGE,
    decide_held_launch,
    decide_no_capacity,
    lacks_instances,
)
from sluice.core.model import Decision, Kind, LaunchAttempt, Observation, Reason, Trigger, Unknown, Workload
from tests.support.builders import (
    NOW,
    capacity,
    ecs_workload,
    observation,
    workload,
)

SPOT = (
    "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request "
    "configuration. Please adjust your request and try again. Launching EC2 instance failed."
)
SHORT = observation(visible=9, fleet=capacity(desired=3, running=1))
UNREAD = Unknown(reason="timed out")


AT_NOW = "at 2026-01-15 12:00 UTC: "


def failed(minutes_ago: float = 0, words: str = SPOT) -> LaunchAttempt:
    return LaunchAttempt(at=NOW - timedelta(minutes=minutes_ago), failure=words)


def started(minutes_ago: float = 0) -> LaunchAttempt:
    return LaunchAttempt(at=NOW - timedelta(minutes=minutes_ago))


def decide(*attempts: LaunchAttempt, served: Workload | None = None) -> Decision | None:
    return decide_no_capacity(served or workload(), SHORT, attempts, Trigger.TICK, now=NOW)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (SHORT, True),
        (observation(visible=9, fleet=capacity(desired=1, running=0)), True),
        (observation(visible=0, in_flight=9, fleet=capacity(desired=3, running=1)), False),
        (observation(visible=9, fleet=capacity(desired=3, running=3)), False),
        (observation(visible=9, fleet=capacity(desired=3, running=4)), False),
        (observation(visible=9, desired=0), False),
        (replace(SHORT, backlog=UNREAD), False),
        (replace(SHORT, capacity=UNREAD), False),
    ],
)
def test_launches_are_read_only_if_work_waits_and_fewer_run_than_desired(
    observed: Observation, expected: bool
) -> None:
    assert lacks_instances(observed) is expected


def test_a_failed_launch_holds_with_the_words_of_aws() -> None:
    assert decide(failed(2)) == Decision(
        workload="transcription",
        kind=Kind.LAUNCH,
        trigger=Trigger.TICK,
        reason=Reason.NO_CAPACITY,
        observation=SHORT,
        detail=f"at 2026-01-15 11:58 UTC: {SPOT}",
    )


@pytest.mark.parametrize(
    ("served", "blocked_by", "detail"),
    [
        (workload(), ("Launch is suspended",), "Launch is suspended"),
        (
            workload(),
            ("Launch is suspended", "Delete in progress"),
            "Launch is suspended, Delete in progress",
        ),
        (workload(), (), None),
        # ECS still starts the desired tasks.
        (ecs_workload(), ("DynamicScalingOut is suspended",), None),
    ],
)
def test_a_group_with_suspended_launches_starts_no_instance(
    served: Workload, blocked_by: tuple[str, ...], detail: str | None
) -> None:
    observed = observation(visible=9, fleet=capacity(desired=3, running=1, scale_out_blocked_by=blocked_by))
    held = decide_held_launch(served, observed, Trigger.TICK)
    assert (held and (held.kind, held.reason, held.detail)) == (
        (Kind.LAUNCH, Reason.HELD, detail) if detail else None
    )


def test_an_unreadable_group_is_not_logged() -> None:
    assert decide_held_launch(workload(), observation(visible=9, fleet=UNREAD), Trigger.TICK) is None


def test_without_an_attempt_nothing_is_known() -> None:
    assert decide() is None


@pytest.mark.parametrize(
    "attempts",
    [
        (started(1), failed(2)),
        (failed(2), started(1)),
        (failed(9), started(5), failed(7)),
    ],
    ids=["newest first", "newest last", "in any order"],
)
def test_an_instance_that_starts_after_a_failure_clears_it(attempts: tuple[LaunchAttempt, ...]) -> None:
    assert decide(*attempts) is None


def test_the_newest_failure_is_reported() -> None:
    decision = decide(failed(9, "older"), started(7), failed(3, "newest"), failed(5, "between"))
    assert decision is not None
    assert decision.detail == "at 2026-01-15 11:57 UTC: newest"


def test_one_failed_launch_among_simultaneous_ones_counts() -> None:
    assert decide(started(1), failed(1), started(1)) is not None


@pytest.mark.parametrize(
    ("served", "holds"),
    [(workload(), GROUP_FAILURE_MAX_AGE), (ecs_workload(), SERVICE_FAILURE_MAX_AGE)],
    ids=["group", "service"],
)
def test_a_failure_holds_until_its_kind_of_fleet_would_repeat_it(served: Workload, holds: timedelta) -> None:
    minutes = holds.total_seconds() / 60
    assert decide(failed(minutes), served=served) is not None
    assert decide(failed(minutes + 0.1), served=served) is None


def test_an_unresolved_ecs_event_counts_for_the_six_hours_until_ecs_repeats_it() -> None:
    assert timedelta(hours=6) < SERVICE_FAILURE_MAX_AGE < timedelta(hours=7)


def test_long_words_are_cut_and_line_breaks_are_blanks() -> None:
    assert decide(failed(words="no\n  room")).detail == f"{AT_NOW}no room"  # type: ignore[union-attr]
    exact, longer = "x" * MAX_MESSAGE_CHARS, "x" * (MAX_MESSAGE_CHARS + 1)
    assert decide(failed(words=exact)).detail == f"{AT_NOW}{exact}"  # type: ignore[union-attr]
    cut = decide(failed(words=longer)).detail  # type: ignore[union-attr]
    assert (len(cut), cut[-4:]) == (len(AT_NOW) + MAX_MESSAGE_CHARS, "x...")


attempts = st.lists(
    st.builds(
        LaunchAttempt,
        at=st.integers(0, 500).map(lambda minutes: NOW - timedelta(minutes=minutes)),
        failure=st.none() | st.just(SPOT),
    )
)


@given(attempts)
def test_the_order_in_which_aws_lists_attempts_does_not_matter(logged: list[LaunchAttempt]) -> None:
    assert decide(*logged) == decide(*reversed(logged))


@given(attempts)
def test_a_launch_failure_never_sets_a_count(logged: list[LaunchAttempt]) -> None:
    decision = decide(*logged)
    assert decision is None or decision.desired is None
