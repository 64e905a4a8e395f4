"""The scaling policies: each follows its own rule, and none loses a message."""

from __future__ import annotations

import importlib
import math
from itertools import pairwise

import numpy as np
import pytest

from sluice_sim import policies
from sluice_sim.policies import (
    keda,
    staffing,
    step,
)
from sluice_sim.simulator import pod_autoscaler
from sluice_sim.simulator.arrival_estimate import ArrivalEstimate
from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import Snapshot
from sluice_sim.template.deployment import SettingError
from tests.sim.policies.builders import (
    BOOT_S,
    HOUR_S,
    MINUTE_S,
    PER_INSTANCE,
    SERVICE_S,
    deployed,
    dump,
    flow,
    hours,
    load,
    moves,
    peak,
    run_policy,
    unprocessed,
)

EXPECTED = {
    "backlog-per-instance",
    "deadline",
    "direct",
    "hpa",
    "keda",
    "keda-backlog",
    "metric-math",
    "raw-depth",
    "sluice",
    "staffing",
    "static",
    "static-target",
    "step",
}
UNEVEN = load(flow(0.4, 0, 1800), dump(300, 2400), [9000.0], hours=3)
"""A flow, a dump, and one message after a long silence."""


class TestAll:
    def test_each_is_found_by_its_file(self) -> None:
        assert set(policies.names()) == EXPECTED

    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_each_policy_has_a_description_and_the_name_of_its_file(self, name: str) -> None:
        module = importlib.import_module(f"sluice_sim.policies.{name.replace('-', '_')}")
        policy = policies.named(name)
        assert policy.name == name
        assert module.__doc__
        assert type(policy).__doc__

    @pytest.mark.parametrize("environment", ["transcription", "queue-proc"])
    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_each_processes_every_message_for_a_group_and_for_a_service(
        self, name: str, environment: str
    ) -> None:
        run = run_policy(name, UNEVEN, deployed(environment))
        assert unprocessed(run) == 0
        assert run.dead_letters == 0

    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_each_policy_stays_within_the_bounds(self, name: str) -> None:
        run = run_policy(name, load(dump(2000), hours=2), deployed(minimum=2, maximum=7))
        assert all(2 <= snapshot.desired <= 7 for snapshot in run.snapshots)

    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_the_same_run_twice_is_the_same(self, name: str) -> None:
        first, second = (run_policy(name, UNEVEN) for _ in range(2))
        assert first.log == second.log
        assert np.array_equal(first.messages.started_s, second.messages.started_s)


class TestBacklogPerInstance:
    WHAT = load(flow(3.0, 0, 2 * HOUR_S), dump(600, 4000.0), hours=2)

    @pytest.mark.parametrize(
        ("environment", "parameters"),
        [
            ("transcription", {"MessagesPerInstance": "60", "ProcessingSeconds": "5"}),
            ("transcription", {"MessagesPerInstance": "60", "MetricSource": "native"}),
            ("queue-proc", {"AcceptableLatencySeconds": "300", "MaxMessagesPerInstance": "1000"}),
        ],
    )
    def test_it_is_the_control_plane_with_tracked_metric_backlog(
        self, environment: str, parameters: dict[str, str]
    ) -> None:
        workload = deployed(environment).changed(**parameters)
        baseline = run_policy("backlog-per-instance", self.WHAT, workload)
        by_parameter = run_policy("sluice", self.WHAT, workload.changed(TrackedMetric="backlog"))
        assert baseline.log == by_parameter.log
        assert baseline.snapshots == by_parameter.snapshots
        assert np.array_equal(baseline.messages.started_s, by_parameter.messages.started_s)
        assert baseline.target == by_parameter.target
        counting_arrivals = run_policy(
            "sluice", self.WHAT, workload.changed(TrackedMetric="effective", **parameters)
        )
        assert counting_arrivals.log != baseline.log

    def test_its_tick_takes_whole_minutes_as_that_of_sluice_does(self) -> None:
        policy = policies.named("backlog-per-instance")
        setattr(policy, "tick_s", 90.0)  # noqa: B010 - as an experiment sets it
        with pytest.raises(SettingError, match="a tick of 90 s"):
            run_policy(policy, self.WHAT)


