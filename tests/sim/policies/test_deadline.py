"""The deployed deadline engine in the simulator: every message starts in time, with the fewest instances."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from sluice.core.deadline.arrivals import RATE_WINDOW_S
from sluice_sim import policies
from sluice_sim.policies import deadline
from sluice_sim.simulator.fleet import (
    Conditions,
    ScaleIn,
)
from sluice_sim.simulator.run import (
    Load,
    Run,
    simulate,
)
from sluice_sim.simulator.warm_pool import WarmPoolSettings
from sluice_sim.study.lower_bound import lower_bound
from sluice_sim.template import deployment
from sluice_sim.template.deployment import environments
from tests.sim.policies.builders import (
    BOOT_S,
    HOUR_S,
    MINUTE_S,
    PROMISE_S,
    ROOT,
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

pytestmark = pytest.mark.slow

LARGE_FLEET = deployed(maximum=2000)
MARGIN_S = 20.0
"""The default of workload.yaml."""
TICK_S = deadline.Policy.tick_s


def attainment(run: Run) -> float:
    return float((waits_s(run) <= run.promise_s).mean())


def work_hours(what: Load, concurrency: int = 1) -> float:
    return float(what.service_s.sum()) / concurrency / HOUR_S


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


class TestWarmPool:
    def test_bursts_cost_less_once_the_starts_from_the_pool_are_measured(self) -> None:
        what = load(*(dump(2400, at_s) for at_s in np.arange(0, 12 * HOUR_S, HOUR_S) + 63), hours=12)
        cold = run_policy("deadline", what, LARGE_FLEET)
        pool = WarmPoolSettings(size=200, boot_s=lambda: 45.0, price_ratio=0.01, reuse=True)
        pooled = run_policy("deadline", what, LARGE_FLEET, warm_pool=pool)
        assert min(attainment(cold), attainment(pooled)) >= 0.99, "the margin allows a few late ones"
        assert pooled.warm_pool_cost_s > 12 * HOUR_S * 200 * 0.01
        late_on = 6 * HOUR_S
        needed = [sum(one.launched_s > late_on for one in run.instances) for run in (cold, pooled)]
        assert needed[1] <= 0.65 * needed[0], "each is ready 135 s sooner"

    def test_a_pool_that_runs_out_breaks_no_promise(self) -> None:
        what = load(*(dump(2400, at_s) for at_s in np.arange(0, 6 * HOUR_S, HOUR_S) + 63), hours=6)
        pool = WarmPoolSettings(size=10, boot_s=lambda: 45.0, price_ratio=0.01)
        run = run_policy("deadline", what, LARGE_FLEET, warm_pool=pool)
        assert attainment(run) == 1
        assert 0 < sum(one.warm for one in run.instances) < len(run.instances)


class TestPromise:
    @pytest.mark.parametrize("concurrency", [1, 4])
    @pytest.mark.parametrize("at_s", [60.0, 63.0, 69.5])
    def test_a_burst_starts_in_time_with_few_surplus_instances(self, at_s: float, concurrency: int) -> None:
        run = run_policy("deadline", load(dump(2400, at_s)), LARGE_FLEET, concurrency=concurrency)
        assert waits_s(run).max() <= PROMISE_S
        known_s = 10 * math.ceil((at_s + 1) / 10)
        starts_of_one = concurrency * (at_s + PROMISE_S - MARGIN_S - known_s - BOOT_S) / SERVICE_S
        assert peak(run) <= 1.1 * 2400 / starts_of_one

    def test_jobs_longer_than_the_promise_get_an_instance_each_and_no_more(self) -> None:
        what = load([1000.0] * 60, service_s=1200.0)
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
        assert attainment(run) == 1
        assert len(run.instances) == 60
        assert hours(run) <= 1.25 * best.instance_hours

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

    def test_a_promise_shorter_than_the_boot_is_kept_by_a_floor_for_what_a_boot_may_bring(self) -> None:
        """A load of 5 to 20 slots; it rises from the lower to the higher at once."""
        waves = [flow(per_s, 600.0 * part, 600.0 * (part + 1), part) for part, per_s in enumerate([4, 1] * 9)]
        what = load(*waves, hours=3)
        run = run_policy("deadline", what, promise_s=60.0)
        later = what.arrival_s > HOUR_S
        assert (waits_s(run)[later] <= 60.0).mean() >= 0.98
        assert min(one.desired for one in run.snapshots if HOUR_S < one.now_s < 3 * HOUR_S) >= 18


class TestScaleIn:
    def test_idle_instances_terminate_at_once_and_the_fleet_reaches_0(self) -> None:
        run = run_policy("deadline", load(dump(600), hours=1))
        done_s = float((run.messages.started_s + run.messages.service_s).max())
        terminated_s = run.terminated_s.max()
        assert run.snapshots[-1].desired == 0
        assert terminated_s <= done_s + RATE_WINDOW_S + 2 * TICK_S

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


class TestMessageGroups:
    """SQS does not say how many groups wait: the fleet doubles while that makes more instances busy."""

    @staticmethod
    def run(groups: int, messages: int) -> Run:
        sizes = environments(ROOT)["photo-import"] | {"QueueName": "photo-import.fifo", "MaxCapacity": "100"}
        what = load(dump(messages))
        in_groups = replace(what, groups=np.arange(messages) % groups)
        return run_policy("deadline", in_groups, deployment.deployed(ROOT, sizes))

    def test_two_groups_with_a_backlog_of_hours_get_two_instances_and_two_more_now_and_then(self) -> None:
        run = self.run(groups=2, messages=5000)
        working = [one.desired for one in run.snapshots if one.now_s > MINUTE_S and one.visible]
        assert max(working) == 4
        assert np.mean([desired == 2 for desired in working]) >= 0.75
        assert hours(run) <= 1.2 * work_hours(run.load)
        assert unprocessed(run) == 0

    def test_forty_groups_get_forty_instances_by_doubling(self) -> None:
        run = self.run(groups=40, messages=20000)
        raised = [(at_s, after) for at_s, _, before, after in moves(run) if after > before]
        assert [after for _, after in raised[:7]] == [1, 2, 4, 8, 16, 32, 64]
        assert raised[6][0] <= MINUTE_S + 6 * (BOOT_S + TICK_S)
        assert peak(run) <= 80
        assert max(one.in_flight for one in run.snapshots) == 40
        assert unprocessed(run) == 0


class TestLimits:
    def test_a_day_of_overload_is_simulated_in_less_than_twice_the_seconds(self) -> None:
        """What waits grows for hours, but what a tick remembers of it and computes does not."""
        random = np.random.default_rng(1)
        begins_s = random.uniform(0, 23.9 * HOUR_S, 300)
        bursts = [dump(int(random.integers(200, 900)), at_s, 60.0) for at_s in begins_s]
        what = load(flow(0.5, 0, 24 * HOUR_S), *bursts, hours=24)
        spent_s: dict[int, float] = {}
        for maximum in (8, 2000) * 2:
            began_s = time.process_time()
            run = run_policy("deadline", what, deployed(maximum=maximum))
            took_s = time.process_time() - began_s
            spent_s[maximum] = min(took_s, spent_s.get(maximum, took_s))
            assert unprocessed(run) == 0
        assert spent_s[8] <= 2 * spent_s[2000]

    def test_boots_slower_than_measured_do_not_cause_ever_more_launches(self) -> None:
        run = run_policy("deadline", load(dump(220, 1000.0)), deployed(minimum=3), boot_s=600.0)
        floor = math.ceil(220 / RATE_WINDOW_S * SERVICE_S)
        assert len(run.instances) <= 3 + floor, "the promise is shorter than this boot"

    def test_beyond_its_maximum_it_sets_the_maximum_and_loses_nothing(self) -> None:
        run = run_policy("deadline", load(dump(5000), hours=3), deployed(maximum=10))
        assert peak(run) == 10
        assert unprocessed(run) == 0

    def test_a_fleet_with_failed_launches_processes_everything_and_then_scales_to_0(self) -> None:
        run = run_policy("deadline", load(flow(0.5, 0, 1200), hours=1), refusal_ratio=0.9)
        emptied_s = float(run.messages.started_s.max())
        assert run.snapshots[-1].desired == 0
        assert max(one.launched_s for one in run.instances) <= emptied_s + TICK_S
        assert unprocessed(run) == 0

    def test_an_interrupted_instance_is_replaced_in_time_for_the_waiting_messages(self) -> None:
        what = load(flow(3.0, 0, 3 * HOUR_S), hours=3)
        run = run_policy("deadline", what, interruptions_per_instance_hour=0.2)
        assert len(run.instances) > 20
        assert attainment(run) >= 0.99
        assert unprocessed(run) == 0

    def test_one_message_launches_one_instance_at_the_next_tick(self) -> None:
        run = run_policy("deadline", load([65.0]))
        assert moves(run)[0] == (70.0, "Sluice", 0, 1)
        assert moves(run)[-1][3] == 0

    def test_without_its_ticks_the_rest_of_the_control_plane_starts_the_fleet_and_shuts_it_down(self) -> None:
        class Silent(deadline.Policy):
            def _tick(self) -> None:
                """No tick below a minute is served."""

        run = run_policy(Silent(), load([65.0]))
        assert [after for _, _, _, after in moves(run)] == [1, 0]
        assert [one.text.split()[0] for one in run.log] == ["bootstrap", "shutdown"]

    def test_each_decision_names_its_observation(self) -> None:
        log = [one.text for one in run_policy("deadline", load(dump(600, at_s=61.0))).log]
        assert log[0] == (
            "scale 0 -> 33: messages would start late (600 waiting, the oldest for up to 10 s; 600 of "
            "those that have waited 10 s or longer would start late (margin 20 s): launch 33 more) (by tick)"
        )
        assert "none waiting" in log[-1]
