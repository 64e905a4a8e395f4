"""What `sluice status` and `sluice pause` say of a workload's schedules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import Backlog, Bounds, Capacity, Mode, Observation, Unknown
from sluice.core.pause import BOTH, IN, OUT, Pause
from sluice.core.schedules import in_force
from sluice.core.surge import Surge
from sluice.document.schedule_lines import parsed
from sluice_operator.core.conditions import Kind, Status, conditions
from sluice_operator.core.readings import Readings
from sluice_operator.core.schedules import described, resized_in_spite_of, set_bounds_command, suspend_command
from tests.support.builders import GROUP, SERVICE, workload

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
"""A Thursday; in Berlin it is one o'clock."""
OFFICE_HOURS = parsed("office-hours,MON-FRI,8:00,Europe/Berlin,3,5")
EVENING = parsed("evening,MON-FRI,18:00,Europe/Berlin,0,4")
SERVED = replace(workload(), schedules=(OFFICE_HOURS, EVENING))
FLEET = Capacity(desired=3, running=3, bounds=Bounds(min=3, max=5))
IN_FORCE = "at minimum 3, maximum 5 until Thu 18:00 Europe/Berlin by schedule office-hours; then evening: "


def condition(kind=Kind.SCHEDULED, *, served=SERVED, capacity=FLEET, now=NOW, visible=0, **changes):
    observed = Observation(backlog=Backlog(visible=visible, in_flight=0, delayed=0), capacity=capacity)
    names = ("oldest_age_s", "backlog_per_instance", "tracked", "target", "margin_s", "arrivals_per_s",
             "deletions_per_s", "starts", "last_decision")  # fmt: skip
    read = Readings(workload=served, observation=observed, **(dict.fromkeys(names) | changes))
    [found] = [each for each in conditions(read, now) if each.kind is kind]
    return found


def of(found):
    return found.status, found.reason, found.wrong


class TestTheConditionScheduled:
    def test_the_one_in_force_with_its_end_by_its_own_clock_and_the_next(self):
        found = condition()
        assert of(found) == (Status.TRUE, "InForce", False)
        assert found.message == f"{IN_FORCE}minimum 0, maximum 4"

    def test_over_a_change_of_the_clocks_the_local_time_stays(self):
        evening = datetime(2026, 3, 28, 18, tzinfo=UTC)  # the clocks go forward in the night
        daily = (replace(OFFICE_HOURS, weekdays=frozenset({6})), replace(EVENING, weekdays=frozenset({5})))
        held = in_force(daily, evening)
        assert "until Sun 8:00 Europe/Berlin by schedule evening; then office" in described(held, evening)
        assert held.until == datetime(2026, 3, 29, 6, tzinfo=UTC)

    def test_one_that_is_far_away_has_a_date(self):
        weekly = (parsed("one,THU,12:00,UTC,1,5"), parsed("other,THU,11:59,UTC,0,5"))
        held = in_force(weekly, NOW)
        assert "until Thu 2026-01-22 11:59 UTC by schedule one; then other" in described(held, NOW)

    def test_without_another_one_it_has_no_end(self):
        alone = condition(served=replace(SERVED, schedules=(OFFICE_HOURS,)))
        assert alone.message == (
            "at minimum 3, maximum 5 by schedule office-hours; no other schedule ends it"
        )

    @pytest.mark.parametrize("bounds", [Bounds(min=0, max=5), Bounds(min=3, max=4), Bounds(min=4, max=5)])
    def test_other_bounds_of_the_fleet_are_wrong_and_said_with_both(self, bounds):
        found = condition(capacity=replace(FLEET, bounds=bounds))
        assert of(found) == (Status.FALSE, "OtherBounds", True)
        assert found.message == (
            f"the fleet has minimum {bounds.min}, maximum {bounds.max}; schedule office-hours, in force "
            "since Thu 8:00 Europe/Berlin, sets minimum 3, maximum 5: an update of a stack or a person has "
            "set others since then, or the schedule has not started since it was deployed"
        )

    def test_aws_may_be_two_minutes_late(self):
        started = datetime(2026, 1, 15, 7, tzinfo=UTC)
        night = replace(FLEET, bounds=Bounds(min=0, max=4))
        assert condition(capacity=night, now=started + timedelta(seconds=119)).status is Status.TRUE
        assert condition(capacity=night, now=started + timedelta(seconds=120)).wrong

    def test_a_surge_that_holds_a_higher_minimum_is_no_other_bound(self):
        surge = Surge(workload="transcription", instances=5, until=NOW, by="alice", minimum_before=3)
        raised = replace(FLEET, bounds=Bounds(min=5, max=5))
        assert condition(capacity=raised, surge=surge).reason == "InForce"
        assert condition(capacity=replace(raised, bounds=Bounds(min=4, max=5)), surge=surge).wrong
        unread = condition(capacity=raised, surge=Unknown(reason="throttled"))
        assert of(unread) == (Status.UNKNOWN, "ReadFailed", False)
        assert unread.message.endswith("whether a surge holds another minimum: throttled")

    def test_suspended_actions_start_none_which_is_meant_under_a_pause(self):
        suspended = replace(FLEET, schedules_suspended=True)
        found = condition(capacity=suspended)
        assert of(found) == (Status.FALSE, "Suspended", True)
        assert "--scaling-processes ScheduledActions` resumes them" in found.message
        assert not condition(capacity=suspended, pause=pause()).wrong

    def test_a_service_without_a_scalable_target_has_none_in_force(self):
        found = condition(capacity=replace(FLEET, bounds=None))
        assert of(found) == (Status.FALSE, "OtherBounds", True)
        assert "is no scalable target" in found.message

    def test_a_fleet_that_cannot_be_read_is_unknown_and_not_wrong(self):
        found = condition(capacity=Unknown(reason="DescribeAutoScalingGroups was throttled"))
        assert of(found) == (Status.UNKNOWN, "ReadFailed", False)
        assert found.message.startswith(IN_FORCE)

    @pytest.mark.parametrize("zone", ["Europe/Nowhere", "Europe", "Europe//Berlin"])
    def test_a_time_zone_that_this_machine_does_not_know(self, zone):
        found = condition(served=replace(SERVED, schedules=(OFFICE_HOURS, replace(EVENING, time_zone=zone))))
        assert of(found) == (Status.UNKNOWN, "NoTimeZone", False)
        assert found.message == f"schedule evening: this machine knows no time zone {zone}"

    def test_without_schedules_and_in_another_mode_there_is_none(self):
        assert of(condition(served=workload())) == (Status.FALSE, "NoSchedules", False)
        observing = condition(served=replace(SERVED, mode=Mode.OBSERVE))
        assert of(observing) == (Status.FALSE, "ModeObserve", False)
        assert observing.message == "mode observe: its schedules exist in mode active alone"


