"""A surge from the request or the alarm to AWS, its end, and that nothing half done is left."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import Bounds, Decision, Kind, Mode, Reason, SurgeOnAlarms, Trigger, Unknown
from sluice.core.pause import OUT, Pause
from sluice.core.surge import Asked
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.events import SurgeRequest
from sluice.ports import Counter, Outcome
from sluice.usecases.surge_requests import on_surge_event
from tests.support.builders import MINUTE_NOW, alarm, alarm_arn, effective, workload

ALICE, BOB = (f"arn:aws:sts::123456789012:assumed-role/on-call/{name}" for name in ("alice", "bob"))
UNTIL = MINUTE_NOW + timedelta(minutes=61)
CRITICAL = alarm_arn("transcription", "depth-critical")
ON_ALARMS = SurgeOnAlarms(alarm_arns=(CRITICAL,), drain_in_s=1800, hold_s=3600)
FLEET = Bounds(min=1, max=100)


@pytest.fixture
def served(account):
    settings = replace(workload(max_instances=100), bounds=Bounds(min=0, max=100), surge=ON_ALARMS)
    return account.add_workload(effective(settings, processing_s=10), visible=6000, desired=4, bounds=FLEET)


def ask(account, *, by=ALICE, name="transcription", **asked):
    asked = asked if "drain_in_s" in asked else {"to": 20} | asked
    request = SurgeRequest(workload=name, asked=Asked(**({"by": by, "hold_s": 3600} | asked)))
    return on_surge_event(request, account.ports, account.report, account.remaining_s)


def end(account, name="transcription"):
    request = SurgeRequest(workload=name, asked=None)
    return on_surge_event(request, account.ports, account.report, account.remaining_s)


def ring(account, **changes):
    event = alarm("depth-critical", **changes)
    return on_surge_event(event, account.ports, account.report, account.remaining_s)


def fleet_of(account, served):
    has = account.fleets.capacities[served.fleet]
    return has.bounds.min, has.desired


def stored(account, served):
    return list(account.surges.stored.get(served.fleet, {}).values())


def logged(account):
    [(decision, outcome)] = account.report.decisions
    assert isinstance(decision, Decision)
    assert decision.kind is Kind.SURGE
    return decision.reason, outcome


class TestARequest:
    def test_the_fleet_is_raised_and_held_and_its_end_is_with_aws_first(self, account, served):
        done = ask(account)
        assert fleet_of(account, served) == (20, 20)
        assert stored(account, served) == [done.surge]
        assert (done.surge.minimum_before, done.surge.until, done.surge.by) == (1, UNTIL, ALICE)
        order = [name for name, _ in account.calls.made if name.startswith("surges.")]
        assert order == [
            *("surges.read", "surges.read", "surges.schedule_end", "surges.read"),
            *("surges.set_minimum", "surges.read"),
        ]
        assert logged(account) == (Reason.SURGED, Outcome.ACTED)
        assert done.decision.trigger is Trigger.OPERATOR

    def test_aws_hands_back_at_the_end_without_the_plane(self, account, served):
        ask(account)
        account.clock.at = UNTIL
        account.surges.end_due()
        assert fleet_of(account, served) == (1, 20)

    def test_a_backlog_sizes_it_by_arrivals_and_the_processing_time(self, account, served):
        account.publish_arrivals(served, 60)
        ask(account, drain_in_s=1800)
        assert fleet_of(account, served) == (48, 48)

    def test_the_measured_processing_time_counts_before_the_planned_one(self, account, served):
        account.publish_arrivals(served, 60)
        for minute in range(1, 41):
            account.metrics.put(served.duration_metric, MINUTE_NOW - timedelta(minutes=minute), 5)
        ask(account, drain_in_s=1800)
        assert fleet_of(account, served) == (24, 24)

    @pytest.mark.parametrize(
        ("break_it", "named"),
        [
            (lambda account, served: account.metrics.samples.clear(), "arrivals: no NumberOfMessagesSent"),
            (
                lambda account, served: account.registry.registered.update(
                    {served.name: replace(served, tracking=replace(served.tracking, processing_s=None))}
                ),
                "processing time: ",
            ),
            (
                lambda account, served: account.queues.failing.update({served.queue_url: "throttled"}),
                "the backlog of transcription is unknown: throttled",
            ),
        ],
        ids=["arrivals", "processing time", "backlog"],
    )
    def test_without_a_reading_it_asks_for_a_number_and_takes_one(self, account, served, break_it, named):
        account.publish_arrivals(served, 60)
        break_it(account, served)
        refusal = ask(account, drain_in_s=1800).refusal
        assert named in refusal.why
        assert refusal.why.endswith("give one: --to N")
        assert (fleet_of(account, served), stored(account, served)) == ((1, 4), [])
        assert ask(account).outcome is Outcome.ACTED

    def test_a_second_one_of_somebody_else_raises_prolongs_and_keeps_the_minimum(self, account, served):
        ask(account)
        account.clock.advance(minutes=10)
        done = ask(account, by=BOB, to=30)
        assert fleet_of(account, served) == (30, 30)
        [left] = stored(account, served)
        assert left == done.surge
        assert (left.minimum_before, left.by, left.until) == (1, BOB, UNTIL + timedelta(minutes=10))
        assert done.replaced.by == ALICE

    def test_the_same_operator_prolongs_it_in_place(self, account, served):
        ask(account)
        ask(account, hold_s=7200)
        [left] = stored(account, served)
        assert (left.instances, left.until) == (20, UNTIL + timedelta(hours=1))
        account.surges.refusing["set_minimum"] = REFUSED
        with pytest.raises(ConfigError, match="nothing was changed"):
            ask(account, hold_s=9000)
        assert stored(account, served) == [left]

    def test_one_that_is_held_already_changes_nothing(self, account, served):
        ask(account)
        account.report.decisions.clear()
        before = len(account.calls.made)
        done = ask(account, by=BOB, to=20, hold_s=600)
        assert (done.outcome, done.surge.by) == (Outcome.HELD, ALICE)
        assert logged(account) == (Reason.SURGE_STANDS, Outcome.HELD)
        calls = {name for name, _ in account.calls.made[before:]}
        assert not calls & {"surges.schedule_end", "surges.set_minimum", "surges.cancel"}

    def test_in_mode_observe_it_says_what_it_would_do(self, account, served):
        account.registry.registered[served.name] = replace(served, mode=Mode.OBSERVE)
        done = ask(account)
        assert (done.outcome, done.decision.desired) == (Outcome.OBSERVED, 20)
        assert (fleet_of(account, served), stored(account, served)) == ((1, 4), [])

    def test_a_pause_refuses_it_and_so_does_one_that_cannot_be_read(self, account, served):
        account.states.pause(served.name, Pause(directions=OUT, by=BOB, at=account.clock()))
        assert ask(account).refusal.reason is Reason.PAUSED
        account.states.pause(served.name, None)
        account.states.failing[served.name] = "BatchGetItem was throttled"
        assert ask(account).refusal.reason is Reason.UNKNOWN_READING
        assert (fleet_of(account, served), stored(account, served)) == ((1, 4), [])

    def test_a_workload_that_is_not_registered_is_a_sentence(self, account, served):
        with pytest.raises(ConfigError, match="no workload other is registered"):
            ask(account, name="other")

    def test_a_function_without_the_port_says_so(self, account, served):
        ports = replace(account.ports, surges=None)
        request = SurgeRequest(workload=served.name, asked=None)
        with pytest.raises(ConfigError, match="knows no scheduled actions"):
            on_surge_event(request, ports, account.report, account.remaining_s)


REFUSED = ConfigError("AWS answered AccessDenied: no")


class TestNothingHalfDone:
    @pytest.mark.parametrize("step", ["schedule_end", "cancel", "set_minimum"])
    @pytest.mark.parametrize("before", [False, True], ids=["first surge", "second surge"])
    def test_a_step_that_aws_refuses_leaves_everything_as_it_was(self, account, served, step, before):
        if before:
            ask(account, by=BOB, to=10)
        was = fleet_of(account, served), stored(account, served)
        account.report.decisions.clear()

        def refuse_once(method, error):
            calls = []

            def called(name, detail):
                calls.append(name)
                account.calls.record(f"surges.{name}", detail)
                if name == method and calls.count(name) == 1:
                    raise error

            return called

        account.surges._called = refuse_once(step, REFUSED)
        if step == "cancel" and not before:
            assert ask(account).outcome is Outcome.ACTED  # there is nothing to cancel
            return
        with pytest.raises(ConfigError, match="AccessDenied: no; nothing was changed"):
            ask(account)
        (minimum, desired), actions = was
        # The old end is cancelled last, and AWS lowers no desired count with the minimum.
        desired = 20 if step == "cancel" else desired
        assert (fleet_of(account, served), stored(account, served)) == ((minimum, desired), actions)
        assert logged(account) == (Reason.SURGED, Outcome.FAILED)

    def test_a_minimum_that_was_raised_without_an_answer_is_put_back(self, account, served):
        raise_it = account.surges.set_minimum

        def without_answer(fleet, instances):
            raise_it(fleet, instances)
            if instances == 20:
                raise TransientError("no answer from AWS")

        account.surges.set_minimum = without_answer
        with pytest.raises(TransientError, match="no answer from AWS; nothing was changed"):
            ask(account)
        assert (fleet_of(account, served)[0], stored(account, served)) == (1, [])

    def test_where_undoing_fails_too_aws_still_hands_back_and_the_error_says_when(self, account, served):
        account.surges.refusing["set_minimum"] = REFUSED
        account.surges.refusing["cancel"] = TransientError("DeleteScheduledAction was throttled")
        with pytest.raises(ConfigError) as raised:
            ask(account)
        assert str(raised.value).endswith(
            "DeleteScheduledAction was throttled; AWS puts a minimum of 1 back at 2026-01-15 13:01 UTC, and "
            "`sluice surge transcription --end` does so at once"
        )
        assert [each.minimum_before for each in stored(account, served)] == [1]

    def test_a_fleet_that_cannot_be_read_any_more_gets_its_minimum_anyway(self, account, served):
        raise_it = account.surges.set_minimum

        def refused_then_unreadable(fleet, instances):
            raise_it(fleet, instances)
            if instances == 20:
                account.fleets.failing[served.fleet] = "throttled"
                raise REFUSED

        account.surges.set_minimum = refused_then_unreadable
        with pytest.raises(SluiceError, match="nothing was changed"):
            ask(account)
        assert (fleet_of(account, served)[0], stored(account, served)) == (1, [])

    def test_of_two_operators_at_once_the_second_is_told_and_leaves_nothing(self, account, served):
        put = account.surges.schedule_end

        def bob_is_faster(fleet, surge):
            account.surges.schedule_end = put
            ask(account, by=BOB, to=30, hold_s=1800)
            put(fleet, surge)

        account.surges.schedule_end = bob_is_faster
        with pytest.raises(ConfigError, match=r"somebody else surges transcription at .*, a surge to 30"):
            ask(account)
        [left] = stored(account, served)
        assert (left.by, left.minimum_before) == (BOB, 1)
        assert fleet_of(account, served) == (30, 30)

    def test_the_same_request_delivered_twice_keeps_its_end_though_one_of_the_two_fails(
        self, account, served
    ):
        read = account.surges.read
        put = account.surges.schedule_end

        def twin_is_faster(fleet, surge):
            account.surges.schedule_end = put
            ask(account)
            account.surges.read = refused_once

        def refused_once(fleet):
            account.surges.read = read
            raise REFUSED

        account.surges.schedule_end = twin_is_faster
        with pytest.raises(SluiceError):
            ask(account)
        assert [each.minimum_before for each in stored(account, served)] == [1]
        assert fleet_of(account, served) == (20, 20)


class TestSurgesAtOnce:
    """What another command does between two calls of a surge or an end."""

    def test_one_that_is_put_while_the_fleet_is_read_is_not_taken_for_the_minimum(self, account, served):
        once(account, "fleets.read", lambda: ask(account))
        assert "at the same time" in ask(account).refusal.why
        [left] = stored(account, served)
        assert left.minimum_before == 1

    def test_one_that_is_ended_before_it_raises_the_minimum_leaves_none(self, account, served):
        once(account, "surges.set_minimum", lambda: end(account))
        with pytest.raises(ConfigError, match="somebody else has ended this surge of transcription"):
            ask(account)
        assert (fleet_of(account, served)[0], stored(account, served)) == (1, [])

    def test_one_that_is_replaced_before_it_raises_the_minimum_leaves_the_other(self, account, served):
        once(account, "surges.set_minimum", lambda: ask(account, by=BOB, to=30))
        with pytest.raises(ConfigError, match=r"somebody else has put another one, a surge to 30 by .*bob"):
            ask(account)
        [left] = stored(account, served)
        assert (fleet_of(account, served)[0], left.instances, left.minimum_before) == (30, 30, 1)

    def test_the_same_request_raises_the_minimum_while_its_first_delivery_is_undone(self, account, served):
        put, read = account.surges.schedule_end, account.surges.read

        def refused_once(fleet):
            account.surges.read = read
            raise REFUSED

        def the_next_read_fails(fleet, surge):
            account.surges.schedule_end, account.surges.read = put, refused_once
            put(fleet, surge)

        account.surges.schedule_end = the_next_read_fails
        once(account, "surges.cancel", lambda: account.surges.set_minimum(served.fleet, 20))
        with pytest.raises(SluiceError, match="nothing was changed"):
            ask(account)
        assert [each.minimum_before for each in stored(account, served)] == [1]

    @pytest.mark.parametrize("is_readable", [True, False])
    def test_an_end_puts_a_minimum_back_that_was_raised_after_it_was_read(self, account, served, is_readable):
        raise_it = account.surges.set_minimum
        ask(account)
        raise_it(served.fleet, 1)  # as if it were not raised yet

        def raised():
            raise_it(served.fleet, 20)
            if not is_readable:
                account.fleets.failing[served.fleet] = "throttled"

        once(account, "surges.cancel", raised)
        end(account)
        assert (fleet_of(account, served)[0], stored(account, served)) == (1, [])


def once(account, call, happens):
    """Let something happen once, just before this call."""
    record = account.calls.record

    def recorded(name, detail):
        if name == call:
            account.calls.record = record
            happens()
        record(name, detail)

    account.calls.record = recorded


class TestAnAlarm:
    def test_it_drains_the_backlog_as_the_document_says(self, account, served):
        account.publish_arrivals(served, 60)
        ring(account)
        assert fleet_of(account, served) == (48, 48)
        [surge] = stored(account, served)
        assert (surge.by, surge.until) == (CRITICAL, UNTIL)
        assert logged(account) == (Reason.SURGED, Outcome.ACTED)

    @pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
    def test_any_other_state_is_counted_and_ignored(self, account, served, state):
        ring(account, state=state)
        assert account.calls.made == []
        assert account.report.counts == {Counter.EVENT_IGNORED: 1}

    def test_an_alarm_that_the_document_does_not_name_is_refused(self, account, served):
        stray = alarm_arn("transcription", "stray")
        with pytest.raises(ConfigError, match=f"stray says .*, whose document names {CRITICAL} for"):
            ring(account, arn=stray)

    def test_a_workload_without_the_parameter_is_surged_by_no_alarm(self, account, served):
        account.registry.registered[served.name] = replace(served, surge=None)
        with pytest.raises(ConfigError, match="whose document names none for a surge"):
            ring(account)

    def test_what_is_unknown_is_logged_and_raised_so_that_lambda_retries(self, account, served):
        with pytest.raises(TransientError, match="surge of transcription is held: arrivals: no NumberOf"):
            ring(account)
        assert logged(account) == (Reason.UNKNOWN_READING, Outcome.HELD)

    def test_a_defect_of_sluice_itself_is_raised_as_what_it_is(self, account, served):
        broken = Unknown(reason="unexpected KeyError", defect=KeyError("pause"))
        account.states.read = lambda names, remaining_s: dict.fromkeys(names, broken)
        with pytest.raises(KeyError):
            ring(account)

    def test_a_refusal_that_stays_is_logged_and_not_retried(self, account, served):
        account.states.pause(served.name, Pause(directions=OUT, by=BOB, at=account.clock()))
        ring(account)
        assert logged(account) == (Reason.PAUSED, Outcome.HELD)

    def test_it_lowers_and_shortens_no_operators_surge(self, account, served):
        ask(account, to=60, hold_s=7200)
        account.publish_arrivals(served, 60)
        ring(account)
        assert fleet_of(account, served) == (60, 60)
        [surge] = stored(account, served)
        assert (surge.by, surge.until) == (ALICE, UNTIL + timedelta(hours=1))


class TestAnEnd:
    def test_the_minimum_is_put_back_and_what_runs_is_left_to_the_scaling(self, account, served):
        ask(account)
        account.report.decisions.clear()
        done = end(account)
        assert (fleet_of(account, served), stored(account, served)) == ((1, 20), [])
        assert done.surge.by == ALICE
        assert logged(account) == (Reason.SURGE_ENDED, Outcome.ACTED)
        assert "the minimum is 1 again" in done.decision.detail

    def test_a_minimum_that_a_stack_has_set_meanwhile_stays(self, account, served):
        ask(account)
        account.surges.set_minimum(served.fleet, 3)
        done = end(account)
        assert (fleet_of(account, served)[0], stored(account, served)) == (3, [])
        assert "the minimum was set meanwhile, and stays" in done.decision.detail

    def test_one_that_aws_has_never_ended_is_ended(self, account, served):
        ask(account)
        account.clock.at = UNTIL + timedelta(hours=1)
        assert end(account).surge.by == ALICE
        assert (fleet_of(account, served)[0], stored(account, served)) == (1, [])

    def test_without_a_surge_nothing_is_done(self, account, served):
        assert end(account).surge is None
        assert logged(account) == (Reason.NO_SURGE, Outcome.HELD)

    def test_it_needs_to_know_the_minimum_now(self, account, served):
        ask(account)
        account.fleets.failing[served.fleet] = "throttled"
        with pytest.raises(TransientError, match="throttled; try again"):
            end(account)
        assert len(stored(account, served)) == 1

    def test_a_paused_workload_can_be_handed_back(self, account, served):
        ask(account)
        account.states.pause(served.name, Pause(directions=OUT, by=BOB, at=account.clock()))
        assert end(account).outcome is Outcome.ACTED

    def test_a_refused_end_is_logged_and_raised(self, account, served):
        ask(account)
        account.report.decisions.clear()
        account.surges.refusing["cancel"] = REFUSED
        with pytest.raises(ConfigError, match="AccessDenied"):
            end(account)
        assert logged(account) == (Reason.SURGE_ENDED, Outcome.FAILED)
