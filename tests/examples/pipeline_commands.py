"""The pipeline's commands on this machine: CodeBuild's phases, with stand-ins for the programs they call.

That for the AWS CLI calls the embedded AWS. That for docker builds nothing, and pushes the name of an image
into the embedded ECR. That for make only notes its target.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sluice_sim.account import ACCOUNT_ID, ENVIRONMENT, REGION
from tests.support import aws_command
from tests.templates.stacks import ROOT

REGISTRY = f"{ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com"
REPOSITORY_URI = f"{REGISTRY}/sluice-worker"
COMMIT = "0d5a8f0b7c2e4a6f9b1d3c5e7f9a0b2c4d6e8f01"
STACK = "sluice-example-service"
LIMIT_S = 300
"""A build with a real engine fetches packages."""

DOCKER = """
import json, os, sys
import boto3
log = open(os.environ["DOCKER_LOG"], "a")
match sys.argv[1:]:
    case ["info"]:
        sys.exit(int(os.environ.get("NO_ENGINE", "0")))
    case ["login", "--username", "AWS", "--password-stdin", registry]:
        assert sys.stdin.read().strip(), "no password"
    case ["build", *options, "."]:
        assert os.path.isfile(options[options.index("--file") + 1]), options
    case ["push", image]:
        name, tag = image.split("/", 1)[1].split(":")
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "tag": tag})
        boto3.client("ecr").put_image(repositoryName=name, imageTag=tag, imageManifest=manifest)
    case unknown:
        sys.exit(f"docker: unknown command {unknown}")
print(json.dumps(sys.argv[1:]), file=log)
"""
MAKE = """
import json, os, sys
print(json.dumps(sys.argv[1:]), file=open(os.environ["MAKE_LOG"], "a"))
sys.exit(os.environ.get("FAILING_TARGET") in sys.argv[1:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Runs commands in the clone as CodeBuild does; `folder` holds the stand-ins and what they noted."""

    folder: Path
    endpoint: str

    @classmethod
    def installed(cls, folder: Path, endpoint: str) -> Commands:
        """With all three stand-ins."""
        aws_command.install(folder)
        for name, program in (("docker", DOCKER), ("make", MAKE)):
            path = folder / name
            path.write_text(f"#!{sys.executable}\n{program}")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return cls(folder=folder, endpoint=endpoint)

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """One command, in bash, with the variables that the pipeline gives, or others."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COV_")},
            **ENVIRONMENT,
            "AWS_ENDPOINT_URL": self.endpoint,
            "NO_PROXY": "localhost",
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
            aws_command.LOG: str(self.folder / "aws.log"),
            "DOCKER_LOG": str(self.folder / "docker.log"),
            "MAKE_LOG": str(self.folder / "make.log"),
            "COMMIT": COMMIT,
            "REPOSITORY_URI": REPOSITORY_URI,
            "SERVICE_STACK": STACK,
            "POLL_S": "0",
            **variables,
        }
        return subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def build(self, spec: Mapping[str, Any], **variables: str) -> bool:
        """All phases, as the CodeBuild User Guide tells; whether the build succeeded.

        A command that fails ends its phase. No other phase follows then, but for post_build after a build
        phase that does not say ABORT.
        """
        failed = ""
        for name in ("install", "pre_build", "build", "post_build"):
            phase = spec["phases"].get(name, {})
            before = spec["phases"].get(failed, {}).get("on-failure", "CONTINUE")
            if failed and not (name == "post_build" and failed == "build" and before == "CONTINUE"):
                break
            for command in phase.get("commands", []):
                if self.run(command, **variables).returncode != 0:
                    failed = failed or name
                    break
        return not failed

    def noted(self, program: str) -> list[Any]:
        """What a stand-in was called with, in order."""
        log = self.folder / f"{program}.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def specification(name: str) -> dict[str, Any]:
    """A buildspec of the example."""
    return yaml.safe_load((ROOT / "examples/pipeline" / name).read_text(encoding="utf-8"))
