"""A switch between two colors, step by step, its ways back, and that nothing half done is left."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from sluice.core.model import AutoScalingGroup, Bounds, Color, Mode, Reason, Trigger, Unknown
from sluice.core.pause import BOTH, Pause
from sluice.core.surge import Asked, MinimumChange, Surge
from sluice.core.switch import Next, colored
from sluice.core.switch_record import Step
from sluice.errors import ConfigError, TransientError
from sluice.events import SwitchRequest
from sluice.ports import Outcome
from sluice.usecases.surge import surge
from sluice.usecases.switch import switch_step
from sluice.usecases.tick import publish_backlog
from tests.support.builders import NOW, guard, guard_settings
from tests.support.fakes import FakeAccount
from tests.support.switching import ALICE, OTHER_RUN, RUN, Aborted, pair

HOLDS = {"AlarmNotificationSuspended", "DynamicScalingInSuspended"}
KINDS = ("asg", "ecs")


@pytest.fixture(params=KINDS)
def switched(request, account):
    return pair(account, request.param)


@dataclass
class Once:
    """Raises a failure once, at one of the moments before and after the calls of all ports."""

    failure: BaseException
    point: int
    passed: int = 0

    def __call__(self):
        self.passed += 1
        if self.passed == self.point:
            raise self.failure


def by_points(kind, failure, **changes):
    """A switch, and what was before it, for each moment at which this failure may come."""
    point = 0
    while True:
        point += 1
        account = FakeAccount()
        switched = pair(account, kind, **changes)
        before = switched.facts()
        account.calls.between = once = Once(failure, point)
        yield switched, before
        if once.passed < point:
            return


class TestASwitch:
    def test_green_takes_over_and_blue_ends_at_zero_with_nothing_held(self, switched):
        assert switched.steps("begin", "freeze", "raise") == [Next.NEXT] * 3
        assert switched.size(switched.green) == (0, 5)
        assert switched.held(switched.blue) & HOLDS
        switched.wait(10)
        assert switched.steps("ready", "flip") == [Next.NEXT] * 2
        assert switched.active is Color.GREEN
        assert switched.step("drain").outcome is Next.WAIT
        assert switched.draining is Color.BLUE
        assert switched.steps("drain", "retire", "finish") == [Next.NEXT] * 3
        assert switched.size(switched.blue) == (0, 0)
        assert switched.size(switched.green) == (0, 5)
        assert (switched.record, switched.draining) == (None, None)
        assert switched.held(switched.blue) == switched.held(switched.green) == set()
        assert switched.account.policies.by_arn[switched.workload.idle.policy_arn].target == 5

    def test_it_goes_there_and_back(self, switched):
        assert switched.play() == "Done"
        assert switched.active is Color.GREEN
        assert switched.play() == "Done"
        assert switched.active is Color.BLUE
        assert switched.size(switched.green) == (0, 0)

    def test_each_step_may_be_done_twice(self, switched):
        for step in ("begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish"):
            done = switched.until_over(step)
            again = switched.step(step)
            same = (done.outcome, again.outcome) == (Next.NEXT, Next.NEXT)
            assert same or (step == "finish" and again.outcome is Next.NOTHING_TO_DO)
        assert switched.facts() | {"green": None} == switched.facts() | {"green": None}
        assert switched.size(switched.blue) == (0, 0)

    def test_each_step_is_logged_with_its_reason(self, switched):
        switched.play()
        assert list(dict.fromkeys(switched.reasons())) == [
            Reason.SWITCH_BEGUN,
            Reason.COLORS_FROZEN,
            Reason.COLOR_RAISED,
            Reason.COLOR_NOT_READY,
            Reason.COLOR_READY,
            Reason.COLOR_FLIPPED,
            Reason.COLOR_BUSY,
            Reason.COLOR_DRAINED,
            Reason.COLOR_RETIRED,
            Reason.ALARMS_FADE,
            Reason.SWITCH_FINISHED,
        ]

    def test_the_new_color_gets_the_workloads_minimum(self, account):
        switched = pair(account, minimum=2)
        assert switched.play() == "Done"
        assert switched.size(switched.green) == (2, 5)
        assert switched.size(switched.blue) == (0, 0)

    def test_the_new_color_that_runs_more_already_is_not_lowered(self, account):
        switched = pair(account, green=8)
        assert switched.play() == "Done"
        assert switched.size(switched.green) == (0, 8)

    def test_the_deadline_engines_fleets_have_no_policy_whose_target_is_copied(self, account):
        switched = pair(account, policy_arn=None)
        has = account.registry.registered["transcription"]
        account.registry.registered["transcription"] = replace(has, idle=replace(has.idle, policy_arn=None))
        assert switched.play() == "Done"

    def test_aws_scales_out_the_new_color_and_not_in_while_the_old_one_drains(self, switched):
        switched.steps("begin", "freeze", "raise", "ready", "flip")
        switched.step("drain")
        assert switched.held(switched.green) in ({"DisableScaleIn"}, {"DynamicScalingInSuspended"})
        assert switched.held(switched.blue) & HOLDS

    def test_a_services_old_color_is_not_started_by_the_alarms_of_before(self, account):
        switched = pair(account, "ecs")
        switched.steps("begin", "freeze", "raise", "ready", "flip")
        flipped_at = account.clock()
        assert "DynamicScalingOutSuspended" in switched.held(switched.blue)
        switched.steps("drain", "retire")
        assert switched.step("finish").outcome is Next.WAIT
        switched.until_over("finish")
        assert account.clock() - flipped_at >= timedelta(minutes=7)
        assert switched.held(switched.blue) == set()

    def test_what_was_suspended_before_stays_suspended(self, account):
        switched = pair(account)
        for color in Color:
            of = colored(switched.workload, color)
            account.freezes.put(of, account.freezes.fields(of) | {"AlarmNotificationSuspended": True})
        assert switched.play() == "Done"
        for fleet in (switched.blue, switched.green):
            assert switched.held(fleet) == {"AlarmNotificationSuspended"}


class TestAnEmptyQueue:
    def test_with_nothing_running_only_the_color_changes(self, account):
        switched = pair(account, visible=0, desired=0)
        assert switched.steps("begin", "flip") == [Next.FLIP_ONLY, Next.FLIP_ONLY]
        assert switched.step("finish").outcome is Next.NEXT
        assert switched.active is Color.GREEN
        assert (switched.size(switched.blue), switched.size(switched.green)) == ((0, 0), (0, 0))
        assert switched.record is None

    def test_work_that_comes_meanwhile_undoes_it(self, account):
        switched = pair(account, visible=0, desired=0)
        before = switched.facts()
        switched.step("begin")
        account.queues.change(switched.workload.queue_url, visible=1)
        with pytest.raises(ConfigError, match="give the command again"):
            switched.step("flip")
        assert switched.step("roll_back").outcome is Next.NEXT
        assert switched.facts() == before

    def test_with_instances_running_green_is_ready_once_the_queue_is_empty_at_two_readings(self, account):
        switched = pair(account, visible=0, desired=2)
        switched.steps("begin", "freeze", "raise")
        account.fleets.settle()
        assert switched.step("ready").outcome is Next.WAIT
        assert switched.step("ready").outcome is Next.WAIT
        account.clock.advance(seconds=10)
        assert switched.step("ready").outcome is Next.NEXT


class TestARefusal:
    @pytest.mark.parametrize(
        ("change", "kind", "words"),
        [
            (lambda s: one_fleet(s), ConfigError, "has one fleet only"),
            (lambda s: changed(s, mode=Mode.OBSERVE), ConfigError, "Mode=active"),
            (lambda s: s.account.states.pause(s.workload.name, PAUSE), ConfigError, "sluice resume"),
            (lambda s: guarded(s), ConfigError, "mend the downstream first"),
            (lambda s: s.account.surges.schedule_end(s.blue, a_surge(s)), ConfigError, "--end"),
            (
                lambda s: s.account.surges.others.update(
                    {s.green: (MinimumChange(name="evening", minimum=2, at=None),)}
                ),
                ConfigError,
                "scheduled action evening",
            ),
            (
                lambda s: of(s, s.green, bounds=Bounds(min=0, max=3)),
                ConfigError,
                "raise the maximum of",
            ),
            (lambda s: of(s, s.green, bounds=Bounds(min=12, max=20)), ConfigError, "do not overlap"),
            (lambda s: of(s, s.blue, bounds=None), ConfigError, "no scalable target"),
            (lambda s: of(s, s.green, unsupported_units=("weights",)), ConfigError, "capacity units"),
            (
                lambda s: of(s, s.green, scale_out_blocked_by=("Launch is suspended",)),
                ConfigError,
                "Launch is suspended; resume it",
            ),
            (
                lambda s: of(s, s.blue, scale_in_blocked_by=("a deployment is rolling",)),
                ConfigError,
                "a deployment is rolling; wait",
            ),
            (
                lambda s: s.works(s.blue, 0),
                TransientError,
                r"3 messages are in flight, .* protect their instances, .* give the group a lifecycle hook",
            ),
            (
                lambda s: (s.works(s.blue, 0), s.finishes(s.blue, Unknown(reason="denied"))),
                TransientError,
                "whether a lifecycle hook lets them finish is unknown: denied",
            ),
            (
                lambda s: s.account.queues.failing.update({s.workload.queue_url: "throttled"}),
                TransientError,
                "unknown is not zero: throttled",
            ),
            (
                lambda s: s.account.occupancy.failing.update({s.green: "denied"}),
                TransientError,
                "unknown is not zero: denied",
            ),
            (
                lambda s: s.account.states.failing.update({s.workload.name: "throttled"}),
                TransientError,
                "throttled",
            ),
        ],
    )
    def test_says_why_and_the_way_out_and_changes_nothing(self, account, change, kind, words):
        switched = pair(account)
        change(switched)
        before = switched.facts()
        with pytest.raises(kind, match=words):
            switched.step("begin")
        assert switched.facts() == before

    def test_a_second_switch_is_refused_with_who_and_since_when(self, switched):
        switched.step("begin")
        with pytest.raises(ConfigError, match=f"a switch to green by {ALICE} since 2026-01-15 12:00 UTC"):
            switched.step("begin", execution=OTHER_RUN)
        assert switched.step("roll_back", execution=OTHER_RUN).outcome is Next.NOTHING_TO_DO
        assert switched.record.execution == RUN

    def test_of_two_that_begin_at_the_same_moment_one_goes_on(self, switched):
        other = []

        def between():
            switched.account.calls.between = lambda: None
            other.append(switched.step("begin", execution=OTHER_RUN))

        switched.account.calls.between = between
        with pytest.raises(ConfigError, match="two"):
            switched.step("begin")
        assert [done.outcome for done in other] == [Next.NEXT]

    def test_a_pause_that_is_set_while_it_begins_comes_first(self, account):
        switched = pair(account)
        calls = account.calls

        def between():
            if switched.record is not None:
                calls.between = lambda: None
                account.states.pause(switched.workload.name, PAUSE)

        calls.between = between
        with pytest.raises(TransientError, match="was held while the switch began: paused by"):
            switched.step("begin")
        assert switched.record is None

    def test_the_active_color_needs_no_switch(self, switched):
        done = switched.step("begin", to=Color.BLUE)
        assert (done.outcome, done.to) == (Next.NOTHING_TO_DO, Color.BLUE)
        assert switched.record is None

    def test_a_step_of_a_switch_that_was_undone_touches_nothing(self, switched):
        switched.step("begin")
        switched.step("restore")
        before = switched.facts()
        with pytest.raises(ConfigError, match="it was undone meanwhile"):
            switched.step("freeze")
        assert switched.facts() == before

    def test_a_record_that_cannot_be_read_lets_none_begin(self, account):
        switched = pair(account)
        switched.step("begin")
        unreadable = "what is stored of a switch cannot be read"
        damage(switched, unreadable)
        with pytest.raises(ConfigError, match=unreadable):
            switched.step("begin", execution=OTHER_RUN)

    def test_a_step_that_comes_late_touches_nothing(self, switched):
        switched.steps("begin", "freeze", "raise", "ready", "flip", "drain")
        before = switched.facts()
        for step in ("freeze", "raise", "ready"):
            with pytest.raises(ConfigError, match=f"is active already: it is too late to {step}"):
                switched.step(step)
        assert switched.facts() == before

    def test_no_step_goes_on_once_the_switch_is_being_undone(self, switched):
        switched.steps("begin", "freeze", "raise", "ready")
        switched.step("roll_back")
        before = switched.facts()
        for step in ("freeze", "raise", "ready", "flip"):
            with pytest.raises(ConfigError, match=f"is being undone: it is too late to {step}"):
                switched.step(step)
        assert switched.facts() == before

    def test_a_function_without_the_table_says_so(self, account):
        switched = pair(account)
        ports = replace(account.ports, states=None)
        request = SwitchRequest(
            step=Step.BEGIN,
            workload="transcription",
            to=None,
            by=ALICE,
            execution=RUN,
            ready_s=60,
            drain_s=60,
        )
        with pytest.raises(ConfigError, match="SLUICE_STATE_TABLE"):
            switch_step(request, ports, account.report, account.remaining_s)
        assert switched.record is None

    def test_a_defect_behind_the_record_is_raised_as_what_it_is(self, account, monkeypatch):
        switched = pair(account)
        defect = IndexError("broken")
        broken = {switched.workload.name: Unknown(reason="broken", defect=defect)}
        monkeypatch.setattr(account.states, "read", lambda *_: broken)
        with pytest.raises(IndexError):
            switched.step("begin")

    @pytest.mark.parametrize("step", ["begin", "freeze", "finish"])
    def test_another_invocation_that_writes_the_record_first_goes_on_alone(self, switched, monkeypatch, step):
        if step != "begin":
            switched.steps("begin")
        if step == "finish":
            switched.steps("freeze", "raise", "ready", "flip", "drain", "retire")
            switched.account.clock.advance(minutes=8)
            switched.step("finish", execution=OTHER_RUN)
        monkeypatch.setattr(switched.account.states, "put_switch", lambda *_: False)
        with pytest.raises(TransientError, match=r"meanwhile|at the same time"):
            switched.step(step)

    def test_a_step_out_of_its_order_changes_nothing(self, switched):
        switched.step("begin")
        before = switched.facts()
        for step in ("flip", "drain", "retire"):
            with pytest.raises(ConfigError, match=r"was not raised yet|neither drained nor retired"):
                switched.step(step)
            assert switched.facts() | {"record": None} == before | {"record": None}

    def test_a_stack_that_lost_its_green_fleet_is_told_how_to_let_it_be_undone(self, switched):
        switched.step("begin")
        one_fleet(switched)
        with pytest.raises(ConfigError, match="give the stack its green fleet again"):
            switched.step("freeze")


class TestAWait:
    def test_green_that_does_not_come_up_is_undone_after_its_time(self, switched):
        before = switched.facts()
        switched.steps("begin", "freeze", "raise")
        waits = []
        while (done := switched.step("ready")).outcome is Next.WAIT:
            waits.append(done.wait_s)
            switched.account.clock.advance(seconds=done.wait_s)
        assert done.outcome is Next.TIMED_OUT
        assert 1800 <= sum(waits) < 1900
        assert (waits[0], waits[-1]) == (10, 60)
        assert switched.until_over("roll_back").outcome is Next.NEXT
        assert switched.facts() == before

    def test_a_deployment_on_green_is_waited_for(self, switched):
        switched.steps("begin", "freeze", "raise")
        switched.wait(10)
        of(switched, switched.green, scale_in_blocked_by=("a deployment is rolling",))
        assert switched.step("ready").outcome is Next.WAIT
        assert "a deployment is rolling" in switched.log[-1].detail

    def test_an_instance_refresh_counts_as_a_deployment_does(self, account):
        switched = pair(account)
        account.occupancy.refreshing.add(switched.blue)
        with pytest.raises(ConfigError, match="an instance refresh replaces its instances; wait for its end"):
            switched.step("begin")
        account.occupancy.refreshing = set()
        switched.steps("begin", "freeze", "raise")
        switched.wait(10)
        account.occupancy.refreshing.add(switched.green)
        assert switched.step("ready").outcome is Next.WAIT
        assert "an instance refresh" in switched.log[-1].detail
        account.occupancy.refreshing = set()
        assert switched.step("ready").outcome is Next.NEXT

    def test_green_that_takes_no_message_is_not_ready(self, switched):
        switched.steps("begin", "freeze", "raise")
        switched.account.fleets.settle()
        for _ in range(20):
            assert switched.step("ready").outcome is Next.WAIT
            switched.account.clock.advance(seconds=10)

    @pytest.mark.parametrize("unknown", ["backlog", "fleet", "occupancy"])
    def test_what_is_unknown_is_neither_ready_nor_drained(self, account, unknown):
        switched = pair(account, visible=0, desired=2)

        def fail(fleet):
            where = {
                "backlog": (account.queues.failing, switched.workload.queue_url),
                "fleet": (account.fleets.failing, fleet),
                "occupancy": (account.occupancy.failing, fleet),
            }[unknown]
            where[0][where[1]] = "throttled"
            return where[0].clear

        switched.steps("begin", "freeze", "raise")
        account.fleets.settle()
        mend = fail(switched.green)
        switched.step("ready")
        switched.wait(10)
        if unknown != "occupancy":
            assert switched.step("ready").outcome is Next.WAIT
        mend()
        switched.steps("ready", "flip")
        mend = fail(switched.blue)
        for _ in range(20):
            outcome = switched.step("drain").outcome
            switched.wait(10)
        assert outcome is (Next.NEXT if unknown == "backlog" else Next.WAIT)
        if unknown != "backlog":
            assert switched.step("retire").outcome is Next.WAIT
        mend()
        assert switched.steps("drain", "retire", "finish") == [Next.NEXT] * 3

    def test_the_drain_is_proven_only_after_the_workers_know(self, switched):
        switched.steps("begin", "freeze", "raise", "ready", "flip")
        switched.works(switched.blue, 0)
        waited = 0
        while (done := switched.step("drain")).outcome is Next.WAIT:
            waited += done.wait_s
            switched.account.clock.advance(seconds=done.wait_s)
        assert waited == 70

    def test_one_busy_reading_begins_the_proof_anew(self, switched):
        switched.steps("begin", "freeze", "raise", "ready", "flip")
        switched.works(switched.blue, 0)
        switched.step("drain")
        switched.account.clock.advance(seconds=60)
        assert switched.step("drain").outcome is Next.WAIT
        switched.account.clock.advance(seconds=10)
        switched.works(switched.blue, 1)
        assert switched.step("drain").outcome is Next.WAIT
        switched.account.clock.advance(seconds=10)
        switched.works(switched.blue, 0)
        assert switched.step("drain").outcome is Next.WAIT

    def test_a_message_between_drain_and_retire_is_waited_for(self, switched):
        switched.steps("begin", "freeze", "raise", "ready", "flip", "drain")
        switched.works(switched.blue, 1)
        assert switched.step("retire").outcome is Next.WAIT
        assert switched.size(switched.blue)[1] == 4
        assert switched.steps("retire", "finish") == [Next.NEXT] * 2

    def test_workers_that_never_stop_receiving_keep_the_old_color_up(self, switched):
        switched.deaf = True
        blue = switched.size(switched.blue)
        assert switched.play() == "ColorStays"
        assert switched.active is Color.GREEN
        assert switched.size(switched.blue) == blue
        assert switched.size(switched.green)[1] >= blue[1]
        assert (switched.record, switched.draining) == (None, None)
        assert switched.held(switched.blue) == set()
        assert switched.account.report.decisions[-1][1] is Outcome.FAILED

    def test_instances_that_do_not_end_are_waited_for_only_so_long(self, account):
        switched = pair(account)
        switched.steps("begin", "freeze", "raise", "ready", "flip", "drain")
        assert switched.step("retire").outcome is Next.WAIT
        account.clock.advance(minutes=61)
        assert switched.step("retire").outcome is Next.TIMED_OUT

    def test_green_that_still_works_after_a_roll_back_stays_up_and_is_told(self, switched):
        switched.steps("begin", "freeze", "raise", "ready")
        switched.deaf = True
        assert switched.until_over("roll_back").outcome is Next.TIMED_OUT
        assert switched.size(switched.green)[1] == 5
        assert switched.active is Color.BLUE
        assert (switched.record, switched.draining) == (None, None)
        assert switched.reasons()[-1] is Reason.COLOR_STAYS

    def test_a_green_that_is_lowered_receives_nothing_until_its_instances_have_ended(self, account):
        switched = pair(account)
        switched.steps("begin", "freeze", "raise", "ready")
        while switched.size(switched.green)[1] > 0:
            assert switched.step("roll_back").outcome is Next.WAIT
            account.clock.advance(seconds=10)
            switched.works(switched.green, 0)
        assert switched.step("roll_back").outcome is Next.WAIT
        assert switched.draining is Color.GREEN
        account.fleets.settle()
        assert switched.step("roll_back").outcome is Next.NEXT

    def test_a_green_whose_instances_do_not_end_is_waited_for_only_so_long(self, account):
        switched = pair(account)
        switched.steps("begin", "freeze", "raise", "ready")
        while switched.size(switched.green)[1] > 0:
            switched.step("roll_back")
            account.clock.advance(seconds=10)
            switched.works(switched.green, 0)
        account.clock.advance(minutes=61)
        assert switched.step("roll_back").outcome is Next.NEXT
        assert (switched.record, switched.size(switched.green)) == (None, (0, 0))

    def test_a_green_that_cannot_be_read_is_not_lowered(self, account):
        switched = pair(account)
        switched.steps("begin", "freeze", "raise", "ready")
        account.fleets.failing[switched.green] = "throttled"
        assert switched.until_over("roll_back").outcome is Next.TIMED_OUT
        assert switched.size(switched.green) == (0, 5)
        assert "throttled" in switched.log[-1].detail
        assert switched.record is None

    def test_a_raise_waits_for_every_reading(self, account):
        switched = pair(account)
        switched.steps("begin", "freeze")
        account.queues.failing[switched.workload.queue_url] = "throttled"
        with pytest.raises(TransientError, match="unknown is not zero: throttled"):
            switched.step("raise")
        assert switched.size(switched.green) == (0, 0)


class TestWorkersThatShowNothing:
    """Other consumers, which protect no instance: a lifecycle hook on termination lets each finish."""

    @pytest.fixture
    def unseen(self, account):
        switched = pair(account)
        switched.shows_work = False
        switched.works(switched.blue, 0)
        switched.finishes(switched.blue, True)
        return switched

    def test_of_a_service_are_refused_as_nothing_lets_a_task_finish(self, account):
        switched = pair(account, "ecs")
        switched.works(switched.blue, 0)
        refused = r"protect their instances, as sluice_worker does; if they do, try again"
        with pytest.raises(TransientError, match=refused):
            switched.step("begin")

    def test_the_new_color_has_to_run_for_a_minute_and_the_decision_says_what_is_not_known(self, unseen):
        unseen.steps("begin", "freeze", "raise")
        unseen.wait(10)
        assert unseen.step("ready").outcome is Next.WAIT
        unseen.wait(59)
        assert unseen.step("ready").outcome is Next.WAIT
        unseen.wait(1)
        assert unseen.step("ready").outcome is Next.NEXT
        assert "whether they take messages does not show" in unseen.decisions()[-1].detail

    def test_an_instance_that_stops_running_begins_the_minute_anew(self, unseen):
        unseen.steps("begin", "freeze", "raise")
        unseen.wait(10)
        unseen.step("ready")
        has = unseen.account.fleets.capacities
        has[unseen.green] = replace(has[unseen.green], running=4)
        assert unseen.step("ready").outcome is Next.WAIT
        unseen.wait(59)
        assert unseen.step("ready").outcome is Next.WAIT
        unseen.wait(59)
        assert unseen.step("ready").outcome is Next.WAIT

    def test_the_old_color_is_at_zero_only_once_the_last_instance_has_finished(self, unseen):
        for step in ("begin", "freeze", "raise", "ready", "flip", "drain"):
            unseen.until_over(step)
        assert "the lifecycle hook lets each finish what it has" in unseen.decisions()[-1].detail
        has = unseen.account.fleets.capacities
        assert unseen.step("retire").outcome is Next.WAIT
        has[unseen.blue] = replace(has[unseen.blue], running=0, ending=2)
        assert has[unseen.blue].desired == 0
        assert unseen.step("retire").outcome is Next.WAIT
        has[unseen.blue] = replace(has[unseen.blue], ending=0)
        assert unseen.step("retire").outcome is Next.NEXT
        assert unseen.until_over("finish").outcome is Next.NEXT
        assert unseen.held(unseen.blue) == unseen.held(unseen.green) == set()

    def test_a_switch_that_is_undone_waits_for_what_finishes_too(self, unseen):
        unseen.steps("begin", "freeze", "raise")
        unseen.wait(10)
        while unseen.step("roll_back").outcome is Next.WAIT and unseen.size(unseen.green)[1] > 0:
            unseen.wait(10)
        has = unseen.account.fleets.capacities
        has[unseen.green] = replace(has[unseen.green], running=0, ending=1)
        assert unseen.step("roll_back").outcome is Next.WAIT
        assert unseen.record is not None
        has[unseen.green] = replace(has[unseen.green], ending=0)
        assert unseen.step("roll_back").outcome is Next.NEXT
        assert unseen.record is None

    def test_an_instance_that_still_finishes_is_no_fleet_at_zero_whose_color_only_flips(self, account):
        switched = pair(account, visible=0, desired=0)
        has = account.fleets.capacities
        has[switched.blue] = replace(has[switched.blue], ending=1)
        assert switched.step("begin").outcome is Next.NEXT
        other = pair(FakeAccount(), visible=0, desired=0)
        assert other.step("begin").outcome is Next.FLIP_ONLY


class TestAFailure:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("failure", [ConfigError("denied"), TransientError("throttled")], ids=str)
    @pytest.mark.parametrize("changes", [{"minimum": 2}, {"green": 2}, {"visible": 0, "desired": 0}])
    def test_at_any_moment_leaves_all_as_before_or_the_new_color_in_charge(self, kind, failure, changes):
        ends = set()
        for switched, before in by_points(kind, failure, **changes):
            ends.add(switched.play())
            switched.account.calls.between = lambda: None
            facts = switched.facts()
            assert (facts["record"], facts["draining"]) == (None, None)
            assert facts["held"] == (set(), set())
            if switched.active is Color.BLUE:
                assert facts == before
            else:
                assert facts["blue"] in ((0, 0), before["blue"])
                assert facts["green"][1] >= before["blue"][1]
        assert ends <= {"Done", "RolledBack", "ColorStays"}
        assert "Done" in ends

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("changes", [{"minimum": 2}, {"visible": 0, "desired": 0}])
    def test_an_execution_that_is_stopped_at_any_moment_is_restored(self, kind, changes):
        for switched, before in by_points(kind, Aborted(), **changes):
            try:
                switched.play()
            except Aborted:
                switched.until_over("restore")
            switched.account.calls.between = lambda: None
            assert switched.step("restore").outcome is Next.NOTHING_TO_DO
            facts = switched.facts()
            assert (facts["record"], facts["draining"]) == (None, None)
            assert facts["held"] == (set(), set())
            if switched.active is Color.BLUE:
                assert facts == before
            else:
                assert facts["blue"] in ((0, 0), before["blue"])

    def test_the_hook_that_fails_undoes_the_switch_after_green_was_ready(self, switched):
        before = switched.facts()
        switched.steps("begin", "freeze", "raise", "ready")
        assert switched.until_over("roll_back").outcome is Next.NEXT
        assert switched.facts() == before

    def test_a_switch_that_is_finished_before_the_flip_is_undone(self, switched):
        before = switched.facts()
        switched.steps("begin", "freeze")
        assert switched.step("finish").outcome is Next.NEXT
        assert switched.facts() == before

    def test_the_last_write_of_the_record_may_be_another_invocations(self, switched, monkeypatch):
        switched.steps("begin", "freeze", "raise", "ready", "flip", "drain", "retire")
        switched.account.clock.advance(minutes=8)
        put = switched.account.states.put_switch
        monkeypatch.setattr(
            switched.account.states,
            "put_switch",
            lambda name, replaces, switch: switch is not None and put(name, replaces, switch),
        )
        with pytest.raises(TransientError, match="meanwhile"):
            switched.step("finish")

    def test_green_that_has_lost_instances_since_is_not_made_active(self, switched):
        switched.steps("begin", "freeze", "raise", "ready")
        of(switched, switched.green, running=1)
        with pytest.raises(TransientError, match="runs 1 instances, and had 5"):
            switched.step("flip")
        assert switched.active is Color.BLUE


class TestMeanwhile:
    def test_sluice_lowers_neither_color(self, switched):
        account = switched.account
        switched.steps("begin", "freeze", "raise")
        account.queues.backlogs[switched.workload.queue_url] = replace(
            account.queues.backlogs[switched.workload.queue_url], visible=0, in_flight=0
        )
        account.publish_idle_minutes(switched.workload)
        sizes = switched.size(switched.blue), switched.size(switched.green)
        publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
        assert (switched.size(switched.blue), switched.size(switched.green)) == sizes
        assert switched.active is Color.BLUE

    def test_a_surge_is_refused(self, switched):
        switched.steps("begin")
        account = switched.account
        asked = Asked(by=ALICE, hold_s=3600, to=8)
        done = surge(
            switched.workload, asked, account.ports, Trigger.OPERATOR, account.report, account.remaining_s
        )
        assert "a switch to green" in done.refusal.why

    def test_a_surge_is_refused_while_the_record_cannot_be_read(self, account):
        switched = pair(account)
        switched.step("begin")
        damage(switched, "damaged")
        asked = Asked(by=ALICE, hold_s=3600, to=8)
        done = surge(
            switched.workload, asked, account.ports, Trigger.OPERATOR, account.report, account.remaining_s
        )
        assert "damaged" in done.refusal.why


class TestTheWorld:
    """What others do between two steps, or AWS, and what is late."""

    @pytest.mark.parametrize("step", ["roll_back", "restore"])
    def test_the_proof_begins_when_the_workers_are_told_however_late_that_is(
        self, switched, monkeypatch, step
    ):
        switched.steps("begin", "freeze", "raise", "ready")
        colors = switched.account.colors
        tell = colors.set_draining

        def refuse(*_):
            raise TransientError("throttled")

        monkeypatch.setattr(colors, "set_draining", refuse)
        for _ in range(4):
            with suppress(TransientError):
                switched.step(step)
            switched.account.clock.advance(seconds=60)
        monkeypatch.setattr(colors, "set_draining", tell)
        switched.works(switched.green, 0)
        told_at = switched.account.clock()
        while switched.size(switched.green)[1] > 0:
            assert switched.step(step).outcome is Next.WAIT
            switched.account.clock.advance(seconds=5)
        assert switched.account.clock() - told_at >= timedelta(seconds=60)

    @pytest.mark.parametrize("step", ["drain", "retire"])
    def test_a_draining_color_that_somebody_resets_is_told_again_and_proven_anew(self, switched, step):
        switched.steps("begin", "freeze", "raise", "ready", "flip", "drain")
        switched.works(switched.blue, 0)
        switched.account.colors.draining[switched.workload.name] = None
        assert switched.step(step).outcome is Next.WAIT
        assert switched.draining is Color.BLUE
        switched.account.clock.advance(seconds=50)
        assert switched.step(step).outcome is Next.WAIT
        assert switched.size(switched.blue)[1] == 4
        assert switched.steps("drain", "retire", "finish") == [Next.NEXT] * 3

    def test_a_proof_that_comes_at_the_last_moment_leaves_no_record(self, switched):
        switched.steps("begin", "freeze", "raise", "ready")
        before = switched.size(switched.blue)
        switched.step("roll_back")
        switched.works(switched.green, 0)
        switched.account.clock.advance(minutes=59, seconds=55)
        assert switched.step("roll_back").outcome is Next.WAIT
        switched.account.clock.advance(seconds=10)
        switched.until_over("roll_back")
        assert switched.record is None
        assert (switched.size(switched.blue), switched.size(switched.green)) == (before, (0, 0))

    def test_what_the_old_color_gains_meanwhile_the_new_one_gets_too(self, switched):
        switched.steps("begin", "freeze", "raise")
        switched.wait(10)
        switched.account.fleets.set_desired(switched.blue, 7)
        switched.account.fleets.settle()
        assert switched.step("ready").outcome is Next.WAIT
        assert switched.size(switched.green)[1] == 7
        assert switched.steps("ready", "flip") == [Next.NEXT] * 2

    def test_a_new_color_that_somebody_lowers_is_raised_again(self, switched):
        switched.steps("begin", "freeze", "raise")
        switched.account.fleets.set_desired(switched.green, 1)
        switched.account.fleets.settle()
        assert switched.step("ready").outcome is Next.WAIT
        assert switched.size(switched.green)[1] == 5

    @pytest.mark.parametrize("step", ["raise", "ready"])
    def test_a_maximum_that_is_lowered_below_what_the_old_color_has_undoes_it(self, account, step):
        switched = pair(account)
        order = ("begin", "freeze", "raise", "ready")
        switched.steps(*order[: order.index(step)])
        before = switched.size(switched.blue)
        account.fleets.set_desired(switched.blue, 6)
        of(switched, switched.green, bounds=Bounds(min=0, max=5))
        with pytest.raises(ConfigError, match="raise the maximum of"):
            switched.step(step)
        assert switched.until_over("roll_back").outcome is Next.NEXT
        assert switched.size(switched.green) == (0, 0)
        assert before == (0, 4)

    @pytest.mark.parametrize("step", ["freeze", "raise", "drain", "retire", "finish", "roll_back", "restore"])
    def test_a_color_that_its_stack_makes_another_fleet_is_not_touched_for_the_one_it_was(
        self, switched, step
    ):
        order = ["begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish"]
        switched.steps(*order[: order.index(step) if step in order else 3])
        fleets = switched.account.fleets.capacities
        idle = switched.account.registry.registered[switched.workload.name].idle
        named = "name" if isinstance(idle.fleet, AutoScalingGroup) else "service"
        other = replace(idle.fleet, **{named: "another"})
        fleets[other] = replace(fleets[idle.fleet], desired=2, running=2)
        changed(switched, idle=replace(idle, fleet=other))
        with pytest.raises(
            ConfigError, match=r"give the stack .*-green again, so that the switch can be undone"
        ):
            switched.step(step)
        assert switched.size(other) == (fleets[other].bounds.min, 2)
        changed(switched, idle=idle)
        switched.until_over("restore")
        assert switched.record is None

    def test_a_color_that_is_put_back_by_hand_is_undone_and_its_alarms_start_nothing(self, switched):
        switched.steps("begin", "freeze", "raise", "ready", "flip")
        switched.step("drain")
        back_at = switched.account.clock()
        switched.account.registry.colors[switched.workload.name] = "blue"
        with pytest.raises(ConfigError, match="neither drained nor retired"):
            switched.step("drain")
        while (done := switched.step("finish")).outcome is Next.WAIT:
            assert switched.held(switched.green) & {
                "AlarmNotificationSuspended",
                "DynamicScalingOutSuspended",
            }
            switched.wait(done.wait_s)
        assert switched.account.clock() - back_at >= timedelta(minutes=7)
        assert switched.active is Color.BLUE
        assert (switched.size(switched.blue), switched.size(switched.green)) == ((0, 4), (0, 0))
        assert switched.held(switched.blue) == switched.held(switched.green) == set()
        assert (switched.record, switched.draining) == (None, None)


PAUSE = Pause(directions=BOTH, by=ALICE, at=NOW)


def damage(switched, reason):
    stored = switched.account.states.stored
    stored[switched.workload.name] = replace(stored[switched.workload.name], switch=Unknown(reason=reason))


def changed(switched, **changes):
    registered = switched.account.registry.registered
    registered[switched.workload.name] = replace(registered[switched.workload.name], **changes)


def one_fleet(switched):
    changed(switched, idle=None)


def guarded(switched):
    changed(switched, guard=guard_settings())
    switched.account.states.guard(switched.workload.name, guard())


def a_surge(switched):
    return Surge(
        workload=switched.workload.name,
        instances=6,
        until=NOW + timedelta(hours=1),
        by=ALICE,
        minimum_before=0,
    )


def of(switched, fleet, **changes):
    capacities = switched.account.fleets.capacities
    capacities[fleet] = replace(capacities[fleet], **changes)
