"""A tick below a minute: one decision per workload, whatever is delivered twice, late or out of order."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sluice.core.deadline.encoding import VERSION
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.model import (
    AutoScalingGroup,
    Bounds,
    Capacity,
    Decision,
    EcsService,
    Fleet,
    Kind,
    Mode,
    Reason,
    Unknown,
    Workload,
)
from sluice.errors import ConfigError, DefectError, TransientError
from sluice.events import Shard, shard_message
from sluice.ports import Counter, Outcome, RemainingS, StoredState
from sluice.usecases.deadline_ticks import FUTURE_AFTER_S, STORED_WITHIN_S, serve_deadline_ticks
from sluice.usecases.tick_context import NO_TIME_LEFT
from tests.support.builders import (
    MINUTE_NOW,
    deadline,
    deadline_workload,
    engine_state,
    plenty,
    queue_url,
    seconds,
    workload,
)
from tests.support.fakes import FakeAccount, FakeSlice

WAITING = 600
"""Messages of a second each, due in 300 s; a boot takes 180 s: five instances."""
NEEDED = 5


def add(account: FakeAccount, name: str = "transcription", **changes: object) -> Workload:
    """A workload whose messages wait for its first instances."""
    served = deadline_workload(name=name, queue_url=queue_url(name), **changes)
    return account.add_workload(replace(served, fleet=AutoScalingGroup(name=name)), visible=WAITING)


def message(account: FakeAccount, moment: datetime, *names: str) -> str:
    """A tick's message with the documents as they are now, of all workloads or of these."""
    documents = account.registry.all(plenty, fresh=True).documents
    selected = {name: text for name, text in documents.items() if not names or name in names}
    return shard_message(Shard(scheduled=moment, documents=selected))


def moment(tick: int) -> datetime:
    """The moment of this tick; the first one is at a full minute, and they are ten seconds apart."""
    return MINUTE_NOW + seconds(10 * tick)


def deliver(account: FakeAccount, *bodies: str, at: datetime | None = None) -> None:
    account.clock.at = at or account.clock.at
    serve_deadline_ticks(bodies, account.ports, account.report, account.remaining_s)


def tick(account: FakeAccount, number: int = 0) -> str:
    """Deliver a tick in time; returns its message."""
    body = message(account, moment(number))
    deliver(account, body, at=moment(number) + seconds(1))
    return body


def stored_tick(account: FakeAccount, name: str = "transcription") -> datetime | None:
    stored = account.states.stored.get(name)
    return None if stored is None else MINUTE_NOW + seconds(stored.tick_s - MINUTE_NOW.timestamp())


def decisions(account: FakeAccount) -> list[tuple[Reason, Outcome]]:
    return [
        (decision.reason, outcome)
        for decision, outcome in account.report.decisions
        if isinstance(decision, Decision) and decision.kind is Kind.SCALE
    ]


class TestDeciding:
    def test_a_fleet_gets_the_instances_with_which_every_message_starts_in_time(
        self, account: FakeAccount
    ) -> None:
        served = add(account)
        tick(account)
        assert account.resizes() == [(served.fleet, NEEDED)]
        assert decisions(account) == [(Reason.STARTS_LATE, Outcome.ACTED)]
        assert stored_tick(account) == moment(0)

    def test_the_next_tick_knows_what_the_last_one_launched(self, account: FakeAccount) -> None:
        """Without a memory nothing would say that these instances boot."""
        served = add(account)
        for number in range(3):
            tick(account, number)
        assert account.resizes() == [(served.fleet, NEEDED)]
        state = account.states.stored["transcription"].state
        assert state is not None
        assert [launch.instances for launch in state.launches] == [NEEDED]

    def test_only_the_workloads_of_the_deadline_engine_are_decided(self, account: FakeAccount) -> None:
        account.add_workload(workload("tracked"), visible=WAITING)
        tick(account)
        assert (account.resizes(), account.states.stored) == ([], {})

    def test_no_metric_is_read(self, account: FakeAccount) -> None:
        add(account)
        for number in range(2):
            tick(account, number)
        assert account.calls.named("metrics.read") == []

    def test_what_was_learned_replaces_what_the_document_says(self, account: FakeAccount) -> None:
        """Messages of two seconds, and a margin of 20 s: an instance starts 50 of them in the 100 s left."""
        served = add(account)
        measured = Learned(at_s=0, margin_s=20, processing=Processing(mean_s=2))
        account.states.learn(served.name, measured)
        tick(account)
        assert account.resizes() == [(served.fleet, 12)]
        assert "(margin 20 s)" in account.report.decisions[-1][0].detail
        assert account.states.stored[served.name].learned == measured
        assert account.report.failures == []

    def test_a_workload_of_which_only_the_margin_is_known_keeps_the_document_s_processing_time(
        self, account: FakeAccount
    ) -> None:
        served = add(account)
        account.states.learn(served.name, Learned(at_s=0, margin_s=60))
        tick(account)
        assert account.resizes() == [(served.fleet, 10)]


