"""The search: what is tried, how the best is chosen, and that the days held out stay out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sluice.core.model import Bounds
from sluice.document.schedule_lines import parsed
from sluice_sim.study import advice, candidates, recommendation, search_budget
from sluice_sim.study.advice import Happened, Past, advise
from sluice_sim.study.candidates import applied, axes, fitted, merged, present_value
from sluice_sim.study.experiment import Experiment
from sluice_sim.study.judging import DayFigures, Figures, figures_of, joined
from sluice_sim.study.recommendation import Tried, _Search, halves, recommend
from sluice_sim.study.reproduction import Minutes
from sluice_sim.study.search_budget import relative_cost
from sluice_sim.study.sweep import run_in_turn
from sluice_sim.study.weekly import Floor
from sluice_sim.template import deployment
from sluice_sim.workloads import generators, traces
from sluice_sim.workloads.traces import DAY_S, Trace

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENTS = deployment.environments(ROOT)
RUNNING = np.repeat([0.0, 2.0, 4.0, 5.0], [30, 40, 20, 10])
"""Instances by the minute: the median is 2, the most are 5."""
NO_MINUTES = Minutes(desired=np.zeros(0), running=np.zeros(0))


def experiment(name: str = "queue-proc", trace: Path = Path("none.csv"), **parameters: str) -> Experiment:
    made = Experiment(
        root=ROOT, parameters={**ENVIRONMENTS[name], **parameters}, policy="sluice", trace=trace
    )
    return applied(made, {})


def figures(hours: float, share: float = 1.0, *, messages: int = 1000, days: int = 1) -> Figures:
    day = DayFigures(instance_hours=hours, messages=messages, in_time=round(share * messages))
    return Figures(
        days=(day,) * days,
        minutes=NO_MINUTES,
        mean_service_s=5.0,
        promise_s=60.0,
        cpu_s=1.0,
        peak_instances=3,
    )


def search(keep_share: float = 0.99) -> _Search:
    return _Search(
        present=experiment(),
        runs=FakeRuns(lambda _: figures(1)),
        keep_share=keep_share,
        on_step=lambda *_: None,
    )


class FakeRuns:
    """In place of the pool: the figures that a function gives for each experiment, which it records."""

    def __init__(self, of):
        self.of, self.ran, self.settle_s = of, [], []

    def each(self, experiments, extracts, on_done=lambda *_: None):
        assert all(extract.func is figures_of for extract in extracts)
        self.ran += experiments
        self.settle_s += [extract.keywords["settle_s"] for extract in extracts]
        for done, _ in enumerate(experiments, start=1):
            on_done(done, len(experiments))
        return [self.of(each) for each in experiments]


class TestWhatIsTried:
    @pytest.mark.slow
    def test_every_option_differs_from_the_present_and_can_be_deployed(self):
        for name in ENVIRONMENTS:
            present = experiment(name)
            for axis in axes(present, promise_s=300, processing_s=5, running=RUNNING):
                for option in axis.options:
                    changed = applied(present, option)
                    assert changed != present, (name, option)
                    assert changed.deployed().workload.bounds.max >= changed.deployed().workload.bounds.min

    def test_target_tracking_tries_target_idle_minutes_bounds_and_the_deadline_engine(self):
        found = {
            axis.name: axis.options
            for axis in axes(experiment(), promise_s=60, processing_s=5, running=RUNNING)
        }
        assert found.keys() == {"engine", "target", "IdleMinutes", "MinCapacity", "MaxCapacity"}
        assert {"AcceptableLatencySeconds": "42"} in found["target"]
        assert {"IdleMinutes": "5"} not in found["IdleMinutes"], "it is the default"
        assert [option["TickSeconds"] for option in found["engine"]] == ["10", "30"]

    def test_the_deadline_engine_tries_ticks_and_target_tracking_and_a_group_a_warm_pool(self):
        present = experiment("photo-import")
        assert (present.policy, present.tick_s) == ("deadline", 10)
        found = {
            axis.name: axis.options for axis in axes(present, promise_s=300, processing_s=5, running=RUNNING)
        }
        assert found.keys() == {"engine", "TickSeconds", "MinCapacity", "MaxCapacity", "WarmPool"}
        assert applied(present, found["engine"][0]).policy == "sluice"
        assert applied(present, found["TickSeconds"][0]).tick_s == 5
        assert applied(present, found["WarmPool"][0]).warm_pool == 1

    def test_bounds_are_tried_between_the_instances_that_ran(self):
        present = experiment(MinCapacity="1", MaxCapacity="10")
        found = {
            axis.name: axis.options for axis in axes(present, promise_s=60, processing_s=5, running=RUNNING)
        }
        assert [option["MinCapacity"] for option in found["MinCapacity"]] == ["0", "2"]
        assert [option["MaxCapacity"] for option in found["MaxCapacity"]] == ["3", "4", "5"]

    def test_a_maximum_that_is_reached_is_tried_higher_too(self):
        present = experiment(MaxCapacity="5")
        found = {
            axis.name: axis.options for axis in axes(present, promise_s=60, processing_s=5, running=RUNNING)
        }
        assert [option["MaxCapacity"] for option in found["MaxCapacity"]] == ["3", "4", "8", "10"]

    def test_a_service_has_no_warm_pool(self):
        assert "WarmPool" not in {
            axis.name for axis in axes(experiment(), promise_s=60, processing_s=5, running=RUNNING)
        }

    def test_settings_of_target_tracking_are_dropped_beside_the_deadline_engine(self):
        deadline = {"Scaling": "deadline", "AcceptableLatencySeconds": "60"}
        target = {"AcceptableLatencySeconds": "42"}
        assert merged(target, {"IdleMinutes": "2", "MinCapacity": "1"}, deadline) == {
            "MinCapacity": "1",
            "Scaling": "deadline",
            "AcceptableLatencySeconds": "60",
        }
        assert merged(target, {"IdleMinutes": "2"}) == {"AcceptableLatencySeconds": "42", "IdleMinutes": "2"}

    def test_the_present_value_is_the_given_one_or_the_default(self):
        present = experiment()
        names = ("MaxCapacity", "IdleMinutes", "WarmPool", "ProcessingSeconds")
        assert [present_value(present, name) for name in names] == ["10", "5", "0", ""]


BUSY, QUIET = "busy,MON-FRI,7:30,UTC,4,9999", "quiet,MON-FRI,18:00,UTC,0,9999"
FLOOR = Floor(busy=parsed(BUSY), quiet=parsed(QUIET))
OWN = {"Schedule1": "day,SUN-SAT,6:00,UTC,2,10", "Schedule2": "night,SUN-SAT,20:00,UTC,1,10"}


class TestSchedules:
    def test_a_floor_is_tried_within_the_bounds_of_the_workload_and_follows_changed_ones(self):
        present = experiment(MinCapacity="1")
        [option] = options_of("schedules", present, floors=[FLOOR])
        assert fitted(present, option) == {
            "Schedule1": "busy,MON-FRI,7:30,UTC,4,10",
            "Schedule2": "quiet,MON-FRI,18:00,UTC,1,10",
        }
        lower = applied(present, merged(option, {"MinCapacity": "0", "MaxCapacity": "3"}))
        assert [each.bounds for each in lower.deployed().workload.schedules] == [
            Bounds(min=3, max=3),
            Bounds(min=0, max=3),
        ]

    def test_present_schedules_are_kept_and_tried_without_and_replaced(self):
        present = experiment(**OWN, Schedule3="noon,SUN-SAT,12:00,UTC,2,10")
        without, other = options_of("schedules", present, floors=[FLOOR])
        assert without == {"Schedule1": "", "Schedule2": "", "Schedule3": ""}
        assert other == {"Schedule1": BUSY, "Schedule2": QUIET, "Schedule3": ""}
        assert applied(present, without).deployed().workload.schedules == ()
        kept = applied(present, {"IdleMinutes": "2"}).deployed().workload.schedules
        assert [each.name for each in kept] == ["day", "night", "noon"]

    def test_a_smaller_maximum_can_be_tried_beside_present_schedules(self):
        for axis in axes(experiment(**OWN), promise_s=60, processing_s=5, running=RUNNING):
            for option in axis.options:
                applied(experiment(**OWN), option).deployed()
        narrow = applied(experiment(**OWN), {"MaxCapacity": "8", "MinCapacity": "2"}).deployed().workload
        assert [each.bounds for each in narrow.schedules] == [Bounds(min=2, max=8)] * 2

    def test_without_a_weekly_history_and_without_schedules_nothing_is_tried(self):
        found = axes(experiment(), promise_s=60, processing_s=5, running=RUNNING)
        assert "schedules" not in {axis.name for axis in found}

    def test_a_service_whose_scalable_target_another_stack_registers_is_tried_without_schedules(self):
        """The template refuses them: their actions belong to the stack that registers the target."""
        present = experiment(CreateScalableTarget="false")
        found = axes(present, promise_s=60, processing_s=5, running=RUNNING, floors=[FLOOR])
        assert "schedules" not in {axis.name for axis in found}
        for axis in found:
            for option in axis.options:
                applied(present, option).deployed()

    def test_the_best_floor_is_combined_with_what_is_cheaper_and_breaks_the_promise(self):
        """Alone it costs more than the present settings, which keep the promise; together it costs less."""
        floors = candidates.Axis(name="schedules", options=({"Schedule1": BUSY}, {"Schedule1": QUIET}))
        target = candidates.Axis(name="target", options=tuple({"T": value} for value in "1234"))
        found = {"1": (60, 0.9), "2": (50, 0.8), "3": (70, 0.95), "4": (130, 1.0)}
        alone = [
            Tried(changes={}, figures=figures(100)),
            *(Tried(changes={"T": value}, figures=figures(*found[value])) for value in "1234"),
            Tried(changes={"Schedule1": BUSY}, figures=figures(110)),
            Tried(changes={"Schedule1": QUIET}, figures=figures(120)),
        ]
        made = search().combinations([target, floors], alone)
        assert made == [{"T": "2", "Schedule1": BUSY}, {"T": "1", "Schedule1": BUSY}]


def options_of(name, present, **given):
    found = axes(present, promise_s=60, processing_s=5, running=RUNNING, **given)
    return {axis.name: axis.options for axis in found}[name]


class TestTheChoice:
    def test_the_cheapest_that_keeps_the_promise_wins(self):
        tried = [
            Tried(changes={}, figures=figures(100)),
            Tried(changes={"A": "1"}, figures=figures(50, 0.98)),
            Tried(changes={"B": "1"}, figures=figures(80)),
            Tried(changes={"C": "1"}, figures=figures(70)),
        ]
        assert search().chosen(tried) == {"C": "1"}
        assert search(0.97).chosen(tried) == {"A": "1"}

    def test_a_broken_promise_is_mended_even_at_a_cost(self):
        tried = [
            Tried(changes={}, figures=figures(100, 0.9)),
            Tried(changes={"A": "1"}, figures=figures(50, 0.95)),
            Tried(changes={"B": "1"}, figures=figures(150, 0.995)),
        ]
        assert search().chosen(tried) == {"B": "1"}
        assert search().chosen(tried[:2]) == {"A": "1"}, "less is late, although it is not kept"

    def test_of_equally_cheap_settings_those_that_change_least_win_and_none_without_a_gain(self):
        tried = [
            Tried(changes={}, figures=figures(100)),
            Tried(changes={"A": "1", "B": "1"}, figures=figures(80)),
            Tried(changes={"B": "1"}, figures=figures(80.3)),
        ]
        assert search().chosen(tried) == {"B": "1"}
        assert search().chosen([tried[0], Tried(changes={"A": "1"}, figures=figures(99.8))]) == {}

    def test_the_best_of_different_settings_are_combined(self):
        found = [
            candidates.Axis(name=name, options=tuple({name: value} for value in "123"))
            for name in ("A", "B", "C", "D")
        ]
        hours = {"A1": 90, "A2": 80, "A3": 120, "B1": 85, "C2": 95, "D3": 100}
        alone = [Tried(changes={}, figures=figures(100))] + [
            Tried(changes=option, figures=figures(hours.get(axis.name + option[axis.name], 130)))
            for axis in found
            for option in axis.options
        ]
        made = search().combinations(found, alone)
        assert {"A": "2", "B": "1", "C": "2"} in made
        assert {"A": "1", "B": "1"} in made
        assert not any("D" in each or each.get("A") == "3" for each in made)


class TestTheHalves:
    @pytest.fixture
    def trace(self) -> Trace:
        """Four days of an hour's intervals, with 24, 48, 72 and 96 messages."""
        return Trace(interval_s=3600.0, arrivals=np.repeat(np.arange(1, 5), 24), start_s=0.0)

    def judged(self, tmp_path, trace, *, cpu_s_per_day: float = 0.001, better: str = "20"):
        def of(experiment):
            hours = 50 if experiment.parameters.get("IdleMinutes") == better else 100
            return figures(hours)

        runs, parts = FakeRuns(of), halves(trace, tmp_path)
        messages = traces.part(trace, 0, parts.tuned_days * DAY_S).arrivals.reshape(parts.tuned_days, -1)
        now = figures(100, days=parts.tuned_days)
        now = replace(
            now,
            days=tuple(figures(100, messages=count).days[0] for count in messages.sum(axis=1)),
            cpu_s=cpu_s_per_day * parts.tuned_days,
        )
        present = replace(experiment(), promise_s=60.0)
        found = recommend(
            present,
            trace,
            parts,
            (now, figures(100, days=parts.judged_days)),
            tmp_path,
            runs,
            keep_share=0.99,
        )
        return found, runs

    def test_the_days_held_out_are_run_once_with_the_chosen_settings(self, tmp_path, trace):
        found, runs = self.judged(tmp_path, trace)
        assert found.changes == {"IdleMinutes": "20"}
        assert (found.tuned_days, found.judged_days, found.saving) == (2, 2, 0.5)
        ran = [each.trace.name for each in runs.ran]
        assert ran.count("judged.csv") == 1
        assert ran[-1] == "judged.csv"
        assert found.tried == 1 + ran.count("tuned.csv"), "the present settings ran before"

    def test_a_part_begins_before_its_first_day(self, tmp_path, trace):
        _, runs = self.judged(tmp_path, trace, cpu_s_per_day=1e6)
        for each, settle_s in zip(runs.ran, runs.settle_s, strict=True):
            assert settle_s == (0 if each.trace.name == "tuned.csv" else 7200)
        totals = {"tuned.csv": 24 + 48, "probe.csv": 48 + 2 * 1, "judged.csv": 72 + 96 + 2 * 2}
        assert {name: traces.read(tmp_path / name).total for name in totals} == totals

    def test_a_slow_simulation_tries_on_the_busiest_days_and_ends_on_the_whole_half(self, tmp_path, trace):
        found, runs = self.judged(tmp_path, trace, cpu_s_per_day=1e6)
        assert found.probe_days == 1
        assert [each.trace.name for each in runs.ran].count("tuned.csv") == 1, "the best one alone"

    def test_a_weekly_history_is_tried_with_a_floor_and_the_same_days_in_another_order_are_not(
        self, tmp_path
    ):
        """Every run with a schedule is cheaper here: it is tried where the first half suggests one."""
        weekly = generators.generate("weekly", days=28, per_day=1000, interval_s=60, seed=0)
        days = np.random.default_rng(0).permutation(weekly.arrivals.reshape(28, -1))
        shuffled = replace(weekly, arrivals=days.ravel())
        for trace, zone, changed in (
            (weekly, "UTC", ["busy,MON-FRI,7:30,UTC,2,10", "quiet,MON-FRI,18:00,UTC,0,10"]),
            (weekly, None, []),
            (replace(weekly, start_s=None), "UTC", []),
            (shuffled, "UTC", []),
            (traces.part(weekly, 0, 4 * DAY_S), "UTC", []),
        ):
            parts = halves(trace, tmp_path)
            now = tuple(
                replace(figures(100, days=days), mean_service_s=60.0)
                for days in (parts.tuned_days, parts.judged_days)
            )
            runs = FakeRuns(lambda each: figures(50 if each.parameters.get("Schedule1") else 100))
            present = replace(experiment(), promise_s=60.0)
            found = recommend(present, trace, parts, now, tmp_path, runs, keep_share=0.99, time_zone=zone)
            assert list(found.changes.values()) == changed, (zone, parts.tuned_days)

    def test_nothing_better_is_nothing_changed(self, tmp_path, trace):
        found, runs = self.judged(tmp_path, trace, better="none")
        assert (found.changes, found.saving) == ({}, 0.0)
        assert "judged.csv" not in [each.trace.name for each in runs.ran]

    def test_every_run_is_judged_by_the_present_promise(self, tmp_path, trace):
        _, runs = self.judged(tmp_path, trace)
        assert {each.promise_s for each in runs.ran} == {60.0}

    @pytest.mark.parametrize("days", [2, 6, 14])
    @pytest.mark.parametrize("cpu_s_per_day", [0.01, 1.5, 4.0, 8.0])
    def test_the_days_that_are_simulated_fit_into_the_time(self, tmp_path, monkeypatch, days, cpu_s_per_day):
        monkeypatch.setattr(recommendation, "cores", lambda: 2)
        long = Trace(interval_s=3600.0, arrivals=np.ones(24 * days, np.int64), start_s=0.0)
        found, runs = self.judged(tmp_path, long, cpu_s_per_day=cpu_s_per_day)
        lengths = {
            "probe.csv": found.probe_days,
            "tuned.csv": found.tuned_days,
            "judged.csv": found.judged_days,
        }
        spent_s = sum(
            lengths[each.trace.name] * cpu_s_per_day * relative_cost(each) / relative_cost(experiment())
            for each in runs.ran
        )
        assert spent_s <= 2 * search_budget.TOTAL_S
        assert 2 * search_budget.TOTAL_S + days * cpu_s_per_day <= 2 * 300


