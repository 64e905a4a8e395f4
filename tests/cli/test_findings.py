"""What a run warns of: the same sentences in the terminal, in JSON and in the report."""

import json

import pytest

from sluice_sim import policies
from tests.sim.simulator.builders import trace_file
from tests.support.builders import (
    document,
    dynamic_section,
)

pytestmark = pytest.mark.slow

STEADY = "steady:days=0.03:per-day=80000"
"""4.6 instances are busy on average."""


@pytest.fixture
def simulated(sluice):
    """The numbers of one run, with its findings."""

    def run_experiment(*arguments):
        table, numbers = sluice(*arguments), sluice(*arguments, "--json")
        assert table.exit_code == numbers.exit_code == 0, table.stderr
        found = json.loads(numbers.stdout)
        yellow = [line for line in table.stdout.splitlines() if line in found["warnings"]]
        assert yellow == found["warnings"], "what the text warns of, JSON does, and the other way round"
        return table.stdout, found

    return run_experiment


def test_a_promise_too_short_for_a_boot_is_reported_with_what_helps(simulated):
    workload = ("simulate", "transcription", "--trace", "idle-then-dump:days=0.05:per-day=8000")
    sizes = ("--set", "MaxCapacity=1000", "--set", "ProcessingSeconds=5")
    _, numbers = simulated(*workload, *sizes, "--boot-s", 180, "--promise-s", 60)
    (warning,) = numbers["warnings"]
    assert warning.startswith(
        "A promise of 60 s leaves no time for a boot of 180 s and up to 60 s until messages"
    )
    assert "a promise above 240 s, a MinCapacity of one or more, or shorter boots" in warning
    assert "raise MaxCapacity" not in warning
    assert numbers["promise_kept"] is False


def test_a_minimum_too_small_for_the_boot_is_reported(simulated):
    workload = ("simulate", "transcription", "--trace", "idle-then-dump:days=0.05:per-day=8000")
    sizes = ("--set", "MinCapacity=2", "--set", "MaxCapacity=1000")
    _, numbers = simulated(*workload, *sizes, "--boot-s", 180, "--promise-s", 60)
    assert "a MinCapacity of more than 2" in numbers["warnings"][0]


@pytest.mark.parametrize(
    "arguments", [("--promise-s", 600), ("--promise-s", 60, "--policy", "static", "--boot-s", 1)]
)
def test_a_promise_with_enough_time_causes_no_warning(simulated, arguments):
    _, numbers = simulated(
        "simulate", "transcription", "--trace", STEADY, "--set", "MaxCapacity=20", *arguments
    )
    assert not [one for one in numbers["warnings"] if "leaves no time" in one]


def test_a_maximum_too_small_for_the_promise_is_reported(simulated, tmp_path):
    dump = trace_file(tmp_path, "0,500", "60,0", "120,0")
    _, numbers = simulated("simulate", "transcription", "--trace", dump, "--promise-s", 300, "--boot-s", 10)
    assert numbers["attainable"] is False
    assert [one for one in numbers["warnings"] if "raise MaxCapacity" in one]


def test_a_run_that_breaks_the_promise_has_no_warning_about_its_cost(simulated):
    text, numbers = simulated("simulate", "transcription", "--trace", STEADY, "--promise-s", 60)
    assert numbers["cost_ratio"] is not None
    assert "times the least that could keep the promise, which this run does not keep." in text


def test_with_less_than_one_busy_instance_there_is_a_reason_instead_of_a_ratio(simulated):
    text, numbers = simulated("simulate", "transcription", "--trace", "steady:days=0.05:per-day=4000")
    assert numbers["cost_ratio"] is None
    assert numbers["no_cost_ratio_because"].startswith("the messages keep 0.23 of an instance busy")
    assert f"no meaningful ratio: {numbers['no_cost_ratio_because']}" in " ".join(text.split())
    assert "times the least" not in text


@pytest.fixture
def dynamic(tmp_path):
    def workload(**target):
        path = tmp_path / "queue-proc.json"
        section = dynamic_section(acceptable_latency_s=1800, min_samples=30, **target)
        path.write_text(json.dumps(document("queue-proc", target=section)))
        return ("simulate", path, "--trace", "steady:days=0.2:per-day=8000", "--no-bound")

    return workload


