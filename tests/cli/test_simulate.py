"""`sluice simulate` and `sluice trace`: options, output and error messages."""

import io
import json
import re

import pytest
from rich.console import Console

from sluice_cli.progress import ProgressBar
from sluice_sim import policies
from sluice_sim.study import sweep
from tests.sim.simulator.builders import trace_file
from tests.sim.study.test_result import KEYS
from tests.support.builders import (
    document,
    dynamic_section,
)

pytestmark = pytest.mark.slow

SHORT = "steady:days=0.05:per-day=4000"
QUICK = ("simulate", "transcription", "--trace", SHORT)
BUSY = ("simulate", "transcription", "--trace", "steady:days=0.05:per-day=40000", "--promise-s", 300)
"""2.3 instances are busy on average."""


@pytest.fixture
def one_process_pool(monkeypatch):
    """Run the grid in this process: others take seconds to start, and test_experiment covers them."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(sweep, "_workers", lambda tasks: ThreadPoolExecutor(1))


def error_line(result):
    """The only line of stderr, without its prefix."""
    assert result.exit_code == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    return lines[0].removeprefix("Error: ")


def test_json_is_one_object_with_exactly_the_documented_keys(sluice):
    result = sluice(*QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    numbers = json.loads(result.stdout)
    assert list(numbers) == KEYS.split()
    assert (numbers["messages"], numbers["processed"], numbers["lost"]) == (200, 200, 0)
    assert numbers["instance_hours"] > numbers["lower_bound_instance_hours"] > 0
    assert "transcription: steady" in result.stderr


def test_a_warm_pool_is_shown_with_its_size_cost_and_launches(sluice, one_process_pool):
    pool = (*BUSY, "--policy", "deadline", "--warm-pool", 3, "--warm-boot-s", 30)
    numbers = json.loads(sluice(*pool, "--json").stdout)
    assert numbers["warm_pool_size"] == 3
    assert numbers["launches"] >= numbers["warm_launches"] > 0
    assert numbers["warm_pool_hours"] >= 3 * 180 / 3600
    assert numbers["instance_hours"] > numbers["warm_pool_hours"]
    output = sluice(*pool, "--no-bound").stdout
    for shown in ("warm pool of 3, 30 s", "warm launches", "warm pool hours"):
        assert shown in output
    columns = sluice(*BUSY, "--policy", "deadline", "--no-bound", "--sweep", "warm-pool=0,3").stdout
    assert "pool hours" in columns


def test_a_downstream_that_fails_is_shown_with_what_its_failures_cost(sluice, one_process_pool):
    limited = (*BUSY, "--policy", "static", "--downstream-capacity", 1, "--max-receives", 2)
    numbers = json.loads(sluice(*limited, "--json").stdout)
    assert 0.3 < numbers["failed_share"] < 0.8
    assert numbers["failed_attempts"] == pytest.approx(numbers["failed_share"] * numbers["attempts"])
    assert numbers["failed_instance_hours"] == pytest.approx(numbers["failed_attempts"] * 5 / 3600)
    assert numbers["dead_letters"] > 0
    assert numbers["processed"] + numbers["dead_letters"] == numbers["messages"]
    output = sluice(*limited, "--no-bound").stdout
    for shown in ("a downstream for 1 at a time", "failed share", "instance-hours", "they failed 2 times"):
        assert shown in output
    assert "the downstream serves 1 messages at a time" in output
    assert "a smaller MaxCapacity, or the guard by GuardFailedPercent." in output
    swept = sluice(*limited, "--no-bound", "--sweep", "downstream-failed-time-ratio=0.1,1", "--json")
    quick, slow = (entry["result"] for entry in json.loads(swept.stdout))
    assert 0 < quick["failed_instance_hours"] < slow["failed_instance_hours"]


PAIR = ("--set", "GreenAutoScalingGroupName=transcription-green", "--duration-s", 60, "--boot-s", 60)


def test_a_switch_is_shown_with_its_steps_its_waits_and_what_it_costs(sluice, one_process_pool):
    switched = (*QUICK, *PAIR, "--switch-at-min", 30, "--no-bound")
    numbers = json.loads(sluice(*switched, "--json").stdout)
    cost = numbers["switch"]
    assert (cost["to"], cost["status"], numbers["lost"]) == ("green", "SUCCEEDED", 0)
    assert (cost["killed_in_flight"], cost["received_again"]) == (0, 0)
    assert cost["began_s"] == 30 * 60
    assert [one["step"] for one in cost["steps"]][-4:] == ["flip", "drain", "retire", "finish"]
    assert sum(one["seconds"] for one in cost["steps"]) == pytest.approx(cost["duration_s"])
    assert cost["duration_s"] > 420
    assert cost["during"]["messages"] == cost["during_without"]["messages"] > 0
    assert sum(cost[period]["messages"] for period in ("before", "during", "after")) == 200
    assert cost["extra_instance_hours"] > 0
    assert numbers["scale_in"] == "protect"
    output = sluice(*switched).stdout
    for shown in (
        "a switch after 30 min",
        "switch to green",
        "of that drain",
        "during without",
        "killed in flight",
    ):
        assert shown in output
    swept = json.loads(sluice(*switched, "--sweep", "seed=0,1", "--json").stdout)
    assert {entry["result"]["switch"]["status"] for entry in swept} == {"SUCCEEDED"}


def test_workers_that_do_not_protect_their_instances_are_not_switched_under_load(sluice):
    refused = (*QUICK, *PAIR, "--switch-at-min", 30, "--no-bound", "--scale-in", "kill")
    numbers = json.loads(sluice(*refused, "--json").stdout)
    assert (numbers["switch"]["to"], numbers["switch"]["status"]) == (None, "FAILED")
    assert "protection from scale-in" in numbers["switch"]["cause"]
    assert "switch refused" in sluice(*refused).stdout


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "transcription has one fleet only, .*GreenAutoScalingGroupName=NAME"),
        ((*PAIR, "--policy", "static"), "the policy static knows no colors"),
        ((*PAIR, "--switch-at-min", 500), "the trace ends after 72 min"),
        ((*PAIR, "--sweep", "policy=sluice,step"), "the policy step knows no colors"),
    ],
)
def test_what_cannot_be_switched_is_said_before_anything_runs(sluice, given, says):
    assert re.search(says, error_line(sluice(*QUICK, "--switch-at-min", 30, *given)))


def test_a_service_is_told_which_parameter_names_its_other_color(sluice):
    result = sluice("simulate", "queue-proc", "--trace", SHORT, "--switch-at-min", 30)
    assert "GreenServiceName=NAME" in error_line(result)


def test_without_a_limit_of_the_downstream_nothing_fails(sluice):
    numbers = json.loads(sluice(*QUICK, "--json", "--no-bound").stdout)
    assert (numbers["failed_attempts"], numbers["failed_share"], numbers["failed_instance_hours"]) == (
        0,
        0,
        0,
    )
    assert numbers["attempts"] == 200
    assert "failed" not in sluice(*QUICK, "--no-bound").stdout


def test_the_same_call_prints_the_same_except_for_its_run_time(sluice):
    first, second = (json.loads(sluice(*QUICK, "--json", "--no-bound").stdout) for _ in range(2))
    del first["wall_s"], second["wall_s"]
    assert json.dumps(first) == json.dumps(second)


def test_the_output_has_the_finding_the_numbers_and_the_defaults(sluice):
    output = sluice(*BUSY).stdout
    assert "of 2,000 messages started within 300 s of their arrival, for" in output
    assert "times the least that could keep the promise" in output
    for heading in ("attainment", "wait p99", "instance-hours", "lower bound", "launches", "extra changes"):
        assert heading in output
    assert "by workload.yaml's defaults: CountInFlight=true" in output
    assert "IdleMinutes=5" in output
    assert "MaxCapacity=" not in output, "samconfig.toml gives that one"


def test_without_the_bound_the_rest_stays(sluice):
    result = sluice(*QUICK, "--no-bound")
    assert result.exit_code == 0
    assert "times the least" not in result.stdout
    assert "lower bound" not in result.stdout
    assert "extra changes" not in result.stdout
    assert "instance-hours" in result.stdout


def test_policies_are_compared_in_one_table(sluice, one_process_pool):
    result = sluice(*QUICK, "--policy", "sluice,static")
    rows = [
        line for line in result.stdout.splitlines() if line.strip("● ").startswith(("sluice ", "static "))
    ]
    assert len(rows) == 2, result.stdout
    assert "●" in result.stdout


def test_every_policy_processes_everything(sluice, one_process_pool):
    result = sluice(*QUICK, "--policy", "all", "--no-bound", "--json")
    finished_run = {numbers["policy"]: numbers for numbers in json.loads(result.stdout)}
    assert list(finished_run) == policies.names()
    assert all((numbers["processed"], numbers["lost"]) == (200, 0) for numbers in finished_run.values())


def test_a_sweep_runs_every_combination_and_marks_the_frontier(sluice, one_process_pool):
    sweeps = ("--sweep", "MaxCapacity=1,3", "--sweep", "duration-s=5,20", "--sweep", "boot-s=60-90")
    result = sluice(*QUICK, *sweeps, "--policy", "sluice", "--no-bound", "--json")
    points = json.loads(result.stdout)
    assert [point["set"] for point in points] == [
        {"MaxCapacity": maximum, "duration-s": seconds, "boot-s": "60-90"}
        for maximum in ("1", "3")
        for seconds in ("5", "20")
    ]
    assert {point["result"]["peak_instances"] for point in points if point["set"]["MaxCapacity"] == "1"} == {
        1
    }
    assert any(point["frontier"] for point in points)
    assert list(points[0]["result"]) == KEYS.split()


def test_a_workload_document_works_like_an_environment(sluice, tmp_path):
    path = tmp_path / "queue-proc.json"
    path.write_text(json.dumps(document("queue-proc", target=dynamic_section(acceptable_latency_s=90))))
    result = sluice("simulate", path, "--trace", SHORT, "--no-bound")
    assert result.exit_code == 0, result.stderr
    assert "started within 90 s" in result.stdout
    assert "ScaleInCooldownSeconds=300" in result.stdout, "a document does not say"


def test_the_output_names_the_message_groups_of_a_fifo_queue(sluice):
    result = sluice("simulate", "compiler-aarch64-staging", "--trace", SHORT, "--no-bound", "--groups", 2)
    assert "FIFO, 2 message groups" in result.stdout


def test_schedules_are_parameters_like_any_other_and_the_output_names_them(sluice):
    busy, quiet = "busy,MON+TUE,0:30,Europe/Berlin,3,4", "quiet,SUN-SAT,23:00,UTC,0,5"
    given = ("--set", f"Schedule1={busy}", "--set", f"Schedule2={quiet}")
    result = sluice(*QUICK, *given, "--no-bound")
    assert f"schedules {busy} and {quiet}" in result.stdout
    alone = json.loads(sluice(*QUICK, "--no-bound", "--json").stdout)
    held = json.loads(sluice(*QUICK, *given, "--no-bound", "--json").stdout)
    assert held["instance_hours"] > alone["instance_hours"]
    wrong = sluice(*QUICK, "--set", "Schedule1=busy,MON-FRI,08:00,UTC,3,4")
    assert "must be empty or like office-hours,MON-FRI,8:00,Europe/Berlin,3,20" in error_line(wrong)


def test_a_scale_in_that_kills_redelivers_messages_and_loses_none(sluice):
    killing = ("--scale-in", "kill", "--spot-interruptions-per-hour", 20, "--duration-s", 200)
    numbers = json.loads(sluice(*QUICK, *killing, "--max-receives", 50, "--no-bound", "--json").stdout)
    assert numbers["redelivered"] > 0
    assert numbers["lost"] == 0


@pytest.mark.parametrize(
    ("row", "value"), [("60,-4", "-4"), ("60,NaN", "NaN"), ("60,x", "x"), ("0,1", "0"), ("180,1", "180")]
)
def test_a_bad_trace_ends_with_one_line_that_names_file_line_and_value(sluice, tmp_path, row, value):
    path = trace_file(tmp_path, "-60,1", "0,1", row)
    message = error_line(sluice("simulate", "transcription", "--trace", path))
    assert message.startswith(f"{path}, line 4: {value!r}: ")


def test_a_bad_trace_also_ends_a_sweep(sluice, tmp_path, one_process_pool):
    path = trace_file(tmp_path, "0,1", "60,-4")
    message = error_line(sluice("simulate", "transcription", "--trace", path, "--policy", "sluice,static"))
    assert message.startswith(f"{path}, line 3: '-4'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("simulate", "nobody", "--trace", SHORT),
            "nobody: neither an environment of samconfig.toml (transcr",
        ),
        (("simulate", "transcription", "--trace", "none.csv"), "none.csv: there is no such file"),
        (("simulate", "transcription", "--trace", "steady:weeks=2"), "weeks=2: a generated trace takes days"),
        (("simulate", "transcription", "--trace", "steady:days=-2"), "days=-2: days is a number above 0"),
        (("simulate", "transcription", "--trace", "steady:days=0.0001"), "0.0001 days are 0 intervals"),
        ((*QUICK, "--policy", "magic"), "magic: no such policy; there are sluice, "),
        ((*QUICK, "--policy", "static", "--tick-s", 5), "policy static has no tick"),
        ((*QUICK, "--set", "MaxCapacity"), "--set MaxCapacity: write it as name=value"),
        ((*QUICK, "--set", "Colour=red"), "Parameters.Colour = 'red': the template has no such parameter"),
        ((*QUICK, "--set", "MaxCapacity=lots"), "Parameters.MaxCapacity = 'lots'"),
        (
            (*QUICK, "--sweep", "colour=red"),
            "--sweep colour: neither a parameter of workload.yaml nor one of",
        ),
        ((*QUICK, "--sweep", "MinCapacity=0,9"), "the workload document is refused; capacity.max: 5"),
        ((*QUICK, "--durations", "none.csv"), "none.csv: cannot be read: No such file"),
        ((*QUICK, "--durations", "x", "--duration-cv", 1), "--durations and --duration-cv both set"),
        ((*QUICK, "--warm-reuse"), "--warm-reuse describes a warm pool, and there is none: give --warm-pool"),
        ((*QUICK, "--sweep", "warm-boot-s=30,60"), "--warm-boot-s describes a warm pool, and there is none"),
        (
            (*QUICK, "--downstream-failed-time-ratio", 0.5),
            "--downstream-failed-time-ratio describes a downstream with a limit, and there is none",
        ),
        (
            ("simulate", "queue-proc", "--trace", SHORT, "--warm-pool", 2),
            "--warm-pool 2: ECS service",
        ),
        (
            (*QUICK, "--warm-pool", 2, "--spot-interruptions-per-hour", 1),
            "--warm-pool 2: a warm pool holds no Spot instances: leave it or",
        ),
        ((*QUICK, "--sweep", "seed=1,2", "--report", "x"), "--report shows runs, not sweeps"),
        (("trace", "zigzag"), "zigzag: no such shape of trace; there are steady"),
        (
            ("trace", "steady", "--out", "/nowhere/t.csv"),
            "/nowhere/t.csv: cannot be written: there is no folder",
        ),
    ],
)
def test_a_usage_error_is_one_line(sluice, arguments, message):
    assert error_line(sluice(*arguments)).startswith(message)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--duration-s", "0"),
        ("--duration-s", "nan"),
        ("--promise-s", "inf"),
        ("--boot-s", "240-120"),
        ("--refusal-ratio", "1"),
        ("--concurrency", "0"),
        ("--scale-in", "explode"),
        ("--seed", "-1"),
        ("--warm-pool", "-1"),
        ("--warm-boot-s", "60-30"),
        ("--warm-price-ratio", "1.5"),
        ("--downstream-capacity", "0"),
        ("--downstream-failed-time-ratio", "-1"),
        ("--sweep", "duration-s=5,0"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_option(sluice, wrong):
    result = sluice(*QUICK, *wrong)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert wrong[1].rsplit(",", 1)[-1] in result.stderr.splitlines()[-1]


def test_an_invalid_document_is_rejected(sluice, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document("queue-proc", idle_minutes=0)))
    message = error_line(sluice("simulate", path, "--trace", SHORT))
    assert message.startswith(f"{path} is refused; idle_minutes: 0")


def test_a_trace_is_written_for_simulate_to_read(sluice, tmp_path):
    path = tmp_path / "spiky.csv"
    result = sluice("trace", "spiky", "--days", 0.1, "--per-day", 3000, "--out", path)
    assert result.stdout == f"{path}: 300 messages in 144 intervals of 60 s\n"
    numbers = json.loads(sluice("simulate", "transcription", "--trace", path, "--no-bound", "--json").stdout)
    assert numbers["messages"] == 300


def test_help_names_every_command_without_importing_them(sluice):
    output = sluice("--help").stdout
    for name in ("demo", "simulate", "trace", "history"):
        assert f"\n  {name} " in output
    assert "--sweep" in sluice("simulate", "--help").stdout
    assert sluice("nonsense").exit_code == 2


def test_a_narrow_terminal_still_shows_what_each_run_costs(sluice, one_process_pool, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    sweeps = ("--sweep", "duration-s=300,5", "--sweep", "MaxCapacity=3,4")
    lines = sluice(*QUICK, *sweeps, "--no-bound").stdout.splitlines()
    assert any("hours" in line and "× bound" in line and "launches" not in line for line in lines)
    rows = [line.strip("● ").split()[1] for line in lines if line.strip("● ").startswith(("300 ", "5 "))]
    assert rows[0] in ("3", "4")
    assert len(rows) == 4
    first = next(line for line in lines if line.strip("● ").startswith(("300 ", "5 ")))
    assert first.strip("● ").startswith("5 "), "the cheapest comes first"


def test_a_progress_bar_appears_on_a_terminal_after_two_seconds():
    shown = io.StringIO()
    with ProgressBar(Console(file=shown, force_terminal=True)) as bar:
        bar.show("early", 0.1)
        bar._started_s -= 3
        bar.show("late", 0.5)
        bar.show("later", 0.7)
    assert "early" not in shown.getvalue()
    assert "late" in shown.getvalue()
    piped = io.StringIO()
    with ProgressBar(Console(file=piped)) as bar:
        bar._started_s -= 3
        bar.show("late", 0.5)
    assert piped.getvalue() == ""


def test_a_report_is_written_to_the_given_folder(sluice, tmp_path, monkeypatch):
    requested = {}

    def write(runs, results, directory, *, bounds, workload):
        requested.update(runs=runs, results=results, directory=directory, bounds=bounds, workload=workload)
        return [directory / "report.html"]

    monkeypatch.setattr("sluice_report.simulation.write", write)
    result = sluice(*QUICK, "--policy", "sluice,static", "--report", tmp_path / "r")
    assert f"report: {tmp_path}/r/report.html" in result.stdout
    assert [run.policy for run in requested["runs"]] == ["sluice", "static"]
    assert [numbers["policy"] for numbers in requested["results"]] == ["sluice", "static"]
    assert requested["bounds"][0] is requested["bounds"][1], "one bound for the same load and fleet"
    assert requested["workload"] == "transcription"


@pytest.fixture
def no_run(monkeypatch):
    """Fail the test if a run, a CloudWatch read or a generated trace starts."""
    for name in ("run_in_turn", "run_all"):
        monkeypatch.setattr(f"sluice_cli.simulate.{name}", lambda *_, **__: pytest.fail("it ran"))
    for name in ("read_arrivals", "read_processing_times"):
        monkeypatch.setattr(f"sluice_cli.history.{name}", lambda *_: pytest.fail("AWS was called"))
    monkeypatch.setattr("sluice_sim.workloads.generators.generate", lambda *_, **__: pytest.fail("made"))


@pytest.mark.parametrize(
    "command",
    [
        (*QUICK, "--report"),
        ("trace", "steady", "--out"),
        ("history", "transcription", "--out"),
        ("history", "transcription", "--durations-out"),
    ],
)
def test_an_output_that_cannot_be_written_is_rejected_before_any_run(sluice, tmp_path, command, no_run):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    refused = {tmp_path / "file" / "below": "file is not a folder", tmp_path / "folder": "it is a folder"}
    if "--report" in command:
        refused = {tmp_path / "file": "is not a folder", tmp_path / "file" / "below": "is not a folder"}
    for path, reason in refused.items():
        message = error_line(sluice(*command, path))
        assert message.startswith(f"{path}: cannot be written: ")
        assert reason in message or "there is no folder" in message


def test_an_output_without_permission_is_rejected_before_any_run(sluice, tmp_path, no_run, monkeypatch):
    monkeypatch.setattr("sluice_cli.outputs.os.access", lambda *_: False)
    message = error_line(sluice(*QUICK, "--report", tmp_path / "r" / "below"))
    assert f"no permission to write to {tmp_path}" in message
    (tmp_path / "t.csv").write_text("")
    assert "no permission" in error_line(sluice("trace", "steady", "--out", tmp_path / "t.csv"))
    assert "no permission" in error_line(sluice("trace", "steady", "--out", tmp_path / "u.csv"))


def test_a_rejected_report_leaves_no_folder_behind(sluice, tmp_path):
    assert sluice("simulate", "nobody", "--trace", SHORT, "--report", tmp_path / "r").exit_code == 2
    assert not (tmp_path / "r").exists()


def test_a_report_that_fails_after_the_run_does_not_lose_the_result(sluice, tmp_path, monkeypatch):
    def write(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sluice_report.simulation.write", write)
    printed = sluice(*QUICK, "--no-bound", "--report", tmp_path / "r")
    numbers = sluice(*QUICK, "--no-bound", "--report", tmp_path / "r", "--json")
    assert (printed.exit_code, numbers.exit_code) == (2, 2)
    assert "of 200 messages started within" in printed.stdout
    assert json.loads(numbers.stdout)["messages"] == 200
    assert "the report could not be written: No space left on device" in printed.stderr


def test_a_column_has_one_unit(sluice, one_process_pool):
    lines = sluice(*QUICK, "--no-bound", "--sweep", "MaxCapacity=1,2", "--sweep", "duration-s=5,25").stdout
    cells = [re.findall(r"[\d.,]+ (s|min|h|days)\b", line) for line in lines.splitlines()]
    rows = [units for units in cells if len(units) == 3]
    assert len(rows) == 4, lines
    assert all(len(set(column)) == 1 for column in zip(*rows, strict=True)), rows


@pytest.mark.parametrize(
    "command",
    [
        ("validate", NAME := "n" * 300),
        ("events", "schedule", NAME),
        ("history", NAME),
        ("simulate", NAME, "--trace", SHORT),
        ("simulate", "transcription", "--trace", NAME),
        (*QUICK, "--durations", NAME),
        (*QUICK, "--report", NAME),
        ("demo", "--report", NAME),
        ("trace", "steady", "--out", NAME),
        ("history", "transcription", "--out", NAME),
    ],
    ids=" ".join,
)
def test_a_file_name_that_is_too_long_is_rejected_in_one_line(sluice, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert "n" * 300 in error_line(sluice(*command))


def test_a_run_whose_output_is_closed_ends_normally(sluice, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    assert sluice(*QUICK, "--no-bound").exit_code == 0
