"""How many instances a surge asks for, until when, and why one is refused."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.drain import Work
from sluice.core.held_fields import Holds
from sluice.core.model import (
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Bounds,
    GuardSettings,
    Limit,
    Mode,
    Reason,
    Unknown,
)
from sluice.core.pause import BOTH, IN, OUT, Pause
from sluice.core.surge import Asked, MinimumChange, Refusal, ScheduledActions, Surge
from sluice.core.surge_plan import Plan, ended, planned, why_not_surged
from sluice.document.schedule_lines import parsed
from tests.support.builders import (
    MINUTE_NOW,
    NOW,
    capacity,
    deadline,
    deadline_workload,
    observation,
    workload,
)
from tests.support.builders import guard as engaged

ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"
WORK = Work(backlog=6000, arrivals_per_s=1, processing_s=10, concurrency_per_instance=1)
"""Six hundred minutes of work for one instance; ten keep up with what arrives."""
SERVED = workload(max_instances=100)
FLEET = replace(capacity(4), bounds=Bounds(min=0, max=100))
TO_20 = Asked(by=ALICE, hold_s=3600, to=20)
DRAIN = Asked(by=ALICE, hold_s=3600, drain_in_s=1800)
UNTIL = MINUTE_NOW + timedelta(minutes=61)
"""Half a minute past noon and an hour, rounded up."""
HELD = Surge(workload=SERVED.name, instances=20, until=UNTIL, by="bob", minimum_before=1)
RAISED = replace(FLEET, desired=20, bounds=Bounds(min=20, max=100))


def no_work():
    raise AssertionError("the size does not follow from the work: it costs a read")


def plan(asked=TO_20, *, fleet=FLEET, work=WORK, served=SERVED, now=NOW, surges=(), others=(), taken=()):
    actions = ScheduledActions(surges=tuple(surges), others=tuple(others), taken=frozenset(taken))
    read = no_work if asked.to is not None else lambda: work
    return planned(served, fleet, actions, asked, read, now)


def refused(*args, **changes):
    refusal = plan(*args, **changes)
    assert isinstance(refusal, Refusal)
    return refusal


class TestSize:
    def test_the_number_that_is_given_is_held_until_a_full_minute(self):
        made = plan()
        assert made.surge == Surge(
            workload="transcription", instances=20, until=UNTIL, by=ALICE, minimum_before=0
        )
        assert (made.limits, made.replaces, made.changes_nothing) == ((), None, False)
        assert made.detail == "asked for 20; held until 2026-01-15 13:01 UTC"

    def test_an_end_on_a_minute_is_not_rounded(self):
        assert plan(now=MINUTE_NOW).surge.until == MINUTE_NOW + timedelta(hours=1)

    def test_the_shortest_hold_is_five_minutes(self):
        assert plan(replace(TO_20, hold_s=60), now=MINUTE_NOW).surge.until == MINUTE_NOW + timedelta(
            minutes=5
        )

    def test_the_fewest_that_drain_the_backlog_in_time_boots_included(self):
        # (6000 + 1800 - 4 x 1800 / 10) / ((1800 - 180) / 10) = 43.7 beside the four that run
        made = plan(DRAIN)
        assert made.surge.instances == 4 + 44
        assert made.detail == (
            "6000 messages, 1 arrivals/s x 10 s / 1, boot 180 s: drained in 30 min, 30 min asked; "
            "held until 2026-01-15 13:01 UTC"
        )

    def test_the_deadline_engines_workload_says_how_long_a_boot_takes(self):
        served = replace(deadline_workload(), deadline=deadline(boot_s=600), bounds=Bounds(min=0, max=100))
        assert plan(DRAIN, served=served).surge.instances == 4 + 59

    def test_it_is_cut_to_the_maximum_and_said_so(self):
        made = plan(DRAIN, fleet=replace(FLEET, bounds=Bounds(min=0, max=30)))
        assert (made.surge.instances, made.limits) == (30, (Limit.BOUNDS_DIFFER, Limit.MAX_INSTANCES))
        assert "drained in 54 min, 30 min asked" in made.detail

    def test_a_maximum_that_never_drains_it_is_said_so(self):
        made = plan(DRAIN, fleet=replace(FLEET, bounds=Bounds(min=0, max=9)))
        assert "never drained" in made.detail

    def test_where_no_number_is_enough_the_maximum_comes_closest(self):
        made = plan(replace(DRAIN, drain_in_s=120))
        assert (made.surge.instances, made.limits) == (100, (Limit.MAX_INSTANCES,))

    def test_it_never_goes_below_what_is_asked_for_or_still_runs(self):
        little = replace(WORK, backlog=1, arrivals_per_s=0)
        assert plan(DRAIN, work=little).surge.instances == 4
        assert plan(DRAIN, work=little, fleet=replace(FLEET, running=9)).surge.instances == 9

    def test_an_empty_queue_has_nothing_to_drain(self):
        empty = replace(WORK, backlog=0, arrivals_per_s=0)
        refusal = refused(DRAIN, work=empty, fleet=replace(FLEET, desired=0, running=0))
        assert (refusal.reason, refusal.passes) == (Reason.NO_WORK, False)

    def test_what_is_unknown_is_named_and_a_number_asked_for_instead(self):
        refusal = refused(DRAIN, work=Unknown(reason="arrivals: GetMetricData was throttled"))
        assert (refusal.reason, refusal.passes) == (Reason.UNKNOWN_READING, True)
        assert refusal.why == (
            "arrivals: GetMetricData was throttled; without it no size can be computed, so give one: --to N"
        )

    def test_a_number_above_the_maximum_is_refused_with_the_maximum(self):
        refusal = refused(replace(TO_20, to=101))
        assert refusal.reason is Reason.OUT_OF_RANGE
        assert "--to 101 is above the maximum of transcription, 100" in refusal.why
        assert "give --to 100" in refusal.why

    def test_a_number_below_the_minimum_is_refused_though_fewer_are_asked_for(self):
        below = replace(FLEET, desired=0, bounds=Bounds(min=5, max=100))
        refusal = refused(replace(TO_20, to=3), fleet=below)
        assert refusal.reason is Reason.OUT_OF_RANGE
        assert "--to 3 is below the minimum of transcription, 5" in refusal.why
        assert "give at least --to 5" in refusal.why

    def test_a_number_below_what_is_asked_for_now_is_refused(self):
        refusal = refused(replace(TO_20, to=3))
        assert refusal.reason is Reason.OUT_OF_RANGE
        assert "give at least --to 4" in refusal.why
        assert isinstance(plan(replace(TO_20, to=4)), Plan)

    def test_a_fleet_above_its_maximum_is_not_surged(self):
        refusal = refused(DRAIN, served=workload(max_instances=1))
        assert refusal.reason is Reason.OUT_OF_RANGE
        assert "may have 1 instances" in refusal.why
        assert "is asked for 4 already: raise MaxCapacity first" in refusal.why


class TestASecondSurge:
    def test_it_takes_the_minimum_from_the_first_and_not_the_raised_one(self):
        made = plan(replace(TO_20, to=30), fleet=RAISED, surges=[HELD])
        assert (made.surge.instances, made.surge.minimum_before, made.replaces) == (30, 1, HELD)

    def test_it_lowers_neither_the_instances_nor_the_end(self):
        little = replace(WORK, backlog=1, arrivals_per_s=0)
        longer = replace(HELD, until=UNTIL + timedelta(hours=3))
        made = plan(DRAIN, fleet=replace(RAISED, desired=20), work=little, surges=[longer])
        assert (made.surge.instances, made.surge.until, made.changes_nothing) == (20, longer.until, True)

    def test_a_longer_one_to_the_same_number_changes_the_end(self):
        made = plan(replace(TO_20, hold_s=7200), fleet=RAISED, surges=[HELD])
        assert (made.surge.until, made.changes_nothing) == (UNTIL + timedelta(hours=1), False)

    def test_its_floor_is_cut_to_a_maximum_that_was_lowered_meanwhile(self):
        lowered = replace(RAISED, desired=8, running=8, bounds=Bounds(min=2, max=10))
        made = plan(replace(TO_20, to=9), fleet=lowered, surges=[HELD])
        assert (made.surge.instances, made.surge.minimum_before) == (10, 2)

    def test_one_whose_minimum_was_put_back_meanwhile_is_raised_again(self):
        put_back = replace(RAISED, bounds=Bounds(min=0, max=100))
        made = plan(fleet=put_back, surges=[HELD])
        assert (made.changes_nothing, made.surge.instances) == (False, 20)

    def test_a_minimum_that_a_stack_has_put_back_meanwhile_is_the_one_to_put_back(self):
        put_back = replace(RAISED, bounds=Bounds(min=3, max=100))
        assert plan(replace(TO_20, to=30), fleet=put_back, surges=[HELD]).surge.minimum_before == 3

    def test_one_that_is_just_ending_is_waited_for(self):
        refusal = refused(fleet=RAISED, surges=[HELD], now=UNTIL + timedelta(seconds=30))
        assert (refusal.reason, refusal.passes) == (Reason.HELD, True)
        assert "try again then" in refusal.why

    def test_one_that_aws_has_ended_is_no_reason_to_wait(self):
        made = plan(surges=[HELD], now=UNTIL + timedelta(seconds=30))
        assert (made.surge.minimum_before, made.replaces) == (0, None)

    def test_one_that_aws_never_ended_still_says_what_was_before(self):
        made = plan(fleet=RAISED, surges=[HELD], now=UNTIL + timedelta(minutes=6))
        assert made.surge.minimum_before == 1


class TestAScheduledActionOfSomebodyElse:
    def change(self, minutes, name="morning"):
        at = None if minutes is None else MINUTE_NOW + timedelta(minutes=minutes)
        return MinimumChange(name=name, minimum=5, at=at)

    def test_the_surge_ends_before_it(self):
        made = plan(others=[self.change(40, "later"), self.change(30)])
        assert made.surge.until == MINUTE_NOW + timedelta(minutes=29)
        assert "morning sets the minimum to 5 at 12:30 UTC, so the surge ends before it" in made.detail

    @pytest.mark.parametrize("minutes", [-1, 62])
    def test_one_outside_the_hold_changes_nothing(self, minutes):
        assert plan(others=[self.change(minutes)]).surge.until == UNTIL

    def test_right_before_it_there_is_nothing_to_hold(self):
        refusal = refused(others=[self.change(5)])
        assert (refusal.reason, refusal.passes) == (Reason.HELD, True)
        assert isinstance(plan(others=[self.change(6)]), Plan)

    def test_no_two_actions_of_a_group_start_at_once(self):
        minute = timedelta(minutes=1)
        assert plan(taken=[UNTIL, UNTIL + minute]).surge.until == UNTIL + 2 * minute
        before = [MINUTE_NOW + timedelta(minutes=minutes) for minutes in (28, 29)]
        assert plan(others=[self.change(30)], taken=before).surge.until == before[0] - minute

    def test_a_surge_that_stands_is_not_moved_by_its_own_action(self):
        assert plan(fleet=RAISED, surges=[HELD], taken=[UNTIL]).changes_nothing

    def test_one_that_recurs_by_an_expression_is_named(self):
        made = plan(others=[self.change(None)])
        assert made.surge.until == UNTIL
        assert made.detail.endswith("morning sets the minimum to 5 by an expression of its own")


SCHEDULES = (
    parsed("office-hours,MON-FRI,8:00,Europe/Berlin,3,100"),
    parsed("evening,MON-FRI,14:00,Europe/Berlin,1,40"),
)
"""At noon UTC it is 13:00 in Berlin: office hours are in force, and the evening begins in an hour."""
SCHEDULED = replace(SERVED, schedules=SCHEDULES)
IN_OFFICE_HOURS = replace(FLEET, bounds=Bounds(min=3, max=100))


class TestTheWorkloadsOwnSchedules:
    def plan(self, asked=TO_20, *, served=SCHEDULED, fleet=IN_OFFICE_HOURS, **more):
        return plan(asked, served=served, fleet=fleet, **more)

    def test_the_surge_ends_before_the_next_one_starts(self):
        made = self.plan(replace(TO_20, hold_s=4 * 3600))
        assert made.surge.until == MINUTE_NOW + timedelta(minutes=59)
        assert made.detail == (
            "asked for 20; held until 2026-01-15 12:59 UTC, then at the minimum of schedule office-hours, 3; "
            "schedule evening sets the minimum to 1 at 13:00 UTC, so the surge ends before it"
        )

    def test_bounds_that_a_schedule_has_set_are_no_difference(self):
        assert Limit.BOUNDS_DIFFER not in self.plan().limits
        assert Limit.BOUNDS_DIFFER in self.plan(fleet=replace(FLEET, bounds=Bounds(min=4, max=100))).limits

    def test_one_that_ends_earlier_is_not_cut(self):
        made = self.plan(replace(TO_20, hold_s=1800), now=MINUTE_NOW)
        assert made.surge.until == MINUTE_NOW + timedelta(minutes=30)
        assert made.detail.endswith(
            "held until 2026-01-15 12:30 UTC, then at the minimum of schedule office-hours, 3"
        )

    @pytest.mark.parametrize("fleet", [FLEET, replace(FLEET, bounds=Bounds(min=7, max=100))])
    def test_its_end_puts_back_the_minimum_of_the_schedule_in_force_whatever_the_fleet_has(self, fleet):
        assert self.plan(replace(TO_20, to=30), fleet=fleet).surge.minimum_before == 3

    def test_it_puts_back_no_minimum_that_the_fleet_may_not_have(self):
        lowered = replace(FLEET, desired=2, running=2, bounds=Bounds(min=0, max=2))
        assert self.plan(replace(TO_20, to=2), fleet=lowered).surge.minimum_before == 2

    def test_an_older_minimum_of_a_surge_before_the_schedule_is_not_put_back(self):
        before = replace(HELD, minimum_before=0)
        made = self.plan(replace(TO_20, hold_s=600), fleet=RAISED, surges=[before])
        assert (made.surge.minimum_before, made.changes_nothing) == (3, False)
        assert ended(SCHEDULED, ScheduledActions(surges=(before,)), RAISED, NOW) == 3

    def test_a_surge_that_would_outlast_the_next_start_is_shortened(self):
        longer = replace(HELD, until=UNTIL + timedelta(hours=1), minimum_before=3)
        made = self.plan(fleet=RAISED, surges=[longer])
        assert (made.changes_nothing, made.surge.until) == (False, MINUTE_NOW + timedelta(minutes=59))

    def test_one_that_stands_stays(self):
        short = replace(HELD, until=MINUTE_NOW + timedelta(minutes=50), minimum_before=3)
        made = self.plan(replace(TO_20, hold_s=600), fleet=RAISED, surges=[short], taken=[short.until])
        assert (made.changes_nothing, made.surge.until) == (True, short.until)

    def test_a_service_lists_its_action_without_its_start_and_a_group_by_another_name(self):
        of_service = MinimumChange(name="sluice-transcription-evening", minimum=1, at=None)
        evening = MINUTE_NOW + timedelta(hours=1)
        of_group = MinimumChange(name="stack-AsgSchedule2-1X", minimum=1, at=evening)
        for listed in (of_service, of_group):
            made = self.plan(others=[listed])
            assert made.detail == self.plan().detail

    def test_an_action_of_somebody_else_still_counts(self):
        other = MinimumChange(name="batch", minimum=9, at=MINUTE_NOW + timedelta(minutes=30))
        assert self.plan(others=[other]).surge.until == MINUTE_NOW + timedelta(minutes=29)
        unknown = MinimumChange(name="batch", minimum=9, at=None)
        assert "batch sets the minimum to 9 by an expression of its own" in self.plan(others=[unknown]).detail

    def test_right_before_a_start_there_is_nothing_to_hold(self):
        refusal = refused(served=SCHEDULED, fleet=IN_OFFICE_HOURS, now=MINUTE_NOW + timedelta(minutes=56))
        assert (refusal.reason, refusal.passes) == (Reason.HELD, True)
        assert refusal.why == (
            "schedule evening sets the minimum to 1 at 13:00 UTC, so a surge would end at once: "
            "try again after it"
        )

    def test_right_after_a_start_aws_may_still_execute_it_and_end_the_surge(self):
        started = MINUTE_NOW + timedelta(hours=1)
        refusal = refused(served=SCHEDULED, fleet=IN_OFFICE_HOURS, now=started + timedelta(seconds=119))
        assert (refusal.reason, refusal.passes) == (Reason.HELD, True)
        assert "AWS may execute two minutes late" in refusal.why
        made = self.plan(now=started + timedelta(seconds=120))
        assert made.surge.minimum_before == 1

    @pytest.mark.parametrize(
        "served",
        [
            replace(SCHEDULED, mode=Mode.OBSERVE),
            replace(SCHEDULED, schedules=(replace(SCHEDULES[0], time_zone="Europe/Nowhere"), SCHEDULES[1])),
        ],
        ids=["mode observe has none", "a time zone that is not known here"],
    )
    def test_without_a_schedule_that_is_known_what_aws_lists_counts_alone(self, served):
        evening = MinimumChange(name="x", minimum=1, at=MINUTE_NOW + timedelta(hours=1))
        made = self.plan(served=served, fleet=replace(FLEET, bounds=Bounds(min=2, max=100)), others=[evening])
        assert (made.surge.minimum_before, made.surge.until) == (2, MINUTE_NOW + timedelta(minutes=59))
        assert "schedule" not in made.detail.replace("scheduled action x", "")

    def test_an_executed_action_of_a_number_that_is_the_schedules_minimum_now_holds_nothing(self):
        in_force = replace(SCHEDULED, schedules=(replace(SCHEDULES[0], bounds=Bounds(min=20, max=100)),))
        later = NOW + timedelta(days=4)
        executed = replace(HELD, until=NOW)
        assert ended(in_force, ScheduledActions(surges=(executed,)), RAISED, later) is None


def why(asked=TO_20, *, served=SERVED, pause=None, guard=None, visible=5, queue=None, **changes):
    seen = observation(visible, queue=queue, fleet=replace(FLEET, **changes))
    holding = pause if isinstance(pause, Unknown) else Holds(pause=pause, guard=guard)
    return why_not_surged(served, seen, holding, asked)


def paused(directions):
    return Pause(directions=directions, by="bob", at=NOW, reason="a migration")


class TestRefusals:
    def test_nothing_speaks_against_a_fleet_that_scales(self):
        assert why() is None
        assert why(DRAIN) is None

    def test_a_mode_that_is_paused(self):
        assert why(served=replace(SERVED, mode=Mode.PAUSED)).reason is Reason.PAUSED
        assert why(served=replace(SERVED, mode=Mode.OBSERVE)) is None

    def test_a_downstream_that_fails(self):
        watched = replace(SERVED, guard=GuardSettings(failed_percent=20))
        refusal = why(served=watched, guard=engaged())
        assert (refusal.reason, refusal.passes) == (Reason.GUARDED, False)
        assert "60 % of 100 messages failed; more workers would only fail more messages" in refusal.why
        assert why(guard=engaged()) is None

    def test_a_fleet_that_cannot_be_read(self):
        seen = observation(fleet=Unknown(reason="no such group"))
        refusal = why_not_surged(SERVED, seen, Holds(), TO_20)
        assert (refusal.reason, refusal.passes) == (Reason.UNKNOWN_READING, True)

    def test_a_queue_that_cannot_be_read_only_where_the_size_follows_from_it(self):
        gone = Unknown(reason="no such queue")
        assert why(queue=gone) is None
        refusal = why(DRAIN, queue=gone)
        assert (refusal.reason, refusal.passes) == (Reason.UNKNOWN_READING, True)
        assert "no such queue; without it no size can be computed, so give one: --to N" in refusal.why

    @pytest.mark.parametrize("directions", [OUT, BOTH])
    def test_a_pause_of_scale_out_with_who_and_why(self, directions):
        refusal = why(pause=paused(directions))
        assert refusal.reason is Reason.PAUSED
        assert "bob" in refusal.why
        assert "a migration; `sluice resume transcription --out`" in refusal.why

    def test_a_pause_of_scale_in_alone_speaks_not_against_it(self):
        assert why(pause=paused(IN)) is None

    def test_a_pause_that_is_unknown(self):
        refusal = why(pause=Unknown(reason="BatchGetItem was throttled"))
        assert (refusal.reason, refusal.passes) == (Reason.UNKNOWN_READING, True)

    def test_a_fleet_whose_scale_out_is_held(self):
        assert why(scale_out_blocked_by=("Launch is suspended",)).reason is Reason.HELD
        by_mode = (DYNAMIC_SCALING_OUT_SUSPENDED,)
        assert why(served=replace(SERVED, mode=Mode.OBSERVE), scale_out_blocked_by=by_mode) is None

    def test_a_fleet_that_counts_other_units(self):
        assert why(unsupported_units=("WeightedCapacity 4",)).reason is Reason.INSTANCE_WEIGHTS

    def test_a_service_without_a_scalable_target(self):
        refusal = why(bounds=None)
        assert refusal.reason is Reason.NOT_HANDED_BACK
        assert "CreateScalableTarget" in refusal.why

    def test_scheduled_actions_that_are_suspended_would_never_end_it(self):
        assert why(schedules_suspended=True).reason is Reason.NOT_HANDED_BACK

    def test_bounds_that_do_not_overlap(self):
        assert why(bounds=Bounds(min=200, max=300)).reason is Reason.BOUNDS_DISJOINT


class TestAnEndByHand:
    def test_the_minimum_before_is_put_back(self):
        assert ended(SERVED, ScheduledActions(surges=(HELD,)), RAISED, NOW) == 1

    def test_a_minimum_that_something_else_has_set_stays(self):
        assert ended(SERVED, ScheduledActions(surges=(HELD,)), FLEET, NOW) is None

    def test_without_a_scalable_target_there_is_none(self):
        assert ended(SERVED, ScheduledActions(surges=(HELD,)), replace(FLEET, bounds=None), NOW) is None

    def test_an_executed_action_of_a_number_that_is_the_stacks_minimum_now_holds_nothing(self):
        own = replace(SERVED, bounds=Bounds(min=20, max=100))
        later = UNTIL + timedelta(days=9)
        assert ended(own, ScheduledActions(surges=(HELD,)), RAISED, later) is None
        made = plan(replace(TO_20, to=30), served=own, fleet=RAISED, surges=[HELD], now=later)
        assert made.surge.minimum_before == 20
