"""The promise benchmark: the limits of its generated rows hold, and a missed limit is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks import promise
from benchmarks.promise import EFFECTIVE, GENERATED, NATIVE, PLAIN, Figures, Limits, Row, Way
from sluice.core import sustained_arrivals
from sluice.usecases import offered_load
from sluice_sim.study.experiment import Generated
from tests.support.builders import MINUTE_NOW

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one after the other: the other tests use the other cores."""
    monkeypatch.setattr(promise, "workers", lambda: ThreadPoolExecutor(1))


SHORT = Row(
    name="an hour",
    trace=Generated(shape="steady", days=0.05, per_day=100_000),
    environment="transcription",
    overrides={"MessagesPerInstance": "60", "ProcessingSeconds": "5"},
    maximum=20,
)
LIMITED = replace(SHORT, limits=Limits(attainment=0.99, cost_ratio=1.3, launches=100))


def test_a_diurnal_and_a_steady_day_keep_the_promise_within_the_cost_limit() -> None:
    figures = promise.measured(GENERATED, [Way(name=PLAIN, policy=PLAIN), Way(name=EFFECTIVE)], 1)
    assert promise.missed(figures, GENERATED) == []
    assert len(figures) == 2 * len(GENERATED)
    for row in GENERATED:
        plain = promise.worst(figures, row.name, PLAIN)
        assert plain.attainment < 0.9, "without late messages in the baseline nothing is compared"


def results_of(way: str, **changed: float) -> Figures:
    figures = Figures(row="an hour", way=way, seed=1, attainment=0.995, cost_ratio=1.2, launches=50)
    return replace(figures, **changed)  # type: ignore[arg-type]


def test_results_at_their_limits_pass() -> None:
    at_limit = results_of(EFFECTIVE, attainment=0.99, cost_ratio=1.3, launches=100)
    assert promise.missed([results_of(PLAIN, attainment=0.99), at_limit], [LIMITED]) == []


@pytest.mark.parametrize(
    ("worse", "message"),
    [
        ({"attainment": 0.9899}, "an hour, seed 1: 98.9 % in time; at least 99.0 % required"),
        ({"cost_ratio": 1.301}, "an hour, seed 1: 1.301 times the bound; at most 1.3 allowed"),
        ({"launches": 101}, "an hour, seed 1: 101 launches; at most 100 allowed"),
    ],
)
def test_each_missed_limit_is_named(worse: dict[str, float], message: str) -> None:
    plain = results_of(PLAIN, attainment=0.5)
    assert promise.missed([plain, results_of(EFFECTIVE, **worse)], [LIMITED]) == [message]
    assert promise.missed([plain, results_of(EFFECTIVE, **worse)], [SHORT]) == []


def test_a_row_with_a_smaller_share_in_time_than_the_plain_backlog_is_named() -> None:
    plain, less = results_of(PLAIN, attainment=0.96), results_of(EFFECTIVE, attainment=0.95)
    assert promise.missed([plain, less], [SHORT]) == [
        f"an hour, seed 1: 95.0 % in time, fewer than the 96.0 % of {PLAIN}"
    ]
    assert promise.missed([plain, results_of(NATIVE, attainment=0.5), plain], [SHORT]) == []


def test_the_worst_of_several_seeds_is_checked_and_shown() -> None:
    seeds = [
        results_of(EFFECTIVE, attainment=0.999, cost_ratio=1.4),
        results_of(EFFECTIVE, seed=2, attainment=0.992, launches=90),
    ]
    plain = [results_of(PLAIN, seed=seed, attainment=0.5) for seed in (1, 2)]
    assert promise.missed([*plain, *seeds], [LIMITED]) == [
        "an hour, seed 1: 1.400 times the bound; at most 1.3 allowed"
    ]
    shown = promise.table(seeds, [LIMITED], [Way(name=EFFECTIVE)], transposed=False)
    assert shown.splitlines()[1].split("  ")[-1].strip() == "99.2 % / 1.40 / 90"


@dataclass(frozen=True)
class Answer:
    exit_code: int
    stdout: str
    stderr: str


RunBenchmark = Callable[..., Answer]


