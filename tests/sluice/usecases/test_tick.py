from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sluice.core.model import Bounds, Kind, Mode, Reason, Trigger
from sluice.errors import CapacityError, ConfigError, DefectError, TransientError
from sluice.ports import Counter, Outcome, RemainingS
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    capacity,
    deadline_workload,
    ecs_workload,
    minutes_ago,
    plenty,
    seconds,
    workload,
)
from tests.support.fakes import FakeAccount


def tick(account: FakeAccount, scheduled: datetime | None = None) -> None:
    publish_backlog(scheduled or account.clock(), account.ports, account.report, account.remaining_s)


class TestPublishing:
    def test_each_workload_is_published_at_the_scheduled_minute_under_its_fleets_own_dimensions(
        self, account: FakeAccount
    ) -> None:
        account.add_workload(workload(), visible=20, in_flight=4, desired=3)
        account.add_workload(ecs_workload(), visible=9, desired=2)
        account.clock.advance(seconds=25)  # the tick starts late, within its minute's grace
        tick(account, scheduled=MINUTE_NOW)
        points = account.published()
        assert {name: (point.value, point.at) for name, point in points.items()} == {
            "transcription": (8, MINUTE_NOW),
            "queue-proc": (4.5, MINUTE_NOW),
        }
        assert points["transcription"].metric.dimensions == {"AutoScalingGroupName": "transcription"}
        assert points["queue-proc"].metric.dimensions == {
            "ClusterName": "workers",
            "ServiceName": "queue-proc",
        }
        assert {(point.metric.namespace, point.metric.name) for point in points.values()} == {
            ("Sluice", "BacklogPerInstance")
        }
        assert account.report.counts[Counter.WORKLOADS_SERVED] == 2

    def test_in_flight_messages_count_only_if_the_document_says_so(self, account: FakeAccount) -> None:
        account.add_workload(workload(count_in_flight=False), visible=20, in_flight=4, desired=2)
        tick(account)
        assert account.published()["transcription"].value == 10

    def test_an_empty_queue_is_published_as_zero(self, account: FakeAccount) -> None:
        account.add_workload(workload(), desired=2)
        tick(account)
        assert account.published()["transcription"].value == 0

    @pytest.mark.parametrize("mode", Mode)
    @pytest.mark.parametrize("desired", [0, 2])
    def test_a_workload_of_the_deadline_engine_is_published_in_every_mode_at_zero_too(
        self, account: FakeAccount, desired: int, mode: Mode
    ) -> None:
        """Its fallback takes a missing point for a silent control plane."""
        account.add_workload(deadline_workload(mode=mode), desired=desired)
        tick(account)
        assert account.published()["transcription"].value == 0

    def test_a_scheduled_time_within_the_minute_is_published_at_the_minutes_start(
        self, account: FakeAccount
    ) -> None:
        account.add_workload(workload())
        tick(account, scheduled=MINUTE_NOW + seconds(29))
        assert account.published()["transcription"].at == MINUTE_NOW

    def test_a_tick_reads_queues_and_fleets_once_for_all_workloads(self, account: FakeAccount) -> None:
        one, other = (
            account.add_workload(workload(), desired=1),
            account.add_workload(ecs_workload(), desired=1),
        )
        tick(account)
        assert account.calls.named("queues.read") == [{one.queue_url, other.queue_url}]
        assert account.calls.named("fleets.read") == [{one.fleet, other.fleet}]
        assert len(account.calls.named("metrics.publish")) == 1

    def test_observations_and_published_values_are_logged(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=9, desired=2)
        tick(account)
        assert account.report.backlogs == {"transcription": 4.5}

    def test_without_workloads_a_tick_publishes_nothing(self, account: FakeAccount) -> None:
        tick(account)
        assert account.published() == {}
        assert Counter.WORKLOADS_SERVED in account.report.counts