class TestOncePerTick:
    @pytest.mark.parametrize("calls_before", range(1, 12))
    def test_two_invocations_of_a_tick_make_one_decision(
        self, account: FakeAccount, calls_before: int
    ) -> None:
        served = add(account)
        body, waiting = message(account, moment(0)), [calls_before]
        account.calls.made.clear()

        def deliver_again() -> None:
            waiting[0] -= 1
            if waiting[0] == 0:
                deliver(account, body)

        account.calls.between = deliver_again
        deliver(account, body, at=moment(0) + seconds(1))
        assert waiting[0] <= 0, "the tick made fewer calls"
        assert account.resizes() == [(served.fleet, NEEDED)]
        assert decisions(account) == [(Reason.STARTS_LATE, Outcome.ACTED)]

    @pytest.mark.parametrize("again_at_s", [1, 2, 30, 89])
    def test_a_duplicate_changes_nothing(self, account: FakeAccount, again_at_s: float) -> None:
        add(account)
        body = tick(account)
        before = dict(account.states.stored)
        account.queues.change(queue_url("transcription"), visible=10 * WAITING)
        deliver(account, body, at=moment(0) + seconds(again_at_s))
        assert (account.states.stored, len(account.resizes())) == (before, 1)
        assert account.report.failures == []

    def test_a_tick_that_comes_after_a_later_one_changes_nothing(self, account: FakeAccount) -> None:
        add(account)
        late = message(account, moment(0))
        tick(account, 2)
        before, resizes = dict(account.states.stored), account.resizes()
        account.queues.change(queue_url("transcription"), visible=10 * WAITING)
        deliver(account, late, at=moment(2) + seconds(5))
        assert (account.states.stored, account.resizes()) == (before, resizes)

    def test_of_a_batch_only_the_newest_tick_of_a_slice_is_served(self, account: FakeAccount) -> None:
        add(account, "a")
        add(account, "b")
        both = [message(account, moment(number), name) for number in (1, 2, 0) for name in ("a", "b")]
        deliver(account, *both, at=moment(2) + seconds(1))
        assert [stored_tick(account, name) for name in ("a", "b")] == [moment(2)] * 2
        assert sorted(account.calls.named("states.write")) == ["a", "b"]  # type: ignore[type-var]

    @pytest.mark.parametrize("off_s", [-91, 91, 3600])
    def test_a_tick_off_its_moment_by_over_90_s_is_counted_and_dropped(
        self, account: FakeAccount, off_s: float
    ) -> None:
        add(account)
        body = message(account, moment(0))
        account.calls.made.clear()
        deliver(account, body, at=moment(0) + seconds(off_s))
        assert account.calls.made == []
        assert account.report.counts[Counter.STALE_TICK] == 1

    @pytest.mark.parametrize("off_s", [-2, 0, 45, 90])
    def test_a_tick_within_90_s_of_its_moment_is_served(self, account: FakeAccount, off_s: float) -> None:
        add(account)
        deliver(account, message(account, moment(0)), at=moment(0) + seconds(off_s))
        assert stored_tick(account) == moment(0)


