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
    ecs_workload,
    minutes_ago,
    plenty,
    seconds,
    workload,
)
from tests.support.fakes import Scene


def tick(scene: Scene, scheduled: datetime | None = None) -> None:
    publish_backlog(scheduled or scene.clock(), scene.world, scene.report, scene.remaining_s)


class TestPublishing:
    def test_each_workload_is_published_at_the_scheduled_minute_under_its_fleets_own_dimensions(
        self, scene: Scene
    ) -> None:
        scene.serve(workload(), visible=20, in_flight=4, desired=3)
        scene.serve(ecs_workload(), visible=9, desired=2)
        scene.clock.advance(seconds=25)  # the tick starts late, within its minute's grace
        tick(scene, scheduled=MINUTE_NOW)
        points = scene.published()
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
        assert scene.report.counts[Counter.WORKLOADS_SERVED] == 2

    def test_in_flight_messages_count_only_where_the_document_says_so(self, scene: Scene) -> None:
        scene.serve(workload(count_in_flight=False), visible=20, in_flight=4, desired=2)
        tick(scene)
        assert scene.published()["transcription"].value == 10

    def test_an_empty_queue_is_published_as_zero(self, scene: Scene) -> None:
        scene.serve(workload(), desired=2)
        tick(scene)
        assert scene.published()["transcription"].value == 0

    def test_a_scheduled_time_within_the_minute_is_published_at_the_minutes_start(self, scene: Scene) -> None:
        scene.serve(workload())
        tick(scene, scheduled=MINUTE_NOW + seconds(29))
        assert scene.published()["transcription"].at == MINUTE_NOW

    def test_a_tick_asks_the_queues_and_the_fleets_once_for_all_workloads(self, scene: Scene) -> None:
        one, other = scene.serve(workload(), desired=1), scene.serve(ecs_workload(), desired=1)
        tick(scene)
        assert scene.calls.named("queues.read") == [{one.queue_url, other.queue_url}]
        assert scene.calls.named("fleets.read") == [{one.fleet, other.fleet}]
        assert len(scene.calls.named("metrics.publish")) == 1

    def test_what_was_seen_and_published_is_logged(self, scene: Scene) -> None:
        scene.serve(workload(), visible=9, desired=2)
        tick(scene)
        assert scene.report.seen == {"transcription": 4.5}

    def test_without_workloads_a_tick_publishes_nothing(self, scene: Scene) -> None:
        tick(scene)
        assert scene.published() == {}
        assert Counter.WORKLOADS_SERVED in scene.report.counts