class TestFailedReadings:
    @pytest.mark.parametrize("what", ["queue", "fleet"])
    def test_a_failed_read_publishes_nothing_for_that_workload_alone_and_is_counted(
        self, account: FakeAccount, what: str
    ) -> None:
        broken, healthy = (
            account.add_workload(workload(), desired=2),
            account.add_workload(ecs_workload(), desired=2),
        )
        if what == "queue":
            account.queues.failing[broken.queue_url] = "AccessDenied"
        else:
            account.fleets.failing[broken.fleet] = "AccessDenied"
        tick(account)
        assert list(account.published()) == [healthy.name]
        assert account.report.failures == [(broken.name, Counter.OBSERVATION_FAILED, "AccessDenied")]
        assert account.report.counts[Counter.WORKLOADS_SERVED] == 1

    def test_both_reasons_are_logged_where_both_reads_failed(self, account: FakeAccount) -> None:
        broken = account.add_workload(workload())
        account.queues.failing[broken.queue_url] = "no queue"
        account.fleets.failing[broken.fleet] = "no group"
        tick(account)
        assert account.report.failures == [(broken.name, Counter.OBSERVATION_FAILED, "no queue; no group")]

    def test_nothing_is_repaired_on_a_failed_read(self, account: FakeAccount) -> None:
        broken = account.add_workload(workload(), desired=2)
        account.publish_idle_minutes(broken)
        account.queues.failing[broken.queue_url] = "throttled"
        tick(account)
        assert account.resizes() == []
        assert account.calls.named("metrics.read") == []

    def test_a_read_that_misses_the_deadline_counts_as_failed(self, account: FakeAccount) -> None:
        one, other = (
            account.add_workload(workload(), desired=1),
            account.add_workload(ecs_workload(), visible=5),
        )
        account.registry.all(plenty)
        account.remaining = 0
        tick(account)
        assert account.published() == {}
        assert {name for name, counter, _ in account.report.failures} == {one.name, other.name}
        assert account.report.counts[Counter.OBSERVATION_FAILED] == 2
        assert account.resizes() == []

    def test_a_slow_queue_leaves_half_of_the_time_to_the_fleets(self, account: FakeAccount) -> None:
        """Otherwise one slow queue would leave every fleet unread, and no workload would be published."""
        slow, quick = (
            account.add_workload(workload(), visible=3, desired=1),
            account.add_workload(ecs_workload(), visible=5),
        )
        account.queues.failing[slow.queue_url] = "no answer in time"
        read = account.queues.read

        def until_no_time_is_left(urls: Collection[str], remaining_s: RemainingS) -> object:
            backlogs = read(urls, remaining_s)
            while remaining_s() > 0:
                account.remaining -= 1
            return backlogs

        account.queues.read = until_no_time_is_left
        tick(account)
        assert account.remaining > 0
        assert set(account.published()) == {quick.name}
        assert [name for name, _, _ in account.report.failures] == [slow.name]

    def test_what_was_read_is_published_even_when_the_deadline_then_passes(
        self, account: FakeAccount
    ) -> None:
        late = account.add_workload(workload(), visible=5)

        def time_runs_out_once_all_is_read() -> None:
            if account.calls.named("metrics.publish"):
                account.remaining = 0

        account.calls.between = time_runs_out_once_all_is_read
        tick(account)
        assert account.published()[late.name].value == 5
        assert account.resizes() == []
        assert account.report.failures == [
            (late.name, Counter.ACTION_FAILED, "no time left in this tick; the next one looks again")
        ]

    def test_a_tick_without_time_left_reads_no_proof(self, account: FakeAccount) -> None:
        """A GetMetricData that times out takes 24 s: Lambda would end the tick, its counters lost."""
        idle = account.add_workload(workload(), desired=1)
        account.publish_idle_minutes(idle)

        def time_runs_out_once_all_is_read() -> None:
            if account.calls.named("metrics.publish"):
                account.remaining = 0

        account.calls.between = time_runs_out_once_all_is_read
        tick(account)
        assert account.calls.named("metrics.read") == []
        assert account.resizes() == []
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == (idle.name, Counter.ACTION_FAILED)
        assert reason == "no time left in this tick; the next one looks again"

    def test_a_refused_point_is_counted_and_fails_the_tick(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=3)
        account.metrics.refusing = "CloudWatch is throttling"
        with pytest.raises(TransientError, match="refused the data points of 1 workloads"):
            tick(account)
        assert (
            "transcription",
            Counter.PUBLISH_FAILED,
            "CloudWatch is throttling",
        ) in account.report.failures
        assert account.report.counts[Counter.WORKLOADS_SERVED] == 0

    def test_a_refused_point_does_not_prevent_a_bootstrap(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), visible=3)
        account.metrics.refusing = "CloudWatch is throttling"
        with pytest.raises(TransientError):
            tick(account)
        assert account.desired(served) == 1