@pytest.mark.parametrize(
    ("target", "limits", "because"),
    [
        ({"max_messages_per_instance": 20.0}, ["MaxMessagesPerInstance"], "1800 s x 1 / 5 s = 360"),
        (
            {"min_messages_per_instance": 500.0, "fallback_messages_per_instance": 500.0},
            ["MinMessagesPerInstance"],
            "limited by MinMess",
        ),
        ({"max_factor_per_retune": 1.05}, ["MaxFactorPerRetune"], "limited by MaxFactorPerRetune"),
        ({"fallback_messages_per_instance": 350.0}, ["DeadbandRatio"], "limited by DeadbandRatio"),
        ({"max_factor_per_retune": 100.0}, [], "1800 s x 1 / 5 s = 360"),
    ],
)
def test_the_current_target_is_reported_with_what_limits_it(simulated, dynamic, target, limits, because):
    text, numbers = simulated(*dynamic(**target))
    assert numbers["target_limits"] == limits
    assert because in numbers["target_because"]
    assert because in " ".join(text.split())
    assert bool([one for one in numbers["warnings"] if one.startswith("The target of")]) is bool(limits)


def test_too_few_samples_leave_the_target_alone_and_that_is_reported(simulated, dynamic):
    name, path, *_ = dynamic(fallback_messages_per_instance=12.0)
    _, numbers = simulated(name, path, "--trace", "steady:days=0.2:per-day=100", "--no-bound")
    assert (numbers["target_per_instance"], numbers["target_limits"]) == (12.0, ["MinSamples"])
    assert "of 30 needed" in numbers["warnings"][0]


BUSY = ("simulate", "transcription", "--trace", "steady:days=1:per-day=80000", "--no-bound")
"""4.6 instances are busy on average, for a day: backlog alone swings, and its beginning is a small part."""
SIZED = ("--set", "MaxCapacity=20", "--set", "MessagesPerInstance=60", "--promise-s", 300)


def of_arrivals(numbers):
    return [one for one in numbers["warnings"] if "arrive" in one or "arriving" in one]


def test_a_broken_promise_with_only_the_backlog_tracked_names_the_parameters_that_help(simulated):
    plain = ("--set", "ProcessingSeconds=", "--set", "TrackedMetric=backlog")
    _, numbers = simulated(*BUSY, *SIZED, *plain)
    assert numbers["promise_kept"] is False
    (warning,) = of_arrivals(numbers)
    assert warning.startswith("Target tracking follows the backlog alone: the fleet has no capacity for what")
    assert "What helps: ProcessingSeconds=5 with TrackedMetric=effective" in warning
    _, helped = simulated(*BUSY, *SIZED, "--set", "ProcessingSeconds=5", "--set", "TrackedMetric=effective")
    assert helped["attainment"] > 0.95 > 0.8 > numbers["attainment"], "what is said to help does"
    assert of_arrivals(helped) == []


def test_a_dynamic_target_measures_and_needs_the_tracked_metric_alone(simulated):
    service = ("simulate", "queue-proc", "--trace", "steady:days=0.2:per-day=80000", "--no-bound")
    sizes = ("--set", "MaxCapacity=20", "--set", "AcceptableLatencySeconds=300", "--boot-s", 180)
    _, numbers = simulated(*service, *sizes, "--set", "TrackedMetric=backlog")
    (warning,) = of_arrivals(numbers)
    assert "What helps: TrackedMetric=effective, by which" in warning


def test_a_plain_metric_that_keeps_the_promise_causes_no_warning(simulated):
    plain = ("--set", "TrackedMetric=backlog", "--promise-s", 3600)
    _, numbers = simulated(*BUSY, *SIZED[:4], *plain)
    assert numbers["promise_kept"] is True
    assert of_arrivals(numbers) == []


@pytest.mark.parametrize(
    ("arguments", "expected", "times", "helps"),
    [
        (("--set", "ProcessingSeconds=60"), "ProcessingSeconds=60", "12", "ProcessingSeconds=5."),
        (("--set", "ProcessingSeconds=1"), "ProcessingSeconds=1", "0.2", "ProcessingSeconds=5."),
        (
            ("--set", "ProcessingSeconds=5", "--concurrency", 4),
            "ConcurrencyPerInstance=1",
            "4",
            "ConcurrencyPerInstance=4.",
        ),
    ],
)
def test_an_offered_load_unlike_the_simulated_one_is_reported(simulated, arguments, expected, times, helps):
    _, numbers = simulated(*BUSY, *SIZED, *arguments)
    (warning,) = of_arrivals(numbers)
    assert expected in warning
    assert f"What arrives counts for {times} times the instances that it keeps busy." in warning
    assert warning.endswith(helps)


def test_another_policy_gets_no_finding_about_arrivals(simulated):
    _, numbers = simulated(*BUSY, *SIZED, "--set", "ProcessingSeconds=60", "--policy", "static")
    assert of_arrivals(numbers) == []


def test_a_static_target_is_the_operators_choice_and_causes_no_warning(simulated):
    _, numbers = simulated("simulate", "transcription", "--trace", "steady:days=0.05:per-day=4000")
    assert (numbers["target_per_instance"], numbers["target_because"]) == (8.0, "static: MessagesPerInstance")
    assert numbers["target_limits"] == []


