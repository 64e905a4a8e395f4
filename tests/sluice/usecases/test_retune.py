from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import Deadline, Limit, Mode, Reason, TargetDecision, Trigger, Unknown, Workload
from sluice.errors import CapacityError, TransientError
from sluice.events import RetuneRequest
from sluice.ports import Counter, Outcome, Policy
from sluice.usecases.retune import retune_targets
from tests.support.builders import (
    ECS_POLICY_ARN,
    dynamic_target,
    dynamic_workload,
    ecs_workload,
    minutes_ago,
    plenty,
    stack_id,
    workload,
)
from tests.support.fakes import FakeAccount

HOURLY = RetuneRequest(trigger=Trigger.SCHEDULE)


def after_stack(name: str) -> RetuneRequest:
    return RetuneRequest(trigger=Trigger.STACK, stack_id=stack_id(name))


def retune(account: FakeAccount, request: RetuneRequest = HOURLY) -> None:
    retune_targets(request, account.ports, account.report, account.remaining_s)


def tuned(account: FakeAccount, served: Workload, target: float = 10) -> Workload:
    """Serve a workload whose policy holds this target."""
    account.add_workload(served)
    assert served.policy_arn is not None
    account.policies.by_arn[served.policy_arn] = Policy(
        fleet=served.fleet, target=target, definition={"PolicyARN": served.policy_arn}
    )
    return served


def processed(account: FakeAccount, served: Workload, *, minutes: int, seconds: float, count: int) -> None:
    """`count` messages that took `seconds` each, that many minutes ago."""
    account.metrics.put(served.duration_metric, minutes_ago(minutes), *[seconds] * count)


def target_of(account: FakeAccount, served: Workload) -> float:
    assert served.policy_arn is not None
    return account.policies.by_arn[served.policy_arn].target


def logged(account: FakeAccount) -> tuple[TargetDecision, Outcome]:
    [(decision, outcome)] = account.report.decisions
    assert isinstance(decision, TargetDecision)
    return decision, outcome


class TestRound:
    def test_the_target_follows_the_processing_time_of_the_last_hour(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload(), target=10)
        processed(account, served, minutes=10, seconds=40, count=90)
        processed(account, served, minutes=20, seconds=120, count=10)
        processed(account, served, minutes=61, seconds=999, count=500)  # older than the window
        retune(account)
        assert target_of(account, served) == 600 / 48  # weighted by the number of messages, not by the minute
        decision, outcome = logged(account)
        assert (decision.reason, decision.trigger, outcome) == (
            Reason.RETUNED,
            Trigger.SCHEDULE,
            Outcome.ACTED,
        )
        assert not isinstance(decision.durations, Unknown)
        assert (decision.durations.seconds, decision.durations.samples, decision.durations.window_s) == (
            48,
            100,
            3600,
        )

    def test_too_few_samples_in_the_hour_look_back_over_a_day(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload(), target=7)
        processed(account, served, minutes=10, seconds=999, count=20)
        processed(account, served, minutes=300, seconds=40, count=980)
        retune(account)
        decision, _ = logged(account)
        assert not isinstance(decision.durations, Unknown)
        assert (decision.durations.samples, decision.durations.window_s) == (1000, 86_400)
        assert target_of(account, served) == pytest.approx(600 / (0.98 * 40 + 0.02 * 999))

    def test_too_few_samples_in_a_day_leave_the_present_target(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload(), target=7)
        processed(account, served, minutes=10, seconds=40, count=29)
        retune(account)
        assert target_of(account, served) == 7
        decision, outcome = logged(account)
        assert (decision.reason, outcome) == (Reason.TOO_FEW_SAMPLES, Outcome.HELD)

    def test_the_windows_end_with_the_last_whole_period(self, account: FakeAccount) -> None:
        account.clock.advance(minutes=3)  # 12:03:30
        tuned(account, dynamic_workload())
        retune(account)
        [(hour, start, end), (day, day_start, day_end)] = account.calls.named("metrics.read")
        assert {query.period_s for query in hour.values()} == {60}
        assert (end, end - start) == (minutes_ago(-3), timedelta(hours=1))
        assert {query.period_s for query in day.values()} == {300}
        assert (day_end, day_end - day_start) == (minutes_ago(0), timedelta(days=1))

    def test_one_call_asks_for_all_workloads_and_the_day_only_for_the_sparse_ones(
        self, account: FakeAccount
    ) -> None:
        busy = tuned(account, dynamic_workload("busy"))
        tuned(account, dynamic_workload("quiet"))
        processed(account, busy, minutes=10, seconds=40, count=50)
        retune(account)
        [(hour, *_), (day, *_)] = account.calls.named("metrics.read")
        assert {name.split()[0] for name in hour} == {"busy", "quiet"}
        assert {name.split()[0] for name in day} == {"quiet"}
        assert {query.statistic for query in hour.values()} == {"Average", "SampleCount"}

    def test_a_percentile_is_requested_if_the_document_says_so(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload(statistic="p90"), target=10)
        account.metrics.put(served.duration_metric, minutes_ago(5), *[10.0] * 89, *[50.0] * 11)
        retune(account)
        assert target_of(account, served) == 600 / 50

    def test_a_static_target_is_skipped_without_a_call(self, account: FakeAccount) -> None:
        account.add_workload(workload())
        retune(account)
        assert [name for name, _ in account.calls.made] == ["registry.all"]
        assert account.report.counts == {Counter.WORKLOADS_SERVED: 0}

    def test_one_hour_moves_the_target_by_at_most_a_factor_of_two(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload(), target=10)
        processed(account, served, minutes=10, seconds=6, count=50)
        retune(account)
        assert target_of(account, served) == 20

    def test_inside_the_deadband_the_policy_is_not_put(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload(), target=10.5)
        processed(account, served, minutes=10, seconds=60, count=50)
        retune(account)
        assert account.calls.named("policies.put_target") == []
        assert logged(account)[0].reason is Reason.WITHIN_DEADBAND

    def test_an_ecs_policy_is_put_the_same_way(self, account: FakeAccount) -> None:
        served = tuned(account, ecs_workload(target=dynamic_target()), target=10)
        processed(account, served, minutes=10, seconds=40, count=50)
        retune(account)
        assert account.policies.by_arn[ECS_POLICY_ARN].target == 15