class TestSluice:
    def test_a_steady_flow_holds_its_offered_load_and_a_margin_without_a_backlog_first(self) -> None:
        what = load(flow(3.0, 0, 4 * HOUR_S), hours=4)
        workload = deployed().changed(MessagesPerInstance="60", ProcessingSeconds="5")
        sizes = {}
        for name in ("sluice", "backlog-per-instance"):
            settled = [
                snapshot.running
                for snapshot in run_policy(name, what, workload).snapshots
                if snapshot.now_s > HOUR_S
            ]
            sizes[name] = min(settled), max(settled)
        busy = 3.0 * SERVICE_S
        assert busy <= sizes["sluice"][0]
        assert sizes["sluice"][1] <= busy + 8
        assert sizes["backlog-per-instance"][0] < busy, "it lets go of what the next minutes need"

    def test_a_burst_of_one_minute_counts_only_as_backlog(self) -> None:
        what = load(dump(1200), hours=1)
        workload = deployed().changed(MessagesPerInstance="60", ProcessingSeconds="5")
        assert (
            run_policy("sluice", what, workload).log == run_policy("backlog-per-instance", what, workload).log
        )


class TestStaticTarget:
    def test_an_alarm_starts_it_because_it_publishes_nothing_at_0(self) -> None:
        run = run_policy("static-target", load(dump(400)))
        _, changed_by, before, after = moves(run)[0]
        assert (changed_by, before, after) == ("alarm", 0, 1)

    def test_it_scales_out_on_visible_messages_per_running_instance(self) -> None:
        run = run_policy("static-target", load(dump(400)))
        _, changed_by, before, after = moves(run)[1]
        assert (changed_by, before) == ("AWS", 1)
        assert 4 <= after <= math.ceil(400 / PER_INSTANCE)

    def test_on_an_empty_queue_its_metric_is_silent_and_the_fleet_stays(self) -> None:
        run = run_policy("static-target", load(dump(400), hours=6))
        assert run.snapshots[-1].desired == peak(run) > 1
        assert run.snapshots[-1].backlog == 0


class TestMetricMath:
    def test_an_alarm_starts_it_because_the_quotient_has_no_value_at_0(self) -> None:
        run = run_policy("metric-math", load(dump(400)))
        _, changed_by, before, after = moves(run)[0]
        assert (changed_by, before, after) == ("alarm", 0, 1)

    def test_it_reaches_0_by_itself_about_a_quarter_of_an_hour_after_the_queue_emptied(self) -> None:
        run = run_policy("metric-math", load(dump(400), hours=3))
        emptied_s = float((run.messages.started_s).max())
        at_s, changed_by, _, after = moves(run)[-1]
        assert (changed_by, after) == ("AWS", 0)
        assert 10 * MINUTE_S <= at_s - emptied_s <= 20 * MINUTE_S


class TestRawDepth:
    def test_an_alarm_starts_it_if_fewer_messages_wait_than_its_target(self) -> None:
        run = run_policy("raw-depth", load(dump(40), hours=2))
        assert [(changed_by, before, after) for _, changed_by, before, after in moves(run)] == [
            ("alarm", 0, 1),
            ("AWS", 1, 0),
        ]

    def test_one_instance_becomes_visible_over_target(self) -> None:
        run = run_policy("raw-depth", load(dump(400)))
        assert moves(run)[1][1:] == ("AWS", 1, math.ceil(400 / PER_INSTANCE))

    def test_a_deep_queue_multiplies_the_fleet_beyond_what_it_needs(self) -> None:
        what = load(flow(1.0, 0, 2 * HOUR_S), dump(3000, HOUR_S), hours=2)
        assert peak(run_policy("raw-depth", what)) > 1.3 * peak(run_policy("metric-math", what))


class TestStep:
    def test_it_keeps_one_instance_even_if_the_minimum_is_zero(self) -> None:
        run = run_policy("step", load([1.0], hours=2))
        assert {snapshot.desired for snapshot in run.snapshots if snapshot.now_s > 0} == {step.MIN_FLEET}

    def test_from_100_visible_it_adds_one_per_cooldown_and_from_500_five(self) -> None:
        added = [
            after - before for _, _, before, after in moves(run_policy("step", load(dump(3000), hours=3)))[1:]
        ]
        assert added[0] == 5
        assert set(added) <= {5, 1, -1}
        slow = moves(run_policy("step", load(dump(250), hours=1)))[1:]
        assert slow[0][3] - slow[0][2] == 1
        out = [at_s for at_s, _, before, after in slow if after > before]
        assert all(late - early >= step.COOLDOWN_S for early, late in pairwise(out))

    def test_a_larger_step_within_the_cooldown_adds_the_difference(self) -> None:
        run = run_policy("step", load(dump(150, 10), dump(1000, 120), hours=1))
        out = [(at_s, after - before) for at_s, _, before, after in moves(run)[1:3]]
        assert [added for _, added in out] == [1, 4]
        assert out[1][0] - out[0][0] < step.COOLDOWN_S

    def test_with_no_visible_messages_it_removes_one_per_cooldown(self) -> None:
        run = run_policy("step", load(dump(2000), hours=4))
        down = [at_s for at_s, _, before, after in moves(run) if after == before - 1]
        assert len(down) > 2
        assert all(late - early >= step.COOLDOWN_S for early, late in pairwise(down))
        assert run.snapshots[-1].desired == step.MIN_FLEET


