"""The deadline policy: every message starts in time, with the fewest instances that this takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim import policies
from sluice_sim.policies import deadline
from sluice_sim.policies.deadline import (
    AgeProfile,
    Cohort,
    FleetCapacity,
    launches,
)
from sluice_sim.simulator.arrival_estimate import Arrivals
from sluice_sim.simulator.boot_times import (
    BootTimes,
    ExpectedCapacity,
)
from sluice_sim.simulator.fleet import (
    Conditions,
    ScaleIn,
    Snapshot,
)
from sluice_sim.simulator.run import (
    Load,
    Run,
    simulate,
)
from sluice_sim.study.lower_bound import lower_bound
from tests.sim.policies.builders import (
    BOOT_S,
    HOUR_S,
    PROMISE_S,
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
    waits_s,
)

LARGE_FLEET = deployed(maximum=2000)
MIN_WORK_S = 30.0


def fleet(
    running: int = 0, ready_s: Sequence[float] = (), concurrency: int = 1, service_s: float = SERVICE_S
) -> FleetCapacity:
    booting = [ExpectedCapacity(ready_s=one, instances=1.0) for one in ready_s]
    return FleetCapacity(
        now_s=0.0, running=running, booting=booting, concurrency=concurrency, service_s=service_s
    )


def snapshot(now_s: float, launched_s: tuple[float, ...] = ()) -> Snapshot:
    return Snapshot(
        now_s=now_s, visible=0, in_flight=0, delayed=0, desired=0, running=0, idle=0, launched_s=launched_s,
        oldest_age_s=0.0,
    )  # fmt: skip


def due(*cohorts: tuple[float, float]) -> list[Cohort]:
    return [Cohort(due_s=due_s, messages=messages) for due_s, messages in cohorts]


def needed(cohorts: list[Cohort], serving: FleetCapacity | None = None) -> int:
    return launches(
        cohorts,
        serving or fleet(),
        launch=[ExpectedCapacity(ready_s=BOOT_S, instances=1.0)],
        min_work_s=MIN_WORK_S,
    )


def attainment(run: Run) -> float:
    return float((waits_s(run) <= run.promise_s).mean())


def work_hours(what: Load, concurrency: int = 1) -> float:
    return float(what.service_s.sum()) / concurrency / HOUR_S


cohort_lists = st.lists(st.tuples(st.floats(1, 600), st.floats(0.1, 2000)), min_size=1, max_size=30).map(
    lambda found: due(*sorted(found))
)
fleets = st.builds(
    fleet,
    running=st.integers(0, 30),
    ready_s=st.lists(st.floats(1, 180), max_size=20).map(sorted),
    concurrency=st.integers(1, 10),
    service_s=st.floats(0.5, 120),
)


class TestLaunches:
    def test_running_instances_are_enough_or_not(self) -> None:
        assert needed(due((300.0, 60)), fleet(running=1)) == 0
        assert needed(due((300.0, 61)), fleet(running=1)) == 1

    def test_a_booting_instance_counts_from_when_it_is_ready(self) -> None:
        # 24 starts in the 120 s from 180 s on, and half a start as the first is at once
        assert needed(due((300.0, 24)), fleet(ready_s=[180.0])) == 0
        assert needed(due((300.0, 25)), fleet(ready_s=[180.0])) == 1
        assert needed(due((300.0, 36)), fleet(ready_s=[120.0])) == 0

    def test_a_burst_needs_its_messages_over_what_one_instance_starts_until_they_are_due(self) -> None:
        assert needed(due((300.0, 2450))) == 100
        assert needed(due((300.0, 2450)), fleet(concurrency=4)) == 25

    def test_the_cohort_that_needs_most_decides(self) -> None:
        assert needed(due((300.0, 49), (600.0, 10))) == 2
        assert needed(due((300.0, 10), (320.0, 200))) == math.ceil(210 / 28.5)

    def test_messages_that_are_late_anyway_do_not_cost_any_number(self) -> None:
        for due_s in (-500.0, 0.0, 180.0, 181.0):
            assert needed(due((due_s, 65))) == 10  # 6.5 starts of each in the shortest work

    @given(cohorts=cohort_lists, serving=fleets)
    def test_the_needed_instances_are_enough_and_one_fewer_is_not(
        self, cohorts: list[Cohort], serving: FleetCapacity
    ) -> None:
        count = needed(cohorts, serving)

        def in_time(more: int) -> bool:
            before = 0.0
            for cohort in cohorts:
                before += cohort.messages
                moment_s = max(cohort.due_s, BOOT_S + MIN_WORK_S)
                starts = serving.starts_by(moment_s) + more * serving.starts_of_one(BOOT_S, moment_s)
                if before > starts + 1e-9:
                    return False
            return True

        assert in_time(count)
        assert count == 0 or not in_time(count - 1)

    @given(cohorts=cohort_lists, serving=fleets, more=st.floats(0, 500))
    def test_more_messages_never_need_fewer(
        self, cohorts: list[Cohort], serving: FleetCapacity, more: float
    ) -> None:
        deeper = [*cohorts[:-1], Cohort(due_s=cohorts[-1].due_s, messages=cohorts[-1].messages + more)]
        assert needed(deeper, serving) >= needed(cohorts, serving)


class TestAgeProfile:
    @pytest.mark.parametrize(
        ("waiting", "ages"),
        [
            (60, [(10, 30), (20, 20), (30, 10)]),
            (35, [(10, 5), (20, 20), (30, 10)]),
            (30, [(20, 20), (30, 10)]),
            (4, [(30, 4)]),
            (75, [(10, 45), (20, 20), (30, 10)]),
            (0, []),
        ],
    )
    def test_arrivals_cover_the_backlog_from_the_newest_and_the_rest_is_as_old_as_the_oldest(
        self, waiting: int, ages: list[tuple[float, float]]
    ) -> None:
        profile = AgeProfile(memory_s=900.0)
        for until_s, messages, seen in ((10.0, 30, 30), (20.0, 20, 50), (30.0, 10, waiting)):
            arrivals = Arrivals(until_s=until_s, elapsed_s=10.0, messages=messages)
            found = profile.update(arrivals, seen)
        assert [(one.until_s, one.messages) for one in found] == ages

    def test_under_overload_the_number_of_cohorts_is_bounded_and_no_message_is_lost(self) -> None:
        profile, waiting = AgeProfile(memory_s=900.0, min_s=3.0), 0
        for tick in range(1, 5000):
            waiting += 7
            found = profile.update(Arrivals(until_s=10.0 * tick, elapsed_s=10.0, messages=7), waiting)
            assert len(found) <= 92
        assert sum(one.messages for one in found) == waiting
        assert found[0].until_s - found[0].elapsed_s == 0.0, "the oldest is as old as it was"
        assert all(one.elapsed_s == 10.0 for one in list(found)[1:])

    def test_arrivals_close_together_are_one_cohort_as_old_as_its_first(self) -> None:
        profile = AgeProfile(memory_s=900.0, min_s=3.0)
        for tick in range(1, 10):
            found = profile.update(Arrivals(until_s=float(tick), elapsed_s=1.0, messages=2), 2 * tick)
        assert [(one.until_s, one.elapsed_s) for one in found] == [(3, 3), (6, 3), (9, 3)]


class TestBootTimes:
    def test_the_boot_estimate_starts_with_the_configured_time_and_follows_observations(self) -> None:
        boots = BootTimes(prior_s=180.0)
        assert (boots.mean_s, set(boots.quantiles_s)) == (180.0, {180.0})
        for launch in range(100):
            boots.update(snapshot(1000.0 * launch, launched_s=(1000.0 * launch,)))
            boots.update(snapshot(1000.0 * launch + 600.0))
        assert boots.mean_s == pytest.approx(600.0, rel=0.1)

    def test_the_boot_estimate_includes_fast_and_slow_instances_of_a_launch(self) -> None:
        boots = BootTimes(prior_s=180.0)
        boots.update(snapshot(0.0, launched_s=(0.0,) * 20))
        boots.update(snapshot(60.0, launched_s=(0.0,) * 10))
        assert boots.mean_s == 180.0
        boots.update(snapshot(300.0))
        assert set(boots.quantiles_s) == {60.0, 180.0, 300.0}
        assert boots.mean_s == pytest.approx(180.0)

    def test_the_longer_an_instance_boots_the_later_it_is_expected_and_then_at_any_moment(self) -> None:
        boots = BootTimes(prior_s=180.0)
        boots.update(snapshot(0.0, launched_s=(0.0,) * 20))
        boots.update(snapshot(60.0, launched_s=(0.0,) * 10))
        boots.update(snapshot(300.0))

        def expected(age_s: float) -> float:
            found = boots.expected_of_booting(snapshot(1000.0, launched_s=(1000.0 - age_s,)))
            assert sum(one.instances for one in found) == pytest.approx(1.0)
            return sum(one.ready_s * one.instances for one in found) - 1000.0 + age_s

        assert expected(10.0) == pytest.approx(180.0)
        assert 180.0 < expected(100.0) < expected(200.0) == pytest.approx(300.0)
        assert expected(500.0) == pytest.approx(500.0), "it is about to be ready"


@pytest.mark.parametrize("name", policies.names())
def test_no_policy_knows_when_an_instance_will_be_ready(name: str) -> None:
    """Runs that differ only in how long instances boot are the same until the first is ready."""
    what, sizes = load(*(dump(300, at_s) for at_s in (60, 90, 120, 200)), hours=1), deployed(maximum=500)
    fast, slow = (run_policy(name, what, sizes, boot_s=boot_s) for boot_s in (200.0, 250.0))
    known_s = min(one.launched_s for one in fast.instances) + 200.0
    log = [[(one.at_s, one.text) for one in run.log if one.at_s < known_s] for run in (fast, slow)]
    assert log[0] == log[1]


def test_widely_varying_boots_break_neither_the_promise_nor_the_cost_limit() -> None:
    random = np.random.default_rng(1)
    bursts = [dump(int(random.integers(100, 900)), at, 60.0) for at in random.uniform(0, 6 * HOUR_S, 18)]
    what = load(flow(2.0, 0, 6 * HOUR_S), *bursts, hours=6)
    even, uneven = (
        simulate(
            LARGE_FLEET,
            what,
            Conditions(boot_s=boot_s),
            policies.named("deadline"),
            promise_s=PROMISE_S,
            boot_s=BOOT_S,
        )
        for boot_s in (lambda: BOOT_S, lambda: float(random.uniform(60, 300)))
    )
    assert attainment(uneven) >= 0.99
    assert hours(uneven) <= 1.1 * hours(even)


class TestPromise:
    @pytest.mark.parametrize("concurrency", [1, 4])
    @pytest.mark.parametrize("at_s", [60.0, 63.0, 69.5])
    def test_a_burst_starts_in_time_with_few_surplus_instances(self, at_s: float, concurrency: int) -> None:
        run = run_policy("deadline", load(dump(2400, at_s)), LARGE_FLEET, concurrency=concurrency)
        assert waits_s(run).max() <= PROMISE_S
        known_s = 10 * math.ceil((at_s + 1) / 10)
        starts_of_one = concurrency * (at_s + PROMISE_S - known_s - BOOT_S) / SERVICE_S
        assert peak(run) <= 1.1 * 2400 / starts_of_one

    def test_a_steady_flow_costs_hardly_more_than_its_work(self) -> None:
        what = load(flow(3.0, 0, 4 * HOUR_S), hours=4)
        run = run_policy("deadline", what)
        assert attainment(run) >= 0.999
        assert hours(run) <= 1.05 * work_hours(what)

    def test_a_daily_wave_is_followed_up_and_down(self) -> None:
        arrivals = np.concatenate(
            [
                flow(3 + 2.5 * math.sin(math.tau * part / 24), part * 900.0, (part + 1) * 900.0, seed=part)
                for part in range(24)
            ]
        )
        what = load(arrivals, hours=6)
        run = run_policy("deadline", what)
        assert attainment(run) >= 0.999
        assert hours(run) <= 1.08 * work_hours(what)

    @pytest.mark.parametrize("seed", range(3))
    def test_on_bursts_it_stays_near_the_clairvoyant_bound(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        bursts = [
            dump(int(random.integers(50, 1500)), at, 60.0) for at in random.uniform(0, 3.5 * HOUR_S, 12)
        ]
        what = load(flow(1.0, 0, 4 * HOUR_S, seed), *bursts, hours=4)
        run = run_policy("deadline", what, LARGE_FLEET)
        best = lower_bound(
            what,
            concurrency=1,
            promise_s=PROMISE_S,
            minimum=0,
            maximum=2000,
            boot_s=BOOT_S,
            late_ratio=0.0,
        )
        assert attainment(run) >= 0.999
        assert best.instance_hours <= hours(run) <= 1.5 * best.instance_hours

    def test_widely_varying_service_times_keep_the_promise(self) -> None:
        random = np.random.default_rng(7)
        steady = load(flow(2.0, 0, 3 * HOUR_S), dump(500, 5000.0), hours=3)
        what = Load(
            arrival_s=steady.arrival_s,
            service_s=random.exponential(SERVICE_S, steady.arrival_s.size) + 0.01,
            horizon_s=steady.horizon_s,
        )
        assert attainment(run_policy("deadline", what)) >= 0.99

    def test_a_promise_shorter_than_the_boot_keeps_the_last_hours_peak(self) -> None:
        waves = [flow(per_s, 600.0 * part, 600.0 * (part + 1), part) for part, per_s in enumerate([4, 1] * 9)]
        what = load(*waves, hours=3)
        run = run_policy("deadline", what, promise_s=60.0)
        later = what.arrival_s > HOUR_S
        assert (waits_s(run)[later] <= 60.0).mean() >= 0.98
        assert min(one.desired for one in run.snapshots if HOUR_S < one.now_s < 3 * HOUR_S) >= 20


class TestScaleIn:
    def test_idle_instances_terminate_at_once_and_the_fleet_reaches_0(self) -> None:
        run = run_policy("deadline", load(dump(600), hours=1))
        done_s = float((run.messages.started_s + run.messages.service_s).max())
        terminated_s = run.terminated_s.max()
        assert run.snapshots[-1].desired == 0
        assert terminated_s <= done_s + deadline.FLOOR_WINDOW_S

    def test_the_fleet_never_falls_below_the_minimum(self) -> None:
        run = run_policy("deadline", load(dump(600), hours=1), deployed(minimum=3))
        assert min(one.running for one in run.snapshots if one.now_s > BOOT_S) == 3

    def test_work_is_never_interrupted(self) -> None:
        run = run_policy("deadline", load(flow(2.0, 0, HOUR_S), service_s=20.0))
        assert deadline.Policy.scale_in is ScaleIn.PROTECT
        assert (run.redelivered, run.dead_letters, unprocessed(run)) == (0, 0, 0)

    def test_booting_instances_are_not_stopped_even_if_the_others_are_done_before(self) -> None:
        run = run_policy("deadline", load(dump(400, 1000.0)), deployed(minimum=3), boot_s=600.0)
        launched = [one for one in run.instances if one.launched_s > 0]
        assert launched
        assert not any(run.terminated_s[one.number] < one.ready_s for one in launched)

    def test_steady_arrivals_keep_their_floor(self) -> None:
        run = run_policy("deadline", load(flow(3.0, 0, 2 * HOUR_S), hours=2))
        floor = [one.desired for one in run.snapshots if HOUR_S < one.now_s < 2 * HOUR_S]
        assert min(floor) >= 12  # 15 instances' work arrives


class TestLimits:
    def test_boots_slower_than_measured_do_not_cause_ever_more_launches(self) -> None:
        run = run_policy("deadline", load(dump(220, 1000.0)), deployed(minimum=3), boot_s=600.0)
        assert len(run.instances) <= 3 + 3

    def test_beyond_its_maximum_it_sets_the_maximum_and_loses_nothing(self) -> None:
        run = run_policy("deadline", load(dump(5000), hours=3), deployed(maximum=10))
        assert peak(run) == 10
        assert unprocessed(run) == 0

    def test_a_fleet_with_failed_launches_processes_everything_and_then_scales_to_0(self) -> None:
        run = run_policy("deadline", load(flow(0.5, 0, 1200), hours=1), refusal_ratio=0.9)
        emptied_s = float(run.messages.started_s.max())
        assert run.snapshots[-1].desired == 0
        assert max(one.launched_s for one in run.instances) <= emptied_s + deadline.TICK_S
        assert unprocessed(run) == 0

    def test_an_interrupted_instance_is_replaced_in_time_for_the_waiting_messages(self) -> None:
        what = load(flow(3.0, 0, 3 * HOUR_S), hours=3)
        run = run_policy("deadline", what, interruptions_per_instance_hour=0.2)
        assert len(run.instances) > 20
        assert attainment(run) >= 0.99
        assert unprocessed(run) == 0

    def test_one_message_launches_one_instance_at_the_next_tick(self) -> None:
        run = run_policy("deadline", load([65.0]))
        assert moves(run)[0] == (70.0, "policy", 0, 1)
        assert moves(run)[-1][3] == 0

    def test_each_decision_names_its_observation(self) -> None:
        log = [one.text for one in run_policy("deadline", load(dump(600, at_s=61.0))).log]
        assert log[0] == "0 -> 27: 600 wait, the oldest 10 s; 27 more needed"
        assert "nothing waits" in log[-1]
