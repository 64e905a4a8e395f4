"""AWS's fields under a pause, the guard, or both: whoever ends first releases nothing of the other."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.held_fields import Holds, before_all, end_of, is_held, not_put_back, wanted
from sluice.core.pause import BOTH, IN, OUT, Pause
from tests.support.builders import NOW, guard

HOUR = timedelta(hours=1)
GROUP = ("AlarmNotificationSuspended", "Enabled", "DisableScaleIn")
SERVICE = ("DynamicScalingOutSuspended", "DynamicScalingInSuspended")
ORIGINAL = {"AlarmNotificationSuspended": False, "Enabled": True, "DisableScaleIn": False}
DIRECTIONS = pytest.mark.parametrize("directions", [OUT, IN, BOTH], ids=["out", "in", "both"])
FLEETS = st.sampled_from([GROUP, SERVICE]).flatmap(
    lambda names: st.fixed_dictionaries({name: st.booleans() for name in names})
)


def pause(before, directions=OUT, for_=2 * HOUR):
    return Pause(directions=directions, by="alice", at=NOW, until=for_ and NOW + for_, before=before)


def make(kind, fields, holds, directions):
    """The hold, made when AWS's fields are these, and the fields after it."""
    before = before_all(fields, holds)
    made = guard(before=before) if kind == "guard" else pause(before, directions)
    after = Holds(
        pause=made if kind == "pause" else holds.pause, guard=made if kind == "guard" else holds.guard
    )
    return after, wanted(fields, holds, after)


def without(kind, holds):
    return Holds(
        pause=None if kind == "pause" else holds.pause, guard=None if kind == "guard" else holds.guard
    )


@pytest.mark.parametrize("begun", list(permutations(["pause", "guard"])))
@pytest.mark.parametrize("ended", list(permutations(["pause", "guard"])))
@given(original=FLEETS, directions=st.sampled_from([OUT, IN, BOTH]))
def test_in_each_of_the_four_orders_the_other_stays_held_and_all_is_put_back(
    begun, ended, original, directions
):
    holds, fields = Holds(), original
    for kind in begun:
        holds, fields = make(kind, fields, holds, directions)
        assert all(is_held(hold, fields) for hold in holds.by_end)
    for kind in ended:
        left = without(kind, holds)
        fields = wanted(fields, holds, left)
        assert all(is_held(hold, fields) for hold in left.by_end)
        holds = left
    assert fields == original


@DIRECTIONS
@pytest.mark.parametrize("minutes", [30, 90], ids=["pause ends first", "guard ends first"])
def test_each_end_that_aws_makes_by_itself_leaves_what_the_other_holds(directions, minutes):
    was, fields = Holds(), ORIGINAL
    holding = Holds(
        pause=pause(ORIGINAL, directions, for_=timedelta(minutes=minutes)), guard=guard(before=ORIGINAL)
    )
    fields = wanted(fields, was, holding)
    first, last = holding.by_end
    end = end_of(first, fields, holding, holding)
    assert (end.at, end.before) == (first.until, fields)
    assert is_held(last, end.after)
    end_of_last = end_of(last, fields, holding, holding)
    assert (end_of_last.before, end_of_last.after) == (end.after, ORIGINAL)


def test_a_pause_without_end_outlives_the_guard_and_has_no_end():
    holding = Holds(pause=pause(ORIGINAL, IN, for_=None), guard=guard(before=ORIGINAL))
    fields = wanted(ORIGINAL, Holds(), holding)
    assert end_of(holding.pause, fields, holding, holding) is None
    end = end_of(holding.guard, fields, holding, holding)
    assert end.after == {**ORIGINAL, "DisableScaleIn": True}


def test_the_end_of_a_hold_that_aws_holds_already_puts_back_what_was_before_it():
    holding = Holds(pause=pause(ORIGINAL))
    end = end_of(holding.pause, {**ORIGINAL, "Enabled": False}, Holds(), holding)
    assert (end.before["Enabled"], end.after) == (False, ORIGINAL)


def test_what_no_hold_holds_stays_as_it_is():
    holding = Holds(pause=pause(ORIGINAL, IN))
    changed = {**ORIGINAL, "DisableScaleIn": True, "AlarmNotificationSuspended": True}
    assert wanted(changed, holding, Holds()) == {**ORIGINAL, "AlarmNotificationSuspended": True}


def test_an_ended_pause_counts_while_aws_may_still_retry_its_release_and_not_later():
    ended = pause(ORIGINAL, BOTH)
    held = {**ORIGINAL, "AlarmNotificationSuspended": True}
    assert not_put_back(ended, held, NOW) is ended
    assert not_put_back(ended, held, NOW + 3 * HOUR) is ended
    assert not_put_back(ended, ORIGINAL, NOW + 3 * HOUR) is None
    # Days later it is another's hold, such as a deployment's.
    assert not_put_back(ended, held, NOW + 27 * HOUR) is None
    endless = pause(ORIGINAL, BOTH, for_=None)
    assert not_put_back(endless, held, NOW + 27 * HOUR) is endless