def pause(directions=BOTH, hours=24):
    until = None if hours is None else NOW + timedelta(hours=hours)
    return Pause(directions=directions, by="alice", at=NOW, until=until, reason="")


def resized(directions=BOTH, hours=24, *, served=SERVED, capacity=replace(FLEET, desired=0, running=0)):  # noqa: B008
    return resized_in_spite_of(pause(directions, hours), served, capacity, NOW)


def test_a_fleet_at_the_maximum_of_a_schedule_is_limited_by_it():
    night = replace(FLEET, desired=4, running=4, bounds=Bounds(min=0, max=4))
    full = {"now": NOW + timedelta(hours=8), "capacity": night, "target": 8.0, "visible": 400}
    limited = condition(Kind.SCALING_LIMITED, **full)
    assert limited.reason == "AtMaximum"
    assert "at its maximum of 4 by schedule evening until Fri 8:00 Europe/Berlin, and the" in limited.message
    assert (
        "maximum of 5, and"
        in condition(
            Kind.SCALING_LIMITED, **full | {"capacity": replace(FLEET, desired=5, running=5)}
        ).message
    )


class TestAStartWithinAPause:
    def test_the_first_that_raises_the_minimum_above_what_is_desired_with_how_to_keep_it_off(self):
        assert resized() == (
            "schedule office-hours raises the minimum to 3, above the 0 that are desired, at Fri 8:00 "
            "Europe/Berlin all the same, as a pause does not hold schedules: to keep it off, update the "
            "workload's stack with Mode=paused, or `aws autoscaling suspend-processes "
            "--auto-scaling-group-name transcription --scaling-processes ScheduledActions`"
        )
        assert "office-hours" in resized(hours=None)

    def test_none_within_the_pause_and_none_that_raises_is_no_word(self):
        assert resized(hours=12) is None
        assert resized(BOTH, capacity=FLEET) is None
        assert resized(served=workload()) is None
        assert resized(served=replace(SERVED, mode=Mode.OBSERVE)) is None

    def test_scale_in_is_forced_by_a_lower_maximum(self):
        many = replace(FLEET, desired=5)
        assert "schedule evening lowers the maximum to 4, below the 5" in resized(IN, capacity=many)
        assert resized(OUT, hours=12, capacity=many) is None

    def test_a_fleet_whose_scale_in_is_not_held_may_be_at_its_minimum_by_then(self):
        """At one o'clock three run; the evening lets them go, and the next morning starts three."""
        found = resized(OUT, capacity=replace(FLEET, desired=5))
        assert "raises the minimum to 3, above the 0 that may be desired by then, at Fri 8:00" in found
        assert resized(OUT, hours=12, capacity=replace(FLEET, desired=5)) is None

    def test_a_fleet_that_could_not_be_read_may_have_any_size(self):
        unread = Unknown(reason="throttled")
        assert "office-hours raises the minimum to 3 at Fri" in resized(OUT, capacity=unread)
        assert "evening lowers the maximum to 4 at Thu" in resized(IN, capacity=unread)

    def test_actions_that_are_suspended_already_resize_nothing(self):
        assert resized(capacity=replace(FLEET, desired=0, schedules_suspended=True)) is None

    def test_the_status_says_it_beside_the_pause(self):
        idle = replace(FLEET, desired=0, running=0)
        found = condition(Kind.PAUSED, capacity=idle, pause=pause())
        assert f"; {resized()}" in found.message


def test_commands_for_a_service_name_its_scalable_target():
    target = (
        "aws application-autoscaling register-scalable-target --service-namespace ecs --scalable-dimension "
        "ecs:service:DesiredCount --resource-id service/workers/queue-proc"
    )
    bounds = Bounds(min=3, max=5)
    assert set_bounds_command(SERVICE, bounds) == f"{target} --min-capacity 3 --max-capacity 5"
    suspend = suspend_command(SERVICE, suspend=True)
    assert suspend == f"{target} --suspended-state ScheduledScalingSuspended=true"
    assert set_bounds_command(GROUP, bounds).endswith("transcription --min-size 3 --max-size 5")