class TestModes:
    def test_observe_computes_and_logs_and_needs_no_policy(self, account: FakeAccount) -> None:
        served = replace(dynamic_workload(), mode=Mode.OBSERVE, policy_arn=None)
        account.add_workload(served)
        processed(account, served, minutes=10, seconds=40, count=50)
        retune(account)
        decision, outcome = logged(account)
        assert (decision.target, decision.current, outcome) == (15, None, Outcome.OBSERVED)
        assert account.calls.named("policies.read") == []

    def test_paused_is_skipped_without_a_call(self, account: FakeAccount) -> None:
        account.add_workload(replace(dynamic_workload(), mode=Mode.PAUSED))
        retune(account)
        assert [name for name, _ in account.calls.made] == ["registry.all"]

    @pytest.mark.parametrize("change", ["paused", "static", "deadline"])
    def test_the_document_is_read_again_just_before_acting(self, account: FakeAccount, change: str) -> None:
        served = tuned(account, dynamic_workload())
        processed(account, served, minutes=10, seconds=40, count=50)
        account.registry.all(plenty)
        now = {
            "paused": replace(served, mode=Mode.PAUSED),
            "static": workload(),
            "deadline": replace(served, deadline=Deadline(promise_s=300), policy_arn=None),
        }[change]
        account.registry.registered[served.name] = now
        retune(account)
        assert account.calls.named("policies.read") == []
        assert account.report.decisions == []