@pytest.fixture
def run_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunBenchmark:
    """The command with one row of an hour."""

    def call(row: Row, *arguments: str) -> Answer:
        monkeypatch.setattr(promise, "GENERATED", (row,))
        with pytest.raises(SystemExit) as ended:
            promise.main(["--seeds", "1", *arguments])
        output = capsys.readouterr()
        return Answer(exit_code=int(ended.value.code or 0), stdout=output.out, stderr=output.err)

    return call


def test_a_missed_limit_ends_with_1_and_a_sentence(run_benchmark: RunBenchmark) -> None:
    answer = run_benchmark(replace(SHORT, limits=Limits(launches=1)))
    assert answer.exit_code == 1
    assert "missed: an hour, seed 1: " in answer.stderr
    assert "launches; at most 1 allowed" in answer.stderr
    heading, line = answer.stdout.splitlines()
    assert heading.split() == [PLAIN, "sluice", "sluice,", "native"]
    assert line.startswith("an hour  ")


def test_its_json_has_every_run(run_benchmark: RunBenchmark) -> None:
    answer = run_benchmark(SHORT, "--json")
    assert answer.exit_code == 0, answer.stderr
    output = json.loads(answer.stdout)
    assert [(one["way"], one["seed"]) for one in output["figures"]] == [
        (PLAIN, 1),
        (EFFECTIVE, 1),
        (NATIVE, 1),
    ]
    assert output["missed"] == []
    assert all(one["cost_ratio"] >= 1 for one in output["figures"] if one["attainment"] >= 0.99)


def test_missing_traces_are_named_and_skipped(run_benchmark: RunBenchmark, tmp_path: Path) -> None:
    rows = "".join(f"{minute * 60},{100}\n" for minute in range(60))
    (tmp_path / "nab_elb_requests_5m.csv").write_text(f"timestamp,arrivals\n{rows}", encoding="utf-8")
    answer = run_benchmark(SHORT, "--traces", str(tmp_path), "--row", "nab")
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.splitlines()[1].startswith("nab  ")
    for missing in ("nasa_http_1m.csv", "azure_functions_1m.csv", "fb2009_hadoop_tasks_1m.csv"):
        assert f"{tmp_path / missing}: no such file, so its row is left out" in answer.stderr


def sustained(way: Way, sent: list[float]) -> object:
    newest = MINUTE_NOW - timedelta(minutes=1)
    with promise.counting(way):
        return offered_load.sustained_arrivals_per_s(
            {newest - timedelta(minutes=ago): count for ago, count in enumerate(reversed(sent))}, MINUTE_NOW
        )


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (Way(name="deployed"), 300),
        (Way(name="mean", quantile="mean"), 810),
        (Way(name="lower", quantile="0.25"), 300),
        (Way(name="upper", quantile="0.75"), 975),
        (Way(name="short", window_minutes=3), 1200),
        (Way(name="short, mean", window_minutes=3, quantile="mean"), 2000),
    ],
)
def test_the_sensitivity_changes_sustained_arrivals_only_in_its_own_runs(way: Way, expected: float) -> None:
    sent = [300.0] * 7 + [1200.0, 1200.0, 3600.0]
    assert sustained(way, sent) == pytest.approx(expected / 60)
    assert sustained(Way(name="deployed"), sent) == pytest.approx(300 / 60)


def test_the_sensitivity_runs_each_constant_and_checks_no_limits(run_benchmark: RunBenchmark) -> None:
    answer = run_benchmark(replace(SHORT, limits=Limits(launches=1)), "--sensitivity")
    assert answer.exit_code == 0, answer.stderr
    lines = [re.split("  +", line) for line in answer.stdout.splitlines()[1:]]
    names = [name for name, _ in lines]
    assert names == [way.name for way in promise.variants()]
    cells = dict(lines)
    deployed = {cells[name] for name in ("margin 0.3", "window 10 min", "quantile median")}
    assert len(deployed) == 1, "three names of what is deployed"
    assert cells["margin 1"] not in deployed


def test_a_longer_window_is_read_in_full() -> None:
    with promise.counting(Way(name="long", window_minutes=20)):
        assert offered_load.READ_MINUTES == 20 + sustained_arrivals.MAX_LATE_MINUTES
    assert offered_load.READ_MINUTES == sustained_arrivals.READ_MINUTES