SHORT = ("simulate", "transcription", "--trace", "steady:days=0.02:per-day=4000", "--no-bound")


@pytest.mark.parametrize("name", policies.names())
def test_a_scale_in_that_the_policy_replaces_is_refused_with_the_way_out(sluice, name):
    needed = policies.named(name).scale_in
    for requested in ("drain", "kill", "protect"):
        done = sluice(*SHORT, "--json", "--policy", name, "--scale-in", requested)
        if needed in (None, requested):
            assert json.loads(done.stdout)["scale_in"] == requested
        else:
            assert done.exit_code == 2
            assert f"--scale-in {requested} is not used: the policy {name} needs {needed}" in done.stderr
            assert "leave --scale-in out" in done.stderr
    unasked = json.loads(sluice(*SHORT, "--json", "--policy", name).stdout)
    assert not [one for one in unasked["warnings"] if one.startswith("--scale-in")]


def test_of_several_policies_the_result_says_which_one_replaces_a_setting(sluice):
    both = sluice(
        *SHORT, "--json", "--policy", "sluice,deadline", "--scale-in", "kill", "--set", "TickSeconds=30"
    )
    said = {
        one["policy"]: [text for text in one["warnings"] if "is not used" in text]
        for one in json.loads(both.stdout)
    }
    assert said["sluice"] == []
    plans = "is not used: the policy deadline plans with the"
    assert said["deadline"] == [
        "--scale-in kill is not used: the policy deadline needs protect; leave --scale-in out.",
        f"ProcessingSeconds=60 {plans} 5 of the run; give --duration-s 60.",
        f"TickSeconds=30 {plans} 10 of the run; give --tick-s 30.",
    ]


@pytest.mark.parametrize(
    ("given", "way_out"),
    {
        "BootSeconds=60": "give --boot-s 60",
        "ProcessingSeconds=9": "give --duration-s 9",
        "TickSeconds=30": "give --tick-s 30",
    }.items(),
)
@pytest.mark.parametrize("option", ["--set", "--sweep"])
def test_a_parameter_in_place_of_which_the_engine_takes_the_runs_own_is_refused(
    sluice, option, given, way_out
):
    done = sluice(*SHORT, "--policy", "deadline", option, given)
    assert done.exit_code == 2
    assert given in done.stderr
    assert way_out in " ".join(done.stderr.split())
    assert sluice(*SHORT, "--policy", "deadline", option, given, *way_out.split()[1:]).exit_code == 0


def test_options_without_an_effect_on_this_load_are_refused(sluice, tmp_path):
    grouped = sluice(*SHORT, "--groups", 5)
    assert grouped.exit_code == 2
    assert "--groups 5" in grouped.stderr
    file = tmp_path / "durations.csv"
    file.write_text("duration_s\n3\n")
    measured = sluice(*SHORT, "--durations", file, "--duration-s", 4)
    assert measured.exit_code == 2
    assert "--durations and --duration-s both set" in measured.stderr


def test_dead_letters_and_refused_launches_are_warned_of(simulated):
    killing = ("--scale-in", "kill", "--spot-interruptions-per-hour", 20, "--duration-s", 200)
    short = ("simulate", "transcription", "--trace", "steady:days=0.05:per-day=4000", "--no-bound")
    _, numbers = simulated(*short, *killing, "--max-receives", 1, "--refusal-ratio", 0.5)
    assert numbers["dead_letters"] + numbers["processed"] == numbers["messages"]
    assert [one for one in numbers["warnings"] if one.startswith(f"{numbers['dead_letters']} messages ended")]
    assert [one for one in numbers["warnings"] if one.startswith(f"{numbers['launches_refused']} launches")]


def test_of_several_runs_each_warning_names_its_own(sluice, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from sluice_sim.study import sweep

    monkeypatch.setattr(sweep, "_workers", lambda tasks: ThreadPoolExecutor(1))
    output = sluice(
        "simulate", "transcription", "--trace", "steady:days=0.02:per-day=4000", "--no-bound",
        "--policy", "static,deadline", "--scale-in", "drain",
    ).stdout  # fmt: skip
    assert "policy=deadline: --scale-in drain is not used" in output
    assert "policy=static: --scale-in" not in output


def test_a_report_shows_the_warnings_and_the_target(sluice, dynamic, tmp_path):
    result = sluice(*dynamic(max_messages_per_instance=20.0), "--report", tmp_path / "r")
    assert result.exit_code == 0, result.stderr
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "what decides is MaxMessagesPerInstance" in page
    assert "1800 s x 1 / 5 s = 360, limited by MaxMessagesPerInstance" in page