class TestSchedule:
    def test_a_stale_tick_is_counted_and_does_nothing(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=5)
        tick(account, scheduled=account.clock() - seconds(110.5))
        assert account.calls.made == []
        assert account.report.counts == {Counter.STALE_TICK: 1}

    def test_a_tick_that_is_too_early_publishes_nothing(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=5)
        tick(account, scheduled=account.clock() + seconds(111))
        assert account.calls.made == []
        assert account.report.counts == {Counter.STALE_TICK: 1}

    @pytest.mark.parametrize("late_s", [59, 60, 90, 110])
    def test_a_tick_with_the_longest_delay_and_a_cold_start_still_counts(
        self, account: FakeAccount, late_s: int
    ) -> None:
        served = account.add_workload(workload(), visible=5)
        account.clock.at = MINUTE_NOW + seconds(late_s)
        tick(account, scheduled=MINUTE_NOW)
        assert account.published()[served.name].at == MINUTE_NOW
        assert account.report.counts[Counter.STALE_TICK] == 0

    def test_a_duplicate_tick_changes_nothing_more(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), visible=20)
        tick(account, scheduled=MINUTE_NOW)
        account.fleets.settle()
        tick(account, scheduled=MINUTE_NOW)
        assert account.resizes() == [(served.fleet, 1)]
        assert account.desired(served) == 1


class TestRegistry:
    def test_a_bad_document_is_reported_and_counted_while_the_others_are_served(
        self, account: FakeAccount
    ) -> None:
        account.add_workload(workload(), desired=1)
        account.registry.bad["broken"] = "the document of workload broken is refused; mode: 'on'"
        tick(account)
        assert list(account.published()) == ["transcription"]
        assert account.report.failures == [
            ("broken", Counter.DOCUMENT_INVALID, "the document of workload broken is refused; mode: 'on'")
        ]

    def test_two_workloads_on_one_fleet_are_both_held_and_reported(self, account: FakeAccount) -> None:
        first = account.add_workload(workload(), visible=5)
        account.add_workload(replace(workload("second"), fleet=first.fleet), visible=5)
        account.add_workload(ecs_workload(), desired=1)
        tick(account)
        assert list(account.published()) == ["queue-proc"]
        assert {name for name, _, _ in account.report.failures} == {"transcription", "second"}
        assert account.resizes() == []

    def test_the_tick_uses_the_last_good_copy_and_counts_it(self, account: FakeAccount) -> None:
        account.add_workload(workload(), desired=1, visible=3)
        tick(account)
        account.registry.failing = TransientError("SSM is down")
        account.clock.advance(minutes=6)
        tick(account)
        assert account.report.counts[Counter.REGISTRY_STALE] == 1
        assert account.published()["transcription"].at == MINUTE_NOW + timedelta(minutes=6)

    def test_a_registry_that_was_never_read_fails_the_tick(self, account: FakeAccount) -> None:
        account.registry.failing = TransientError("SSM is down")
        with pytest.raises(TransientError, match="SSM is down"):
            tick(account)


