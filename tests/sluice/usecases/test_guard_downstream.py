"""The minutes of the downstream guard: what it reads, stores, holds and says, each workload by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.guard import AlarmState
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import GuardDecision, Mode, Reason
from sluice.core.pause import BOTH, OUT
from sluice.core.surge import Asked
from sluice.errors import ConfigError, DefectError, TransientError
from sluice.events import SurgeRequest
from sluice.ports import Counter, Outcome
from sluice.usecases.guard_downstream import guard_downstream
from sluice.usecases.surge_requests import on_surge_event
from tests.sluice.usecases.test_pauses import paused
from tests.support.builders import guard, guard_settings, workload
from tests.support.fakes import GROUP_FIELDS

GUARDED = guard_settings()
HELD = {**GROUP_FIELDS, "Enabled": False}


@pytest.fixture
def served(account):
    return account.add_workload(workload(guard=GUARDED), desired=2, visible=50)


def ended(account, served, failed, *, succeeded=100, outcome="failure"):
    """Messages of the last full minute, by their outcome."""
    at = minute_of(account.clock()) - MINUTE
    for name, count in (("success", succeeded), (outcome, failed)):
        account.metrics.put(served.ended_metric(name), at, *[1.0] * count)


def minute(account, served=None, failed=None, **ends):
    if failed is not None:
        ended(account, served, failed, **ends)
    guard_downstream(account.clock(), account.ports, account.report, account.remaining_s)
    account.clock.advance(minutes=1)


def recover(account, served, minutes=10):
    for _ in range(minutes):
        minute(account, served, 0)


def stored(account, served):
    found = account.states.stored.get(served.name)
    return found.guard if found else None


def fields(account, served):
    return account.held_policies.by_workload.get(served.name, GROUP_FIELDS)


def made(account):
    return [
        (decision.reason, outcome)
        for decision, outcome in account.report.decisions
        if isinstance(decision, GuardDecision)
    ]


def counted(account, counter):
    return [(name, text) for name, found, text in account.report.failures if found is counter]


class TestEngaging:
    @pytest.mark.parametrize("outcome", ["failure", "timeout"])
    def test_failing_messages_hold_sluices_decisions_and_awss_policy(self, account, served, outcome):
        minute(account, served, 150, outcome=outcome)
        held = stored(account, served)
        assert held.until == account.clock() + timedelta(minutes=59)
        assert (held.is_held_by_aws, held.before, fields(account, served)) == (True, GROUP_FIELDS, HELD)
        assert made(account) == [(Reason.DOWNSTREAM_FAILS, Outcome.ACTED)]

    def test_it_is_said_once_and_loudly(self, account, served):
        for _ in range(8):
            minute(account, served, 150)
        [(name, text)] = counted(account, Counter.GUARD_ENGAGED)
        assert name == served.name
        assert text.startswith(
            "the downstream guard holds scale-out: the downstream fails (60 % of 250 messages failed in 5 "
        )
        assert len(made(account)) == 1

    def test_awss_policy_is_read_to_be_remembered_and_once_more_just_before_it_is_put(self, account, served):
        minute(account, served, 150)
        assert fields(account, served) == HELD
        assert account.calls.named("held_policies.fields") == [served.name, served.name]

    def test_aws_releases_its_policy_by_itself_at_the_end(self, account, served):
        minute(account, served, 150)
        [end] = account.held_policies.ends[served.name]
        assert (end.at, end.before, end.after) == (stored(account, served).until, HELD, GROUP_FIELDS)

    def test_the_named_alarm_holds(self, account):
        settings = guard_settings(failed_percent=None, alarm_name="database")
        served = account.add_workload(workload(guard=settings))
        account.alarms.states["database"] = AlarmState.ALARM
        minute(account)
        assert stored(account, served).why == "the alarm database is in ALARM"

    def test_growth_of_the_dead_letter_queue_holds(self, account):
        settings = guard_settings(
            failed_percent=None, dead_letters_per_minute=2, dead_letter_queue="transcription-dead"
        )
        served = account.add_workload(workload(guard=settings))
        metric = replace(
            served.queue_metric("ApproximateNumberOfMessagesVisible"),
            dimensions={"QueueName": "transcription-dead"},
        )
        for age in range(2, 8):
            account.metrics.put(metric, minute_of(account.clock()) - age * MINUTE, 100 - 10 * age)
        minute(account)
        assert stored(account, served).why.startswith("the dead-letter queue grew by 10 messages a minute")

    def test_of_many_workloads_few_calls_read_every_signal(self, account):
        settings = guard_settings(dead_letters_per_minute=2, dead_letter_queue="dead", alarm_name="database")
        for number in range(20):
            account.add_workload(workload(f"w{number}", guard=settings))
        minute(account)
        assert len(account.calls.named("metrics.read")) == 2
        assert account.calls.named("alarms.read") == [["database"]]
        assert len(account.calls.named("states.read")) == 1

    def test_a_workload_without_a_guard_or_in_mode_paused_is_not_served(self, account):
        account.add_workload(workload("bare"))
        account.add_workload(workload("paused", guard=GUARDED, mode=Mode.PAUSED))
        minute(account)
        assert account.calls.named("metrics.read") == []

    def test_in_mode_observe_it_says_what_it_would_do_and_aws_holds_nothing(self, account):
        served = account.add_workload(workload(guard=GUARDED, mode=Mode.OBSERVE))
        minute(account, served, 150)
        recover(account, served)
        assert account.calls.named("held_policies.hold") == []
        assert made(account) == [
            (Reason.DOWNSTREAM_FAILS, Outcome.OBSERVED),
            (Reason.DOWNSTREAM_RECOVERED, Outcome.OBSERVED),
        ]
        assert counted(account, Counter.GUARD_ENGAGED) == []
        assert stored(account, served) is None

    def test_what_is_held_is_released_though_the_mode_became_observe(self, account, served):
        minute(account, served, 150)
        assert fields(account, served) == HELD
        observed = account.add_workload(replace(served, mode=Mode.OBSERVE))
        recover(account, observed)
        assert fields(account, served) == GROUP_FIELDS
        assert account.held_policies.ends[served.name] == []

    def test_what_another_invocation_has_stored_meanwhile_is_left_to_it(self, account, served):
        put = account.states.put_guard

        def faster(*arguments):
            account.states.guard(served.name, guard(why="faster"))
            return put(*arguments)

        account.states.put_guard = faster
        minute(account, served, 150)
        assert stored(account, served).why == "faster"
        assert made(account) == []

    def test_a_stale_minute_does_nothing(self, account, served):
        ended(account, served, 150)
        guard_downstream(account.clock() - 3 * MINUTE, account.ports, account.report, account.remaining_s)
        assert stored(account, served) is None

    @pytest.mark.parametrize("lacking", ["states", "held_policies"])
    def test_without_its_environment_it_says_what_is_missing(self, account, served, lacking):
        ports = replace(account.ports, **{lacking: None})
        with pytest.raises(ConfigError, match=r"template\.yaml sets SLUICE_STATE_TABLE"):
            guard_downstream(account.clock(), ports, account.report, account.remaining_s)


class TestReleasing:
    def test_a_downstream_that_is_well_releases_everything(self, account, served):
        minute(account, served, 150)
        recover(account, served)
        assert (stored(account, served), fields(account, served)) == (None, GROUP_FIELDS)
        assert account.held_policies.ends[served.name] == []
        assert made(account)[1:] == [(Reason.DOWNSTREAM_RECOVERED, Outcome.ACTED)]
        assert account.report.counts[Counter.GUARD_RELEASED] == 1
        assert counted(account, Counter.GUARD_RELEASED) == []

    def test_its_longest_time_releases_it_loudly_and_it_does_not_hold_the_same_failure_again(
        self, account, served
    ):
        for _ in range(90):
            minute(account, served, 150)
        assert made(account) == [
            (Reason.DOWNSTREAM_FAILS, Outcome.ACTED),
            (Reason.GUARD_OVER, Outcome.ACTED),
        ]
        [(_, text)] = counted(account, Counter.GUARD_RELEASED)
        assert "the longest hold of the guard is over" in text
        assert stored(account, served).is_put_back
        assert fields(account, served) == GROUP_FIELDS
        recover(account, served)
        assert stored(account, served) is None

    def test_a_signal_that_cannot_be_read_releases_nothing_and_is_said(self, account, served):
        minute(account, served, 150)
        account.metrics.unreadable[served.duration_metric.name] = "GetMetricData was throttled"
        for _ in range(20):
            minute(account)
        assert fields(account, served) == HELD
        assert ("transcription", "GetMetricData was throttled") in counted(
            account, Counter.OBSERVATION_FAILED
        )

    def test_no_message_at_all_is_no_failed_reading(self, account, served):
        minute(account)
        assert account.report.failures == []

    def test_an_alarm_that_does_not_exist_is_said(self, account):
        account.add_workload(workload(guard=guard_settings(alarm_name="databse")))
        minute(account)
        [(_, text)] = counted(account, Counter.OBSERVATION_FAILED)
        assert text == "the alarm databse does not exist in this account and region"

    def test_a_hold_that_cannot_be_read_is_left_alone(self, account, served):
        account.states.failing[served.name] = "BatchGetItem was throttled"
        minute(account, served, 150)
        assert account.calls.named("states.put_guard") == []
        assert counted(account, Counter.OBSERVATION_FAILED) == [
            ("transcription", "BatchGetItem was throttled")
        ]


class TestFailuresInTheMiddle:
    REFUSED = ConfigError("PutScalingPolicy of Auto Scaling group transcription: AccessDenied")

    def test_sluices_decisions_are_held_while_aws_refuses_and_the_rest_follows(self, account, served):
        account.held_policies.refusing[served.name] = self.REFUSED
        minute(account, served, 150)
        assert stored(account, served).in_force(account.clock())
        assert counted(account, Counter.ACTION_FAILED) == [("transcription", str(self.REFUSED))]
        account.held_policies.refusing.clear()
        minute(account, served, 150)
        assert (fields(account, served), stored(account, served).is_held_by_aws) == (HELD, True)

    def test_a_release_that_aws_refuses_is_tried_again_until_it_succeeds(self, account, served):
        minute(account, served, 150)
        account.held_policies.refusing[served.name] = self.REFUSED
        recover(account, served, minutes=12)
        assert made(account)[-1] == (Reason.DOWNSTREAM_RECOVERED, Outcome.FAILED)
        assert not stored(account, served).in_force(account.clock())
        account.held_policies.refusing.clear()
        minute(account, served, 0)
        assert (fields(account, served), stored(account, served)) == (GROUP_FIELDS, None)

    def test_an_update_of_the_stack_in_between_is_held_again_within_five_minutes(self, account, served):
        minute(account, served, 150)
        account.held_policies.by_workload[served.name] = GROUP_FIELDS
        for _ in range(5):
            minute(account, served, 150)
        assert fields(account, served) == HELD

    def test_the_others_are_served_while_one_breaks(self, account, served):
        other = account.add_workload(workload("other", guard=GUARDED))
        account.held_policies.refusing[other.name] = self.REFUSED
        ended(account, other, 150)
        minute(account, served, 150)
        assert (fields(account, served), fields(account, other)) == (HELD, GROUP_FIELDS)

    def test_a_defect_fails_the_invocation_once_all_are_served(self, account, served):
        other = account.add_workload(workload("other", guard=GUARDED))
        account.held_policies.refusing[other.name] = ZeroDivisionError("oops")
        ended(account, other, 150)
        with pytest.raises(DefectError):
            minute(account, served, 150)
        assert fields(account, served) == HELD

    def test_without_time_for_aws_the_hold_is_stored_and_the_next_minute_goes_on(self, account, served):
        put = account.states.put_guard

        def slow(*arguments):
            account.remaining = 0
            return put(*arguments)

        account.states.put_guard = slow
        with pytest.raises(TransientError, match="no time was left for 1 workloads"):
            minute(account, served, 150)
        assert (stored(account, served).is_held_by_aws, fields(account, served)) == (False, GROUP_FIELDS)
        account.remaining, account.states.put_guard = 60, put
        account.clock.advance(minutes=1)
        minute(account, served, 150)
        assert fields(account, served) == HELD

    def test_a_workload_whose_guard_is_gone_from_its_document_is_not_held_at_aws(self, account, served):
        ended(account, served, 150)
        one = account.registry.one
        account.registry.one = lambda name, remaining_s: replace(one(name, remaining_s), guard=None)
        minute(account)
        assert fields(account, served) == GROUP_FIELDS

    def test_of_two_invocations_that_hold_aws_the_one_that_stored_first_does_it(self, account, served):
        minute(account, served, 0)
        held = guard(at=account.clock(), until=account.clock() + timedelta(hours=1), before={})
        account.states.guard(served.name, held)
        account.held_policies.by_workload[served.name] = GROUP_FIELDS
        fields_of = account.held_policies.fields

        def meanwhile(workload):
            account.states.guard(served.name, replace(held, before=GROUP_FIELDS))
            return fields_of(workload)

        account.held_policies.fields = meanwhile
        minute(account, served, 150)
        assert account.calls.named("held_policies.hold") == []


class TestBesideAPause:
    @pytest.mark.parametrize("directions", [OUT, BOTH], ids=["out", "both"])
    def test_the_end_of_the_guard_leaves_what_a_pause_holds(self, account, served, directions):
        pause = replace(paused(account, served, directions), before=GROUP_FIELDS)
        account.states.pause(served.name, pause)
        account.held_policies.by_workload[served.name] = {**GROUP_FIELDS, **pause.held}
        minute(account, served, 150)
        assert stored(account, served).before == GROUP_FIELDS
        assert fields(account, served) == {**HELD, **pause.held}
        recover(account, served)
        assert stored(account, served) is None
        assert fields(account, served) == {**GROUP_FIELDS, **pause.held}

    def test_a_pause_that_begins_while_the_guard_releases_stays_held(self, account, served):
        minute(account, served, 150)
        hold = account.held_policies.hold

        def meanwhile(*arguments):
            if account.states.stored[served.name].pause is None:
                paused(account, served, OUT)
                pause = account.states.stored[served.name].pause
                account.states.pause(served.name, replace(pause, before=GROUP_FIELDS))
            return hold(*arguments)

        account.held_policies.hold = meanwhile
        recover(account, served)
        assert fields(account, served) == HELD
        assert stored(account, served) is None

    def test_a_pause_that_changes_at_every_look_is_left_to_the_next_minutes(self, account, served):
        hold = account.held_policies.hold

        def meanwhile(*arguments):
            has_pause = account.states.stored[served.name].pause is not None
            account.states.pause(served.name, None) if has_pause else paused(account, served, OUT)
            return hold(*arguments)

        account.held_policies.hold = meanwhile
        minute(account, served, 150)
        assert len(account.calls.named("held_policies.hold")) == 2
        assert stored(account, served).is_held_by_aws

    def test_it_is_not_released_while_it_is_unknown_whether_somebody_paused(self, account, served):
        minute(account, served, 150)
        hold = account.held_policies.hold

        def meanwhile(*arguments):
            account.states.failing[served.name] = "BatchGetItem was throttled"
            return hold(*arguments)

        account.held_policies.hold = meanwhile
        recover(account, served, minutes=9)
        assert stored(account, served) is not None
        assert (
            "transcription",
            "whether somebody paused it meanwhile is unknown: BatchGetItem was throttled",
        ) in counted(account, Counter.ACTION_FAILED)


def test_a_policy_that_aws_did_not_describe_at_first_is_held_once_it_does(account, served):
    account.held_policies.by_workload[served.name] = {}
    minute(account, served, 150)
    assert (stored(account, served).before, fields(account, served)) == ({}, {})
    account.held_policies.by_workload[served.name] = dict(GROUP_FIELDS)
    for _ in range(5):
        minute(account, served, 150)
    assert fields(account, served) == HELD
    assert stored(account, served).before == GROUP_FIELDS


def test_it_holds_a_surge(account, served):
    account.add_workload(served)
    minute(account, served, 150)
    asked = SurgeRequest(workload=served.name, asked=Asked(by="bob", hold_s=3600, to=5))
    done = on_surge_event(asked, account.ports, account.report, account.remaining_s)
    assert done.decision.reason is Reason.GUARDED
    assert str(stored(account, served)) in done.refusal.why


def test_a_function_without_alarms_takes_the_named_one_for_unknown(account):
    served = account.add_workload(workload(guard=guard_settings(alarm_name="database")))
    ports = replace(account.ports, alarms=None)
    guard_downstream(account.clock(), ports, account.report, account.remaining_s)
    assert stored(account, served) is None