class TestFailedReadings:
    @pytest.mark.parametrize("what", ["queue", "fleet"])
    def test_a_failed_read_publishes_nothing_for_that_workload_alone_and_is_counted(
        self, scene: Scene, what: str
    ) -> None:
        broken, healthy = scene.serve(workload(), desired=2), scene.serve(ecs_workload(), desired=2)
        if what == "queue":
            scene.queues.failing[broken.queue_url] = "AccessDenied"
        else:
            scene.fleets.failing[broken.fleet] = "AccessDenied"
        tick(scene)
        assert list(scene.published()) == [healthy.name]
        assert scene.report.failures == [(broken.name, Counter.OBSERVATION_FAILED, "AccessDenied")]
        assert scene.report.counts[Counter.WORKLOADS_SERVED] == 1

    def test_both_reasons_are_logged_where_both_reads_failed(self, scene: Scene) -> None:
        broken = scene.serve(workload())
        scene.queues.failing[broken.queue_url] = "no queue"
        scene.fleets.failing[broken.fleet] = "no group"
        tick(scene)
        assert scene.report.failures == [(broken.name, Counter.OBSERVATION_FAILED, "no queue; no group")]

    def test_nothing_is_repaired_on_a_failed_read(self, scene: Scene) -> None:
        broken = scene.serve(workload(), desired=2)
        scene.idle(broken)
        scene.queues.failing[broken.queue_url] = "throttled"
        tick(scene)
        assert scene.resizes() == []
        assert scene.calls.named("metrics.read") == []

    def test_what_is_not_read_before_the_deadline_counts_as_failed(self, scene: Scene) -> None:
        one, other = scene.serve(workload(), desired=1), scene.serve(ecs_workload(), visible=5)
        scene.registry.all(plenty)
        scene.remaining = 0
        tick(scene)
        assert scene.published() == {}
        assert {name for name, counter, _ in scene.report.failures} == {one.name, other.name}
        assert scene.report.counts[Counter.OBSERVATION_FAILED] == 2
        assert scene.resizes() == []

    def test_a_slow_queue_leaves_half_of_the_time_to_the_fleets(self, scene: Scene) -> None:
        """Else one slow queue would leave every fleet unread, and no workload would be published."""
        slow, quick = scene.serve(workload(), visible=3, desired=1), scene.serve(ecs_workload(), visible=5)
        scene.queues.failing[slow.queue_url] = "no answer in time"
        read = scene.queues.read

        def until_no_time_is_left(urls: Collection[str], remaining_s: RemainingS) -> object:
            seen = read(urls, remaining_s)
            while remaining_s() > 0:
                scene.remaining -= 1
            return seen

        scene.queues.read = until_no_time_is_left
        tick(scene)
        assert scene.remaining > 0
        assert set(scene.published()) == {quick.name}
        assert [name for name, _, _ in scene.report.failures] == [slow.name]

    def test_what_was_read_is_published_even_when_the_deadline_then_passes(self, scene: Scene) -> None:
        late = scene.serve(workload(), visible=5)

        def time_runs_out_once_all_is_read() -> None:
            if scene.calls.named("metrics.publish"):
                scene.remaining = 0

        scene.calls.between = time_runs_out_once_all_is_read
        tick(scene)
        assert scene.published()[late.name].value == 5
        assert scene.resizes() == []
        assert scene.report.failures == [
            (late.name, Counter.ACTION_FAILED, "no time left in this tick; the next one looks again")
        ]

    def test_a_tick_without_time_left_asks_for_no_proof(self, scene: Scene) -> None:
        """A GetMetricData that times out takes 24 s: Lambda would end the tick, its counters lost."""
        idle = scene.serve(workload(), desired=1)
        scene.idle(idle)

        def time_runs_out_once_all_is_read() -> None:
            if scene.calls.named("metrics.publish"):
                scene.remaining = 0

        scene.calls.between = time_runs_out_once_all_is_read
        tick(scene)
        assert scene.calls.named("metrics.read") == []
        assert scene.resizes() == []
        [(name, counter, reason)] = scene.report.failures
        assert (name, counter) == (idle.name, Counter.ACTION_FAILED)
        assert reason == "no time left in this tick; the next one looks again"

    def test_a_refused_point_is_counted_and_ends_the_tick_visibly_failed(self, scene: Scene) -> None:
        scene.serve(workload(), visible=3)
        scene.metrics.refusing = "CloudWatch is throttling"
        with pytest.raises(TransientError, match="refused the data points of 1 workloads"):
            tick(scene)
        assert ("transcription", Counter.PUBLISH_FAILED, "CloudWatch is throttling") in scene.report.failures
        assert scene.report.counts[Counter.WORKLOADS_SERVED] == 0

    def test_a_refused_point_does_not_keep_the_tick_from_waking_a_fleet(self, scene: Scene) -> None:
        served = scene.serve(workload(), visible=3)
        scene.metrics.refusing = "CloudWatch is throttling"
        with pytest.raises(TransientError):
            tick(scene)
        assert scene.desired(served) == 1


class TestSchedule:
    def test_a_stale_tick_is_counted_and_does_nothing(self, scene: Scene) -> None:
        scene.serve(workload(), visible=5)
        tick(scene, scheduled=scene.clock() - seconds(110.5))
        assert scene.calls.made == []
        assert scene.report.counts == {Counter.STALE_TICK: 1}

    def test_a_tick_that_is_as_much_too_early_publishes_nothing_in_the_future(self, scene: Scene) -> None:
        scene.serve(workload(), visible=5)
        tick(scene, scheduled=scene.clock() + seconds(111))
        assert scene.calls.made == []
        assert scene.report.counts == {Counter.STALE_TICK: 1}

    @pytest.mark.parametrize("late_s", [59, 60, 90, 110])
    def test_a_tick_as_late_as_the_scheduler_may_be_plus_a_cold_start_still_counts(
        self, scene: Scene, late_s: int
    ) -> None:
        served = scene.serve(workload(), visible=5)
        scene.clock.at = MINUTE_NOW + seconds(late_s)
        tick(scene, scheduled=MINUTE_NOW)
        assert scene.published()[served.name].at == MINUTE_NOW
        assert scene.report.counts[Counter.STALE_TICK] == 0

    def test_a_duplicate_tick_changes_nothing_more(self, scene: Scene) -> None:
        served = scene.serve(workload(), visible=20)
        tick(scene, scheduled=MINUTE_NOW)
        scene.fleets.settle()
        tick(scene, scheduled=MINUTE_NOW)
        assert scene.resizes() == [(served.fleet, 1)]
        assert scene.desired(served) == 1


