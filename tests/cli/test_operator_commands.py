"""Each of the operator's commands once, as a user calls it, on one embedded account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.shell_completion import ShellComplete

from sluice_cli import workloads
from sluice_cli.main import main
from sluice_sim.embedded.busy_account import BusyAccount, busy_account

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).resolve().parents[2] / "docs/schemas"
READING = ("status", "explain", "doctor", "dead-letters", "cost")
NAMES = ["photo-import", "queue-proc", "transcription"]


@pytest.fixture(scope="module")
def account() -> Iterator[BusyAccount]:
    """One for all tests: playing it takes seconds."""
    with busy_account(workloads.CHECKOUT) as busy:
        yield busy


@pytest.fixture
def operate(on_embedded: Any, account: BusyAccount) -> Any:
    """`operate("status", ...)`: one call with --embedded."""
    return lambda command, *arguments: on_embedded(account, command)(*arguments)


@pytest.mark.parametrize(
    ("command", "arguments", "status", "shown"),
    [
        ("status", (), 0, ["photo-import", "3 workloads: nothing is wrong."]),
        ("status", ("transcription",), 0, ["Registered", "sluice-transcription-bootstrap"]),
        ("explain", ("transcription",), 0, ["bootstrap 0 -> 1: work waits and nothing runs"]),
        ("explain", ("transcription", "--at", "12:28"), 0, ["nothing happened at 12:28 UTC because"]),
        ("doctor", ("queue-proc",), 0, ["queue-proc: every one of", "0 warn, 0 fail, 0 unknown"]),
        (
            "doctor",
            ("transcription",),
            1,
            ["dead-letters: 7 messages", "sluice dead-letters transcription"],
        ),
        ("cost", (), 0, ["Lambda publish_backlog", "together"]),
        ("cost", ("transcription",), 0, ["workers' metrics", "g5.xlarge, on demand"]),
        ("dead-letters", ("transcription",), 1, ["7 dead letters", "KeyError: 'language'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_command_shows_what_a_person_on_call_asks_for(
    operate: Any, command: str, arguments: tuple[str, ...], status: int, shown: list[str]
) -> None:
    answer = operate(command, *arguments)
    assert answer.exit_code == status, answer.stderr
    assert [text for text in shown if text not in answer.stdout] == []


@pytest.mark.parametrize("command", READING)
def test_its_json_follows_its_documented_schema(operate: Any, command: str) -> None:
    document = json.loads(operate(command, "transcription", "--json").stdout)
    jsonschema.validate(document, json.loads((SCHEMAS / f"{command}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("command", [*READING, "pause", "resume", "surge"])
def test_an_unknown_workload_is_a_usage_error_that_names_the_nearest(operate: Any, command: str) -> None:
    answer = operate(command, "transcriptoin")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "transcription" in answer.stderr


@pytest.mark.parametrize("command", [*READING, "pause", "resume", "surge"])
def test_a_shell_completes_the_workloads_of_the_account(account: BusyAccount, command: str) -> None:
    completion = ShellComplete(main, {}, "sluice", "_SLUICE_COMPLETE")

    def offered(*before: str) -> list[str]:
        return [item.value for item in completion.get_completions([command, *before], "")]

    every = ["all"] if command == "cost" else []
    assert offered() == offered("--embedded") == [*NAMES, *every]
    assert offered("--stack", "another") == every


@pytest.mark.parametrize(("command", "shown"), [("status", "ALARM"), ("explain", "-> ALARM: 1 out of the")])
def test_an_alarm_that_a_parameter_has_turned_on_is_shown(
    operate: Any, account: BusyAccount, command: str, shown: str
) -> None:
    name = "sluice-transcription-dead-letters"
    account.aws.cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": "dead-transcription"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )
    for _ in range(2):
        account.play_minute()
    lines = [line for line in operate(command, "transcription").stdout.splitlines() if name in line]
    account.aws.cloudwatch.delete_alarms(AlarmNames=[name])
    assert [line for line in lines if shown in line]
