"""A switch's decisions and its record: nothing unknown is a proof, and what is stored is read as it was."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.held_fields import Holds
from sluice.core.model import AutoScalingGroup, Bounds, Color, ColoredFleet, Observation, Reason, Unknown
from sluice.core.surge import MinimumChange, ScheduledActions
from sluice.core.switch import (
    Next,
    colored,
    drained,
    fades_in_s,
    growing,
    held,
    needed,
    reading_of,
    ready,
    seen_from,
    thawed,
    why_not_begun,
)
from sluice.core.switch_record import Step, Switch, Was, decoded, encoded
from tests.support.builders import NOW, backlog, capacity, workload

GREEN = ColoredFleet(
    color=Color.GREEN, fleet=AutoScalingGroup(name="transcription-green"), policy_arn="green"
)
SERVED = replace(workload(), idle=GREEN)
UNKNOWN = Unknown(reason="throttled")
FIELDS = {"AlarmNotificationSuspended": False}
SWITCH = Switch(
    to=Color.GREEN,
    by="alice",
    execution="one",
    since=NOW,
    step=Step.READY,
    was={
        color: Was(fleet="Auto Scaling group transcription", minimum=1, desired=4, fields=FIELDS)
        for color in Color
    },
    needed=4,
    waits_since=NOW,
)
counts = st.integers(0, 50)
moments = st.integers(0, 10_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
switches = st.builds(
    Switch,
    to=st.sampled_from(Color),
    by=st.text(),
    execution=st.text(),
    since=moments,
    step=st.sampled_from(Step),
    was=st.fixed_dictionaries(
        {
            color: st.builds(
                Was,
                minimum=counts,
                desired=counts,
                fields=st.dictionaries(st.text(max_size=5), st.booleans()),
            )
            for color in Color
        }
    ),
    flips_only=st.booleans(),
    needed=st.none() | counts,
    waits_since=st.none() | moments,
    quiet_since=st.none() | moments,
    flipped_at=st.none() | moments,
    told_at=st.none() | moments,
    shows_work=st.booleans(),
)
capacities = st.one_of(
    st.just(UNKNOWN), st.builds(lambda desired, running: capacity(desired, running), counts, counts)
)
busy_counts = st.just(UNKNOWN) | counts


@given(switches)
def test_a_record_is_read_as_it_was_stored_and_stored_as_it_was_read(switch):
    assert decoded(encoded(switch)) == switch
    assert encoded(decoded(encoded(switch))) == encoded(switch)


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "red"},
        {"since": None},
        {"since": "noon"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"step": "flop"},
        {"was": []},
        {"was": {"blue": {"minimum": -1, "desired": 0, "fields": {}}}},
        {"was": {"blue": {"minimum": True, "desired": 0, "fields": {}}}},
        {"was": {"blue": {"minimum": 0, "desired": 0, "fields": []}}},
        {"needed": "many"},
        {"waits_since": 3},
    ],
)
def test_a_damaged_record_is_unknown_and_shows_itself(changes):
    found = decoded(json.dumps(json.loads(encoded(SWITCH)) | changes))
    assert isinstance(found, Unknown)
    assert "what is stored of a switch cannot be read" in found.reason
    assert isinstance(decoded("{"), Unknown)
    assert isinstance(decoded("[" * 100_000), Unknown)
    assert isinstance(decoded(None), Unknown)


def test_the_wait_of_a_step_begins_once():
    later = NOW + timedelta(minutes=1)
    assert SWITCH.began(Step.READY, later) == SWITCH
    began = replace(SWITCH, quiet_since=NOW).began(Step.FLIP, later)
    assert (began.step, began.waits_since, began.quiet_since) == (Step.FLIP, later, None)


@given(fleet=capacities, busy=busy_counts, after_s=st.integers(0, 5000), quiet=st.none() | moments)
def test_a_color_is_never_proven_idle_while_it_is_busy_or_unknown(fleet, busy, after_s, quiet):
    now = NOW + timedelta(seconds=after_s)
    verdict = drained(replace(SWITCH, quiet_since=quiet), fleet, busy, now, 3600)
    if verdict.next is Next.NEXT:
        assert busy == 0
        assert not isinstance(fleet, Unknown)
        assert after_s >= 60 or (fleet.desired, fleet.running) == (0, 0)
    if verdict.next is Next.WAIT:
        assert verdict.wait_s > 0
    assert (verdict.next is Next.TIMED_OUT) <= (after_s >= 3600)


@given(
    fleet=capacities,
    busy=busy_counts,
    visible=st.just(UNKNOWN) | st.integers(0, 2).map(lambda n: backlog(n)),
    after_s=st.integers(0, 5000),
    quiet=st.none() | moments,
)
def test_a_color_is_never_ready_below_what_it_was_raised_to_or_unknown(fleet, busy, visible, after_s, quiet):
    now = NOW + timedelta(seconds=after_s)
    verdict = ready(replace(SWITCH, quiet_since=quiet), visible, fleet, busy, now, 1800)
    if verdict.next is Next.NEXT:
        assert fleet.running >= 4
        takes = not isinstance(busy, Unknown) and busy > 0
        assert takes or (not isinstance(visible, Unknown) and visible.total == 0)
    assert (verdict.next is Next.TIMED_OUT) <= (after_s >= 1800)


@given(old=counts, booting=counts, new=counts, waiting=st.integers(0, 500), most=st.integers(50, 90))
def test_the_new_color_gets_no_less_than_the_old_one_has_and_is_not_lowered(old, booting, new, waiting, most):
    served = replace(SERVED, bounds=Bounds(min=2, max=most))
    own = Bounds(min=0, max=most)
    seen = Observation(
        backlog=backlog(waiting),
        capacity=capacity(old + booting if old + booting <= most else old, old, bounds=own),
        idle=capacity(new, bounds=own),
    )
    instances = needed(served, seen, 10)
    assert instances >= max(old, new, 2)
    assert instances <= max(most, new)
    assert instances >= min(-(-waiting // 10), most)


def test_each_color_is_read_where_it_is_whichever_is_active():
    blue, green = capacity(1), capacity(2)
    seen = Observation(backlog=backlog(), capacity=blue, idle=green)
    assert reading_of(SERVED, seen, Color.BLUE) == blue
    assert reading_of(SERVED, seen, Color.GREEN) == green
    assert colored(SERVED, Color.GREEN) == GREEN
    assert colored(SERVED, Color.BLUE).fleet == SERVED.fleet
    turned = seen_from(SERVED, seen, Color.GREEN)
    assert (turned.capacity, turned.idle) == (green, blue)


def test_only_what_a_switch_holds_is_put_back():
    before = {"AlarmNotificationSuspended": False, "Enabled": False}
    assert held(before) == {"AlarmNotificationSuspended": True, "Enabled": False}
    now = {"AlarmNotificationSuspended": True, "Enabled": True, "DynamicScalingInSuspended": True}
    put_back = thawed(SWITCH, Color.BLUE, now)
    assert put_back == now | {"AlarmNotificationSuspended": False}


def test_while_the_old_color_drains_the_new_one_grows_and_what_was_suspended_stays():
    now = {"AlarmNotificationSuspended": True, "DisableScaleIn": False, "Enabled": True}
    assert growing(SWITCH, now) == {
        "AlarmNotificationSuspended": False,
        "DisableScaleIn": True,
        "Enabled": True,
    }
    was = {
        Color.GREEN: Was(
            fleet="Auto Scaling group transcription",
            minimum=0,
            desired=0,
            fields={"AlarmNotificationSuspended": True},
        )
    }
    assert growing(replace(SWITCH, was=was), now)["AlarmNotificationSuspended"]


@pytest.mark.parametrize(
    ("flipped_s_ago", "flips_only", "left_s"),
    [(None, False, 0), (0, False, 60), (400, False, 20), (420, False, 0), (0, True, 0)],
)
def test_the_old_colors_alarms_fade_in_seven_minutes(flipped_s_ago, flips_only, left_s):
    flipped_at = None if flipped_s_ago is None else NOW - timedelta(seconds=flipped_s_ago)
    switch = replace(SWITCH, flipped_at=flipped_at, flips_only=flips_only)
    assert fades_in_s(switch, NOW) == left_s


def test_a_hold_that_cannot_be_read_lets_no_switch_begin():
    seen = Observation(backlog=backlog(), capacity=capacity(1), idle=capacity())
    refusal = why_not_begun(SERVED, seen, UNKNOWN, {}, {}, False, NOW)
    assert (refusal.reason, refusal.passes) == (Reason.UNKNOWN_READING, True)
    assert why_not_begun(SERVED, seen, Holds(), {}, {}, False, NOW) is None


def test_what_somebody_scheduled_in_the_past_is_no_reason_to_refuse():
    seen = Observation(backlog=backlog(), capacity=capacity(1), idle=capacity())
    past = MinimumChange(name="morning", minimum=2, at=NOW - timedelta(hours=1))
    actions = {SERVED.fleet: ScheduledActions(others=(past,))}
    assert why_not_begun(SERVED, seen, Holds(), actions, {}, False, NOW) is None