class TestRegistry:
    def test_a_bad_document_is_reported_and_counted_while_the_others_are_served(self, scene: Scene) -> None:
        scene.serve(workload(), desired=1)
        scene.registry.bad["broken"] = "the document of workload broken is refused; mode: 'on'"
        tick(scene)
        assert list(scene.published()) == ["transcription"]
        assert scene.report.failures == [
            ("broken", Counter.DOCUMENT_INVALID, "the document of workload broken is refused; mode: 'on'")
        ]

    def test_two_workloads_on_one_fleet_are_both_held_and_reported(self, scene: Scene) -> None:
        first = scene.serve(workload(), visible=5)
        scene.serve(replace(workload("second"), fleet=first.fleet), visible=5)
        scene.serve(ecs_workload(), desired=1)
        tick(scene)
        assert list(scene.published()) == ["queue-proc"]
        assert {name for name, _, _ in scene.report.failures} == {"transcription", "second"}
        assert scene.resizes() == []

    def test_the_last_good_copy_serves_the_tick_and_is_counted(self, scene: Scene) -> None:
        scene.serve(workload(), desired=1, visible=3)
        tick(scene)
        scene.registry.failing = TransientError("SSM is down")
        scene.clock.advance(minutes=6)
        tick(scene)
        assert scene.report.counts[Counter.REGISTRY_STALE] == 1
        assert scene.published()["transcription"].at == MINUTE_NOW + timedelta(minutes=6)

    def test_a_registry_that_was_never_read_fails_the_tick(self, scene: Scene) -> None:
        scene.registry.failing = TransientError("SSM is down")
        with pytest.raises(TransientError, match="SSM is down"):
            tick(scene)