class TestTheState:
    def test_a_refused_read_is_logged_and_the_state_rebuilt(self, account: FakeAccount) -> None:
        served = add(account)
        account.states.failing["transcription"] = "DynamoDB is throttling"
        tick(account)
        assert account.resizes() == [(served.fleet, NEEDED)]
        assert account.report.failures == [
            ("transcription", Counter.OBSERVATION_FAILED, "DynamoDB is throttling")
        ]
        assert stored_tick(account) == moment(0)

    def test_after_a_refused_read_an_older_tick_writes_nothing(self, account: FakeAccount) -> None:
        add(account)
        late = message(account, moment(0))
        tick(account, 2)
        before, resizes = dict(account.states.stored), account.resizes()
        account.states.failing["transcription"] = "DynamoDB is throttling"
        deliver(account, late, at=moment(2) + seconds(5))
        assert (account.states.stored, account.resizes()) == (before, resizes)

    def test_nothing_is_done_that_could_not_be_remembered_and_the_next_tick_goes_on(
        self, account: FakeAccount
    ) -> None:
        one, other = add(account, "a"), add(account, "b")
        account.states.refusing["a"] = "DynamoDB is throttling"
        tick(account)
        assert account.resizes() == [(other.fleet, NEEDED)]
        assert account.report.failures == [("a", Counter.ACTION_FAILED, "DynamoDB is throttling")]
        account.states.refusing.clear()
        tick(account, 1)
        assert account.resizes() == [(other.fleet, NEEDED), (one.fleet, NEEDED)]

    @pytest.mark.parametrize(
        "problem",
        [
            "damaged (truncated, or longer than any state)",
            f"damaged (version {VERSION - 1}, and this release reads {VERSION})",
            f"damaged (version {VERSION + 1}, and this release reads {VERSION})",
        ],
    )
    def test_a_state_that_cannot_be_used_is_rebuilt_and_logged_once(
        self, account: FakeAccount, problem: str
    ) -> None:
        served = add(account)
        tick_s = moment(-1).timestamp()
        account.states.stored["transcription"] = StoredState(tick_s=tick_s, state=None, problem=problem)
        for number in range(3):
            tick(account, number)
        assert account.report.failures == [
            (
                "transcription",
                Counter.STATE_REBUILT,
                f"the engine's state is rebuilt, as it is {problem}",
            )
        ]
        assert account.resizes() == [(served.fleet, NEEDED)]
        assert stored_tick(account) == moment(2)

    def test_a_state_of_the_future_is_rebuilt_and_logged_once(self, account: FakeAccount) -> None:
        served = add(account)
        ahead = engine_state(moment(0).timestamp() + 3600)
        account.states.stored["transcription"] = StoredState(tick_s=ahead.tick_s, state=ahead)
        for number in range(3):
            tick(account, number)
        assert [reason for _, _, reason in account.report.failures] == [
            "the engine's state is rebuilt, as it is of a moment 3599 s in the future"
        ]
        assert account.resizes() == [(served.fleet, NEEDED)]
        assert stored_tick(account) == moment(2)

    def test_a_state_whose_reading_is_of_the_future_is_rebuilt(self, account: FakeAccount) -> None:
        """Its messages would not age until that moment."""
        served = add(account)
        ahead = engine_state(moment(0).timestamp() + 3600, tick_s=moment(-1).timestamp())
        account.states.stored["transcription"] = StoredState(tick_s=ahead.tick_s, state=ahead)
        tick(account)
        assert [counter for _, counter, _ in account.report.failures] == [Counter.STATE_REBUILT]
        assert account.resizes() == [(served.fleet, NEEDED)]

    def test_a_state_a_little_ahead_is_that_of_a_later_tick(self, account: FakeAccount) -> None:
        add(account)
        ahead = engine_state(moment(0).timestamp() + FUTURE_AFTER_S)
        stored = StoredState(tick_s=ahead.tick_s, state=ahead)
        account.states.stored["transcription"] = stored
        tick(account)
        assert account.states.stored == {"transcription": stored}
        assert (account.resizes(), account.report.failures) == ([], [])

    def test_a_lost_state_never_lowers_a_fleet(self, account: FakeAccount) -> None:
        served = add(account)
        account.add_workload(served, desired=9)
        tick(account)
        account.states.stored.clear()
        tick(account, 1)
        assert account.desired(served) == 9


class TestModes:
    def test_observe_logs_what_it_would_do_and_remembers_but_changes_nothing(
        self, account: FakeAccount
    ) -> None:
        add(account, mode=Mode.OBSERVE)
        tick(account)
        assert account.resizes() == []
        assert decisions(account) == [(Reason.STARTS_LATE, Outcome.OBSERVED)]
        assert stored_tick(account) == moment(0)

    def test_a_paused_workload_is_not_even_read(self, account: FakeAccount) -> None:
        add(account, mode=Mode.PAUSED)
        tick(account)
        assert account.states.stored == {}
        assert (account.report.decisions, account.report.failures) == ([], [])


