"""examples/Dockerfile and examples/compose.yaml: the worker as an image, and many on one machine."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from importlib.metadata import files, version
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml

from sluice_sim.account import ENVIRONMENT
from tests.support.aws_environment import embedded_aws
from tests.templates import fleet_workers
from tests.templates.fleet_workers import understood
from tests.templates.stacks import REGION, ROOT


def instructions(name: str) -> list[str]:
    return [rest for instruction, rest in fleet_workers.dockerfile() if instruction == name]


VARIABLE = re.compile(r"\$\{(\w+)(:?)-([^}]*)}")


def compose(**environment: str) -> dict[str, Any]:
    """The file as compose reads it: `${NAME-default}`, and with a colon also if NAME is empty."""

    def value(found: re.Match[str]) -> str:
        name, colon, default = found.groups()
        value_ = environment.get(name)
        return default if value_ is None or (colon and not value_) else value_

    return yaml.safe_load(VARIABLE.sub(value, (ROOT / "examples/compose.yaml").read_text()))


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration.removesuffix("s"))


# ---- The image ---------------------------------------------------------------------------------------------


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    linted = subprocess.run(
        [linter, "--no-color", ROOT / "examples/Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_the_worker_is_the_first_process_and_gets_the_signal_itself() -> None:
    assert fleet_workers.entry_point() == ["python", "-m", "sluice_worker"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("CMD") == []


def test_the_worker_runs_as_a_user_without_name_or_rights() -> None:
    [user] = instructions("USER")
    assert all(int(number) > 999 for number in user.split(":"))


def test_the_image_names_its_handler_and_no_secret() -> None:
    assert fleet_workers.image_variables() == {"SLUICE_WORKER_HANDLER": "sleeper:handle"}
    assert instructions("ARG") == []


def test_both_stages_stand_on_the_python_that_the_lock_was_made_for() -> None:
    bases = {base.split()[0] for base in instructions("FROM")}
    assert bases == {"python:3.13-slim"}


def test_the_image_is_built_from_what_it_needs_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    included = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    needed = ["pyproject.toml", "uv.lock", "README.md", "LICENSE", "sluice_worker", "layers/sluice/sluice"]
    for path in (*needed, "examples/sleeper.py"):
        assert any(fnmatch.fnmatch(path, pattern) for pattern in included), path
    for path in (".git", ".venv", "samconfig.toml", "tests", "template.yaml"):
        assert not any(fnmatch.fnmatch(path, pattern) for pattern in included), path


# ---- Compose -----------------------------------------------------------------------------------------------


def compose_schema() -> dict[str, Any]:
    """The Compose Specification's own schema, which check-jsonschema brings."""
    [schema] = [file for file in files("check-jsonschema") or () if file.name == "compose-spec.json"]
    found: dict[str, Any] = json.loads(schema.read_text())
    return found


def test_compose_is_valid() -> None:
    jsonschema.validate(compose(), compose_schema())


@pytest.mark.parametrize("key", ["stop_grace_periode", "depend_on", "enviroment"])
def test_a_misspelled_key_of_compose_is_found(key: str) -> None:
    wrong = compose()
    wrong["services"]["worker"][key] = "1s"
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(wrong, compose_schema())


def test_the_workers_of_compose_accept_their_variables() -> None:
    environment = compose()["services"]["worker"]["environment"]
    variables = {name: str(value) for name, value in environment.items()}
    settings, handler = understood({**fleet_workers.image_variables(), **variables})
    assert handler == "sleeper:handle"
    [queue] = settings.queues
    assert queue.url == "http://aws:5000/123456789012/trial"
    assert settings.fleet is None  # whose metrics would it publish?


def test_compose_waits_for_a_worker_longer_than_its_grace() -> None:
    worker = compose()["services"]["worker"]
    assert seconds(worker["stop_grace_period"]) > int(worker["environment"]["SLUICE_WORKER_GRACE_S"]) + 20


def test_compose_runs_any_number_of_workers() -> None:
    worker = compose()["services"]["worker"]
    assert not {"container_name", "ports"} & set(worker)  # either would be the first worker's alone


def test_each_service_of_compose_starts_once_the_one_before_it_can_be_used() -> None:
    services = compose()["services"]
    assert services["messages"]["depends_on"] == {"aws": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"] == {"messages": {"condition": "service_healthy"}}
    for name in ("aws", "messages"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"


def test_compose_uses_the_same_embedded_aws_as_the_tests() -> None:
    """An older one leaves out of its answers what the worker asks for."""
    assert compose()["services"]["aws"]["image"] == f"motoserver/moto:{version('moto')}"


def test_at_a_queue_of_ones_own_nothing_points_to_the_machines_aws() -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/transcription"
    services = compose(QUEUE=url, AWS_ENDPOINT_URL="", AWS_ACCESS_KEY_ID="AKIA")["services"]
    environment = services["worker"]["environment"]
    assert environment["SLUICE_WORKER_QUEUE"] == url
    assert environment["AWS_ACCESS_KEY_ID"] == "AKIA"
    assert not environment["AWS_ENDPOINT_URL"]


def test_compose_is_written_for_its_first_version_too() -> None:
    """docker-compose 1.29 refuses the keys of a later schema at the top."""
    assert {key for key in compose() if not key.startswith("x-")} == {"services"}


@pytest.mark.slow
def test_the_messages_of_compose_are_test_messages_and_it_ends_once_none_is_left() -> None:
    """--abort-on-container-exit ends all with the first that ends, so that must be after the work is done."""
    text = (ROOT / "examples/compose.yaml").read_text()
    assert "up --build --abort-on-container-exit --scale worker=15" in text
    service = compose()["services"]["messages"]
    [script] = service["command"]
    with embedded_aws() as aws:
        environment = {**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": aws.endpoint}
        sender = subprocess.Popen(
            [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
        )
        with sender:
            assert sender.stdout is not None
            assert sender.stdout.readline() == "150 messages left\n"
            sqs = boto3.client("sqs", endpoint_url=aws.endpoint, region_name=REGION)
            url = sqs.get_queue_url(QueueName="trial")["QueueUrl"]
            [message] = sqs.receive_message(QueueUrl=url)["Messages"]
            assert sender.stdout.readline() == "150 messages left\n", "one of them is in flight"
            sqs.purge_queue(QueueUrl=url)
            sqs.close()
            assert sender.stdout.readlines()[-1] == "0 messages left\n"
            assert sender.wait(20) == 0
    assert message["Body"] == '{"duration_s": 2}'
    assert len(aws.of("SendMessage")) == 150