class TestKeda:
    def test_a_poll_starts_the_fleet_and_each_sync_at_most_doubles_it_or_adds_four(self) -> None:
        run = run_policy("keda", load(dump(3000, 100.0)))
        grown = [(at_s, before, after) for at_s, _, before, after in moves(run) if after > before]
        assert grown[0] == (120.0, 0, 1)
        assert [after for _, _, after in grown] == [1, 5, 10, 20, 40, 50]
        assert [late[0] - early[0] for early, late in pairwise(grown[1:])] == [pod_autoscaler.SYNC_S] * 4

    def test_within_the_tolerance_nothing_changes(self) -> None:
        what = load(dump(round(10 * PER_INSTANCE * 1.09)), hours=1)
        run = run_policy("keda", what, deployed(minimum=10))
        assert all(after <= 10 for _, _, _, after in moves(run))
        beyond = run_policy(
            "keda", load(dump(round(10 * PER_INSTANCE * 1.12)), hours=1), deployed(minimum=10)
        )
        assert moves(beyond)[0][2:] == (10, 12)

    def test_it_scales_down_to_the_highest_recommendation_and_to_0_after_the_cooldown(
        self,
    ) -> None:
        run = run_policy("keda", load(dump(600), hours=1))
        done_s = float((run.messages.started_s + run.messages.service_s).max())
        at_s, _, _, after = moves(run)[-1]
        assert after == 0
        assert keda.COOLDOWN_S - keda.POLL_S <= at_s - done_s <= keda.COOLDOWN_S + keda.POLL_S
        down = [(at, desired) for at, _, before, desired in moves(run) if desired < before]
        work_begins_s = MINUTE_S + BOOT_S
        assert down[0][0] >= work_begins_s + pod_autoscaler.STABILISATION_S


class TestHpa:
    def test_it_keeps_one_instance_and_sees_messages_minutes_later_than_keda(self) -> None:
        what = load(dump(3000, 100.0))
        hpa, by_keda = run_policy("hpa", what), run_policy("keda", what)
        assert moves(hpa)[0] == (0.0, "policy", 0, 1)
        assert min(snapshot.desired for snapshot in hpa.snapshots) == 1
        grew, keda_grew = (
            next(at_s for at_s, _, before, after in moves(run) if after > before > 0)
            for run in (hpa, by_keda)
        )
        assert 60 < grew - keda_grew <= 300

    def test_it_adds_at_most_four_or_doubles_at_each_sync(self) -> None:
        run = run_policy("hpa", load(dump(3000, 100.0)))
        assert [after for _, _, before, after in moves(run) if after > before][:6] == [1, 5, 10, 20, 40, 50]


class TestKedaBacklog:
    WHAT = load(dump(600, 100.0), hours=2)

    def test_it_starts_from_0_once_the_published_minute_is_over(self) -> None:
        first, by_keda = (moves(run_policy(name, self.WHAT))[0] for name in ("keda-backlog", "keda"))
        assert first[2:] == (0, 1)
        assert 60 <= first[0] - by_keda[0] <= 180

    def test_it_overshoots_what_the_messages_ask_for(self) -> None:
        """Each sync multiplies the instances by the same old mean, while those that boot do not lower it."""
        assert peak(run_policy("keda-backlog", self.WHAT)) > 2 * 600 / PER_INSTANCE
        assert peak(run_policy("keda", self.WHAT)) == 600 / PER_INSTANCE

    def test_it_ends_at_0_after_the_cooldown(self) -> None:
        run = run_policy("keda-backlog", self.WHAT)
        assert run.snapshots[-1].desired == 0