class TestAChangedDocument:
    """The document may change between the tick that queued a message and its delivery, minutes later."""

    @staticmethod
    def changed(account: FakeAccount, served: Workload, **changes: object) -> None:
        """Deliver a tick that was queued before these changes."""
        body = message(account, moment(0))
        account.registry.registered[served.name] = replace(served, **changes)  # type: ignore[arg-type]
        deliver(account, body, at=moment(0) + seconds(1))

    def test_a_workload_that_was_paused_meanwhile_is_left_alone(self, account: FakeAccount) -> None:
        self.changed(account, add(account), mode=Mode.PAUSED)
        assert account.resizes() == []

    def test_a_workload_that_observes_meanwhile_is_left_alone(self, account: FakeAccount) -> None:
        self.changed(account, add(account), mode=Mode.OBSERVE)
        assert account.resizes() == []
        assert decisions(account) == [(Reason.STARTS_LATE, Outcome.OBSERVED)]

    def test_new_bounds_count(self, account: FakeAccount) -> None:
        served = add(account)
        account.fleets.capacities[served.fleet] = replace(
            account.fleets.capacities[served.fleet], bounds=Bounds(min=0, max=2)
        )
        self.changed(account, served, bounds=Bounds(min=0, max=2))
        assert account.resizes() == [(served.fleet, 2)]

    def test_a_longer_promise_counts(self, account: FakeAccount) -> None:
        served = add(account)
        self.changed(account, served, deadline=deadline(promise_s=1380))
        assert account.resizes() == [(served.fleet, 1)]

    @pytest.mark.parametrize("changes", [{"deadline": None}, {"queue_url": queue_url("elsewhere")}])
    def test_a_workload_that_was_read_elsewhere_is_left_to_its_next_tick(
        self, account: FakeAccount, changes: dict[str, object]
    ) -> None:
        self.changed(account, add(account), **changes)
        assert account.resizes() == []
        assert account.states.stored == {}

    @pytest.mark.parametrize(
        "fleet", [AutoScalingGroup(name="elsewhere"), EcsService(cluster="c", service="s")]
    )
    def test_a_workload_that_moved_to_another_fleet_is_left_to_its_next_tick(
        self, account: FakeAccount, fleet: Fleet
    ) -> None:
        self.changed(account, add(account), fleet=fleet)
        assert account.resizes() == []
        [(_, counter, reason)] = account.report.failures
        assert counter == Counter.ACTION_FAILED
        assert "its tick did not see it" in reason

    def test_a_deleted_workload_is_named(self, account: FakeAccount) -> None:
        add(account)
        body = message(account, moment(0))
        account.registry.registered.clear()
        deliver(account, body, at=moment(0) + seconds(1))
        assert account.resizes() == []
        assert account.report.failures == [
            ("transcription", Counter.ACTION_FAILED, "no workload transcription is registered")
        ]