def test_figures_of_days_add_up_to_the_run(tmp_path: Path) -> None:
    trace = Trace(interval_s=3600.0, arrivals=np.array([60] * 24 + [0] * 12 + [1200] * 12), start_s=0.0)
    traces.write(trace, tmp_path / "trace.csv")
    present = experiment(trace=tmp_path / "trace.csv", MinCapacity="1")
    [outcome] = run_in_turn([present], with_bound=False)
    found = figures_of(outcome.run)
    assert [day.messages for day in found.days] == [1440, 14_400]
    assert sum(day.instance_hours for day in found.days) == pytest.approx(outcome.result["instance_hours"])
    assert found.attainment == pytest.approx(outcome.result["attainment"])
    assert found.instance_hours.min < found.instance_hours.mean < found.instance_hours.max
    assert found.minutes.desired.size == 2 * DAY_S / 60


@pytest.mark.slow
def test_halves_that_run_side_by_side_are_the_whole(tmp_path: Path) -> None:
    """The first is the same; the second differs as much as with another seed, which is a tenth of a day."""
    hours = np.tile(np.repeat([20, 600, 900, 60], 6), 4)
    trace = Trace(interval_s=3600.0, arrivals=hours, start_s=7 * 3600.0)
    traces.write(trace, tmp_path / "trace.csv")
    present = experiment(trace=tmp_path / "trace.csv")
    parts = halves(trace, tmp_path)
    whole, tuned, judged = (
        figures_of(outcome.run, settle_s)
        for outcome, settle_s in zip(
            run_in_turn(
                [present, *(replace(present, trace=part.path) for part in (parts.tuned, parts.judged))],
                with_bound=False,
            ),
            (0.0, 0.0, parts.judged.settle_s),
            strict=True,
        )
    )
    together = joined(tuned, judged)
    assert len(together.days) == len(whole.days) == 4
    assert together.minutes.desired.size == whole.minutes.desired.size == 4 * 24 * 60
    assert [day.messages for day in together.days] == [day.messages for day in whole.days]
    assert together.days[:2] == whole.days[:2]
    assert together.instance_hours.mean == pytest.approx(whole.instance_hours.mean, rel=0.05)
    assert together.attainment == pytest.approx(whole.attainment, abs=0.01)
    assert together.promise_s == whole.promise_s


def test_a_simulation_that_is_wrong_recommends_nothing(tmp_path: Path, monkeypatch) -> None:
    class Pool:
        def __enter__(self):
            return FakeRuns(lambda _: figures(10))

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(advice, "parallel_runs", Pool)
    minutes = Minutes(desired=np.array([1.0]), running=np.array([1.0]))
    trace = Trace(interval_s=3600.0, arrivals=np.ones(48, np.int64), start_s=0.0)
    past = Past(experiment=experiment(), trace=trace, happened=Happened(minutes=minutes, share=0.9), notes=())
    found = advise(past, tmp_path)
    assert found.recommendation is None
    assert "its share of messages in time is off by +10.0 points" in found.refused
    assert found.reproduction.happened_share == 0.9
