"""Any number is either simulated to the end in reasonable time, or rejected with a sentence that names it."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads import traces
from tests.cli.conftest import Answer
from tests.sim.simulator.builders import trace_file

pytestmark = pytest.mark.slow

TIME_LIMIT_S = 60
EXTREMES = ("nan", "inf", "-1", "0", "1e-300", "1e15", "1e300", "99999999999999999999")
TYPED = ("nan", "0", "1e15", "99999999999999999999")
"""Fewer values for parameters: their patterns reject most, and each test loads the template."""
FLAGS = (
    "--duration-s", "--duration-cv", "--boot-s", "--tick-s", "--seed", "--promise-s", "--concurrency",
    "--groups", "--visibility-timeout-s", "--max-receives", "--delay-s", "--spot-interruptions-per-hour",
    "--refusal-ratio", "--count-lag-s", "--late-ratio", "--warm-pool",
    "--downstream-capacity",
)  # fmt: skip
STATIC = ("MinCapacity", "MaxCapacity", "BootstrapCapacity", "MessagesPerInstance", "IdleMinutes",
          "InstanceWarmupSeconds")  # fmt: skip
DYNAMIC = (
    "AcceptableLatencySeconds", "ConcurrencyPerInstance", "MinMessagesPerInstance", "MaxMessagesPerInstance",
    "DeadbandRatio", "MaxFactorPerRetune", "MinSamples",
)  # fmt: skip
SHORT = "steady:days=0.01:per-day=4000"
Sluice = Callable[..., Answer]


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """Fail a run that does not end, instead of hanging all tests."""

    def time_is_up(*_: object) -> None:
        raise AssertionError(f"not done after {TIME_LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, time_is_up)
    signal.alarm(TIME_LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def runs_or_is_rejected(sluice: Sluice, arguments: Sequence[object], *named: str) -> bool:
    """Whether the input runs; otherwise the last line names one of these words, without a traceback."""
    answer = sluice(*arguments)
    if answer.exit_code == 0:
        json.loads(answer.stdout, parse_constant=lambda found: pytest.fail(f"{found} in the result"))
        return True
    message = answer.stderr.strip().splitlines()[-1]
    assert answer.exit_code == 2, answer.stderr
    assert any(word in message for word in named), message
    assert answer.stdout == ""
    return False


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("flag", FLAGS)
def test_every_number_of_simulate_runs_or_is_rejected(sluice: Sluice, flag: str, value: str) -> None:
    workload = "compiler-aarch64-staging" if flag == "--groups" else "transcription"
    command = ("simulate", workload, "--trace", SHORT, "--json", "--policy", "deadline")
    runs_or_is_rejected(sluice, (*command, f"{flag}={value}"), flag, value)


@pytest.mark.parametrize("value", TYPED)
@pytest.mark.parametrize("name", [*STATIC, *DYNAMIC])
def test_every_number_of_a_workload_runs_or_is_rejected(sluice: Sluice, name: str, value: str) -> None:
    command = ("simulate", "transcription", "--trace", SHORT, "--json", "--no-bound")
    target = ("--set", f"TargetType={'dynamic' if name in DYNAMIC else 'static'}")
    runs_or_is_rejected(sluice, (*command, *target, "--set", f"{name}={value}"), name, value, "promise")


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("setting", ["days", "per-day", "interval-s"])
def test_every_number_of_a_generated_trace_makes_one_or_is_rejected(
    sluice: Sluice, tmp_path: Path, setting: str, value: str
) -> None:
    shape = f"steady:days=0.05:per-day=4000:{setting}={value}"
    known = (setting, value, f"{float(value):g}")
    runs_or_is_rejected(
        sluice, ("simulate", "transcription", "--trace", shape, "--json", "--no-bound"), *known
    )
    answer = sluice("trace", "steady", "--out", tmp_path / "t.csv", f"--{setting}={value}")
    assert answer.exit_code in (0, 2)
    assert any(word in answer.stderr + answer.stdout for word in known)


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("column", ["duration_s", "messages"])
def test_every_number_of_a_file_of_durations_is_used_or_rejected(
    sluice: Sluice, tmp_path: Path, column: str, value: str
) -> None:
    row = {"duration_s": "5", "messages": "10"} | {column: value}
    path = trace_file(tmp_path, "5,10", ",".join(row.values()), header=",".join(row), name="d.csv")
    command = ("simulate", "transcription", "--trace", SHORT, "--json", "--no-bound")
    runs_or_is_rejected(sluice, (*command, "--durations", path), repr(value))


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("column", [0, 1])
def test_every_cell_of_a_trace_runs_or_is_rejected(
    sluice: Sluice, tmp_path: Path, row: int, column: int, value: str
) -> None:
    cells = [["0", "5"], ["60", "3"], ["120", "4"]]
    cells[row][column] = value
    path = trace_file(tmp_path, *map(",".join, cells))
    command = ("simulate", "transcription", "--trace", path, "--json", "--policy", "deadline")
    runs_or_is_rejected(sluice, command, f"{path}, line ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1700000000000,5", "1700000060000,3"], "milliseconds or less; timestamps are in seconds"),
        (["0,1e300", "60,1"], "that is more than 100,000,000 messages; cut the trace"),
        (["0,1", "1e10,1"], "a trace has 1,100 days at most"),
        (["0,1", "1e-9,1"], "an interval is 0.001 s at least, this is 1e-09 s"),
        (["yesterday,1", "today,1"], "a timestamp is ISO 8601, or a number of seconds"),
    ],
)
def test_an_implausible_trace_is_rejected_with_the_way_out(
    tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        traces.read(trace_file(tmp_path, *rows))


def test_a_trace_with_a_fractional_end_finishes(sluice: Sluice, tmp_path: Path) -> None:
    path = trace_file(tmp_path, "0,5", "0.7,3", "1.4,4")
    answer = sluice("simulate", "transcription", "--trace", path, "--json", "--no-bound")
    assert json.loads(answer.stdout)["processed"] == 12


def test_millions_of_decisions_are_rejected(sluice: Sluice) -> None:
    long = ("--trace", "steady:days=100:per-day=10", "--no-bound", "--json")
    answer = sluice("simulate", "transcription", *long, "--policy", "deadline", "--tick-s", 1)
    assert answer.exit_code == 2
    assert "--tick-s 1: 8,640,000 decisions over the trace" in answer.stderr


def test_sustained_overload_finishes_as_fast_as_any_run(sluice: Sluice) -> None:
    """The load is twice the fleet's capacity; this took minutes when every tick was stored."""
    overload = (
        "simulate",
        "transcription",
        "--trace",
        "steady:days=0.5:per-day=40000",
        "--set",
        "MaxCapacity=1",
    )
    answer = sluice(*overload, "--policy", "deadline", "--no-bound", "--json")
    assert json.loads(answer.stdout)["processed"] == 20_000


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    first_s=st.floats(-1e10, 1e10),
    interval_s=st.floats(0.002, 1e4),
    counts=st.lists(st.integers(0, 5), min_size=2, max_size=6),
)
def test_every_accepted_trace_runs_to_its_end(
    sluice: Sluice, tmp_path: Path, first_s: float, interval_s: float, counts: list[int]
) -> None:
    rows = [f"{first_s + index * interval_s!r},{count}" for index, count in enumerate(counts)]
    path = trace_file(tmp_path, *rows)
    command = ("simulate", "transcription", "--trace", path, "--json", "--no-bound", "--policy", "static")
    if runs_or_is_rejected(sluice, command, f"{path}, line "):
        assert math.isfinite(traces.read(path).horizon_s)
