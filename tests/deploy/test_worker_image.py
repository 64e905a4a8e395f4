"""examples/Dockerfile makes an image whose first process is the worker, if a container engine runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.deploy.containers import run
from tests.templates.fleet_workers import dockerfile

IMAGE = "sluice-worker:test"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The image, built; removed at the end."""
    bases = {rest.split()[0] for instruction, rest in dockerfile() if instruction == "FROM"}
    if run(["docker", "info"]).returncode != 0:
        pytest.skip("no container engine runs here (`docker info` fails)")
    for base in bases:
        if run(["docker", "image", "inspect", base]).returncode != 0:
            pytest.skip(f"{base} is not on this machine: docker pull {base}")
    built = run(["docker", "build", "--file", "examples/Dockerfile", "--tag", IMAGE, "."])
    assert built.returncode == 0, built.stdout + built.stderr
    yield IMAGE
    run(["docker", "image", "rm", IMAGE])


def in_the_image(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(["docker", "run", "--rm", "--network", "none", *arguments])


def test_the_image_runs_the_workers_command(image: str) -> None:
    helped = in_the_image(image, "--help")
    assert "Consume SQS queues" in helped.stdout, helped.stderr


def test_the_image_finds_its_handler_and_reports_missing_settings(image: str) -> None:
    refused = in_the_image(image)
    assert refused.returncode == 2
    assert "queue" in refused.stderr
    assert "handler" not in refused.stderr


def test_the_image_runs_as_an_unprivileged_user(image: str) -> None:
    configuration = in_the_image("--entrypoint", "id", image, "-u")
    assert configuration.stdout.strip() == "10001"
