from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.bootstrap_shutdown import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.core.emptiness import tick_proof_end_minutes
from sluice.core.guard import Guard
from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Bounds,
    Capacity,
    Deadline,
    Decision,
    Kind,
    Limit,
    Mode,
    Observation,
    Reason,
    Tracking,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.pause import IN_SUSPENDED, OUT_SUSPENDED
from sluice.core.schedules import InForce
from sluice.core.target import initial_target
from tests.support.builders import (
    MINUTE_NOW,
    backlog,
    capacity,
    guard,
    guard_settings,
    minutes_ago,
    observation,
    schedule_in_force,
    workload,
    zeros,
)

UNREAD = Unknown(reason="GetQueueAttributes timed out")
NO_GROUP = Unknown(reason="AWS knows no such group")
Published = dict[datetime, float] | Unknown

COUNTS = st.integers(0, 1000)
BOUNDS = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(
    lambda ends: Bounds(min=min(ends), max=max(ends))
)
HELD_BY = st.sampled_from([(), ("Launch is suspended",)])
CAPACITIES = st.builds(
    Capacity,
    desired=st.integers(0, 12),
    running=st.integers(0, 12),
    bounds=st.none() | BOUNDS,
    scale_out_blocked_by=HELD_BY,
    scale_in_blocked_by=HELD_BY,
    unsupported_units=st.sampled_from([(), (), ("WeightedCapacity 2",)]),
    deploying_since=st.sampled_from(
        [None, MINUTE_NOW - timedelta(minutes=5), MINUTE_NOW - timedelta(hours=5)]
    ),
)
OBSERVATIONS = st.builds(
    Observation,
    backlog=st.builds(backlog, COUNTS | st.just(0), COUNTS | st.just(0), COUNTS | st.just(0))
    | st.just(UNREAD),
    capacity=CAPACITIES | st.just(NO_GROUP),
)
WORKLOADS = st.builds(
    lambda bounds, bootstrap, mode: replace(
        workload(bootstrap=bootstrap, min_instances=0, max_instances=12), bounds=bounds, mode=mode
    ),
    BOUNDS,
    st.integers(1, 9) | st.just("backlog"),
    st.sampled_from(Mode),
)
FLOORS = st.integers(0, 12) | st.just(UNREAD)
PUBLISHED = st.one_of(
    st.just(zeros()),
    st.just(UNREAD),
    st.dictionaries(st.integers(0, 7).map(minutes_ago), st.sampled_from([0.0, 0.0, 2.5])),
)


def bootstrap(
    served: Workload,
    observed: Observation,
    target: float = 8,
    *,
    guard: Guard | Unknown | None = None,
    schedule: InForce | None = None,
) -> Decision:
    return decide_bootstrap(
        served, observed, Trigger.ALARM, target_per_instance=target, guard=guard, schedule=schedule
    )


def shutdown(
    served: Workload,
    observed: Observation,
    published: Published | None = None,
    floor: int | Unknown = 0,
    *,
    schedule: InForce | None = None,
) -> Decision:
    published = zeros() if published is None else published
    ends = tick_proof_end_minutes(MINUTE_NOW)
    return decide_shutdown(
        served, observed, floor, published, Trigger.TICK, proof_end_minutes=ends, schedule=schedule
    )


