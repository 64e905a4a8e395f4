"""The build of examples/pipeline with a real container engine, if one runs; only ECR is embedded."""

from __future__ import annotations

import json
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.containers import run
from tests.deploy.server import Server, served
from tests.examples.pipeline_commands import COMMIT, REPOSITORY_URI, Commands, specification
from tests.templates.fleet_workers import dockerfile

IMAGE = f"{REPOSITORY_URI}:{COMMIT}"
PLATFORM = "linux/arm64" if platform.machine() in ("arm64", "aarch64") else "linux/amd64"
PUSHES_NOWHERE = """
import os, subprocess, sys
stand_in, real = sys.argv[1:3]
if sys.argv[3] in ("login", "push"):
    sys.exit(subprocess.call([stand_in, *sys.argv[3:]]))
os.execv(real, [real, *sys.argv[3:]])
"""
"""`docker` that logs in to, and pushes into, the embedded ECR; the engine does all the rest."""


@pytest.fixture
def server() -> Iterator[Server]:
    bases = {rest.split()[0] for instruction, rest in dockerfile() if instruction == "FROM"}
    if run(["docker", "info"]).returncode != 0:
        pytest.skip("no container engine runs here (`docker info` fails)")
    for base in bases:
        if run(["docker", "image", "inspect", base]).returncode != 0:
            pytest.skip(f"{base} is not on this machine: docker pull {base}")
    with served() as server:
        server.aws("ecr", "CreateRepository", repositoryName="sluice-worker")
        yield server
    run(["docker", "image", "rm", IMAGE])


def test_the_phases_build_an_image_that_runs_the_worker_and_push_it(server: Server, tmp_path: Path) -> None:
    engine = shutil.which("docker")
    assert engine is not None
    commands = Commands.installed(tmp_path, server.endpoint)
    stand_in = (tmp_path / "docker").rename(tmp_path / "pushes")
    program, wrapper = tmp_path / "docker.py", tmp_path / "docker"
    program.write_text(PUSHES_NOWHERE)
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {program} {stand_in} {engine} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)

    assert commands.build(specification("buildspec.yml"), PLATFORM=PLATFORM)
    pushed = server.aws("ecr", "ListImages", repositoryName="sluice-worker")["imageIds"]
    assert [each["imageTag"] for each in pushed] == [COMMIT]
    worker = run(["docker", "run", "--rm", "--network", "none", IMAGE, "--help"])
    assert "Consume SQS queues" in worker.stdout, worker.stderr
    [described] = json.loads(run(["docker", "image", "inspect", IMAGE]).stdout)
    assert f"{described['Os']}/{described['Architecture']}" == PLATFORM
