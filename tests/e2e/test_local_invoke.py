"""`make local-invoke` says so where no container engine runs, and tells an answer from a failure."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.e2e import local_invoke
from tests.e2e.build import ROOT
from tests.e2e.deployment import FUNCTIONS


def ends_with(status: int) -> local_invoke.Run:
    def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, status, "", "")

    return run


def test_without_a_container_engine_it_says_so_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local_invoke.main() == 0
    assert capsys.readouterr().out.startswith("skipped: no container engine runs here (`docker info` fails)")


def test_an_engine_that_does_not_answer_is_none() -> None:
    told = local_invoke.unmet(ends_with(1))
    assert told is not None
    assert "no container engine runs here" in told


def test_without_a_build_it_says_what_to_do(tmp_path: Path) -> None:
    told = local_invoke.unmet(ends_with(0), tmp_path)
    assert told is not None
    assert told.endswith("run `make build` first")


def test_with_both_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").touch()
    assert local_invoke.unmet(ends_with(0), tmp_path) is None


def test_a_missing_program_is_a_status_too() -> None:
    assert local_invoke.run(["no-such-program-of-ours"]).returncode == 127


@pytest.mark.parametrize(
    ("printed", "fine"),
    [
        ("log\nnull", True),
        ('log\n{"batchItemFailures": []}', True),
        ('log\n{"errorType": "ConfigError"}\n', True),
        ('{"errorType": "TransientError"}', True),
        ('{"errorType": "Runtime.ImportModuleError"}', False),
        ('{"errorType": "KeyError"}', False),
        ("log\nTask timed out after 50.00 seconds", False),
        ("", False),
    ],
)
def test_only_an_answer_of_the_functions_own_is_understood(printed: str, fine: bool) -> None:
    assert local_invoke.understood(printed) is fine


def test_every_function_is_invoked_and_aimed_at_the_embedded_aws() -> None:
    template = (ROOT / "template.yaml").read_text()
    assert sorted(local_invoke.functions(template)) == sorted(FUNCTIONS)
    aimed = json.loads(local_invoke.aimed(template, "http://embedded:5000"))
    given = aimed["Globals"]["Function"]["Environment"]["Variables"]
    assert given["AWS_ENDPOINT_URL"] == "http://embedded:5000"
    assert aimed["Resources"] == yaml_parse(template)["Resources"]