class TestDirect:
    def test_it_sets_backlog_over_target_at_the_next_minute(self) -> None:
        run = run_policy("direct", load(dump(500, 65.0)))
        assert moves(run)[0] == (120.0, "policy", 0, math.ceil(500 / PER_INSTANCE))

    def test_a_scale_out_waits_five_minutes_after_the_previous_one(self) -> None:
        run = run_policy("direct", load(dump(500, 65.0), dump(2000, 130.0)))
        assert [at_s for at_s, _, before, after in moves(run)[:2]] == [120.0, 420.0]

    def test_a_second_scale_in_waits_an_hour(self) -> None:
        run = run_policy("direct", load(dump(500, 65.0), dump(500, 2000.0), hours=3))
        down = [at_s for at_s, _, before, after in moves(run) if after < before]
        assert len(down) >= 2
        assert all(late - early >= HOUR_S for early, late in pairwise(down))


class TestStaffing:
    @pytest.mark.parametrize(
        ("load_slots", "drain_slots", "concurrency", "instances"),
        [(0, 0, 1, 0), (4, 0, 1, 6), (4, 1.5, 1, 8), (4, 0, 2, 3), (100, 0, 1, 110), (0, 0.01, 1, 1)],
    )
    def test_load_margin_and_drain_are_added_up(
        self, load_slots: float, drain_slots: float, concurrency: int, instances: int
    ) -> None:
        assert staffing.needed_instances(load_slots, drain_slots, concurrency) == instances

    def test_a_steady_flow_gets_its_load_plus_about_its_square_root(self) -> None:
        run = run_policy("staffing", load(flow(4.0, 0, 2 * HOUR_S), hours=2))
        settled = [snapshot.desired for snapshot in run.snapshots if HOUR_S < snapshot.now_s < 2 * HOUR_S]
        assert 20 + 3 <= np.mean(settled) <= 20 + 9

    def test_no_instance_terminates_before_it_was_not_needed_for_a_boot_time(self) -> None:
        run = run_policy("staffing", load(dump(600), hours=1))
        grown_s = max(at_s for at_s, _, before, after in moves(run) if after > before)
        fewer_s = min(at_s for at_s, _, before, after in moves(run) if after < before)
        assert fewer_s - grown_s >= BOOT_S
        assert run.snapshots[-1].desired == 0


class TestStatic:
    def test_it_costs_the_busiest_ten_minutes_all_the_time(self) -> None:
        run = run_policy("static", load(flow(2.0, 0, 600), flow(0.1, 600, 7200), hours=2))
        assert hours(run) == pytest.approx(10 * 2, rel=0.02)


class TestArrivalEstimate:
    @pytest.mark.parametrize("instances", [12, 30])
    def test_it_finds_a_steady_rate_from_counts_alone_whether_the_fleet_keeps_up_or_not(
        self, instances: int
    ) -> None:
        passive = PassivePolicy(instances)
        run_policy(passive, load(flow(3.0, 0, HOUR_S), hours=1), deployed(minimum=instances))
        assert passive.found_per_s == pytest.approx(3.0, rel=0.1)

    def test_an_overestimate_is_subtracted_from_the_next_arrivals(self) -> None:
        estimate = ArrivalEstimate(memory_s=600.0)
        backlogs = [0, 100, 40, 40]
        updates = [
            estimate.update(snapshot(now_s=10.0 * tick, visible=backlog), 5.0)
            for tick, backlog in enumerate(backlogs)
        ]
        assert [one and one.messages for one in updates] == [None, 100, 0, 0]
        assert estimate.update(snapshot(now_s=40.0, visible=110), 5.0).messages == 10  # type: ignore[union-attr]


class PassivePolicy:
    """Never scales; observes every ten seconds and keeps its estimate of the last half hour."""

    name = "watching"
    scale_in = None

    def __init__(self, instances: int) -> None:
        self._instances = instances
        self._estimate = ArrivalEstimate(memory_s=1800.0)

    def attach(self, context: ScalingContext) -> None:
        every(context, 10.0, lambda: self._estimate.update(context.observe(), 5.0))
        context.clock.at(context.clock.now + 3500.0, self._keep)

    def _keep(self) -> None:
        self.found_per_s = self._estimate.rate_per_s


def snapshot(now_s: float, visible: int) -> Snapshot:
    return Snapshot(
        now_s=now_s,
        visible=visible,
        in_flight=0,
        delayed=0,
        desired=0,
        running=0,
        idle=0,
        launched_s=(),
        oldest_age_s=0.0,
    )


@pytest.mark.parametrize("name", ["raw-depth", "metric-math"])
def test_a_fallback_that_only_scales_out_is_no_policy_to_track_another_metric_with(name: str) -> None:
    with pytest.raises(SettingError, match="its stack has no target-tracking policy"):
        run_policy(name, load(dump(5)), deployed("photo-import"))
