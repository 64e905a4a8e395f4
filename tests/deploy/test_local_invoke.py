"""`make local-invoke` reports a missing container engine, and fails if a function does not do its work."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.deploy import (
    containers,
    local_invoke,
)
from tests.deploy.account import Account
from tests.deploy.build import ROOT
from tests.deploy.deployment import FUNCTIONS
from tests.deploy.emulator import emulated
from tests.deploy.every_event import (
    CASES,
    EVENTS,
)
from tests.deploy.server import (
    Server,
    listening_at,
)
from tests.deploy.shared_deployment import SharedDeployment

WAKES = ("BootstrapFunction", "bootstrap-asg-direct")
"""An invocation that asks the account and changes it."""


def ends_with(status: int, printed: str = "") -> containers.Run:
    def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, status, printed, "")

    return run


class TestWhereItCanRun:
    def test_without_a_container_engine_it_says_so_and_passes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert local_invoke.main() == 0
        configuration = capsys.readouterr().out
        assert configuration.startswith("skipped: no container engine runs here (`docker info` fails)")

    def test_a_container_engine_that_does_not_answer_is_treated_as_missing(self, tmp_path: Path) -> None:
        configuration = containers.unmet(tmp_path, ends_with(1))
        assert configuration is not None
        assert "no container engine runs here" in configuration

    def test_without_a_build_it_says_what_to_do(self, tmp_path: Path) -> None:
        configuration = containers.unmet(tmp_path, ends_with(0))
        assert configuration is not None
        assert configuration.endswith("run `make build` first")

    def test_with_an_engine_and_a_build_it_continues(self, tmp_path: Path) -> None:
        (tmp_path / "template.yaml").touch()
        assert containers.unmet(tmp_path, ends_with(0)) is None

    def test_a_missing_program_is_a_status_too(self) -> None:
        assert containers.run(["no-such-program-of-ours"]).returncode == 127


class TestHowContainersReachThisMachine:
    def test_containers_get_the_host_name_that_linux_does_not_resolve(self) -> None:
        options = list(containers.OPTIONS)
        assert options[options.index("--add-host") + 1] == f"{containers.HOST_NAME}:host-gateway"

    def test_the_embedded_aws_listens_at_the_engines_bridge(self) -> None:
        assert containers.host_address(ends_with(0, "lo\n")) == "127.0.0.1"  # lo is an interface, too

    @pytest.mark.parametrize("printed", ["no-such-bridge\n", "<no value>\n", ""])
    def test_without_a_local_bridge_interface_it_listens_at_loopback(self, printed: str) -> None:
        assert containers.host_address(ends_with(0, printed)) == "127.0.0.1"

    def test_the_embedded_aws_listens_at_that_address_only(self) -> None:
        with listening_at("127.0.0.2") as port, socket.socket() as there, socket.socket() as elsewhere:
            assert there.connect_ex(("127.0.0.2", port)) == 0
            assert elsewhere.connect_ex(("127.0.0.1", port)) != 0

    def test_every_variable_is_declared_for_its_function_and_nothing_else_changes(self) -> None:
        template = (ROOT / "template.yaml").read_text()
        environments_ = {name: {"AWS_ENDPOINT_URL": "http://embedded:5000"} for name in FUNCTIONS}
        declared, was = json.loads(containers.declaring(template, environments_)), yaml_parse(template)
        for name in FUNCTIONS:
            variables = declared["Resources"][name]["Properties"]["Environment"]["Variables"]
            assert variables.pop("AWS_ENDPOINT_URL") == ""
        assert declared == was

    def test_it_looks_for_the_image_that_sam_asks_for(self) -> None:
        from samcli.lib.utils.architecture import X86_64
        from samcli.local.docker.lambda_image import Runtime

        tag = Runtime.get_image_name_tag("python3.13", X86_64)
        assert containers.IMAGE.replace("arm64", X86_64) == f"public.ecr.aws/lambda/{tag}"


class TestWhatIsAFailure:
    """One invocation of the table in the deployed account, with a planted fault."""

    @pytest.fixture
    def failures(self, account: Account, server: Server) -> Callable[..., list[str]]:
        def failures(answer: Callable[[str, Mapping[str, Any]], Any]) -> list[str]:
            return list(local_invoke.failures(account, server.gate, answer, {WAKES: CASES[WAKES]}))

        return failures

    @pytest.fixture
    def running(
        self, deployed: SharedDeployment, runtime: Path, tmp_path: Path
    ) -> Iterator[Callable[[str], containers.Invoke]]:
        """The deployed function with AWS at this endpoint."""
        with ExitStack() as started:

            def running(endpoint: str) -> containers.Invoke:
                function = deployed.function(WAKES[0])
                session = deployed.deployment.credentials(function.role_arn)
                process = started.enter_context(
                    emulated(function, runtime, endpoint, session, tmp_path / "function.log")
                )
                return lambda _, event: process.answer(event)

            yield running

    def test_a_function_with_the_expected_outcome_is_not_a_failure(
        self,
        failures: Callable[..., list[str]],
        running: Callable[[str], containers.Invoke],
        server: Server,
    ) -> None:
        assert failures(running(server.endpoint)) == []

    def test_a_function_that_never_reaches_aws_is_a_failure(
        self,
        failures: Callable[..., list[str]],
        running: Callable[[str], containers.Invoke],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with socket.socket() as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            [configuration] = failures(running(f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"))
        assert "error='TransientError'" in configuration
        assert "calls_aws=False" in configuration
        assert capsys.readouterr().out == "FAILED BootstrapFunction bootstrap-asg-direct\n"

    def test_a_response_without_any_request_to_aws_is_a_failure(
        self, failures: Callable[..., list[str]]
    ) -> None:
        [configuration] = failures(lambda function, event: None)
        assert "calls_aws=False" in configuration.partition("actual")[2]

    def test_an_account_in_the_wrong_state_is_a_failure(
        self,
        failures: Callable[..., list[str]],
        running: Callable[[str], containers.Invoke],
        server: Server,
        account: Account,
    ) -> None:
        invoke = running(server.endpoint)

        def undone(function: str, event: Mapping[str, Any]) -> Any:
            answer = invoke(function, event)
            account.set_desired("transcription", 0)
            return answer

        [configuration] = failures(undone)
        assert "desired=(0, 0)" in configuration.partition("actual")[2]

    def test_a_missing_response_is_a_failure(self, failures: Callable[..., list[str]]) -> None:
        [configuration] = failures(lambda function, event: containers._answer(1, function, event))
        assert "error='no answer'" in configuration

    def test_every_function_is_invoked_with_every_event(self) -> None:
        assert len(CASES) == len(FUNCTIONS) * len(EVENTS)
        # For each function some event reaches the account, but a sample of a tick is of a minute long past.
        for function in set(FUNCTIONS) - {"DeadlineTickFunction"}:
            assert any(actual.calls_aws for (name, _), actual in CASES.items() if name == function)
