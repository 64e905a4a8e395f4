"""`sluice plan`: options, output, the environment that it writes, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.shell_completion import ShellComplete

from benchmarks.bill import month_of_policy
from benchmarks.list_prices import month_of_alarm
from sluice_cli import plan_environment, workloads
from sluice_cli.main import main
from sluice_operator.core.planning import plan
from sluice_operator.price_files import user_file
from sluice_sim import template
from sluice_sim.template import deployment
from tests.cli.conftest import Answer
from tests.operator.core.builders import demand
from tests.sim.simulator.builders import trace_file
from tests.templates import stacks
from tests.test_costs import alarms

pytestmark = pytest.mark.slow

SCHEMA = json.loads((workloads.CHECKOUT / "docs/schemas/plan.json").read_text(encoding="utf-8"))
GUIDE = ("--arrivals", "600000/day", "--processing", "2s", "--promise", "10m")
BACKLOG = (*GUIDE, "--backlog", 2_800_000, "--drain-in", "7d")
Sluice = Callable[..., Answer]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No prices of one's own, and no samconfig.toml but the test's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def planned(sluice: Sluice, *arguments: object, status: int = 0) -> dict[str, Any]:
    answer = sluice("plan", *arguments, "--json")
    assert answer.exit_code == status, answer.stderr
    read: dict[str, Any] = json.loads(answer.stdout, parse_constant=lambda found: pytest.fail(found))
    jsonschema.validate(read, SCHEMA)
    return read


def refusal(sluice: Sluice, *arguments: object) -> str:
    """The only line of stderr, without its prefix."""
    answer = sluice("plan", *arguments)
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.stderr
    [line] = answer.stderr.strip().splitlines()
    return line.removeprefix("Error: ")


# ---- What it prints


def test_the_consumer_guides_week_takes_24_instances_and_every_part_of_the_answer_is_there(
    sluice: Sluice,
) -> None:
    answer = sluice("plan", *BACKLOG, "--fleet", "fargate:0.25vcpu,0.5gb")
    assert answer.exit_code == 0, answer.stderr
    for row in (
        r"600,000 messages a day, 2,800,000 wait; 2 s each, 1 at a time: 13.9 instances are busy on average",
        r"steady load +14 ",
        r"drain in 7 days +24 +7,000,000 messages by then, 1,000,000 a day",
        r"Scaling +target_tracking",
        r"MessagesPerInstance +180 +360 s left after a start x 1 / 2 s; 300 where instances run already",
        r"MinCapacity +0 +from zero",
        r"MaxCapacity +24",
        r"BootstrapCapacity +backlog .* 24",
        r"IdleMinutes +5",
        r"visibility timeout +30 s +of the queue: twice the longest",
        r"Cost a month, list prices of us-east-1, 2026-06-17",
        r"fleet +\$100\.92 +Fargate tasks, 0\.25 vCPU, 0\.5 GB, arm64: 14 on average",
        r"SQS requests +\$",
        r"metrics of the workers +\$",
        r"metrics of the workload +\$0\.60",
        r"alarms of the workload +\$",
        r"control plane: Lambda +\$",
        r"together +\$.* prices of 2026-06-17",
        r"once, for the backlog +\$.* prices of 2026-06-17",
        r"Lambda instead +\$490\.32 +prices of 2026-06-17",
    ):
        assert re.search(row, answer.stdout), row


def test_every_sum_has_its_date_also_in_json(sluice: Sluice) -> None:
    cost = planned(sluice, *GUIDE, "--price", "0.05")["cost"]
    assert cost["prices"] == {"region": "us-east-1", "as_of": "2026-06-17"}
    assert cost["usd_per_month"] == pytest.approx(sum(each["usd"] for each in cost["items"]))
    assert cost["items"][0]["usd"] == pytest.approx(14 * 0.05 * 730)


def test_without_a_fleet_its_cost_is_left_out_and_said(sluice: Sluice) -> None:
    assert "without the fleet" in sluice("plan", *GUIDE).stdout
    cost = planned(sluice, *GUIDE)["cost"]
    assert not cost["includes_fleet"]
    assert "fleet" not in [each["item"] for each in cost["items"]]


@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_wider_than_the_terminal(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", f"{width}")
    answer = sluice_with_columns("plan", *BACKLOG, "--fleet", "ec2:c7g.large", "--max", 20, columns=width)
    assert max(map(len, answer.splitlines())) <= width


def sluice_with_columns(*arguments: object, columns: int) -> str:
    code = "import sys; from sluice_cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=workloads.CHECKOUT,
        env={"COLUMNS": f"{columns}", "PYTHONPATH": "layers/sluice", "PATH": "", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_in_a_pipe_no_line_ends_with_spaces(sluice: Sluice) -> None:
    printed = sluice("plan", *BACKLOG, "--fleet", "ec2:c7g.large").stdout
    assert re.search(r"^  MinCapacity +0  from zero$", printed, re.MULTILINE)
    assert not re.search(r" $", printed, re.MULTILINE)


def test_in_a_pipe_a_sentence_is_one_line(sluice: Sluice) -> None:
    lines = sluice("plan", *GUIDE).stdout.splitlines()
    assert any(line.startswith("Only the mean of the arrivals") and line.endswith("peaks.") for line in lines)


def test_a_trace_is_planned_for_its_busiest_time(sluice: Sluice) -> None:
    found = planned(sluice, "--trace", "spiky:per-day=200000", "--processing", "5s", "--promise", "5m")
    assert found["demand"]["intervals"] == 1440
    assert found["settings"]["maximum"] == found["instances"]["busiest"] > 5 * found["instances"]["steady"]
    assert found["settings"]["scaling"] == "deadline"


def test_a_file_of_arrivals_is_a_trace(sluice: Sluice, tmp_path: Path) -> None:
    path = trace_file(tmp_path, "0,120", "60,0", "120,0")
    found = planned(sluice, "--trace", path, "--processing", "1s", "--promise", "10m")
    assert found["demand"]["arrivals_per_day"] == pytest.approx(120 * 480)


@pytest.mark.parametrize(
    ("rate", "per_day"),
    [
        ("7/s", 604_800),
        ("420/min", 604_800),
        ("25000/hour", 600_000),
        ("600_000/day", 600_000),
        ("0.5/s", 43_200),
    ],
)
def test_a_rate_has_its_unit(sluice: Sluice, rate: str, per_day: float) -> None:
    found = planned(sluice, "--arrivals", rate, "--processing", "500ms", "--promise", "1m30s")
    assert found["demand"]["arrivals_per_day"] == pytest.approx(per_day)
    assert (found["demand"]["processing_s"], found["demand"]["promise_s"]) == (0.5, 90)


def test_the_price_of_a_fleet_is_its_types_or_its_size(sluice: Sluice) -> None:
    def an_hour(*fleet: object) -> float:
        cost = planned(sluice, *GUIDE, *fleet)["cost"]["items"][0]
        return float(cost["usd"]) / 14 / 730

    assert an_hour("--fleet", "ec2:c7g.large") == pytest.approx(0.0725)
    assert an_hour("--fleet", "fargate:1vcpu,2gb") == pytest.approx(0.03238 + 2 * 0.00356)
    assert an_hour("--fleet", "fargate:1vcpu,2gb,x86_64") == pytest.approx(0.04048 + 2 * 0.004445)
    assert an_hour("--fleet", "ec2:c7g.large", "--price", 0.03) == pytest.approx(0.03)


def test_lambda_is_no_alternative_to_work_of_more_than_15_minutes(sluice: Sluice) -> None:
    found = planned(sluice, "--arrivals", "10/day", "--processing", "16m", "--promise", "1h")["cost"][
        "lambda"
    ]
    assert found["usd_per_month"] is None
    assert "a function ends after 900 s" in found["impossible"]
    more = planned(sluice, *GUIDE, "--lambda-memory", 2)["cost"]["lambda"]
    assert more["gb_seconds"] == pytest.approx(2_400_000 * 365 / 12)


def test_a_month_of_alarms_is_that_of_the_templates() -> None:
    load = demand()
    made = plan_environment.parameters(plan(load), load, plan_environment.named("x", "asg"))
    billed = plan_environment.stacks(made)
    stack = deployment.deployed(workloads.CHECKOUT, made).stack
    assert sum(map(month_of_alarm, billed.workload_alarms)) == pytest.approx(
        sum(map(month_of_alarm, alarms(stack).values()))
    )
    assert len(billed.policies) == 1
    assert month_of_policy(stack) == pytest.approx(0.20)
    assert sum(map(month_of_alarm, billed.plane_alarms)) == pytest.approx(
        sum(map(month_of_alarm, alarms(stacks.plane()).values()))
    )
    assert not billed.is_fifo


# ---- What it writes


@pytest.mark.parametrize(
    "options",
    [
        GUIDE,
        (*GUIDE, "--fleet", "fargate:0.25vcpu,0.5gb"),
        (*GUIDE, "--promise", "4m", "--percent", 97.5, "--concurrency", 4),
        ("--arrivals", "1/hour", "--processing", "30m", "--promise", "10m", "--boot", "0s"),
        ("--arrivals", "100/day", "--processing", "5s", "--promise", "30s"),
        ("--arrivals", "0.01/s", "--processing", "1ms", "--promise", "5s", "--boot", "500ms"),
        ("--trace", "idle-then-dump", "--processing", "1.23456789s", "--promise", "3d"),
    ],
)
def test_the_written_environment_is_one_that_validate_and_sam_accept(
    sluice: Sluice, tmp_path: Path, options: tuple[object, ...]
) -> None:
    path = tmp_path / "mine.toml"
    answer = sluice("plan", *options, "--name", "thumbs", "--write", path)
    assert answer.exit_code == 0, answer.stderr
    assert f"{path}: wrote environment thumbs" in answer.stdout
    written = deployment.environments_of(path)["thumbs"]
    assert written.keys() <= template.load(workloads.CHECKOUT / "workload.yaml")["Parameters"].keys()
    checked = sluice("validate", "thumbs", "--config-file", path)
    assert checked.exit_code == 0, checked.stderr
    assert checked.stdout.startswith("thumbs: OK: ")


@pytest.mark.parametrize("engine", ["target_tracking", "deadline"])
@pytest.mark.parametrize(
    ("fleet", "names"),
    [
        ("ec2:c7g.large", {"AutoScalingGroupName"}),
        ("fargate:0.25vcpu,0.5gb", {"ClusterName", "ServiceName"}),
    ],
    ids=["asg", "ecs"],
)
def test_sam_deploys_the_planned_parameters_from_the_written_file(
    sluice: Sluice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    fleet: str,
    names: set[str],
) -> None:
    path = tmp_path / "samconfig.toml"
    options = (*GUIDE, "--scaling", engine, "--fleet", fleet, "--name", "thumbs")
    found = planned(sluice, *options, "--write", path)["parameters"]
    monkeypatch.chdir(workloads.CHECKOUT)
    read = sam_deploy("--config-file", path, "--config-env", "thumbs")
    assert read["parameter_overrides"] == found
    assert read["stack_name"] == "sluice-thumbs"
    assert Path(read["template_file"]).name == "workload.yaml"
    assert read["confirm_changeset"]
    assert read["resolve_s3"]
    assert names == found.keys() & {"AutoScalingGroupName", "ClusterName", "ServiceName"}
    stack = deployment.resolved(workloads.CHECKOUT, read["parameter_overrides"])
    assert json.loads(deployment.registration(stack))["scaling"]["type"] == engine


def sam_deploy(*arguments: object) -> dict[str, Any]:
    """What `sam deploy` would do with these arguments, by its own parser."""
    from samcli.commands.deploy.command import cli  # it takes a second to import

    read: dict[str, Any] = cli.make_context("deploy", [*map(str, arguments)]).params
    return read


def test_the_written_settings_are_the_planned_ones(sluice: Sluice, tmp_path: Path) -> None:
    found = planned(sluice, *BACKLOG, "--name", "thumbs", "--write", tmp_path / "samconfig.toml")
    assert deployment.environments_of(tmp_path / "samconfig.toml")["thumbs"] == found["parameters"]
    assert found["parameters"] == {
        "Name": "thumbs",
        "QueueName": "thumbs",
        "FleetType": "asg",
        "AutoScalingGroupName": "thumbs",
        "MinCapacity": "0",
        "MaxCapacity": "24",
        "ConcurrencyPerInstance": "1",
        "ProcessingSeconds": "2",
        "IdleMinutes": "5",
        "Scaling": "target_tracking",
        "TargetType": "static",
        "MessagesPerInstance": "180",
        "BootstrapCapacity": "backlog",
        "InstanceWarmupSeconds": "180",
        "OldestMessageAgeSeconds": "604800",
    }


def test_without_a_file_the_one_of_this_folder_is_written(sluice: Sluice, tmp_path: Path) -> None:
    assert sluice("plan", *GUIDE, "--name", "thumbs", "--write").exit_code == 0
    assert "thumbs" in deployment.environments_of(tmp_path / "samconfig.toml")
    mine = tmp_path / "mine.toml"
    assert sluice("plan", *GUIDE, "--name", "a", "--config-file", mine, "--write").exit_code == 0
    assert "a" in deployment.environments_of(mine)


def test_an_environment_that_exists_is_replaced_only_if_told(sluice: Sluice, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text((workloads.CHECKOUT / "samconfig.toml").read_text(encoding="utf-8"), encoding="utf-8")
    before = mine.read_text(encoding="utf-8")
    options = ("plan", *GUIDE, "--name", "queue-proc", "--fleet", "fargate:1vcpu,2gb", "--write", mine)
    refused = sluice(*options)
    assert refused.exit_code == 2
    assert "environment queue-proc is there already: add --replace" in refused.stderr
    assert mine.read_text(encoding="utf-8") == before
    assert sluice(*options, "--replace").exit_code == 0
    after = deployment.environments_of(mine)
    was = deployment.environments_of(workloads.CHECKOUT / "samconfig.toml")
    assert after["queue-proc"]["ClusterName"] == "workers", "its names stay"
    assert after["queue-proc"]["MaxCapacity"] == "14"
    assert {**after, "queue-proc": 0} == {**was, "queue-proc": 0}


# ---- What cannot be kept


def test_a_promise_that_cannot_be_kept_exits_with_1_and_writes_nothing(
    sluice: Sluice, tmp_path: Path
) -> None:
    answer = sluice("plan", *GUIDE, "--max", 10, "--name", "x", "--write", tmp_path / "mine.toml")
    assert answer.exit_code == 1
    assert "Cannot be kept: At most 10 instances never keep up" in answer.stdout
    assert "What would make it possible: a maximum of 14; or " in answer.stdout
    assert "Nothing is written" in answer.stderr
    assert not (tmp_path / "mine.toml").exists()
    found = planned(sluice, *GUIDE, "--max", 10, status=1)
    assert not found["is_kept"]
    assert found["shortfalls"][0]["ways_out"][0] == "a maximum of 14"


def test_what_cannot_be_written_is_refused_before_anything_is_planned(sluice: Sluice, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    assert sluice("plan", *GUIDE, "--name", "thumbs", "--write", mine).exit_code == 0
    assert "environment thumbs is there already: add --replace" in refusal(
        sluice, *GUIDE, "--name", "thumbs", "--write", mine
    )


def test_a_document_needs_a_name_for_its_environment_and_keeps_its_own(
    sluice: Sluice, tmp_path: Path
) -> None:
    path = tmp_path / "document.json"
    environment = deployment.environments(workloads.CHECKOUT)["queue-proc"]
    stack = deployment.resolved(workloads.CHECKOUT, environment)
    path.write_text(deployment.registration(stack), encoding="utf-8")
    mine = tmp_path / "mine.toml"
    assert f"cannot be named '{path}': give a --name" in refusal(sluice, path, *GUIDE, "--write", mine)
    assert planned(sluice, path, *GUIDE)["parameters"]["Name"] == "queue-proc"
    found = planned(sluice, path, *GUIDE, "--write", mine, "--name", "thumbs")["parameters"]
    assert found["Name"] == "thumbs"
    assert deployment.environments_of(mine)["thumbs"] == found


def test_a_way_out_that_no_fleet_can_take_is_not_offered(sluice: Sluice) -> None:
    burst = ("--trace", "spiky:per-day=200000", "--processing", "10s")
    assert "a start within" in sluice("plan", *burst, "--promise", "1m").stdout
    hopeless = sluice("plan", *burst, "--promise", "1s").stdout
    assert "are above what a floor pays for. What would make it possible: a promise of" in hopeless
    assert "a start within" not in hopeless


def test_a_target_below_one_message_and_a_boot_longer_than_the_promise_are_said(sluice: Sluice) -> None:
    jobs = ("--arrivals", "100/day", "--processing", "10m", "--promise", "10m")
    answer = sluice("plan", *jobs, "--scaling", "target_tracking")
    assert answer.exit_code == 1
    assert "The target would be 0.6 messages per instance" in answer.stdout
    assert sluice("plan", *jobs).exit_code == 0, "the deadline engine gives each an instance"
    booting = sluice("plan", "--trace", "idle-then-dump", "--processing", "2s", "--promise", "1m")
    assert "From zero the promise cannot be kept: a start takes 205 s" in booting.stdout


# ---- What it refuses


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            (),
            "nothing says what arrives: give --arrivals 600000/day, --trace FILE, --queue NAME or a",
        ),
        ((*GUIDE, "--trace", "steady"), "--arrivals and --trace each say what arrives: give only one"),
        (("--arrivals", "600000/day", "--promise", "5m"), "no processing time: give --processing 2s"),
        (("--arrivals", "600000/day", "--processing", "2s"), "no promise: give --promise 5m"),
        ((*GUIDE, "--arrivals", "600000"), "--arrivals 600000: give the time in which they arrive, such as"),
        ((*GUIDE, "--arrivals", "nan/day"), "--arrivals nan/day: not a rate"),
        ((*GUIDE, "--arrivals", "-1/day"), "--arrivals -1/day: not a rate"),
        ((*GUIDE, "--arrivals", "5/week"), "--arrivals 5/week: not a rate: write it as 7/s, 420/min"),
        ((*GUIDE, "--arrivals", "0/day"), "nothing arrives and nothing waits"),
        ((*GUIDE, "--arrivals", "1e9/s"), "--arrivals 1e9/s: not a rate"),
        ((*GUIDE, "--arrivals", "999999999999999/s"), "is not between 0 and 10,000,000"),
        ((*GUIDE, "--processing", "2000"), "--processing 2000: give the unit, such as 2000s or 2000ms"),
        ((*GUIDE, "--processing", "0s"), "--processing 0s: give between 1ms and 12h"),
        ((*GUIDE, "--processing", "-2s"), "--processing -2s: not a duration"),
        ((*GUIDE, "--processing", "nans"), "--processing nans: not a duration"),
        ((*GUIDE, "--processing", "2000h"), "--processing 2000h: give between 1ms and 12h"),
        ((*GUIDE, "--processing", "2ms", "--promise", "1h"), "check its unit (2ms are milliseconds, 2s are"),
        ((*GUIDE, "--processing", "2000s"), "that takes 13,897 instances, and a workload has 9,999 at most"),
        ((*GUIDE, "--longest", "1s"), "--longest: 1 s is shorter than the mean of 2 s: check their units"),
        ((*GUIDE, "--promise", "15d"), "--promise 15d: give between 1ms and 14d"),
        ((*GUIDE, "--boot", "3h"), "--boot 3h: give between 0s and 9999s"),
        ((*GUIDE, "--drain-in", "7d"), "--drain-in says when a backlog shall be gone: give --backlog, too"),
        ((*GUIDE, "--fleet", "c7g.large"), "--fleet c7g.large: write it as ec2:c7g.large, fargate:0.25vcpu"),
        ((*GUIDE, "--fleet", "ec2:z9.huge"), "have no such type: give --price, its dollars an hour"),
        ((*GUIDE, "--fleet", "fargate:3vcpu,8gb"), "Fargate has no such number of vCPUs"),
        ((*GUIDE, "--fleet", "fargate:1vcpu,99gb"), "with 1 vCPU a task has 2 to 8 GB"),
        ((*GUIDE, "--arrivals", "9999999/s"), "check the units of the arrivals and of the processing time"),
        ((*GUIDE, "--trace", ""), "'': there is no such file; a trace can also be generated: steady"),
        ((*GUIDE, "--trace", "/"), "/: it is a folder; name a file"),
        ((*GUIDE, "--queue", ""), "--queue '': give the queue's name, not its URL or ARN"),
        ((*GUIDE, "--queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/x"), "not its URL or ARN"),
        ((*GUIDE, "--replace"), "--replace says how an environment is written: give --write, too"),
        ((*GUIDE, "--write", "/nowhere/x.toml"), "/nowhere/x.toml: cannot be written: there is no folder"),
        (
            (*GUIDE, "--write", "--name", "a.b"),
            "an environment cannot be named 'a.b': give a --name of letters",
        ),
        ((*GUIDE, "--write", "--name", 'a"b'), """cannot be named 'a"b'"""),
        ((*GUIDE, "--write", "--name", "version"), "cannot be named 'version'"),
        ((*GUIDE, "--write", "--name", "e2e-mine"), "cannot be named 'e2e-mine'"),
        ((*GUIDE, "--price", "nan"), "--price nan: give a number above 0"),
        ((*GUIDE, "--price", "0"), "--price 0: give a number above 0"),
        ((*GUIDE, "--price", "much"), "--price much: give a number above 0"),
        ((*GUIDE, "--lambda-memory", "11"), "--lambda-memory 11: give a number above 0, 10 at most"),
    ],
    ids=lambda value: " ".join(map(str, value[-2:])) if isinstance(value, tuple) else "",
)
def test_a_bad_input_is_refused_with_its_value_and_a_way_out(
    sluice: Sluice, options: tuple[object, ...], sentence: str
) -> None:
    assert sentence in refusal(sluice, *options)


@pytest.mark.parametrize(
    "options",
    [
        ("--percent", "100"), ("--percent", "nan"), ("--percent", "0"), ("--backlog", "-1"), ("--max", "0"),
        ("--backlog", "9" * 13),
        ("--concurrency", "0"), ("--processing-spread", "nan"), ("--processing-spread", "-1"),
        ("--days", "1"), ("--scaling", "magic"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_number_out_of_range_is_a_usage_error(sluice: Sluice, options: tuple[str, str]) -> None:
    answer = sluice("plan", *GUIDE, *options)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert options[0] in answer.stderr
    assert "Traceback" not in answer.stderr


def test_broken_prices_of_ones_own_are_named(sluice: Sluice) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text("{", encoding="utf-8")
    assert f"{user_file()}: not a price file" in refusal(sluice, *GUIDE)


def test_the_shell_completes_workloads_shapes_and_engines() -> None:
    def offered(*words: str) -> list[str]:
        completion = ShellComplete(main, {}, "sluice", "_SLUICE_COMPLETE")
        return [item.value for item in completion.get_completions(["plan", *words[:-1]], words[-1])]

    assert offered("queue") == ["queue-proc"]
    assert offered("--trace", "di") == ["diurnal"]
    assert offered("--scaling", "d") == ["deadline"]
    assert "--refresh-prices" in offered("--re")
