"""Experiments: their inputs, repeatability, and parallel runs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sluice_sim.simulator import run
from sluice_sim.study import experiment as module
from sluice_sim.study import sweep
from sluice_sim.study.experiment import (
    Generated,
    bound_settings,
    load_of,
    run_experiment,
    trace_of,
)
from sluice_sim.study.sweep import (
    frontier,
    run_all,
    run_in_turn,
)
from sluice_sim.template import deployment
from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads import generators
from sluice_sim.workloads.service_times import Boot
from tests.sim.simulator.builders import (
    ROOT,
    SHORT,
    experiment,
    trace_file,
)


def made(one):
    return load_of(one.load_settings, trace_of(one.load_settings))


def numbers(outcome):
    return {key: value for key, value in outcome.result.items() if key != "wall_s"}


@pytest.mark.slow
def test_the_same_experiment_gives_the_same_result_to_the_last_digit():
    one = experiment(
        policy="sluice",
        variation=0.5,
        boot=Boot(min_s=30.0, max_s=90.0),
        interruptions_per_instance_hour=0.5,
        refusal_ratio=0.2,
        trace=replace(SHORT, per_day=20_000),
    )
    first, second = (run_in_turn([one], with_bound=True)[0] for _ in range(2))
    assert repr(numbers(first)) == repr(numbers(second))
    assert first.run.messages.started_s.tolist() == second.run.messages.started_s.tolist()
    other = run_in_turn([replace(one, seed=1)], with_bound=False)[0]
    assert numbers(other)["wait_max_s"] != numbers(first)["wait_max_s"]


@pytest.mark.slow
def test_other_processes_get_the_same_results_in_the_order_asked_for():
    experiments = [
        experiment(policy=policy, boot=Boot(min_s=boot, max_s=boot))
        for policy in ("static", "sluice")
        for boot in (30.0, 60.0)
    ]
    progress = []
    spread = run_all(experiments, with_bound=True, on_done=lambda *done: progress.append(done))
    in_turn = run_in_turn(experiments, with_bound=True)
    assert [repr(numbers(outcome)) for outcome in spread] == [repr(numbers(outcome)) for outcome in in_turn]
    assert progress == [(done, 6) for done in range(1, 7)], "four runs, and two bounds for two boot times"
    assert all(outcome.run is None for outcome in spread)


def test_an_error_of_another_process_is_raised_here(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sweep, "_workers", lambda tasks: ThreadPoolExecutor(1)
    )  # fresh processes take seconds
    bad = trace_file(tmp_path, "0,1", "60,-1")
    with pytest.raises(SettingError, match="line 3: '-1'"):
        run_all([experiment(trace=bad), experiment()], with_bound=False)


def test_changing_one_random_thing_leaves_the_others_alone():
    constant, varied = made(experiment()), made(experiment(variation=1.0))
    assert constant.arrival_s.tolist() == varied.arrival_s.tolist()
    assert constant.service_s.tolist() != varied.service_s.tolist()


def test_measured_durations_stand_in_for_the_mean(tmp_path):
    path = trace_file(tmp_path, "2", "9", header="duration_s")
    assert set(made(experiment(durations=path)).service_s) == {2.0, 9.0}


def test_the_promise_is_the_workloads_own_unless_one_is_asked_for():
    dynamic = experiment(parameters=deployment.environments(ROOT)["queue-proc"])
    assert dynamic.promise(3.0) == 60.0
    assert experiment(concurrency=2).promise(3.0) == 8 * 3.0 / 2
    assert experiment(promise_s=7.0).promise(3.0) == 7.0


def test_only_a_fifo_queue_has_message_groups():
    fifo = deployment.environments(ROOT)["compiler-aarch64-staging"]
    assert made(experiment()).groups is None
    assert experiment(parameters=fifo).load_settings.groups == 40
    groups = made(experiment(parameters=fifo, groups=3)).groups
    assert sorted(np.unique(groups)) == [0, 1, 2]


def test_the_run_begins_at_the_full_minute_before_its_trace(tmp_path, monkeypatch):
    began = []

    def simulate(*arguments, start_s, **options):
        began.append(start_s)
        return run.simulate(*arguments, start_s=start_s, **options)

    monkeypatch.setattr(module, "simulate", simulate)
    trace = trace_file(tmp_path, "2026-03-01T09:00:20Z,5", "2026-03-01T09:01:20Z,5")
    (dated,) = run_in_turn([experiment(trace=trace)], with_bound=False)
    run_in_turn([experiment()], with_bound=False)
    assert began == [datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp(), generators.START_S]
    assert min(dated.run.messages.arrival_s) >= 20.0


def test_the_bound_uses_the_shortest_boot_and_no_minimum_whose_launches_can_fail():
    one = experiment(boot=Boot(min_s=30.0, max_s=90.0))
    one = replace(one, parameters={**one.parameters, "MinCapacity": "2"})
    mean_s = made(one).mean_service_s
    assert (bound_settings(one, mean_s).boot_s, bound_settings(one, mean_s).minimum) == (30.0, 2)
    assert bound_settings(replace(one, refusal_ratio=0.1), mean_s).minimum == 0


def test_the_bound_takes_warm_starts_only_where_instances_return_to_the_pool():
    cold = experiment(boot=Boot(min_s=180.0, max_s=180.0))
    pooled = replace(cold, warm_pool=5)
    assert bound_settings(pooled, 5.0) == bound_settings(cold, 5.0), "each start initialises for a boot first"
    assert bound_settings(replace(pooled, warm_reuse=True), 5.0).boot_s == 45


def test_a_policy_that_uses_no_tick_refuses_a_tick_period():
    with pytest.raises(SettingError, match="policy static has no tick"):
        run_experiment(experiment(tick_s=30.0), made(experiment()), None)


def test_sluice_refuses_a_tick_that_its_schedule_cannot_have():
    one = experiment(policy="sluice", tick_s=90.0)
    with pytest.raises(SettingError, match="whole minutes"):
        run_experiment(one, made(one), None)


def test_a_slower_tick_leaves_messages_waiting_longer():
    burst = Generated(shape="idle-then-dump", days=0.05, per_day=4000)
    every, third = (experiment(policy="sluice", tick_s=tick_s, trace=burst) for tick_s in (60.0, 600.0))
    quick, slow = run_in_turn([every, third], with_bound=False)
    assert slow.result["wait_p50_s"] > quick.result["wait_p50_s"] + 60


def test_the_frontier_has_the_results_that_no_other_beats():
    points = [(10, 0.9), (10, 0.95), (12, 0.95), (20, 1.0), (5, 0.1), (20, 1.0), (8, None)]
    results = [{"instance_hours": hours, "attainment": share} for hours, share in points]
    assert frontier(results) == [False, True, False, True, True, True, False]


def test_a_shape_describes_itself():
    assert str(Generated(shape="spiky", days=7.0)) == "spiky (7 d, 200,000 messages a day)"
    assert isinstance(experiment().root, Path)