class TestHolding:
    @pytest.mark.parametrize("unread", ["queue", "fleet", "both"])
    def test_an_unknown_reading_holds_is_logged_and_leaves_the_memory(
        self, account: FakeAccount, unread: str
    ) -> None:
        served = add(account)
        account.add_workload(served, desired=9)
        tick(account)
        before = dict(account.states.stored)
        if unread != "fleet":
            account.queues.failing[served.queue_url] = "AccessDenied"
        if unread != "queue":
            account.fleets.failing[served.fleet] = "throttled"
        account.report.decisions.clear()
        tick(account, 6)
        assert decisions(account) == [(Reason.UNKNOWN_READING, Outcome.HELD)]
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == ("transcription", Counter.OBSERVATION_FAILED)
        expected = {"queue": "AccessDenied", "fleet": "throttled", "both": "AccessDenied; throttled"}
        assert reason == expected[unread]
        assert (account.states.stored, account.resizes()) == (before, [])

    def test_an_unknown_reading_is_held_once_a_minute_in_the_log_and_counted_at_every_tick(
        self, account: FakeAccount
    ) -> None:
        served = add(account)
        account.queues.failing[served.queue_url] = "AccessDenied"
        for number in range(12):
            tick(account, number)
        assert decisions(account) == [(Reason.UNKNOWN_READING, Outcome.HELD)] * 2
        counters = [counter for _, counter, _ in account.report.failures]
        assert counters == [Counter.OBSERVATION_FAILED] * 12

    @pytest.mark.parametrize(("tick_s", "ticks"), [(5, 24), (10, 12), (30, 4), (60, 2)])
    def test_a_decision_to_hold_is_logged_once_a_minute(
        self, account: FakeAccount, tick_s: int, ticks: int
    ) -> None:
        served = add(account, settings=deadline(tick_s=tick_s))
        account.add_workload(served, visible=1, in_flight=9, desired=9)
        for number in range(ticks):
            due = MINUTE_NOW + seconds(tick_s * number)
            deliver(account, message(account, due), at=due + seconds(1))
        assert decisions(account) == [(Reason.STARTS_IN_TIME, Outcome.HELD)] * 2
        assert stored_tick(account) == MINUTE_NOW + timedelta(minutes=2) - seconds(tick_s)

    def test_a_promise_out_of_reach_is_logged_at_most_once_an_hour(self, account: FakeAccount) -> None:
        add(account, settings=deadline(promise_s=120))
        for number in range(12):
            tick(account, number)
        out_of_reach = (Reason.PROMISE_OUT_OF_REACH, Outcome.HELD)
        assert decisions(account).count(out_of_reach) == 1