class TestFailures:
    def test_a_missing_policy_is_logged_and_fails_the_round_after_the_others(
        self, account: FakeAccount
    ) -> None:
        broken = dynamic_workload("broken")
        account.add_workload(broken)
        healthy = tuned(account, dynamic_workload())
        for served in (broken, healthy):
            processed(account, served, minutes=10, seconds=40, count=50)
        with pytest.raises(TransientError, match="retune failed for broken"):
            retune(account)
        assert target_of(account, healthy) == 15
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == ("broken", Counter.RETUNE_FAILED)
        assert "has no scaling policy" in reason

    def test_an_active_workload_whose_document_names_no_policy_is_logged(self, account: FakeAccount) -> None:
        account.add_workload(replace(dynamic_workload(), policy_arn=None))
        with pytest.raises(TransientError):
            retune(account)
        assert account.report.failures == [
            (
                "transcription",
                Counter.RETUNE_FAILED,
                "workload transcription is active but its document names no policy: update its stack",
            )
        ]

    def test_a_round_without_time_left_logs_the_skipped_workloads_and_fails(
        self, account: FakeAccount
    ) -> None:
        first, second = tuned(account, dynamic_workload("first")), tuned(account, dynamic_workload("second"))
        for served in (first, second):
            processed(account, served, minutes=10, seconds=40, count=50)

        def one_put_takes_all_the_time() -> None:
            if account.calls.named("policies.put_target"):
                account.remaining = 40

        account.remaining, account.calls.between = 200, one_put_takes_all_the_time
        put = account.policies.put_target

        def slow_put(*args: object) -> None:
            put(*args)
            one_put_takes_all_the_time()

        account.policies.put_target = slow_put
        with pytest.raises(TransientError, match="retune failed for"):
            retune(account)
        assert len(account.calls.named("policies.put_target")) == 1
        [(_, counter, reason)] = account.report.failures
        assert (counter, reason) == (
            Counter.RETUNE_FAILED,
            "no time left in this round; the next one begins with another workload",
        )

    def test_each_hours_round_starts_with_a_different_workload(self, account: FakeAccount) -> None:
        """Otherwise the last ones would wait forever if time runs out every hour."""
        for name in ("a", "b", "c"):
            tuned(account, dynamic_workload(name))
        firsts = set()
        for _ in range(3):
            before = len(account.calls.named("registry.one"))
            retune(account)
            firsts.add(account.calls.named("registry.one")[before])
            account.clock.advance(minutes=60)
        assert firsts == {"a", "b", "c"}

    def test_a_refused_put_fails_the_round(self, account: FakeAccount) -> None:
        served = tuned(account, dynamic_workload())
        processed(account, served, minutes=10, seconds=40, count=50)
        account.policies.refusing = CapacityError("LimitExceeded")
        with pytest.raises(TransientError, match="retune failed for transcription"):
            retune(account)
        [(decision, outcome)] = account.report.decisions
        assert (decision.reason, decision.target, outcome) == (Reason.RETUNED, 15, Outcome.FAILED)

    @pytest.mark.parametrize("unreadable", ["all", "counts"])
    def test_durations_that_could_not_be_read_leave_the_target_and_fail_the_round(
        self, account: FakeAccount, unreadable: str
    ) -> None:
        served = tuned(account, dynamic_workload(), target=7)
        processed(account, served, minutes=10, seconds=40, count=50)
        if unreadable == "all":
            account.metrics.unreadable["MsgProcessingDuration"] = "throttled"
        else:
            read = account.metrics.read
            account.metrics.read = lambda *args: {
                name: Unknown(reason="throttled") if "SampleCount" in name else series
                for name, series in read(*args).items()
            }
        with pytest.raises(TransientError, match="retune failed for transcription"):
            retune(account)
        assert target_of(account, served) == 7
        decision, outcome = logged(account)
        assert (decision.reason, outcome) == (Reason.UNKNOWN_READING, Outcome.HELD)

    @pytest.mark.parametrize("seconds", [0.0, -3.0, float("nan")])
    def test_an_impossible_processing_time_is_refused_and_the_target_stays(
        self, account: FakeAccount, seconds: float
    ) -> None:
        served = tuned(account, dynamic_workload(), target=7)
        processed(account, served, minutes=10, seconds=seconds, count=50)
        retune(account)
        assert (target_of(account, served), logged(account)[0].reason) == (7, Reason.DURATION_REFUSED)

    def test_a_bad_document_is_reported_by_the_hourly_round(self, account: FakeAccount) -> None:
        account.registry.bad["broken"] = "refused"
        retune(account)
        assert account.report.failures == [("broken", Counter.DOCUMENT_INVALID, "refused")]


class TestStackEvents:
    def test_only_the_workload_of_that_stack_is_retuned_and_without_the_factor_limit(
        self, account: FakeAccount
    ) -> None:
        changed, other = tuned(account, dynamic_workload()), tuned(account, dynamic_workload("other"))
        for served in (changed, other):
            processed(account, served, minutes=10, seconds=6, count=50)
        retune(account, after_stack("transcription"))
        assert (target_of(account, changed), target_of(account, other)) == (100, 10)
        assert logged(account)[0].trigger is Trigger.STACK

    def test_a_stack_event_that_left_a_retuned_target_alone_moves_it_by_the_factor(
        self, account: FakeAccount
    ) -> None:
        served = tuned(account, dynamic_workload(), 30)
        processed(account, served, minutes=10, seconds=6, count=50)
        retune(account, after_stack("transcription"))
        assert target_of(account, served) == 60
        assert logged(account)[0].limits == (Limit.MAX_FACTOR,)

    def test_a_workload_registered_a_moment_ago_is_found(self, account: FakeAccount) -> None:
        account.registry.all(plenty)
        served = tuned(account, dynamic_workload())
        processed(account, served, minutes=10, seconds=6, count=50)
        retune(account, after_stack("transcription"))
        assert target_of(account, served) == 100

    def test_another_stacks_event_ends_without_a_metric_or_policy_call(self, account: FakeAccount) -> None:
        tuned(account, dynamic_workload())
        account.registry.bad["broken"] = "refused"
        retune(account, after_stack("somebody-elses"))
        assert [name for name, _ in account.calls.made] == ["registry.all"]
        assert account.report.counts == {Counter.WORKLOADS_SERVED: 0, Counter.DOCUMENT_INVALID: 1}
