"""The worker in the tasks of examples/fleet-ecs.yaml, run with stubs in place of AWS and of time."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import stacks
from stacks import of_type

# Answers each receive with one message, then with none; the second time there is none, the task is to go.
STUB_AWS = """#!/bin/bash
echo "$1 $*" >> calls
[ "$2" = receive-message ] || exit 0
[ -s messages ] && { head -n 1 messages; sed -i 1d messages; exit 0; }
[ -e empty ] && kill -TERM "$(cat pid)"
touch empty
echo None
"""
STUB_CURL = """#!/bin/bash
echo "curl $*" >> calls
"""
# Work takes no time, unless SIGTERM is to come in the midst of it.
STUB_SLEEP = """#!/bin/bash
[ -z "$TERM_AFTER_S" ] && exec /bin/sleep 0.05
/bin/sleep "$TERM_AFTER_S"
kill -TERM "$(cat pid)"
exec /bin/sleep "$1"
"""


def run_task(
    folder: Path, messages: Sequence[str], *, term_after_s: str = "", **variables: str
) -> list[tuple[str, str]]:
    """(what, all of it) for each call that the worker makes until it ends by itself."""
    [task] = of_type(stacks.example_fleet("ecs"), "AWS::ECS::TaskDefinition").values()
    [container] = task["ContainerDefinitions"]
    for name, script in (("aws", STUB_AWS), ("curl", STUB_CURL), ("sleep", STUB_SLEEP)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "messages").write_text("".join(f"handle-{i}\t{body}\n" for i, body in enumerate(messages)))
    environment = {
        **{variable["Name"]: str(variable["Value"]) for variable in container["Environment"]},
        "ECS_AGENT_URI": "http://agent",
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TERM_AFTER_S": term_after_s,
        **variables,
    }
    [script] = container["Command"]
    command = [*container["EntryPoint"], f"echo $$ > pid\n{script}"]
    subprocess.run(command, env=environment, cwd=folder, check=True, timeout=30, capture_output=True)
    calls = (folder / "calls").read_text().splitlines()
    return [("protection" if call.startswith("curl") else call.split()[2], call) for call in calls]


def kinds(calls: list[tuple[str, str]]) -> list[str]:
    return [kind for kind, _ in calls]


def protections(calls: list[tuple[str, str]]) -> list[dict]:
    return [
        json.loads(call[call.index("{") : call.rindex("}") + 1])
        for kind, call in calls
        if kind == "protection"
    ]


def test_a_task_works_deletes_reports_and_leaves_when_told(tmp_path: Path) -> None:
    calls = run_task(tmp_path, ['{"duration_s": 4.5}'])
    assert kinds(calls) == [
        "receive-message",
        "protection",
        "delete-message",
        "put-metric-data",
        "receive-message",
        "protection",
        "receive-message",
    ]
    assert protections(calls) == [
        {"ProtectionEnabled": True, "ExpiresInMinutes": 5},
        {"ProtectionEnabled": False},
    ]
    assert "-X PUT" in calls[1][1]
    assert calls[1][1].endswith("http://agent/task-protection/v1/state")
    assert "--receipt-handle handle-0" in calls[2][1]


def test_a_task_reports_its_seconds_under_exactly_the_services_dimensions(tmp_path: Path) -> None:
    reported = run_task(tmp_path, ['{"duration_s": 2}'])[3][1]
    found = re.search(
        r"--namespace Sluice --metric-name MsgProcessingDuration .*--value (\d+\.\d{3}) ", reported
    )
    assert found is not None
    assert 0.05 <= float(found[1]) < 5
    pairs = dict(pair.split("=") for pair in reported.split("--dimensions ")[1].split(","))
    assert pairs == stacks.DIMENSIONS["ecs"]


def test_a_busy_task_asks_for_protection_once_and_gives_it_back_once(tmp_path: Path) -> None:
    calls = run_task(tmp_path, ['{"duration_s": 4}'] * 5)
    assert kinds(calls).count("delete-message") == 5
    assert [state["ProtectionEnabled"] for state in protections(calls)] == [True, False]


def test_protection_outlasts_the_visibility_timeout_and_every_message(tmp_path: Path) -> None:
    calls = run_task(tmp_path, [f'{{"duration_s": {seconds}}}' for seconds in (1, 250, 1)])
    assert [state.get("ExpiresInMinutes") for state in protections(calls)] == [5, 7, None]
    assert 5 * 60 > 240
    assert 7 * 60 > 250


def test_a_message_longer_than_the_visibility_timeout_gets_more_of_it(tmp_path: Path) -> None:
    calls = run_task(tmp_path, ['{"duration_s": 250}', '{"duration_s": 1}'])
    [longer] = [call for kind, call in calls if kind == "change-message-visibility"]
    assert longer.endswith("--receipt-handle handle-0 --visibility-timeout 310")


def test_a_task_told_to_go_finishes_its_message_and_takes_no_other(tmp_path: Path) -> None:
    calls = run_task(tmp_path, ['{"duration_s": 0.5}', '{"duration_s": 0.5}'], term_after_s="0.2")
    assert kinds(calls) == ["receive-message", "protection", "delete-message", "put-metric-data"]


def test_a_message_that_cannot_end_before_the_kill_goes_back_to_the_queue(tmp_path: Path) -> None:
    calls = run_task(tmp_path, ['{"duration_s": 30}'], term_after_s="0.2", STOP_TIMEOUT_S="22")
    assert kinds(calls) == ["receive-message", "protection", "change-message-visibility"]
    assert calls[-1][1].endswith("--receipt-handle handle-0 --visibility-timeout 0")


@pytest.mark.parametrize("body", ["not a test message", "{}", '{"duration_s": "soon"}', '{"duration_s": -1}'])
def test_a_task_deletes_nothing_it_did_not_work_on(tmp_path: Path, body: str) -> None:
    assert set(kinds(run_task(tmp_path, [body]))) == {"receive-message"}