class TestRepairs:
    def test_waiting_work_while_nothing_runs_bootstraps_the_fleet(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), visible=1)
        tick(account)
        assert account.desired(served) == 1
        [(decision, outcome)] = account.report.decisions
        assert (decision.kind, decision.trigger, decision.reason, outcome) == (
            Kind.BOOTSTRAP,
            Trigger.TICK,
            Reason.WORK_WAITS,
            Outcome.ACTED,
        )

    @pytest.mark.parametrize("minimum", [0, 1])
    def test_a_queue_proven_empty_sets_the_fleet_to_its_minimum(
        self, account: FakeAccount, minimum: int
    ) -> None:
        served = account.add_workload(workload(min_instances=minimum), desired=3)
        account.publish_idle_minutes(served)
        tick(account)
        assert account.desired(served) == minimum
        [(decision, outcome)] = account.report.decisions
        assert (decision.kind, decision.trigger, outcome) == (Kind.SHUTDOWN, Trigger.TICK, Outcome.ACTED)

    @pytest.mark.parametrize("waiting", ["visible", "in_flight", "delayed"])
    def test_any_message_prevents_a_shutdown(self, account: FakeAccount, waiting: str) -> None:
        served = account.add_workload(workload(), desired=3)
        account.queues.change(served.queue_url, **{waiting: 1})
        account.publish_idle_minutes(served)
        tick(account)
        assert account.desired(served) == 3

    def test_one_minute_without_a_point_keeps_the_fleet_and_is_logged(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), desired=3)
        account.publish_idle_minutes(served, minutes=4)
        tick(account)
        assert account.desired(served) == 3
        [(decision, outcome)] = account.report.decisions
        assert (decision.reason, outcome) == (Reason.NOT_PROVEN, Outcome.HELD)

    def test_each_workload_needs_its_own_idle_minutes(self, account: FakeAccount) -> None:
        long_idle = account.add_workload(workload(idle_minutes=10), desired=3)
        short_idle = account.add_workload(ecs_workload(idle_minutes=2), desired=3)
        account.publish_idle_minutes(long_idle, minutes=9)
        account.publish_idle_minutes(short_idle, minutes=2)
        tick(account)
        assert (account.desired(long_idle), account.desired(short_idle)) == (3, 0)

    def test_one_call_reads_as_far_back_as_the_longest_idle_minutes(self, account: FakeAccount) -> None:
        long_idle = account.add_workload(workload(idle_minutes=10), desired=3)
        short_idle = account.add_workload(ecs_workload(idle_minutes=2), desired=3)
        for served in (long_idle, short_idle):
            account.publish_idle_minutes(served)
        tick(account)
        assert (account.desired(long_idle), account.desired(short_idle)) == (0, 0)
        queries, start, end = account.calls.named("metrics.read")[0]
        assert set(queries) == {long_idle.name, short_idle.name}
        assert (start, end) == (minutes_ago(10), minutes_ago(0))

    def test_the_proof_is_read_only_if_a_workload_reads_empty_above_its_minimum(
        self, account: FakeAccount
    ) -> None:
        idle = account.add_workload(workload(), desired=1)
        account.add_workload(ecs_workload("busy"), visible=4, desired=2)
        account.add_workload(ecs_workload("asleep"), desired=0)
        account.add_workload(ecs_workload("paused", mode=Mode.PAUSED), desired=2)
        tick(account)
        [(queries, start, end)] = account.calls.named("metrics.read")
        assert set(queries) == {idle.name}
        assert queries[idle.name].metric == account.backlog_metric(idle)
        assert (queries[idle.name].statistic, queries[idle.name].period_s) == ("Maximum", 60)
        assert (start, end) == (minutes_ago(5), minutes_ago(0))

    def test_a_fleet_at_zero_with_an_empty_queue_costs_no_metric_call(self, account: FakeAccount) -> None:
        account.add_workload(workload())
        tick(account)
        assert account.calls.named("metrics.read") == []
        assert account.report.decisions == []

    def test_a_proof_that_could_not_be_read_keeps_the_fleet_and_is_counted(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), desired=3)
        account.metrics.unreadable["BacklogPerInstance"] = "GetMetricData was throttled"
        tick(account)
        assert account.desired(served) == 3
        assert account.report.failures == [
            (served.name, Counter.OBSERVATION_FAILED, "GetMetricData was throttled")
        ]

    @pytest.mark.parametrize(("visible", "desired"), [(5, 0), (0, 3)])
    def test_observe_logs_the_decision_and_does_not_act(
        self, account: FakeAccount, visible: int, desired: int
    ) -> None:
        served = account.add_workload(workload(mode=Mode.OBSERVE), visible=visible, desired=desired)
        account.publish_idle_minutes(served)
        tick(account)
        assert account.resizes() == []
        [(decision, outcome)] = account.report.decisions
        assert (decision.desired, outcome) == (0 if desired else 1, Outcome.OBSERVED)
        assert list(account.published()) == [served.name]

    @pytest.mark.parametrize(("visible", "desired"), [(5, 0), (0, 3)])
    def test_paused_publishes_and_skips_the_repairs(
        self, account: FakeAccount, visible: int, desired: int
    ) -> None:
        served = account.add_workload(workload(mode=Mode.PAUSED), visible=visible, desired=desired)
        account.publish_idle_minutes(served)
        tick(account)
        assert list(account.published()) == [served.name]
        assert (account.resizes(), account.report.decisions) == ([], [])

    def test_the_document_is_read_again_just_before_acting(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), visible=5)
        account.registry.all(plenty)  # cached; then an operator pauses the workload
        account.registry.registered[served.name] = replace(served, mode=Mode.PAUSED)
        tick(account)
        assert account.resizes() == []
        [(decision, outcome)] = account.report.decisions
        assert (decision.reason, outcome) == (Reason.PAUSED, Outcome.HELD)

    def test_queue_and_fleet_are_observed_again_just_before_acting(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), visible=5)

        def somebody_else_wakes_it() -> None:
            if account.calls.named("registry.one"):
                account.fleets.capacities[served.fleet] = capacity(4)

        account.calls.between = somebody_else_wakes_it
        tick(account)
        assert account.desired(served) == 4
        assert account.resizes() == []

    def test_a_failure_in_one_workloads_repair_does_not_stop_the_next(self, account: FakeAccount) -> None:
        broken = account.add_workload(workload("broken"), visible=5)
        healthy = account.add_workload(ecs_workload(), visible=5)
        set_desired = account.fleets.set_desired

        def refuse_one(fleet: object, instances: int) -> None:
            if fleet == broken.fleet:
                raise CapacityError("no room")
            set_desired(healthy.fleet, instances)

        account.fleets.set_desired = refuse_one
        tick(account)
        assert account.desired(healthy) == 1
        assert account.report.failures == [(broken.name, Counter.ACTION_FAILED, "no room")]
        assert account.report.recorded_defects == []

    def test_a_defect_in_one_workloads_repair_is_logged_with_its_trace_and_does_not_stop_the_next(
        self, account: FakeAccount
    ) -> None:
        broken = account.add_workload(workload("broken"), visible=5)
        healthy = account.add_workload(ecs_workload(), visible=5)
        one, defect = account.registry.one, RuntimeError("a defect of ours")

        def trip(name: str, remaining_s: RemainingS) -> object:
            if name == broken.name:
                raise defect
            return one(name, remaining_s)

        account.registry.one = trip
        with pytest.raises(DefectError):
            tick(account)
        assert account.desired(healthy) == 1
        assert account.report.failures == [
            (broken.name, Counter.ACTION_FAILED, "unexpected RuntimeError: a defect of ours")
        ]
        assert account.report.recorded_defects == [defect]

    def test_a_workload_deleted_since_the_list_was_read_is_logged_and_left_alone(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), visible=5)
        account.registry.all(plenty)
        del account.registry.registered[served.name]
        tick(account)
        assert account.resizes() == []
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == (served.name, Counter.ACTION_FAILED)
        assert "no workload transcription is registered" in reason

    def test_a_refused_resize_is_counted_and_the_tick_succeeds(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=5)
        account.fleets.refusing = ConfigError("AccessDenied")
        tick(account)
        assert account.report.failures == [("transcription", Counter.ACTION_FAILED, "AccessDenied")]

    def test_a_fleet_whose_own_minimum_is_higher_stays_there(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), desired=3, bounds=Bounds(min=2, max=4))
        account.publish_idle_minutes(served)
        tick(account)
        assert account.desired(served) == 2

    def test_a_deployment_that_holds_the_shutdown_for_over_an_hour_is_an_error_every_minute(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(ecs_workload(), desired=2)
        account.fleets.capacities[served.fleet] = replace(
            capacity(2),
            scale_in_blocked_by=("a deployment is rolling",),
            deploying_since=account.clock() - timedelta(minutes=60),
        )
        for _ in range(4):
            account.publish_idle_minutes(served)
            tick(account, scheduled=account.clock().replace(second=0))
            account.clock.advance(minutes=1)
        logged = [decision.reason for decision, _ in account.report.decisions]
        assert logged == [Reason.HELD, Reason.HELD, Reason.DEPLOYMENT_STUCK, Reason.DEPLOYMENT_STUCK]
        assert [(name, counter) for name, counter, _ in account.report.failures] == [
            (served.name, Counter.DEPLOYMENT_STUCK)
        ] * 2
        [*_, (_, _, reason)] = account.report.failures
        assert reason == (
            "a deployment over an hour old holds the shutdown: "
            "a deployment is rolling, since 2026-01-15 11:00 UTC, for 61 min"
        )
        assert account.resizes() == []

    @pytest.mark.parametrize(
        ("bounds", "suspended", "reason"),
        [
            (Bounds(min=0, max=5), ("Launch is suspended",), Reason.HELD),
            (Bounds(min=7, max=9), (), Reason.BOUNDS_DISJOINT),
            (Bounds(min=0, max=0), (), Reason.NO_ROOM),
        ],
    )
    def test_what_blocks_a_bootstrap_is_logged_every_minute(
        self, account: FakeAccount, bounds: Bounds, suspended: tuple[str, ...], reason: Reason
    ) -> None:
        served = account.add_workload(workload(), visible=5)
        account.fleets.capacities[served.fleet] = replace(
            capacity(0, bounds=bounds), scale_out_blocked_by=suspended
        )
        for _ in range(2):
            tick(account)
        logged = [(decision.reason, outcome) for decision, outcome in account.report.decisions]
        assert logged == [(reason, Outcome.HELD)] * 2
        assert account.resizes() == []
