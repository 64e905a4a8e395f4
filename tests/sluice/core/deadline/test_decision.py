import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.bounds import effective_bounds
from sluice.core.deadline.boots import LOST_AFTER, quantiles_s
from sluice.core.deadline.decision import (
    LOG_OUT_OF_REACH_EVERY_S,
    MAX_STEP_RATIO,
    Scaling,
    decide_scale,
)
from sluice.core.deadline.memory import Tick, booting_instances
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import Arrivals, BootSamples, EngineState, Launch, Safety
from sluice.core.guard import Guard
from sluice.core.model import (
    DYNAMIC_SCALING_OUT_SUSPENDED,
    Bounds,
    BusyInstances,
    Capacity,
    Deadline,
    Decision,
    Kind,
    Limit,
    Mode,
    Observation,
    Reason,
    StaticTarget,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.pause import IN_SUSPENDED, OUT_SUSPENDED
from sluice.core.schedules import InForce
from tests.support.builders import (
    capacity,
    deadline,
    deadline_workload,
    engine_state,
    guard,
    guard_settings,
    observation,
    queue_url,
    schedule_in_force,
    workload,
)

NOW_S = 1_768_478_430.0
UNREAD = Unknown(reason="timed out")
WORKLOAD = deadline_workload()
UNPROTECTED = deadline_workload(settings=deadline(busy_instances=BusyInstances.UNPROTECTED))
FIFO_URL = queue_url("builds.fifo")
WIDE = Bounds(min=0, max=1000)


def fleet(running: int = 0, booting: int = 0, **changes: Any) -> Capacity:
    """A fleet that is as large as desired; `changes` are fields of `Capacity`."""
    facts = {"desired": running + booting, "booting": booting, "bounds": WIDE} | changes
    return capacity(running=running, **facts)


def slots(concurrency: float) -> StaticTarget:
    return StaticTarget(messages_per_instance=8, concurrency_per_instance=concurrency)


def observe(
    visible: int = 0, in_flight: int = 0, delayed: int = 0, *, of: Capacity | Unknown | None = None
) -> Observation:
    return observation(visible, in_flight, delayed, fleet=of or fleet())


def scale(
    observed: Observation,
    state: EngineState | None = None,
    *,
    served: Workload = WORKLOAD,
    now_s: float = NOW_S,
    processing_s: float = 5,
    held: Guard | None = None,
    schedule: InForce | None = None,
) -> Scaling:
    tick = Tick(scheduled_s=now_s, now_s=now_s, processing=Processing(mean_s=processing_s))
    guarded = replace(served, guard=guard_settings()) if held else served
    return decide_scale(guarded, observed, state, tick, guard=held, schedule=schedule)


def after(ago_s: float = 10, **changes: Any) -> EngineState:
    """What a tick so many seconds ago remembers."""
    return engine_state(NOW_S - ago_s, **changes)


# --- a warm pool ------------------------------------------------------------------------------------------

WARM_BOOTS = (BootSamples(boot_s=45, weight=200, warm=True),)


def test_fewer_instances_are_launched_while_the_warm_pool_has_some() -> None:
    """A warm start begins (290 - 45) / 5 + 0.5 = 49.5 of the messages in time, a cold one 22.5."""

    def launched(warm: int | None) -> EngineState:
        found = scale(observe(970, of=fleet(warm=warm)), after(boots=WARM_BOOTS)).state
        assert found is not None
        return found

    assert [one.instances for one in launched(None).launches] == [44]
    assert [(one.instances, one.warm) for one in launched(50).launches] == [(20, True)]
    assert [(one.instances, one.warm) for one in launched(10).launches] == [(10, True), (22, False)]


def test_what_boots_from_the_pool_is_expected_sooner() -> None:
    """Launched 40 s ago and expected in 5 s, each of them still starts 57.5 messages."""
    warm = (Launch(at_s=NOW_S - 40, instances=20, warm=True),)
    booting = observe(900, of=fleet(booting=20))
    in_time = scale(booting, after(boots=WARM_BOOTS, launches=warm, desired=20))
    assert in_time.decision.reason is Reason.STARTS_IN_TIME
    late = scale(booting, after(boots=WARM_BOOTS, launches=(replace(warm[0], warm=False),), desired=20))
    assert late.decision.reason is Reason.STARTS_LATE


# --- what is decided --------------------------------------------------------------------------------------


def test_a_workload_without_deadline_settings_is_not_the_engines() -> None:
    with pytest.raises(ValueError, match="transcription is not scaled by the deadline engine"):
        scale(observe(), served=workload())


def test_messages_that_would_start_late_get_the_fewest_instances() -> None:
    decision = scale(observe(visible=215)).decision
    # each is ready in 180 s and works for 120 s: 24.5 messages
    assert (decision.reason, decision.desired) == (Reason.STARTS_LATE, math.ceil(215 / 24.5))
    assert (decision.kind, decision.trigger, decision.workload) == (Kind.SCALE, Trigger.TICK, "transcription")


def test_a_shortage_is_told_by_its_cohort_its_messages_and_the_margin() -> None:
    waiting = (Arrivals(until_s=NOW_S - 10, elapsed_s=60, messages=90),)
    state = after(visible=90, waiting=waiting)
    served = deadline_workload(settings=deadline(margin_s=15))
    decision = scale(observe(visible=90, delayed=10), state, served=served).decision
    # due in 230 - 15 s, 35 s after an instance launched now is ready: 7.5 messages each
    assert decision.detail == (
        "100 waiting, the oldest for up to 70 s; 90 of those that have waited 70 s or longer would start "
        "late (margin 15 s): launch 12 more"
    )
    assert decision.desired == 12


def test_messages_that_start_in_time_need_no_launch() -> None:
    decision = scale(observe(visible=20, in_flight=1, of=fleet(1)), after(desired=1)).decision
    assert (decision.reason, decision.desired) == (Reason.STARTS_IN_TIME, None)
    assert decision.detail == (
        "20 waiting, the oldest for up to 10 s, 1 instances occupied; arrivals keep 11 messages in flight"
    )


def test_the_margin_brings_a_launch_forward() -> None:
    observed = observe(visible=58, in_flight=1, of=fleet(1))
    assert scale(observed).decision.reason is Reason.STARTS_IN_TIME
    early = deadline_workload(settings=deadline(margin_s=15))
    assert scale(observed, served=early).decision.reason is Reason.STARTS_LATE


@pytest.mark.parametrize("concurrency", [0.5, 1, 1.5, 8])
def test_an_instance_counts_for_the_messages_that_it_works_on_at_a_time(concurrency: float) -> None:
    served = deadline_workload(target=slots(concurrency))
    assert scale(observe(visible=490), served=served).decision.desired == math.ceil(20 / concurrency)


def test_sixty_long_jobs_get_sixty_instances_and_no_more_once_they_boot() -> None:
    first = scale(observe(visible=60), processing_s=1200)
    assert first.decision.desired == 60
    state = first.state
    for elapsed_s in range(10, 360, 10):
        booting = observe(visible=60, of=fleet(0, 60))
        later = scale(booting, state, now_s=NOW_S + elapsed_s, processing_s=1200)
        assert later.decision.desired is None, later.decision.detail
        state = later.state


def test_instances_that_boot_far_too_long_are_replaced() -> None:
    state = after(desired=60, launches=(Launch(at_s=NOW_S - 400, instances=60),))
    decision = scale(observe(visible=60, of=fleet(0, 60)), state, processing_s=1200).decision
    assert decision.desired == 120


def test_a_launch_is_remembered_until_the_next_reading() -> None:
    scaling = scale(observe(visible=245, of=fleet(1, 1)), after(desired=2))
    assert scaling.decision.desired is not None
    assert scaling.state is not None
    assert scaling.state.desired == scaling.decision.desired
    launched = scaling.decision.desired - 2
    assert scaling.state.launches[-1] == Launch(at_s=NOW_S, instances=launched)


BY = schedule_in_force(minimum=3, maximum=8)
AT_MINIMUM = "at minimum 3 until 18:00 Europe/Berlin by schedule office-hours"
SCHEDULED = replace(WORKLOAD, bounds=Bounds(min=0, max=20))


def scheduled(running: int) -> Capacity:
    return fleet(running, bounds=BY.schedule.bounds)


def test_more_are_launched_up_to_the_scheduled_maximum_and_the_schedule_is_named() -> None:
    decision = scale(observe(visible=5000, of=scheduled(3)), served=SCHEDULED, schedule=BY).decision
    assert (decision.desired, decision.limits) == (8, (Limit.MAX_INSTANCES,))
    assert decision.detail.endswith("; at maximum 8 until 18:00 Europe/Berlin by schedule office-hours")
    held = scale(observe(visible=5000, of=scheduled(8)), served=SCHEDULED, schedule=BY).decision
    assert (held.desired, held.reason, held.limits) == (None, Reason.AT_MAXIMUM, ())
    assert "; at maximum 8 until 18:00 Europe/Berlin by schedule office-hours" in held.detail


def test_a_surplus_ends_down_to_the_scheduled_minimum_and_the_schedule_is_named() -> None:
    decision = scale(observe(of=scheduled(7)), after(), served=SCHEDULED, schedule=BY).decision
    assert (decision.desired, decision.reason) == (3, Reason.SURPLUS)
    assert decision.detail.endswith(f"; {AT_MINIMUM}")
    held = scale(observe(of=scheduled(3)), after(), served=SCHEDULED, schedule=BY).decision
    assert (held.desired, held.detail.endswith(f"; {AT_MINIMUM}")) == (None, True)


def test_a_fleet_below_the_scheduled_minimum_is_raised_and_the_schedule_is_named_once() -> None:
    decision = scale(observe(of=scheduled(1)), after(), served=SCHEDULED, schedule=BY).decision
    assert (decision.desired, decision.limits) == (3, (Limit.MIN_INSTANCES,))
    assert decision.detail.count(AT_MINIMUM) == 1


def test_instances_that_work_above_the_scheduled_minimum_name_no_schedule() -> None:
    decision = scale(observe(in_flight=9, of=scheduled(9)), after(), served=SCHEDULED, schedule=BY).decision
    assert decision.desired is None
    assert "schedule" not in decision.detail


def test_a_fleet_at_its_maximum_is_told_from_one_that_suffices() -> None:
    decision = scale(observe(visible=500, of=fleet(3, 2, bounds=Bounds(min=0, max=5)))).decision
    assert (decision.reason, decision.desired) == (Reason.AT_MAXIMUM, None)


def test_more_than_the_maximum_is_cut_to_it() -> None:
    decision = scale(observe(visible=50_000)).decision
    assert (decision.desired, decision.limits) == (1000, (Limit.MAX_INSTANCES,))


@pytest.mark.parametrize("booting", [0, None])
def test_instances_that_aws_does_not_start_are_named_and_not_asked_for_again(booting: int | None) -> None:
    """ECS does not say which tasks boot, so those that do not come for long are taken for refused."""
    state = after(desired=60, launches=(Launch(at_s=NOW_S - 400, instances=60),))
    observed = observe(visible=60, of=replace(fleet(desired=60), booting=booting))
    decision = scale(observed, state, processing_s=1200).decision
    assert (decision.reason, decision.desired) == (Reason.STARTS_LATE, None)
    assert decision.detail.endswith(
        "would start late (margin 0 s): 60 of the 60 instances that are asked for have not started"
    )


def test_instances_beyond_the_desired_count_are_about_to_end_and_start_no_message() -> None:
    """They were protected when the desired count was lowered; raising it again keeps them."""
    observed = observe(visible=40, in_flight=10, of=fleet(10, desired=2, protected=10))
    scaling = scale(observed, after(desired=2), processing_s=60)
    assert (scaling.decision.reason, scaling.decision.desired) == (Reason.STARTS_LATE, 10)
    assert scaling.decision.detail.endswith("would start late (margin 0 s): keep 8 of those that are to end")
    assert scaling.state is not None
    assert scaling.state.launches == ()


def test_a_clock_that_is_behind_makes_no_message_younger_than_its_reading() -> None:
    state = after(ago_s=-20, visible=40, waiting=(Arrivals(until_s=NOW_S + 20, elapsed_s=10, messages=40),))
    decision = scale(observe(visible=40, of=fleet(2)), state).decision
    assert decision.detail.startswith("40 waiting, the oldest for up to 10 s")


# --- what is held -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "observed",
    [
        observation(queue=UNREAD, fleet=fleet(9)),
        observation(visible=500, fleet=UNREAD),
        observation(queue=UNREAD, fleet=UNREAD),
    ],
    ids=["queue", "fleet", "both"],
)
def test_an_unknown_reading_changes_neither_fleet_nor_memory(observed: Observation) -> None:
    state = after(desired=9)
    scaling = scale(observed, state)
    assert (scaling.decision.reason, scaling.decision.desired) == (Reason.UNKNOWN_READING, None)
    assert "timed out" in scaling.decision.detail
    assert scaling.state is state


