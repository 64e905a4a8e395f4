"""How a surge is stored in the name of a scheduled action, and which one holds the fleet."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.surge import MAX_NAME, ScheduledActions, Surge, stored_surge
from tests.support.builders import MINUTE_NOW

ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice@example.com"
UNTIL = MINUTE_NOW + timedelta(hours=1)
SURGE = Surge(workload="transcription", instances=20, until=UNTIL, by=ALICE, minimum_before=2)
ARN_CHARACTERS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=2048)


def test_the_action_says_what_is_held_and_who_has_asked():
    assert SURGE.name == (
        "sluice-surge 20 of transcription by "
        "arn%3Aaws%3Asts%3A%3A123456789012%3Aassumed-role%2Fon-call%2Falice@example.com"
    )
    assert stored_surge(SURGE.name, UNTIL, 2) == SURGE
    assert str(SURGE) == f"a surge to 20 by {ALICE} until 2026-01-15 13:00 UTC"


@pytest.mark.parametrize(
    "name",
    [
        "morning",
        "sluice-surge",
        "sluice-surge x of a by b",
        "sluice-surge 1 of -a by b",
        "a sluice-surge 1 of a by b",
    ],
)
def test_an_action_of_somebody_else_is_no_surge(name):
    assert stored_surge(name, UNTIL, 2) is None


@given(by=ARN_CHARACTERS)
def test_any_callers_name_fits_both_services_and_reads_back_as_far_as_it_is_kept(by):
    name = replace(SURGE, workload="w" * 64, instances=9999, by=by).name
    assert len(name) <= MAX_NAME
    assert not {":", "/", "|"} & set(name)
    read = stored_surge(name, UNTIL, 2)
    assert read is not None
    kept = read.by.removesuffix("...")
    assert by.startswith(kept) or read.by == by
    assert read.by == by or len(name) > MAX_NAME - 6


@pytest.mark.parametrize("extra", range(6))
def test_a_name_is_cut_between_two_escapes(extra):
    long = replace(SURGE, by="a" * extra + ":" * 300)
    read = stored_surge(long.name, UNTIL, 2)
    assert read.by == "a" * extra + ":" * (len(read.by) - extra - 3) + "..."


class TestScheduledActions:
    def test_the_surge_in_force_is_the_one_that_ends_last(self):
        earlier = replace(SURGE, until=UNTIL - timedelta(minutes=10), instances=30)
        assert ScheduledActions(surges=(SURGE, earlier)).in_force(MINUTE_NOW) == SURGE

    def test_a_surge_whose_end_has_come_is_not_in_force(self):
        assert ScheduledActions(surges=(SURGE,)).in_force(UNTIL) is None
        assert ScheduledActions().in_force(UNTIL) is None

    def test_the_surge_that_holds_a_minimum_is_the_one_that_has_raised_it(self):
        actions = ScheduledActions(surges=(SURGE, replace(SURGE, instances=30, minimum_before=1)))
        assert actions.holding(20) == SURGE
        assert actions.holding(2) is None

    def test_of_two_to_the_same_number_the_lower_minimum_was_there_first(self):
        other = replace(SURGE, minimum_before=0)
        assert ScheduledActions(surges=(SURGE, other)).holding(20) == other