class TestBootstrap:
    @pytest.mark.parametrize(
        ("size", "messages", "expected", "limits"),
        [
            (1, 40, 1, ()),
            (2, 1, 2, ()),
            (5, 1, 5, ()),
            ("backlog", 1, 1, ()),
            ("backlog", 8, 1, ()),
            ("backlog", 9, 2, ()),
            ("backlog", 40, 5, ()),
            ("backlog", 41, 5, (Limit.MAX_INSTANCES,)),
        ],
    )
    def test_waiting_work_and_nothing_running_bootstrap_the_fleet_at_its_configured_size(
        self, size: int | str, messages: int, expected: int, limits: tuple[Limit, ...]
    ) -> None:
        decision = bootstrap(workload(bootstrap=size), observation(visible=messages))
        assert (decision.desired, decision.reason, decision.limits) == (expected, Reason.WORK_WAITS, limits)

    def test_a_backlog_sized_bootstrap_counts_in_flight_and_delayed_messages_too(self) -> None:
        observed = observation(visible=8, in_flight=8, delayed=8)
        assert bootstrap(workload(bootstrap="backlog"), observed).desired == 3

    def test_a_fleet_below_the_documents_minimum_is_bootstrapped_to_the_minimum(self) -> None:
        observed = observation(visible=1, fleet=capacity(0, bounds=None))
        decision = bootstrap(replace(workload(), bounds=Bounds(min=2, max=5)), observed)
        assert (decision.desired, decision.limits) == (2, (Limit.MIN_INSTANCES,))

    @pytest.mark.parametrize(
        ("held", "why"),
        [(guard(), str(guard())), (UNREAD, "so one instance starts: GetQueueAttributes timed out")],
        ids=["in force", "unknown"],
    )
    def test_one_instance_starts_under_a_guard_or_an_unknown_one(
        self, held: Guard | Unknown, why: str
    ) -> None:
        decision = bootstrap(
            workload(bootstrap="backlog", guard=guard_settings()), observation(visible=40), guard=held
        )
        assert (decision.desired, decision.reason) == (1, Reason.WORK_WAITS)
        assert decision.limits == (Limit.GUARD,)
        assert decision.detail.endswith(why)

    def test_a_bootstrap_of_one_instance_is_not_limited_by_a_guard(self) -> None:
        decision = bootstrap(workload(), observation(visible=40), guard=guard())
        assert (decision.desired, decision.limits, decision.detail) == (1, (), "")

    def test_the_minimum_starts_under_a_guard(self) -> None:
        served = replace(workload(bootstrap=4, guard=guard_settings()), bounds=Bounds(min=2, max=5))
        decision = bootstrap(served, observation(visible=40), guard=guard())
        assert (decision.desired, decision.limits) == (
            2,
            (Limit.BOUNDS_DIFFER, Limit.GUARD, Limit.MIN_INSTANCES),
        )

    def test_a_guard_that_the_document_has_no_longer_limits_nothing(self) -> None:
        suspended = capacity(scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
        own = guard(before={OUT_SUSPENDED: False, IN_SUSPENDED: False})
        observed = observation(visible=40, fleet=suspended)
        decision = bootstrap(workload(bootstrap=4), observed, guard=own)
        assert (decision.desired, decision.limits) == (4, ())

    def test_what_the_guard_suspends_does_not_hold_the_one_instance(self) -> None:
        suspended = capacity(scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
        observed = observation(visible=40, fleet=suspended)
        own = guard(before={OUT_SUSPENDED: False, IN_SUSPENDED: False})
        assert bootstrap(workload(), observed, guard=own).desired == 1
        for other in (None, UNREAD, guard(), guard(before={OUT_SUSPENDED: True, IN_SUSPENDED: False})):
            assert bootstrap(workload(), observed, guard=other).reason is Reason.HELD

    def test_the_fleets_own_smaller_maximum_cuts_the_size_and_the_difference_is_logged(self) -> None:
        observed = observation(visible=40, fleet=capacity(0, bounds=Bounds(min=0, max=2)))
        decision = bootstrap(workload(bootstrap="backlog"), observed)
        assert decision.desired == 2
        assert decision.limits == (Limit.BOUNDS_DIFFER, Limit.MAX_INSTANCES)

    @pytest.mark.parametrize(
        ("observed", "reason", "detail"),
        [
            (observation(visible=9, desired=1), Reason.AWAKE, ""),
            (observation(in_flight=3, delayed=2), Reason.NO_WORK, ""),
            (observation(queue=UNREAD), Reason.UNKNOWN_READING, UNREAD.reason),
            (observation(visible=9, fleet=NO_GROUP), Reason.UNKNOWN_READING, NO_GROUP.reason),
            (
                observation(queue=UNREAD, fleet=NO_GROUP),
                Reason.UNKNOWN_READING,
                f"{UNREAD.reason}; {NO_GROUP.reason}",
            ),
            (
                observation(visible=9, fleet=capacity(scale_out_blocked_by=("Launch is suspended",))),
                Reason.HELD,
                "Launch is suspended",
            ),
            (
                observation(visible=9, fleet=capacity(bounds=Bounds(min=7, max=9))),
                Reason.BOUNDS_DISJOINT,
                "document 0..5, fleet 7..9",
            ),
            (
                observation(visible=9, fleet=capacity(bounds=Bounds(min=0, max=0))),
                Reason.NO_ROOM,
                "document 0..5, fleet 0..0",
            ),
        ],
    )
    def test_anything_else_holds_with_its_reason(
        self, observed: Observation, reason: Reason, detail: str
    ) -> None:
        decision = bootstrap(workload(), observed)
        assert (decision.desired, decision.reason, decision.detail) == (None, reason, detail)

    def test_a_bootstrap_keeps_to_the_scheduled_bounds_and_names_the_schedule(self) -> None:
        served = workload(bootstrap="backlog", max_instances=20)
        by = schedule_in_force(minimum=2, maximum=4)
        fleet = capacity(0, bounds=by.schedule.bounds)
        most = bootstrap(served, observation(visible=400, fleet=fleet), schedule=by)
        assert (most.desired, most.limits) == (4, (Limit.MAX_INSTANCES,))
        assert most.detail == "at maximum 4 until 18:00 Europe/Berlin by schedule office-hours"
        least = bootstrap(served, observation(visible=1, fleet=fleet), schedule=by)
        assert (least.desired, least.limits) == (2, (Limit.MIN_INSTANCES,))
        assert least.detail == "at minimum 2 until 18:00 Europe/Berlin by schedule office-hours"

    def test_a_bootstrap_that_no_bound_changes_names_no_schedule(self) -> None:
        by = schedule_in_force(minimum=0, maximum=4)
        fleet = capacity(0, bounds=by.schedule.bounds)
        decision = bootstrap(workload(max_instances=20), observation(visible=1, fleet=fleet), schedule=by)
        assert (decision.desired, decision.limits, decision.detail) == (1, (), "")

    def test_a_group_with_instance_weights_is_held_with_the_way_out(self) -> None:
        weighted = capacity(desired=0, unsupported_units=("WeightedCapacity 2", "WeightedCapacity 4"))
        decision = bootstrap(workload(), observation(visible=9, fleet=weighted))
        assert (decision.desired, decision.reason) == (None, Reason.INSTANCE_WEIGHTS)
        assert decision.detail.startswith(
            "Auto Scaling group transcription counts its sizes in capacity units, not in instances "
            "(WeightedCapacity 2, WeightedCapacity 4), which is not supported: "
            "set every WeightedCapacity to 1 or remove it"
        )

    def test_observe_ignores_the_suspension_that_the_mode_itself_makes(self) -> None:
        suspended = capacity(scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
        observed = observation(visible=9, fleet=suspended)
        assert bootstrap(workload(mode=Mode.OBSERVE), observed).desired == 1
        assert bootstrap(workload(), observed).reason is Reason.HELD

    def test_observe_is_held_by_other_suspensions(self) -> None:
        suspended = capacity(scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED, "and more"))
        decision = bootstrap(workload(mode=Mode.OBSERVE), observation(visible=9, fleet=suspended))
        assert (decision.reason, decision.detail) == (Reason.HELD, "and more")

    def test_a_paused_workload_is_held_whatever_was_observed(self) -> None:
        decision = bootstrap(workload(mode=Mode.PAUSED), observation(visible=9))
        assert (decision.desired, decision.reason) == (None, Reason.PAUSED)

    def test_the_decision_has_its_workload_kind_trigger_and_observation(self) -> None:
        observed = observation(visible=1)
        decision = decide_bootstrap(workload(), observed, Trigger.TICK, target_per_instance=8)
        assert (decision.workload, decision.kind, decision.trigger, decision.observation) == (
            "transcription",
            Kind.BOOTSTRAP,
            Trigger.TICK,
            observed,
        )

    @given(WORKLOADS, OBSERVATIONS, st.floats(1e-3, 1e6))
    def test_it_only_ever_raises_and_stays_within_both_bounds(
        self, served: Workload, observed: Observation, target: float
    ) -> None:
        decision = bootstrap(served, observed, target)
        if decision.desired is not None:
            assert isinstance(observed.capacity, Capacity)
            assert decision.desired > observed.capacity.desired
            for bounds in filter(None, (served.bounds, observed.capacity.bounds)):
                assert bounds.min <= decision.desired <= bounds.max

    @given(WORKLOADS, CAPACITIES, COUNTS, COUNTS, st.floats(1e-3, 1e6))
    def test_it_is_monotone_in_the_backlog(
        self, served: Workload, fleet: Capacity, one: int, other: int, target: float
    ) -> None:
        fewer, more = (
            bootstrap(served, observation(visible=count, fleet=fleet), target).desired or 0
            for count in sorted((one, other))
        )
        assert fewer <= more

    @given(WORKLOADS, OBSERVATIONS)
    def test_the_same_input_gives_the_same_decision(self, served: Workload, observed: Observation) -> None:
        assert bootstrap(served, observed) == bootstrap(served, observed)


class TestShutdown:
    @pytest.mark.parametrize("minimum", [0, 1])
    def test_a_proven_empty_queue_sets_the_fleet_to_its_minimum(self, minimum: int) -> None:
        observed = observation(fleet=capacity(desired=3, bounds=Bounds(min=minimum, max=5)))
        decision = shutdown(workload(min_instances=minimum), observed)
        assert (decision.desired, decision.reason) == (minimum, Reason.PROVEN_EMPTY)
        assert decision.detail == "0 for 5 min and now"

    def test_the_fleets_own_higher_minimum_holds_and_the_difference_is_logged(self) -> None:
        decision = shutdown(workload(), observation(fleet=capacity(4, bounds=Bounds(min=2, max=5))))
        assert (decision.desired, decision.limits) == (2, (Limit.BOUNDS_DIFFER,))

    def test_a_shutdown_ends_at_the_scheduled_minimum_and_names_the_schedule(self) -> None:
        served, by = workload(max_instances=20), schedule_in_force()
        bounds, named = by.schedule.bounds, "at minimum 3 until 18:00 Europe/Berlin by schedule office-hours"
        decision = shutdown(served, observation(fleet=capacity(9, bounds=bounds)), schedule=by)
        assert (decision.desired, decision.limits) == (3, ())
        assert decision.detail == f"0 for 5 min and now; {named}"
        held = shutdown(served, observation(fleet=capacity(3, bounds=bounds)), schedule=by)
        assert (held.desired, held.reason, held.detail) == (None, Reason.AT_MINIMUM, named)

    def test_a_floor_above_the_scheduled_minimum_is_what_a_shutdown_names(self) -> None:
        by = schedule_in_force()
        observed = observation(fleet=capacity(9, bounds=by.schedule.bounds))
        decision = shutdown(workload(max_instances=20), observed, None, 5, schedule=by)
        assert decision.desired == 5
        assert "schedule" not in decision.detail

    @pytest.mark.parametrize(
        ("observed", "reason", "detail"),
        [
            (observation(visible=1, desired=2), Reason.NOT_EMPTY, ""),
            (observation(in_flight=1, desired=2), Reason.NOT_EMPTY, ""),
            (observation(delayed=1, desired=2), Reason.NOT_EMPTY, ""),
            (observation(desired=0), Reason.AT_MINIMUM, ""),
            (observation(queue=UNREAD, desired=2), Reason.UNKNOWN_READING, UNREAD.reason),
            (observation(fleet=NO_GROUP), Reason.UNKNOWN_READING, NO_GROUP.reason),
            (
                observation(fleet=capacity(2, scale_in_blocked_by=("a deployment is rolling", "and more"))),
                Reason.HELD,
                "a deployment is rolling, and more",
            ),
            (
                observation(fleet=capacity(8, bounds=Bounds(min=7, max=9))),
                Reason.BOUNDS_DISJOINT,
                "document 0..5, fleet 7..9",
            ),
        ],
    )
    def test_any_obstacle_holds_with_its_reason(
        self, observed: Observation, reason: Reason, detail: str
    ) -> None:
        decision = shutdown(workload(), observed)
        assert (decision.desired, decision.reason, decision.detail) == (None, reason, detail)

    @pytest.mark.parametrize(
        ("published", "reason", "detail"),
        [
            ({}, Reason.NOT_PROVEN, "no BacklogPerInstance was published for 11:55"),
            (
                {**zeros(), minutes_ago(2): 0.5},
                Reason.NOT_PROVEN,
                "BacklogPerInstance was 0.5 at 11:58",
            ),
            (
                Unknown(reason="GetMetricData was throttled"),
                Reason.UNKNOWN_READING,
                "GetMetricData was throttled",
            ),
        ],
    )
    def test_missing_data_or_work_in_any_idle_minute_is_no_proof(
        self, published: Published, reason: Reason, detail: str
    ) -> None:
        decision = shutdown(workload(), observation(desired=2), published)
        assert (decision.desired, decision.reason, decision.detail) == (None, reason, detail)

    def test_a_fleet_above_its_floor_is_set_to_the_floor(self) -> None:
        decision = shutdown(workload(), observation(desired=4), floor=2)
        assert (decision.desired, decision.reason) == (2, Reason.PROVEN_EMPTY)
        assert (
            decision.detail
            == "0 for 5 min and now; 2 instances are held for messages that arrive within a boot"
        )

    def test_a_fleet_at_its_floor_is_held_whatever_is_proven(self) -> None:
        for published in (zeros(), {}, UNREAD):
            decision = shutdown(workload(), observation(desired=2), published, floor=2)
            assert (decision.desired, decision.reason) == (None, Reason.FLOOR_HELD)
            assert decision.detail == "2 instances are held for messages that arrive within a boot"

    def test_a_floor_that_could_not_be_read_holds_the_shutdown(self) -> None:
        decision = shutdown(workload(), observation(desired=2), floor=UNREAD)
        assert (decision.desired, decision.reason, decision.detail) == (
            None,
            Reason.UNKNOWN_READING,
            UNREAD.reason,
        )

    def test_a_floor_beyond_the_bounds_counts_up_to_the_maximum(self) -> None:
        wide = capacity(9, bounds=None)
        assert shutdown(workload(max_instances=5), observation(fleet=wide), floor=8).desired == 5

    def test_a_group_with_instance_weights_is_never_shut_down(self) -> None:
        weighted = observation(fleet=capacity(desired=2, unsupported_units=("DesiredCapacityType vcpu",)))
        decision = shutdown(workload(), weighted)
        assert (decision.desired, decision.reason) == (None, Reason.INSTANCE_WEIGHTS)
        assert "DesiredCapacityType vcpu" in decision.detail
        assert not reads_empty_above_min(workload(), weighted)

    @pytest.mark.parametrize(
        ("minutes", "reason", "detail"),
        [
            (61, Reason.HELD, "a deployment is rolling"),
            (
                62,
                Reason.DEPLOYMENT_STUCK,
                "a deployment is rolling, since 2026-01-15 10:58 UTC, for 61 min",
            ),
            (
                3001,
                Reason.DEPLOYMENT_STUCK,
                "a deployment is rolling, since 2026-01-13 09:59 UTC, for 3000 min",
            ),
        ],
    )
    def test_a_deployment_that_holds_it_for_over_an_hour_is_a_reason_of_its_own(
        self, minutes: int, reason: Reason, detail: str
    ) -> None:
        """Counted to the newest minute of the proof, which is one before the tick's."""
        began = MINUTE_NOW - timedelta(minutes=minutes)
        fleet = capacity(2, scale_in_blocked_by=("a deployment is rolling",), deploying_since=began)
        decision = shutdown(workload(), observation(fleet=fleet))
        assert (decision.desired, decision.reason, decision.detail) == (None, reason, detail)

    def test_waiting_work_and_not_an_old_deployment_holds_the_shutdown(self) -> None:
        began = MINUTE_NOW - timedelta(days=1)
        fleet = capacity(2, scale_in_blocked_by=("a deployment is rolling",), deploying_since=began)
        assert shutdown(workload(), observation(visible=1, fleet=fleet)).reason is Reason.NOT_EMPTY

    def test_observe_ignores_the_suspension_that_the_mode_itself_makes(self) -> None:
        observed = observation(fleet=capacity(2, scale_in_blocked_by=(DYNAMIC_SCALING_IN_SUSPENDED,)))
        assert shutdown(workload(mode=Mode.OBSERVE), observed).desired == 0
        assert shutdown(workload(), observed).reason is Reason.HELD

    def test_observe_is_held_by_a_deployment(self) -> None:
        blocked_by = (DYNAMIC_SCALING_IN_SUSPENDED, "a deployment is rolling")
        observed = observation(fleet=capacity(2, scale_in_blocked_by=blocked_by))
        decision = shutdown(workload(mode=Mode.OBSERVE), observed)
        assert (decision.reason, decision.detail) == (Reason.HELD, "a deployment is rolling")

    def test_a_paused_workload_is_held_even_if_proven_empty(self) -> None:
        decision = shutdown(workload(mode=Mode.PAUSED), observation(desired=2))
        assert (decision.desired, decision.reason) == (None, Reason.PAUSED)

    @given(WORKLOADS, OBSERVATIONS, PUBLISHED, FLOORS)
    def test_a_shutdown_never_acts_on_unknown_waiting_held_or_unproven(
        self, served: Workload, observed: Observation, published: Published, floor: int | Unknown
    ) -> None:
        decision = shutdown(served, observed, published, floor)
        if decision.desired is None:
            return
        assert served.mode is not Mode.PAUSED
        assert observed.backlog == backlog(0, 0, 0)
        assert isinstance(observed.capacity, Capacity)
        assert not observed.capacity.scale_in_blocked_by
        assert isinstance(published, dict)
        assert all(published[minute] == 0 for minute in zeros())
        assert not isinstance(floor, Unknown)
        assert min(floor, served.bounds.max) <= decision.desired < observed.capacity.desired
        for bounds in filter(None, (served.bounds, observed.capacity.bounds)):
            assert bounds.min <= decision.desired <= bounds.max

    @given(WORKLOADS, OBSERVATIONS, PUBLISHED)
    def test_the_same_input_gives_the_same_decision(
        self, served: Workload, observed: Observation, published: Published
    ) -> None:
        assert shutdown(served, observed, published) == shutdown(served, observed, published)

    @given(WORKLOADS, OBSERVATIONS, FLOORS)
    def test_floor_and_proof_are_read_whenever_they_could_lead_to_a_shutdown(
        self, served: Workload, observed: Observation, floor: int | Unknown
    ) -> None:
        if shutdown(served, observed, floor=floor).desired is not None:
            assert reads_empty_above_min(served, observed)
            assert reads_empty_above_min(served, observed, floor)

    @pytest.mark.parametrize(
        ("observed", "worth_it"),
        [
            (observation(desired=1), True),
            (observation(desired=0), False),
            (observation(in_flight=1, desired=1), False),
            (observation(queue=UNREAD, desired=1), False),
            (observation(fleet=NO_GROUP), False),
            (
                observation(fleet=capacity(8, bounds=Bounds(min=7, max=9))),
                True,
            ),  # so that the decision reports it
        ],
    )
    def test_only_a_fleet_that_reads_empty_above_its_minimum_needs_a_proof(
        self, observed: Observation, worth_it: bool
    ) -> None:
        assert reads_empty_above_min(workload(), observed) is worth_it

    @pytest.mark.parametrize(("floor", "worth_it"), [(1, True), (2, False), (3, False), (UNREAD, False)])
    def test_a_fleet_at_its_floor_or_below_needs_no_proof(self, floor: int | Unknown, worth_it: bool) -> None:
        assert reads_empty_above_min(workload(), observation(desired=2), floor) is worth_it


@given(WORKLOADS, OBSERVATIONS, PUBLISHED)
def test_nothing_scales_a_fleet_whose_sizes_are_not_instances(
    served: Workload, observed: Observation, published: Published
) -> None:
    observed_capacity = observed.capacity
    if isinstance(observed_capacity, Unknown) or not observed_capacity.unsupported_units:
        return
    assert (bootstrap(served, observed).desired, shutdown(served, observed, published).desired) == (
        None,
        None,
    )


def test_a_fleet_of_the_deadline_engine_starts_with_what_begins_every_message_in_time() -> None:
    served = workload(
        deadline=Deadline(promise_s=300, boot_s=180, margin_s=15),
        tracking=Tracking(processing_s=5),
        max_instances=50,
    )
    decision = decide_bootstrap(
        served,
        observation(visible=215, fleet=capacity(bounds=None)),
        Trigger.ALARM,
        target_per_instance=initial_target(served),
    )
    # From 180 s to 285 s an instance starts 105 / 5 + 0.5 messages: the first at once.
    assert (decision.desired, initial_target(served)) == (10, 21.5)
    assert decision.detail == (
        "215 messages, and an instance launched now starts 21.5 of them in time, with a margin of 15 s"
    )
