"""The retune's step for the deadline engine: what the workers published becomes what ticks plan with."""

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import BootSamples
from sluice.core.model import LearningDecision, Mode, Reason, Trigger, Workload
from sluice.errors import ConfigError, TransientError
from sluice.events import RetuneRequest
from sluice.ports import Counter, Outcome, Ports, Series, SeriesQuery, StoredState
from sluice.usecases.retune import retune_targets
from tests.support.builders import deadline, deadline_workload, engine_state, stack_id
from tests.support.fakes import FakeAccount, FakeMetrics

LATE, IN_TIME = 310.0, 100.0


def add(account: FakeAccount, name: str = "transcription", **changes: object) -> Workload:
    served = deadline_workload(name=name, settings=deadline(margin_s=20), policy_arn=None, **changes)
    return account.add_workload(served)


def hour(account: FakeAccount, back: int = 1) -> datetime:
    """The beginning of the last full hour, or of an earlier one."""
    return account.clock().replace(minute=0, second=0, microsecond=0) - timedelta(hours=back)


def waited(account: FakeAccount, served: Workload, *waits_s: float, back: int = 1) -> None:
    account.metrics.put(served.wait_metric, hour(account, back) + timedelta(minutes=7), *waits_s)


def took(account: FakeAccount, served: Workload, *seconds: float, back: int = 1) -> None:
    account.metrics.put(served.duration_metric, hour(account, back) + timedelta(minutes=7), *seconds)


def retune(account: FakeAccount, request: RetuneRequest | None = None, ports: Ports | None = None) -> None:
    request = request or RetuneRequest(trigger=Trigger.SCHEDULE)
    retune_targets(request, ports or account.ports, account.report, account.remaining_s)


def learned(account: FakeAccount, served: Workload) -> Learned | None:
    stored = account.states.stored.get(served.name)
    return stored.learned if stored else None


def logged(account: FakeAccount) -> list[tuple[Reason, Outcome]]:
    found = []
    for decision, outcome in account.report.decisions:
        assert isinstance(decision, LearningDecision)
        found.append((decision.reason, outcome))
    return found


class TestLearning:
    @pytest.mark.parametrize("mode", [Mode.ACTIVE, Mode.OBSERVE])
    def test_late_messages_of_the_last_hour_raise_the_margin(self, account: FakeAccount, mode: Mode) -> None:
        served = add(account, mode=mode)
        waited(account, served, *[LATE] * 60, *[IN_TIME] * 1000)
        retune(account)
        assert learned(account, served) == Learned(at_s=hour(account, 0).timestamp(), margin_s=30)
        assert logged(account) == [(Reason.TOO_MANY_LATE, Outcome.ACTED)]
        assert account.report.counts == {Counter.WORKLOADS_SERVED: 1, Counter.DECISIONS: 1}

    def test_it_is_kept_beside_the_state(self, account: FakeAccount) -> None:
        served = add(account)
        state = engine_state(account.clock().timestamp())
        account.states.stored[served.name] = StoredState(tick_s=state.tick_s, state=state)
        waited(account, served, *[LATE] * 60, *[IN_TIME] * 1000)
        retune(account)
        assert account.states.stored[served.name].state == state
        assert learned(account, served) is not None

    def test_the_measured_boot_times_are_reported_with_it(self, account: FakeAccount) -> None:
        served = add(account)
        boots = (BootSamples(boot_s=180, weight=9), BootSamples(boot_s=45, weight=4, warm=True))
        state = engine_state(account.clock().timestamp(), boots=boots)
        account.states.stored[served.name] = StoredState(tick_s=state.tick_s, state=state)
        retune(account)
        [(decision, _)] = account.report.decisions
        assert isinstance(decision, LearningDecision)
        assert [(one.warm, one.mean_s) for one in decision.boots] == [(False, 180), (True, 45)]

    @pytest.mark.parametrize("stored", [None, StoredState(tick_s=0, state=None)])
    def test_it_learns_without_a_state_that_has_boot_times(
        self, account: FakeAccount, stored: StoredState | None
    ) -> None:
        served = add(account)
        if stored is not None:
            account.states.stored[served.name] = stored
        retune(account)
        [(decision, _)] = account.report.decisions
        assert isinstance(decision, LearningDecision)
        assert decision.boots == ()

    def test_a_day_of_processing_times_counts_each_hour_by_its_messages(self, account: FakeAccount) -> None:
        served = add(account)
        took(account, served, *[4.0] * 90)
        took(account, served, *[14.0] * 10, back=23)
        took(account, served, *[999.0] * 500, back=25)
        retune(account)
        found = learned(account, served)
        assert found is not None
        assert found.processing == Processing(mean_s=5.0, variation=0.0)
        assert logged(account) == [(Reason.NO_WAITS, Outcome.HELD)]

    def test_an_hour_that_is_not_over_does_not_count(self, account: FakeAccount) -> None:
        served = add(account)
        waited(account, served, *[LATE] * 1000, back=0)
        retune(account)
        assert logged(account) == [(Reason.NO_WAITS, Outcome.HELD)]

    def test_an_hour_counts_once(self, account: FakeAccount) -> None:
        served = add(account)
        waited(account, served, *[LATE] * 1000)
        for _ in range(2):
            retune(account)
        retune(account, RetuneRequest(trigger=Trigger.STACK, stack_id=stack_id(served.name)))
        assert len(logged(account)) == 1
        found = learned(account, served)
        assert found is not None
        assert found.margin_s == 30

    def test_a_good_day_holds_the_margin_in_a_bad_hour(self, account: FakeAccount) -> None:
        served = add(account)
        waited(account, served, *[LATE] * 60, *[IN_TIME] * 1000)
        waited(account, served, *[IN_TIME] * 40_000, back=5)
        retune(account)
        assert logged(account) == [(Reason.LATE_AS_ALLOWED, Outcome.HELD)]

    def test_the_hours_of_several_workloads_are_read_in_one_call(self, account: FakeAccount) -> None:
        for name in ("a", "b"):
            add(account, name)
        retune(account)
        [(queries, start, end)] = account.calls.named("metrics.read")
        assert len(queries) == 2 * 6
        assert {query.period_s for query in queries.values()} == {3600}
        assert (start, end) == (hour(account, 24), hour(account, 0))
        assert {query.statistic for query in queries.values()} == {
            "Average",
            "p50",
            "SampleCount",
            "PR(:300)",
            "p99.5",
        }

    def test_a_paused_workload_learns_nothing(self, account: FakeAccount) -> None:
        add(account, mode=Mode.PAUSED)
        retune(account)
        assert {name for name, _ in account.calls.made} == {"registry.all"}