def test_a_fleet_that_is_not_counted_in_instances_is_left_alone() -> None:
    decision = scale(observe(visible=500, of=fleet(1, unsupported_units=("weights",)))).decision
    assert (decision.reason, decision.desired) == (Reason.INSTANCE_WEIGHTS, None)


@pytest.mark.parametrize("running", [1, 7])
def test_nothing_grows_beyond_what_is_asked_for_under_a_guard(running: int) -> None:
    observed = observe(2000, of=fleet(running))
    free, held = scale(observed, after()), scale(observed, after(), held=guard())
    assert free.decision.desired is not None
    assert free.decision.desired > running
    assert (held.decision.desired, held.decision.reason) == (None, Reason.GUARDED)
    assert held.decision.detail == f"{guard()}; {free.decision.detail}"
    assert held.state == replace(free.state, desired=held.state.desired, launches=())


def test_one_instance_starts_from_zero_under_a_guard() -> None:
    decision = scale(observe(2000), held=guard()).decision
    assert (decision.desired, decision.reason) == (1, Reason.STARTS_LATE)
    assert decision.limits == (Limit.GUARD,)
    assert decision.detail.startswith(f"{guard()}; 2000 waiting")


def test_the_minimum_is_kept_under_a_guard() -> None:
    served = replace(WORKLOAD, bounds=Bounds(min=3, max=1000))
    assert scale(observe(2000), served=served, held=guard()).decision.desired == 3
    assert scale(observe(), served=served, held=guard()).decision.desired == 3


