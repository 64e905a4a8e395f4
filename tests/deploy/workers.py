"""The example fleets' workers, started as in the account, from the wheel that an instance installs.

Reads variables and roles from the launch template and the task definition, and installs the wheel.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.build import (
    ROOT,
    SCRIPTS,
)
from tests.deploy.deployment import Deployment
from tests.templates import fleet_workers

GROUP_STACK, SERVICE_STACK = "sluice-example-fleet", "sluice-example-service"
LIMIT_S = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedWorker:
    """The template's variables and a session of the role, with which a worker is started."""

    variables: Mapping[str, str]
    role_arn: str
    credentials: Mapping[str, str]

    @property
    def role(self) -> str:
        """The role's name."""
        return self.role_arn.rsplit("/", 1)[-1]


def on_an_instance(deployment: Deployment) -> DeployedWorker:
    """The worker of the group's launch template."""
    aws = deployment.server.aws
    launch = deployment.physical(GROUP_STACK, "LaunchTemplate")
    (version,) = aws("ec2", "DescribeLaunchTemplateVersions", LaunchTemplateId=launch, Versions=["$Latest"])[
        "LaunchTemplateVersions"
    ]
    user_data = base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()
    profile = deployment.physical(GROUP_STACK, "InstanceProfile")
    (role,) = aws("iam", "GetInstanceProfile", InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    return _worker(deployment, fleet_workers.on_an_instance(user_data), role["Arn"])


def in_a_task(deployment: Deployment) -> DeployedWorker:
    """The worker of the service's task definition."""
    name = deployment.physical(SERVICE_STACK, "TaskDefinition")
    task = deployment.server.aws("ecs", "DescribeTaskDefinition", taskDefinition=name)["taskDefinition"]
    (container,) = task["containerDefinitions"]
    return _worker(deployment, fleet_workers.in_a_container(container["environment"]), task["taskRoleArn"])


def _worker(deployment: Deployment, variables: Mapping[str, str], role_arn: str) -> DeployedWorker:
    credentials = deployment.credentials(role_arn, "worker")
    return DeployedWorker(variables=variables, role_arn=role_arn, credentials=credentials)


def built(into: Path) -> Path:
    """The wheel, as `make wheel` builds it."""
    _uv("build", "--wheel", "--out-dir", into)
    (wheel,) = into.glob("*.whl")
    return wheel


def installed(wheel: Path, into: Path) -> Path:
    """A virtual environment with the worker, created as the user data does."""
    _uv("venv", "--python", sys.executable, into)
    _uv("pip", "install", "--python", into / "bin" / "python", f"{wheel}[worker]")
    return into


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "uv", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, f"uv {arguments[0]}: {done.stderr}"