class TestFailing:
    @pytest.mark.parametrize("metric", ["MsgWaitDuration", "MsgProcessingDuration"])
    def test_what_cannot_be_read_changes_nothing_and_is_a_failure(
        self, account: FakeAccount, metric: str
    ) -> None:
        served = add(account)
        account.metrics.unreadable[metric] = "CloudWatch said no"
        with pytest.raises(TransientError, match="retune failed for transcription"):
            retune(account)
        found = learned(account, served)
        assert found is not None
        assert (found.margin_s, found.processing) == (20, None)
        assert account.report.failures == [
            ("transcription", Counter.RETUNE_FAILED, "no measurement of transcription: CloudWatch said no")
        ]

    @pytest.mark.parametrize(
        ("statistic", "absurd"), [("PR(:300)", 1e18), ("PR(:300)", math.nan), ("p99.5", -1)]
    )
    def test_an_absurd_statistic_changes_nothing_and_is_a_failure(
        self, account: FakeAccount, monkeypatch: pytest.MonkeyPatch, statistic: str, absurd: float
    ) -> None:
        served = add(account)
        waited(account, served, *[LATE] * 1000)
        read = FakeMetrics.value_of

        def spoilt(metrics: FakeMetrics, query: SeriesQuery, *span: datetime) -> Series:
            series = read(metrics, query, *span)
            return dict.fromkeys(series, absurd) if query.statistic == statistic else series

        monkeypatch.setattr(FakeMetrics, "value_of", spoilt)
        with pytest.raises(TransientError):
            retune(account)
        found = learned(account, served)
        assert found is not None
        assert found.margin_s == 20
        assert logged(account) == [(Reason.UNKNOWN_READING, Outcome.HELD)]

    def test_what_was_learned_stays_if_it_cannot_be_read(self, account: FakeAccount) -> None:
        served = add(account)
        account.states.learn(served.name, Learned(at_s=0, margin_s=70))
        account.states.failing[served.name] = "throttled"
        waited(account, served, *[IN_TIME] * 9000)
        with pytest.raises(TransientError):
            retune(account)
        assert learned(account, served) == Learned(at_s=0, margin_s=70)
        [(_, _, reason)] = account.report.failures
        assert reason == "what was learned before is unknown: throttled"

    def test_beside_a_damaged_state_nothing_is_learned_as_the_next_tick_replaces_both(
        self, account: FakeAccount
    ) -> None:
        served = add(account)
        damaged = StoredState(tick_s=7, state=None, problem="damaged (truncated)")
        account.states.stored[served.name] = damaged
        waited(account, served, *[LATE] * 1000)
        with pytest.raises(TransientError):
            retune(account)
        assert account.states.stored[served.name] == damaged
        [(_, _, reason)] = account.report.failures
        assert reason == "what was learned before is damaged (truncated); the next tick replaces it"

    def test_one_that_cannot_be_stored_does_not_stop_the_others(self, account: FakeAccount) -> None:
        first, second = add(account, "a"), add(account, "b")
        account.states.refusing[first.name] = "UpdateItem was throttled"
        with pytest.raises(TransientError, match="retune failed for a;"):
            retune(account)
        assert learned(account, second) is not None
        assert learned(account, first) is None

    def test_a_function_without_the_table_says_so(self, account: FakeAccount) -> None:
        add(account)
        with pytest.raises(ConfigError, match="SLUICE_STATE_TABLE for retune_target"):
            retune(account, ports=replace(account.ports, states=None))