class TestRepairs:
    def test_work_that_waits_while_nothing_runs_wakes_the_fleet(self, scene: Scene) -> None:
        served = scene.serve(workload(), visible=1)
        tick(scene)
        assert scene.desired(served) == 1
        [(decision, outcome)] = scene.report.decisions
        assert (decision.kind, decision.trigger, decision.reason, outcome) == (
            Kind.BOOTSTRAP,
            Trigger.TICK,
            Reason.WORK_WAITS,
            Outcome.ACTED,
        )

    @pytest.mark.parametrize("least", [0, 1])
    def test_a_queue_proven_empty_sends_the_fleet_to_its_minimum(self, scene: Scene, least: int) -> None:
        served = scene.serve(workload(min_instances=least), desired=3)
        scene.idle(served)
        tick(scene)
        assert scene.desired(served) == least
        [(decision, outcome)] = scene.report.decisions
        assert (decision.kind, decision.trigger, outcome) == (Kind.SHUTDOWN, Trigger.TICK, Outcome.ACTED)

    @pytest.mark.parametrize("waiting", ["visible", "in_flight", "delayed"])
    def test_any_message_at_all_keeps_the_fleet(self, scene: Scene, waiting: str) -> None:
        served = scene.serve(workload(), desired=3)
        scene.queues.change(served.queue_url, **{waiting: 1})
        scene.idle(served)
        tick(scene)
        assert scene.desired(served) == 3

    def test_one_minute_without_a_point_keeps_the_fleet_and_is_logged(self, scene: Scene) -> None:
        served = scene.serve(workload(), desired=3)
        scene.idle(served, minutes=4)
        tick(scene)
        assert scene.desired(served) == 3
        [(decision, outcome)] = scene.report.decisions
        assert (decision.reason, outcome) == (Reason.NOT_PROVEN, Outcome.HELD)

    def test_each_workload_needs_its_own_idle_minutes(self, scene: Scene) -> None:
        patient = scene.serve(workload(idle_minutes=10), desired=3)
        hasty = scene.serve(ecs_workload(idle_minutes=2), desired=3)
        scene.idle(patient, minutes=9)
        scene.idle(hasty, minutes=2)
        tick(scene)
        assert (scene.desired(patient), scene.desired(hasty)) == (3, 0)

    def test_one_call_reads_as_far_back_as_the_most_patient_workload_asks(self, scene: Scene) -> None:
        patient = scene.serve(workload(idle_minutes=10), desired=3)
        hasty = scene.serve(ecs_workload(idle_minutes=2), desired=3)
        for served in (patient, hasty):
            scene.idle(served)
        tick(scene)
        assert (scene.desired(patient), scene.desired(hasty)) == (0, 0)
        queries, start, end = scene.calls.named("metrics.read")[0]
        assert set(queries) == {patient.name, hasty.name}
        assert (start, end) == (minutes_ago(10), minutes_ago(0))

    def test_the_proof_is_asked_for_only_where_a_workload_reads_empty_above_its_minimum(
        self, scene: Scene
    ) -> None:
        idle = scene.serve(workload(), desired=1)
        scene.serve(ecs_workload("busy"), visible=4, desired=2)
        scene.serve(ecs_workload("asleep"), desired=0)
        scene.serve(ecs_workload("paused", mode=Mode.PAUSED), desired=2)
        tick(scene)
        [(queries, start, end)] = scene.calls.named("metrics.read")
        assert set(queries) == {idle.name}
        assert queries[idle.name].metric == scene.backlog_metric(idle)
        assert (queries[idle.name].statistic, queries[idle.name].period_s) == ("Maximum", 60)
        assert (start, end) == (minutes_ago(5), minutes_ago(0))

    def test_a_fleet_asleep_over_an_empty_queue_costs_no_metric_call(self, scene: Scene) -> None:
        scene.serve(workload())
        tick(scene)
        assert scene.calls.named("metrics.read") == []
        assert scene.report.decisions == []

    def test_a_proof_that_could_not_be_read_keeps_the_fleet_and_is_counted(self, scene: Scene) -> None:
        served = scene.serve(workload(), desired=3)
        scene.metrics.unreadable["BacklogPerInstance"] = "GetMetricData was throttled"
        tick(scene)
        assert scene.desired(served) == 3
        assert scene.report.failures == [
            (served.name, Counter.OBSERVATION_FAILED, "GetMetricData was throttled")
        ]

    @pytest.mark.parametrize(("visible", "desired"), [(5, 0), (0, 3)])
    def test_observe_logs_the_decision_and_does_not_act(
        self, scene: Scene, visible: int, desired: int
    ) -> None:
        served = scene.serve(workload(mode=Mode.OBSERVE), visible=visible, desired=desired)
        scene.idle(served)
        tick(scene)
        assert scene.resizes() == []
        [(decision, outcome)] = scene.report.decisions
        assert (decision.desired, outcome) == (0 if desired else 1, Outcome.OBSERVED)
        assert list(scene.published()) == [served.name]

    @pytest.mark.parametrize(("visible", "desired"), [(5, 0), (0, 3)])
    def test_paused_publishes_and_skips_the_repairs(self, scene: Scene, visible: int, desired: int) -> None:
        served = scene.serve(workload(mode=Mode.PAUSED), visible=visible, desired=desired)
        scene.idle(served)
        tick(scene)
        assert list(scene.published()) == [served.name]
        assert (scene.resizes(), scene.report.decisions) == ([], [])

    def test_the_document_is_read_again_just_before_acting(self, scene: Scene) -> None:
        served = scene.serve(workload(), visible=5)
        scene.registry.all(plenty)  # cached; then an operator pauses the workload
        scene.registry.registered[served.name] = replace(served, mode=Mode.PAUSED)
        tick(scene)
        assert scene.resizes() == []
        [(decision, outcome)] = scene.report.decisions
        assert (decision.reason, outcome) == (Reason.PAUSED, Outcome.HELD)

    def test_the_world_is_observed_again_just_before_acting(self, scene: Scene) -> None:
        served = scene.serve(workload(), visible=5)

        def somebody_else_wakes_it() -> None:
            if scene.calls.named("registry.one"):
                scene.fleets.holding[served.fleet] = capacity(4)

        scene.calls.between = somebody_else_wakes_it
        tick(scene)
        assert scene.desired(served) == 4
        assert scene.resizes() == []

    def test_a_failure_in_one_workloads_repair_does_not_stop_the_next(self, scene: Scene) -> None:
        broken = scene.serve(workload("broken"), visible=5)
        healthy = scene.serve(ecs_workload(), visible=5)
        set_desired = scene.fleets.set_desired

        def refuse_one(fleet: object, instances: int) -> None:
            if fleet == broken.fleet:
                raise CapacityError("no room")
            set_desired(healthy.fleet, instances)

        scene.fleets.set_desired = refuse_one
        tick(scene)
        assert scene.desired(healthy) == 1
        assert scene.report.failures == [(broken.name, Counter.ACTION_FAILED, "no room")]
        assert scene.report.defects_seen == []

    def test_a_defect_in_one_workloads_repair_is_logged_with_its_trace_and_does_not_stop_the_next(
        self, scene: Scene
    ) -> None:
        broken = scene.serve(workload("broken"), visible=5)
        healthy = scene.serve(ecs_workload(), visible=5)
        one, defect = scene.registry.one, RuntimeError("a defect of ours")

        def trip(name: str, remaining_s: RemainingS) -> object:
            if name == broken.name:
                raise defect
            return one(name, remaining_s)

        scene.registry.one = trip
        with pytest.raises(DefectError):
            tick(scene)
        assert scene.desired(healthy) == 1
        assert scene.report.failures == [
            (broken.name, Counter.ACTION_FAILED, "unexpected RuntimeError: a defect of ours")
        ]
        assert scene.report.defects_seen == [defect]

    def test_a_workload_deleted_since_the_list_was_read_is_logged_and_left_alone(self, scene: Scene) -> None:
        served = scene.serve(workload(), visible=5)
        scene.registry.all(plenty)
        del scene.registry.registered[served.name]
        tick(scene)
        assert scene.resizes() == []
        [(name, counter, reason)] = scene.report.failures
        assert (name, counter) == (served.name, Counter.ACTION_FAILED)
        assert "no workload transcription is registered" in reason

    def test_a_fleet_that_refuses_is_counted_and_the_tick_ends_well(self, scene: Scene) -> None:
        scene.serve(workload(), visible=5)
        scene.fleets.refusing = ConfigError("AccessDenied")
        tick(scene)
        assert scene.report.failures == [("transcription", Counter.ACTION_FAILED, "AccessDenied")]

    def test_a_fleet_whose_own_minimum_is_higher_stays_there(self, scene: Scene) -> None:
        served = scene.serve(workload(), desired=3, bounds=Bounds(min=2, max=4))
        scene.idle(served)
        tick(scene)
        assert scene.desired(served) == 2

    def test_a_deployment_that_holds_the_shutdown_for_over_an_hour_is_an_error_every_minute(
        self, scene: Scene
    ) -> None:
        served = scene.serve(ecs_workload(), desired=2)
        scene.fleets.holding[served.fleet] = replace(
            capacity(2),
            scale_in_held_by=("a deployment is rolling",),
            deploying_since=scene.clock() - timedelta(minutes=60),
        )
        for _ in range(4):
            scene.idle(served)
            tick(scene, scheduled=scene.clock().replace(second=0))
            scene.clock.advance(minutes=1)
        logged = [decision.reason for decision, _ in scene.report.decisions]
        assert logged == [Reason.HELD, Reason.HELD, Reason.DEPLOYMENT_STUCK, Reason.DEPLOYMENT_STUCK]
        assert [(name, counter) for name, counter, _ in scene.report.failures] == [
            (served.name, Counter.DEPLOYMENT_STUCK)
        ] * 2
        [*_, (_, _, reason)] = scene.report.failures
        assert reason == (
            "a deployment over an hour old holds the shutdown: "
            "a deployment is rolling, since 2026-01-15 11:00 UTC, for 61 min"
        )
        assert scene.resizes() == []

    @pytest.mark.parametrize(
        ("bounds", "suspended", "reason"),
        [
            (Bounds(min=0, max=5), ("Launch is suspended",), Reason.HELD),
            (Bounds(min=7, max=9), (), Reason.BOUNDS_DISJOINT),
            (Bounds(min=0, max=0), (), Reason.NO_ROOM),
        ],
    )
    def test_what_blocks_a_bootstrap_is_logged_every_minute(
        self, scene: Scene, bounds: Bounds, suspended: tuple[str, ...], reason: Reason
    ) -> None:
        served = scene.serve(workload(), visible=5)
        scene.fleets.holding[served.fleet] = replace(capacity(0, bounds=bounds), scale_out_held_by=suspended)
        for _ in range(2):
            tick(scene)
        logged = [(decision.reason, outcome) for decision, outcome in scene.report.decisions]
        assert logged == [(reason, Outcome.HELD)] * 2
        assert scene.resizes() == []