def test_a_surplus_ends_under_a_guard() -> None:
    observed = observe(of=fleet(9))
    assert scale(observed, after(), held=guard()) == scale(observed, after())
    assert scale(observed, after(), held=guard()).decision.desired == 0


def test_a_service_whose_scale_out_the_guard_suspends_starts_one_instance() -> None:
    suspended = fleet(scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
    own = guard(before={OUT_SUSPENDED: False, IN_SUSPENDED: False})
    assert scale(observe(2000, of=suspended), held=own).decision.desired == 1
    assert scale(observe(2000, of=suspended)).decision.reason is Reason.HELD


def test_a_guard_that_the_document_has_no_longer_holds_nothing() -> None:
    tick = Tick(scheduled_s=NOW_S, now_s=NOW_S, processing=Processing(mean_s=5))
    suspended = fleet(scale_out_blocked_by=(DYNAMIC_SCALING_OUT_SUSPENDED,))
    own = guard(before={OUT_SUSPENDED: False, IN_SUSPENDED: False})
    free = decide_scale(WORKLOAD, observe(2000, of=suspended), None, tick, guard=own).decision
    assert free.desired == scale(observe(2000)).decision.desired


def test_a_paused_workload_is_left_alone_and_its_memory_stays() -> None:
    state = after(desired=9)
    scaling = scale(observe(visible=500), state, served=replace(WORKLOAD, mode=Mode.PAUSED))
    assert (scaling.decision.reason, scaling.decision.desired) == (Reason.PAUSED, None)
    assert scaling.state is state


def test_an_observed_workload_is_decided_and_no_launch_is_remembered() -> None:
    scaling = scale(observe(visible=500), served=replace(WORKLOAD, mode=Mode.OBSERVE))
    assert scaling.decision.desired is not None
    assert scaling.state is not None
    assert (scaling.state.launches, scaling.state.desired) == ((), 0)


def test_bounds_that_do_not_overlap_hold_the_fleet() -> None:
    served = deadline_workload(min_instances=8, max_instances=9)
    decision = scale(observe(visible=500, of=fleet(1, bounds=Bounds(min=0, max=5))), served=served).decision
    assert (decision.reason, decision.desired) == (Reason.BOUNDS_DISJOINT, None)
    assert decision.detail == "document 8..9, fleet 0..5"


def test_a_blocked_scale_out_is_held_with_its_reason_and_the_shortage() -> None:
    scaling = scale(observe(visible=500, of=fleet(1, scale_out_blocked_by=("Launch is suspended",))))
    assert (scaling.decision.reason, scaling.decision.desired) == (Reason.HELD, None)
    assert scaling.decision.detail.startswith("Launch is suspended; 500 waiting")
    assert "would start late (margin 0 s)" in scaling.decision.detail
    assert scaling.state is not None
    assert scaling.state.launches == ()


def test_a_blocked_scale_in_is_held_with_its_reason() -> None:
    idle = observe(of=fleet(9, scale_in_blocked_by=("Terminate is suspended",)))
    decision = scale(idle, after(desired=9)).decision
    assert (decision.reason, decision.desired) == (Reason.HELD, None)
    assert decision.detail.startswith("Terminate is suspended; none waiting, 0 instances occupied")


def test_a_block_of_one_direction_does_not_hold_the_other() -> None:
    out = observe(visible=500, of=fleet(1, scale_in_blocked_by=("Terminate is suspended",)))
    assert scale(out).decision.desired is not None
    idle = observe(of=fleet(9, scale_out_blocked_by=("Launch is suspended",)))
    assert scale(idle, after(desired=9)).decision.desired == 0


# --- scale-in ---------------------------------------------------------------------------------------------


def test_idle_instances_of_a_protected_fleet_go_at_once() -> None:
    state = after(desired=9, in_flight=3)
    decision = scale(observe(in_flight=3, of=fleet(9, protected=4)), state).decision
    assert (decision.reason, decision.desired) == (Reason.SURPLUS, 4)
    assert decision.detail == "none waiting, 4 instances occupied; arrivals keep 3 messages in flight"


@pytest.mark.parametrize(("concurrency", "keep"), [(1, 9), (2, 5), (8, 2), (0.5, 18)])
def test_occupied_instances_are_counted_by_slots(concurrency: float, keep: int) -> None:
    served = deadline_workload(target=slots(concurrency))
    recent = tuple(Arrivals(until_s=NOW_S - ago, elapsed_s=10, messages=0) for ago in range(150, 9, -10))
    state = after(desired=30, in_flight=9, recent=recent, deficit=-18)
    assert scale(observe(in_flight=9, of=fleet(30)), state, served=served).decision.desired == keep


def test_nothing_is_ended_while_an_instance_boots() -> None:
    decision = scale(observe(of=fleet(9, 1)), after(desired=10)).decision
    assert (decision.reason, decision.desired, decision.detail) == (
        Reason.BOOTING,
        None,
        "none waiting, 1 booting",
    )


def test_a_fleet_goes_to_zero_only_after_two_empty_readings() -> None:
    first = scale(observe(of=fleet(2)), after(desired=2, in_flight=1, deficit=-2))
    assert first.decision.desired == 1
    second = scale(observe(of=fleet(1)), first.state, now_s=NOW_S + 10)
    assert (second.decision.reason, second.decision.desired) == (Reason.SURPLUS, 0)


def test_a_lost_memory_never_lowers_at_its_first_reading() -> None:
    first = scale(observe(of=fleet(9)))
    assert (first.decision.reason, first.decision.desired) == (Reason.ALL_NEEDED, None)
    assert scale(observe(of=fleet(9)), first.state, now_s=NOW_S + 10).decision.desired == 0


def test_a_lost_memory_launches_what_the_readings_justify() -> None:
    assert scale(observe(visible=245, of=fleet(1, 1)), None).decision.desired == 9


def test_a_workload_that_got_one_message_goes_back_to_zero_although_its_promise_is_out_of_reach() -> None:
    served = deadline_workload(settings=deadline(promise_s=60))
    observed = observe(of=fleet(1))
    once = Safety(seconds=600, newest_s=NOW_S - 600, idle=(1,))
    state, now_s = after(desired=1, safety=once), NOW_S
    for _ in range(25 * 360):
        scaling = scale(observed, state, served=served, now_s=now_s)
        if scaling.decision.desired == 0:
            break
        state, now_s = scaling.state, now_s + 10
    assert scaling.decision.desired == 0


def test_instances_that_never_boot_do_not_keep_the_others_running() -> None:
    """A service whose tasks find no place: AWS does not say how many boot."""
    state, now_s, decisions = None, NOW_S, []
    for _ in range(40):
        unplaced = replace(fleet(10), desired=20, booting=None)
        scaling = scale(observe(of=unplaced), state, now_s=now_s)
        state, now_s = scaling.state, now_s + 10
        decisions.append(scaling.decision)
    assert {decision.reason for decision in decisions[:37]} == {Reason.BOOTING}
    assert decisions[-1].desired == 0


def test_a_fleet_shrinks_while_a_message_waits_at_every_reading() -> None:
    state = after(desired=100, running=100, visible=1, in_flight=10)
    decision = scale(observe(1, 10, of=fleet(100)), state).decision
    assert (decision.reason, decision.desired) == (Reason.SURPLUS, 11)


def test_an_unprotected_fleet_shrinks_in_steps_and_only_after_a_boot() -> None:
    state, running, now_s, sizes = after(desired=40), 40, NOW_S, []
    for _ in range(60):
        scaling = scale(observe(of=fleet(running)), state, served=UNPROTECTED, now_s=now_s)
        if scaling.decision.desired is not None:
            assert now_s - NOW_S >= 180
            sizes.append((running, scaling.decision.desired))
            running = scaling.decision.desired
        else:
            expected = Reason.SURPLUS_TOO_NEW if running else Reason.ALL_NEEDED
            assert scaling.decision.reason is expected
        state, now_s = scaling.state, now_s + 10
    assert running == 0
    assert sizes[0] == (40, 36)
    assert all(before - now == max(1, math.floor(MAX_STEP_RATIO * before)) for before, now in sizes)


def test_a_surplus_that_ends_for_a_moment_begins_anew() -> None:
    state, now_s = after(desired=10), NOW_S
    for tick in range(30):
        in_flight = 10 if tick == 15 else 0
        scaling = scale(observe(in_flight=in_flight, of=fleet(10)), state, served=UNPROTECTED, now_s=now_s)
        assert scaling.decision.desired is None
        state, now_s = scaling.state, now_s + 10


def test_no_decision_lowers_below_what_is_occupied_to_meet_a_smaller_maximum() -> None:
    """The document's maximum was lowered while the fleet works."""
    served = deadline_workload(max_instances=5)
    state = after(desired=10, in_flight=8)
    decision = scale(observe(in_flight=8, of=fleet(10)), state, served=served).decision
    assert decision.desired == 8


def test_a_smaller_maximum_lowers_no_fleet_on_which_messages_wait_or_instances_boot() -> None:
    served = deadline_workload(max_instances=5)
    waiting = observe(visible=500, of=fleet(3, 1, desired=10))
    assert scale(waiting, after(desired=10), served=served).decision.desired is None


@pytest.mark.parametrize("visible", [0, 1])
def test_a_fleet_below_its_minimum_is_raised_to_it(visible: int) -> None:
    served = deadline_workload(min_instances=4)
    decision = scale(observe(visible, of=fleet(1)), after(desired=1), served=served).decision
    assert decision.desired == 4
    assert Limit.MIN_INSTANCES in decision.limits


# --- a promise out of reach -------------------------------------------------------------------------------


def test_a_promise_out_of_reach_is_told_at_most_once_an_hour() -> None:
    served = deadline_workload(settings=deadline(promise_s=60))
    state, logged = None, []
    for now_s in range(0, 3 * 3600, 10):
        scaling = scale(observe(), state, served=served, now_s=NOW_S + now_s)
        if scaling.warning is not None:
            assert scaling.warning.reason is Reason.PROMISE_OUT_OF_REACH
            assert scaling.warning.desired is None
            assert "Set a minimum above zero, use a warm pool" in scaling.warning.detail
            logged.append(now_s)
        state = scaling.state
    assert logged == [0, LOG_OUT_OF_REACH_EVERY_S, 2 * LOG_OUT_OF_REACH_EVERY_S]


@pytest.mark.parametrize(
    "served",
    [WORKLOAD, deadline_workload(min_instances=1, settings=deadline(promise_s=60))],
    ids=["within reach", "a minimum above zero"],
)
def test_a_promise_that_can_be_kept_is_not_warned_of(served: Workload) -> None:
    assert scale(observe(of=fleet(1)), served=served).warning is None


def test_a_promise_is_within_reach_while_the_warm_pool_has_instances_that_start_in_time() -> None:
    """A start within 100 s needs 65 s from the pool, and 200 s without it."""
    served = deadline_workload(settings=deadline(promise_s=100))

    def warning(warm: int | None, boots: tuple[BootSamples, ...]) -> Decision | None:
        return scale(observe(of=fleet(warm=warm)), after(boots=boots), served=served).warning

    assert warning(3, WARM_BOOTS) is None
    for warm, boots in ((0, WARM_BOOTS), (None, WARM_BOOTS), (3, ())):
        told = warning(warm, boots)
        assert told is not None
        assert "a boot of 180 s, a tick" in told.detail


def test_a_promise_shorter_than_a_start_from_the_warm_pool_is_out_of_reach() -> None:
    served = deadline_workload(settings=deadline(promise_s=60))
    told = scale(observe(of=fleet(warm=3)), after(boots=WARM_BOOTS), served=served).warning
    assert told is not None
    assert "a boot of 45 s from the warm pool" in told.detail


def learned_floor(messages: float, factor_class: int = 2) -> EngineState:
    """A day in which so many messages needed this class of safety factor, and one message a second now."""
    recent = tuple(Arrivals(until_s=NOW_S - ago, elapsed_s=10, messages=10) for ago in range(340, 0, -10))
    safety = Safety(seconds=86_400, newest_s=NOW_S - 10, loaded=(0,) * factor_class + (messages,))
    return after(desired=9, in_flight=5, recent=recent, safety=safety)


def test_where_the_promise_is_shorter_than_a_boot_a_floor_is_held() -> None:
    """A load of 5 slots, and 99.2 % of the messages needed a safety factor of up to 0.95."""
    served, state = deadline_workload(settings=deadline(promise_s=60)), learned_floor(86_400)
    assert scale(observe(in_flight=5, of=fleet(9)), state, served=served).decision.desired == 8
    raised = scale(observe(in_flight=5, of=fleet(6)), state, served=served).decision
    assert (raised.desired, raised.reason) == (8, Reason.FLOOR)
    assert "7.12 messages at a time may arrive within a boot" in raised.detail
    without = scale(observe(in_flight=5, of=fleet(9)), state).decision
    assert without.desired == 5, "a longer promise needs none"


def test_an_empty_queue_raises_its_fleet_to_the_floor_too() -> None:
    served, state = deadline_workload(settings=deadline(promise_s=60)), learned_floor(86_400)
    raised = scale(observe(of=fleet(6)), state, served=served).decision
    assert (raised.desired, raised.reason) == (8, Reason.FLOOR)


def test_the_floor_is_remembered_in_instances_for_the_shutdown() -> None:
    state, promise = learned_floor(86_400), deadline(promise_s=60)

    def remembered(**changes: Any) -> int:
        served = deadline_workload(**({"settings": promise} | changes))
        after = scale(observe(in_flight=5, of=fleet(9)), state, served=served).state
        assert after is not None
        return after.floor

    assert remembered() == 8
    assert remembered(target=slots(4)) == 2
    assert remembered(max_instances=7) == 7
    assert remembered(settings=deadline()) == 0, "a longer promise needs none"


def test_a_floor_follows_the_concurrency_and_the_bounds() -> None:
    state, promise = learned_floor(86_400), deadline(promise_s=60)
    wide = deadline_workload(settings=promise, target=slots(4))
    assert scale(observe(in_flight=5, of=fleet(1)), state, served=wide).decision.desired == 2
    small = deadline_workload(settings=promise, max_instances=7)
    decision = scale(observe(in_flight=5, of=fleet(6)), state, served=small).decision
    assert decision.desired == 7


def test_a_floor_that_keeps_the_promise_is_not_warned_of() -> None:
    served = deadline_workload(settings=deadline(promise_s=60))
    assert scale(observe(in_flight=5, of=fleet(9)), learned_floor(86_400), served=served).warning is None


def test_a_floor_and_boot_times_survive_ticks_that_stopped_for_an_hour() -> None:
    served, state = deadline_workload(settings=deadline(promise_s=60)), learned_floor(86_400)
    state = replace(state, boots=(BootSamples(boot_s=150, weight=9),))
    found = scale(observe(in_flight=5, of=fleet(9)), state, served=served, now_s=NOW_S + 3600).state
    assert found is not None
    assert (found.safety, found.boots, found.recent) == (state.safety, state.boots, ())


def test_a_margin_learned_for_a_longer_promise_takes_at_most_half_of_a_shorter_one() -> None:
    tick = Tick(scheduled_s=NOW_S, now_s=NOW_S, processing=Processing(mean_s=5), margin_s=290)
    decision = decide_scale(WORKLOAD, observe(visible=500, of=fleet(1)), None, tick).decision
    assert "margin 150 s" in decision.detail


def test_a_floor_that_does_not_pay_is_not_held_and_the_ways_out_are_told_cheapest_first() -> None:
    """The work of the day keeps 0.5 slots busy: more than 4 are not held beyond the load of now."""
    served, state = deadline_workload(settings=deadline(promise_s=60)), learned_floor(8640, 16)
    scaling = scale(observe(in_flight=5, of=fleet(9)), state, served=served)
    assert scaling.decision.desired == 5
    assert scaling.warning is not None
    assert scaling.warning.detail == (
        "At this load 102 instances would have to be held for 99 % of the messages to start in time, and the "
        "work of a day keeps 0.501 busy; 5 are held. Cheapest first: a promise of 212 s, which needs none of "
        "them; a warm pool of 102 that start within 44 s, which costs their volumes while they are stopped; "
        "MinCapacity=102"
    )


# --- FIFO queues, tick by tick ----------------------------------------------------------------------------


@dataclass
class FifoFleet:
    """A FIFO queue with this many groups and a backlog without end, and the fleet that the engine sizes."""

    groups: int
    served: Workload
    boot_s: float = 180
    running: int = 0
    booting: list[float] = field(default_factory=list)
    state: EngineState | None = None
    sizes: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def tick(self, now_s: float) -> None:
        self.running += sum(end_s <= now_s for end_s in self.booting)
        self.booting = [end_s for end_s in self.booting if end_s > now_s]
        in_flight = min(self.running, self.groups)
        observed = observe(100_000 - in_flight, in_flight, of=fleet(self.running, len(self.booting)))
        scaling = scale(observed, self.state, served=self.served, now_s=now_s)
        self.state = scaling.state
        self.decisions.append(scaling.decision)
        if (desired := scaling.decision.desired) is not None:
            launched = desired - self.running - len(self.booting)
            self.booting += [now_s + self.boot_s] * max(0, launched)
            self.running = min(self.running, desired)
        self.sizes.append(self.running + len(self.booting))


def simulate(simulated: FifoFleet, hours: float) -> FifoFleet:
    for tick in range(int(hours * 360)):
        simulated.tick(NOW_S + 10 * tick)
    return simulated


@pytest.mark.parametrize("busy", list(BusyInstances))
def test_two_groups_with_a_long_backlog_never_keep_more_than_two_instances_for_long(
    busy: BusyInstances,
) -> None:
    served = deadline_workload(settings=deadline(busy_instances=busy), queue_url=FIFO_URL)
    sizes = simulate(FifoFleet(groups=2, served=served), hours=4).sizes
    assert max(sizes) <= 4
    assert sum(size > 2 for size in sizes) <= 0.3 * len(sizes)
    longest = max(len(run) for run in "".join("+" if size > 2 else "-" for size in sizes).split("-"))
    assert longest * 10 <= 3 * 180
    assert min(sizes[60:]) >= 2


def test_a_fleet_doubles_while_that_helps() -> None:
    served = deadline_workload(queue_url=FIFO_URL)
    sizes = simulate(FifoFleet(groups=300, served=served), hours=1).sizes
    assert [size for size, last in zip(sizes, [0, *sizes], strict=False) if size > last][:8] == [
        2, 4, 8, 16, 32, 64, 128, 256,
    ]  # fmt: skip
    assert max(sizes) == 2 * 300


def test_a_standard_queue_has_no_groups_to_limit_it() -> None:
    assert simulate(FifoFleet(groups=10**9, served=WORKLOAD), hours=0.01).sizes[0] == 1000


def test_a_limit_by_groups_is_told_with_what_is_in_flight() -> None:
    served = deadline_workload(queue_url=FIFO_URL)
    decision = scale(observe(500, 2, of=fleet(4)), after(desired=4), served=served).decision
    assert (decision.reason, decision.desired) == (Reason.LIMITED_BY_GROUPS, None)
    assert decision.detail == "500 waiting, the oldest for up to 10 s; 2 in flight"


def test_a_lost_memory_of_groups_lowers_nothing_at_its_first_reading() -> None:
    served = deadline_workload(queue_url=FIFO_URL)
    decision = scale(observe(500, 1, of=fleet(10)), None, served=served).decision
    assert (decision.reason, decision.desired) == (Reason.LIMITED_BY_GROUPS, None)


def test_an_unprotected_fleet_beyond_its_groups_shrinks_in_steps_after_a_boot() -> None:
    served = replace(UNPROTECTED, queue_url=FIFO_URL)
    state, running, now_s, sizes = None, 40, NOW_S, []
    for _ in range(60):
        scaling = scale(observe(500, 2, of=fleet(running)), state, served=served, now_s=now_s)
        if scaling.decision.desired is not None:
            assert now_s - NOW_S >= 180
            sizes.append((running, scaling.decision.desired))
            running = scaling.decision.desired
        state, now_s = scaling.state, now_s + 10
    assert running == 2
    assert all(before - now <= max(1, MAX_STEP_RATIO * before) for before, now in sizes)


# --- whatever is read -------------------------------------------------------------------------------------

SMALL = st.integers(0, 40)
BLOCKS = st.sampled_from([(), (), (), ("suspended",)])


@st.composite
def fleets(draw: st.DrawFn) -> Capacity:
    running = draw(SMALL)
    protected = draw(st.none() | st.integers(0, running))
    low, high = sorted((draw(st.integers(0, 6)), draw(st.integers(0, 60))))
    return Capacity(
        desired=draw(SMALL),
        running=running,
        bounds=draw(st.just(WIDE) | st.just(Bounds(min=low, max=high)) | st.none()),
        booting=draw(st.none() | st.just(0) | st.integers(0, 9)),
        protected=protected,
        scale_in_blocked_by=draw(BLOCKS),
        scale_out_blocked_by=draw(BLOCKS),
    )


QUEUES = st.tuples(
    st.just(0) | st.integers(0, 3000), st.just(0) | st.integers(0, 80), st.just(0) | st.integers(0, 20)
)
READINGS = st.lists(
    st.tuples(
        st.floats(1, 400), st.just(UNREAD) | QUEUES | QUEUES | QUEUES, st.just(UNREAD) | fleets() | fleets()
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    low, high = sorted((draw(st.integers(0, 5)), draw(st.integers(1, 80))))
    chosen: Deadline = deadline(
        promise_s=draw(st.sampled_from([30, 300, 3000])),
        margin_s=draw(st.sampled_from([0, 15])),
        busy_instances=draw(st.sampled_from(BusyInstances)),
    )
    return deadline_workload(
        min_instances=low,
        max_instances=high,
        settings=chosen,
        mode=draw(st.sampled_from([Mode.ACTIVE, Mode.ACTIVE, Mode.OBSERVE, Mode.PAUSED])),
        target=slots(draw(st.sampled_from([0.5, 1, 3, 8]))),
        **({"queue_url": FIFO_URL} if draw(st.booleans()) else {}),
    )


def assert_lawful(
    served: Workload, observed: Observation, before: EngineState | None, scaling: Scaling
) -> None:
    """What holds for every decision, whatever was read."""
    decision, state = scaling.decision, scaling.state
    queue, of = observed.backlog, observed.capacity
    assert decision.detail or decision.reason is Reason.PAUSED
    if served.mode is Mode.PAUSED or isinstance(queue, Unknown) or isinstance(of, Unknown):
        assert (decision.desired, state) == (None, before)
        return
    assert state is not None
    bounds, _ = effective_bounds(served, of)
    booting = booting_instances(of)
    launched = sum(one.instances for one in state.launches)
    if served.mode is Mode.OBSERVE or decision.desired is None:
        assert launched == booting
        assert state.desired == of.desired
    if decision.desired is None:
        return
    assert bounds is not None
    assert decision.desired != of.desired
    assert decision.desired >= bounds.min
    if decision.desired > of.desired:
        assert decision.desired <= bounds.max
        assert not of.scale_out_blocked_by
        assert decision.reason in (Reason.STARTS_LATE, Reason.FLOOR) or of.desired < bounds.min
        if served.mode is Mode.ACTIVE:
            assert launched == booting + max(0, decision.desired - of.running - booting)
        return
    occupied = max(math.ceil(queue.in_flight / served.target.concurrency_per_instance), of.protected or 0)
    assert before is not None
    assert served.deadline is not None
    slowest_s = quantiles_s(state.boots, served.deadline.boot_s)[-1]
    # What is asked for and not launched yet is launched from now on, as far as the lower size allows.
    booting_before = state.launches[:-1] if launched > booting else state.launches
    assert all(state.read_s - one.at_s > LOST_AFTER * slowest_s for one in booting_before)
    assert not of.scale_in_blocked_by
    assert decision.desired >= occupied
    assert decision.reason in (Reason.SURPLUS, Reason.LIMITED_BY_GROUPS)
    if decision.desired == 0:
        assert queue.total == before.backlog.total == 0
    if served.deadline.busy_instances is BusyInstances.PROTECTED:
        assert decision.desired <= max(bounds.max, occupied)
    else:
        assert of.desired - decision.desired <= max(1, MAX_STEP_RATIO * of.desired)
        assert before.surplus_since_s is not None


def decide_all(served: Workload, readings: Sequence[tuple[float, Any, Any]], forgotten_at: int) -> None:
    state, now_s = None, NOW_S
    for index, (elapsed_s, queue, of) in enumerate(readings):
        now_s += elapsed_s
        before = None if index == forgotten_at else state
        observed = (
            observation(queue=UNREAD, fleet=of)
            if isinstance(queue, Unknown)
            else observation(*queue, fleet=of)
        )
        scaling = scale(observed, before, served=served, now_s=now_s)
        assert_lawful(served, observed, before, scaling)
        state = scaling.state


@settings(max_examples=200)
@given(workloads(), READINGS, st.integers(0, 12))
def test_no_decision_breaks_a_rule_whatever_is_read(
    served: Workload, readings: list[tuple[float, Any, Any]], forgotten_at: int
) -> None:
    decide_all(served, readings, forgotten_at)


@settings(max_examples=100)
@given(workloads(), st.lists(st.tuples(st.floats(5, 60), QUEUES, fleets()), min_size=3, max_size=30))
def test_no_decision_breaks_a_rule_over_a_longer_time(
    served: Workload, readings: list[tuple[float, Any, Any]]
) -> None:
    decide_all(served, readings, forgotten_at=-1)