class TestIsolation:
    def test_a_refused_resize_is_logged_and_stops_no_other(self, account: FakeAccount) -> None:
        one, other = add(account, "a"), add(account, "b")
        set_desired = account.fleets.set_desired

        def refuse(fleet: Fleet, instances: int) -> None:
            if fleet == one.fleet:
                raise ConfigError("AccessDenied")
            set_desired(fleet, instances)

        account.fleets.set_desired = refuse  # type: ignore[method-assign]
        tick(account)
        assert account.resizes() == [(other.fleet, NEEDED)]
        assert account.report.failures == [("a", Counter.ACTION_FAILED, "AccessDenied")]
        assert decisions(account) == [
            (Reason.STARTS_LATE, Outcome.FAILED),
            (Reason.STARTS_LATE, Outcome.ACTED),
        ]
        account.fleets.set_desired = set_desired  # type: ignore[method-assign]
        tick(account, 1)
        assert account.desired(one) == NEEDED + 1  # less time is left

    def test_a_defect_in_one_workload_is_logged_and_stops_no_other(self, account: FakeAccount) -> None:
        one, other = add(account, "a"), add(account, "b")
        set_desired, defect = account.fleets.set_desired, RuntimeError("a defect of ours")

        def trip(fleet: Fleet, instances: int) -> None:
            if fleet == one.fleet:
                raise defect
            set_desired(fleet, instances)

        account.fleets.set_desired = trip  # type: ignore[method-assign]
        with pytest.raises(DefectError):
            tick(account)
        assert account.resizes() == [(other.fleet, NEEDED)]
        assert account.report.recorded_defects == [defect]

    def test_a_message_that_is_no_tick_fails_the_batch_after_the_others_are_served(
        self, account: FakeAccount
    ) -> None:
        served = add(account)
        body = message(account, moment(0))
        with pytest.raises(TransientError, match="1 ticks of this batch failed"):
            deliver(account, "hello", body, at=moment(0) + seconds(1))
        assert account.resizes() == [(served.fleet, NEEDED)]
        assert account.report.counts[Counter.TICK_FAILED] == 1

    @pytest.mark.parametrize(
        "bad", ["", "[]", json.dumps({"scheduled_time": "noon", "documents": {"a": "b"}})]
    )
    def test_every_malformed_message_is_named(self, account: FakeAccount, bad: str) -> None:
        with pytest.raises(TransientError):
            deliver(account, bad)
        [(name, counter, _)] = account.report.failures
        assert (name, counter) == ("a tick's message", Counter.TICK_FAILED)

    def test_a_tick_for_which_no_time_is_left_is_not_begun(self, account: FakeAccount) -> None:
        add(account)
        body = message(account, moment(0))
        account.calls.made.clear()
        account.remaining = 0
        with pytest.raises(TransientError):
            deliver(account, body, at=moment(0))
        assert account.calls.made == []
        assert [reason for _, _, reason in account.report.failures] == [NO_TIME_LEFT]

    def test_a_tick_whose_time_is_over_leaves_the_other_workloads_to_the_next_one(
        self, account: FakeAccount
    ) -> None:
        """Lambda would end it at any call, and no line would say which workloads are missing."""
        one, other = add(account, "a"), add(account, "b")
        set_desired = account.fleets.set_desired

        def slow(fleet: Fleet, instances: int) -> None:
            account.remaining = -STORED_WITHIN_S
            set_desired(fleet, instances)

        account.fleets.set_desired = slow  # type: ignore[method-assign]
        tick(account)
        assert account.resizes() == [(one.fleet, NEEDED)]
        assert account.report.failures == [("b", Counter.ACTION_FAILED, NO_TIME_LEFT)]
        account.fleets.set_desired, account.remaining = set_desired, 60  # type: ignore[method-assign]
        tick(account, 1)
        assert account.desired(other) == NEEDED + 1  # less time is left

    @pytest.mark.parametrize(
        ("left_s", "acts"), [(-STORED_WITHIN_S / 2, True), (-STORED_WITHIN_S, False)], ids=["in time", "late"]
    )
    def test_a_tick_whose_time_for_reading_is_over_still_stores_and_acts_while_that_has_time(
        self, account: FakeAccount, monkeypatch: pytest.MonkeyPatch, left_s: float, acts: bool
    ) -> None:
        served = add(account)
        read = FakeSlice.one

        def slow(registry: FakeSlice, name: str, remaining_s: RemainingS) -> Workload:
            found = read(registry, name, remaining_s)
            account.remaining = left_s
            return found

        monkeypatch.setattr(FakeSlice, "one", slow)
        tick(account)
        assert account.resizes() == ([(served.fleet, NEEDED)] if acts else [])
        assert list(account.states.stored) == (["transcription"] if acts else [])
        assert [counter for _, counter, _ in account.report.failures] == (
            [] if acts else [Counter.ACTION_FAILED]
        )

    def test_no_table_fails_with_the_missing_setting(self, account: FakeAccount) -> None:
        add(account)
        body = message(account, moment(0))
        account.clock.at = moment(0)
        with pytest.raises(TransientError):
            serve_deadline_ticks(
                [body], replace(account.ports, states=None), account.report, account.remaining_s
            )
        [(_, counter, reason)] = account.report.failures
        assert (counter, "SLUICE_STATE_TABLE" in reason) == (Counter.TICK_FAILED, True)

    def test_a_tick_reads_no_registry_and_only_its_own_queues_and_fleets(self, account: FakeAccount) -> None:
        one, _ = add(account, "a"), add(account, "b")
        body = message(account, moment(0), "a")
        account.calls.made.clear()
        deliver(account, body, at=moment(0) + seconds(1))
        assert account.calls.named("registry.all") == []
        assert account.calls.named("queues.read") == [{one.queue_url}]
        assert account.calls.named("fleets.read") == [{one.fleet}]
        assert account.calls.named("states.read") == [{"a"}]


# --- warm pools -------------------------------------------------------------------------------------------


def with_pool(account: FakeAccount, found: int | Unknown) -> None:
    served = add(account)
    assert isinstance(served.fleet, AutoScalingGroup)
    capacity = account.fleets.capacities[served.fleet]
    assert isinstance(capacity, Capacity)
    account.fleets.capacities[served.fleet] = replace(capacity, has_warm_pool=True)
    account.warm_pools.found[served.fleet] = found


def test_the_plan_knows_what_is_left_in_the_warm_pool(account: FakeAccount) -> None:
    with_pool(account, 3)
    tick(account)
    state = account.states.stored["transcription"].state
    assert state is not None
    assert [(one.instances, one.warm) for one in state.launches] == [(3, True), (NEEDED - 3, False)]


def test_a_pool_that_cannot_be_read_is_logged_and_every_launch_counts_as_cold(account: FakeAccount) -> None:
    with_pool(account, Unknown(reason="DescribeWarmPool of transcription: throttled"))
    tick(account)
    state = account.states.stored["transcription"].state
    assert state is not None
    assert [(one.instances, one.warm) for one in state.launches] == [(NEEDED, False)]
    assert account.report.failures == [
        ("transcription", Counter.OBSERVATION_FAILED, "DescribeWarmPool of transcription: throttled")
    ]
