"""What is deployed: both example fleets, the control plane, a workload on each fleet.

Owns the commands that deploy and delete them, and reading back from the account what Lambda would run: code
and layer out of the bucket they were uploaded to, environment and role out of the function's configuration.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluice_sim.account import REGION
from tests.deploy.build import (
    ARCHITECTURE,
    ROOT,
    sam,
)
from tests.deploy.server import Server

PLANE = "sluice-e2e"
BUCKET = "sluice-e2e-artifacts"
"""For the embedded AWS, which makes no bucket for `resolve_s3`; samconfig.toml names none."""
RESOLVES = "resolve_s3 = true\n"
WORKLOADS = ("e2e-transcription", "e2e-queue-proc")
"""Environments of samconfig.toml."""
CONCURRENCY = 3
"""Messages a task of the service works on at a time."""
FLEETS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "sluice-example-fleet": ("fleet-asg.yaml", {}),
    "sluice-example-service": ("fleet-ecs.yaml", {"ConcurrencyPerInstance": str(CONCURRENCY)}),
}
"""Stack -> the example that it is made from, and its parameters."""
WORKERS: Mapping[str, Mapping[str, str]] = {
    "fleet-asg.yaml": {"WorkerWheel": f"{BUCKET}/sluice-0.1.0-py3-none-any.whl"},
    "fleet-ecs.yaml": {"Image": "images.example/sluice-worker:1"},
}
"""Example -> what its workers are made of."""
FUNCTIONS = (
    "PublishBacklogFunction",
    "DeadlineTickFunction",
    "RetuneTargetFunction",
    "BootstrapFunction",
    "ShutdownFunction",
    "SurgeFunction",
    "SwitchFunction",
    "GuardDownstreamFunction",
    "SendTestMessagesFunction",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFunction:
    """One function, ready to run: the folder of its code, and its configuration in Lambda."""

    name: str
    folder: Path
    handler: str
    layers: tuple[Path, ...]
    environment: Mapping[str, str]
    timeout_s: int
    memory_mb: int
    role_arn: str

    @property
    def role(self) -> str:
        """The role's name."""
        return self.role_arn.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Commands of one account; `folder` holds sam's logs and what was unpacked."""

    server: Server
    built: Path
    folder: Path

    def deploy_fleets(self) -> None:
        """Queue and fleet of each workload, by the example's template in the account's default VPC."""
        for stack, (template, parameters) in FLEETS.items():
            self.deploy_fleet(stack, template, parameters)

    def deploy_fleet(self, stack: str, template: str, parameters: Mapping[str, str]) -> None:
        """A fleet by a template of examples/, with these parameters beside what its workers are made of."""
        aws = self.server.aws
        vpc = aws("ec2", "DescribeVpcs")["Vpcs"][0]["VpcId"]
        subnets = [subnet["SubnetId"] for subnet in aws("ec2", "DescribeSubnets")["Subnets"]]
        values = {"VpcId": vpc, "SubnetIds": ",".join(subnets), **WORKERS[template], **parameters}
        aws(
            "cloudformation",
            "CreateStack",
            StackName=stack,
            TemplateBody=(ROOT / "examples" / template).read_text(),
            Parameters=[{"ParameterKey": name, "ParameterValue": values[name]} for name in values],
            Capabilities=["CAPABILITY_IAM"],
        )

    def make_bucket(self) -> None:
        """Create the bucket that sam uploads to."""
        place = {"LocationConstraint": REGION}
        self.server.aws("s3", "CreateBucket", Bucket=BUCKET, CreateBucketConfiguration=place)

    def deploy_plane(self, **parameters: str) -> None:
        """`sam deploy --config-env e2e` of what was built, with a guard, into a bucket that is named here."""
        self._deploy(
            *(ROOT / "samconfig.toml", "e2e", "--template-file", self.built / "template.yaml"),
            *_overrides({"Architecture": ARCHITECTURE, "DownstreamGuard": "true", **parameters}),
        )

    def deploy_workload(self, environment: str, **parameters: str) -> None:
        """`sam deploy --config-env ENVIRONMENT`; parameters not named here keep their values."""
        self._deploy(ROOT / "samconfig.toml", environment, *_overrides(parameters))

    def deploy_workload_of(self, config: Path, environment: str) -> None:
        """Deploy from a user's own samconfig, outside the clone."""
        self._deploy(config, environment)

    def delete(self, stack: str) -> None:
        """`sam delete`; a workload's template does not tell sam which bucket it was uploaded to."""
        where = ("--region", REGION, "--s3-bucket", BUCKET)
        self._sam("delete", "--no-prompts", "--stack-name", stack, *where)

    def function(self, logical_id: str) -> DeployedFunction:
        """A function of the control plane, as the account holds it."""
        aws = self.server.aws
        name = self.physical(PLANE, logical_id)
        configuration = aws("lambda", "GetFunctionConfiguration", FunctionName=name)
        return DeployedFunction(
            name=name,
            folder=self._unpacked(configuration["CodeSha256"]),
            handler=configuration["Handler"],
            layers=tuple(self._layer(layer["Arn"]) for layer in configuration["Layers"]),
            environment=configuration["Environment"]["Variables"],
            timeout_s=configuration["Timeout"],
            memory_mb=configuration["MemorySize"],
            role_arn=configuration["Role"],
        )

    def physical(self, stack: str, logical_id: str) -> str:
        """The name that a stack's resource has in the account."""
        found = self.server.aws("cloudformation", "ListStackResources", StackName=stack)
        names = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in found["StackResourceSummaries"]
        }
        return str(names[logical_id])

    def credentials(self, role_arn: str, session_name: str = "function") -> dict[str, str]:
        """The credentials that a function, a task or an instance gets: a session of its role."""
        session = self.server.aws("sts", "AssumeRole", RoleArn=role_arn, RoleSessionName=session_name)[
            "Credentials"
        ]
        return {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"],
        }

    def _deploy(self, config: Path, environment: str, *arguments: str | Path) -> None:
        """Deploy by the file without `resolve_s3`, which sam does not accept together with a bucket."""
        text = config.read_text(encoding="utf-8")
        assert RESOLVES in text
        named = self.folder / "samconfig.toml"
        named.write_text(text.replace(RESOLVES, ""), encoding="utf-8")
        where = ("--config-file", named, "--config-env", environment, "--s3-bucket", BUCKET)
        self._sam("deploy", *where, *arguments)

    def _sam(self, *arguments: str | Path) -> str:
        return sam(*arguments, folder=self.folder, endpoint=self.server.endpoint)

    def _layer(self, arn: str) -> Path:
        *_, name, version = arn.split(":")
        configuration = self.server.aws("lambda", "GetLayerVersion", LayerName=name, VersionNumber=version)
        return self._unpacked(configuration["Content"]["CodeSha256"])

    def _unpacked(self, sha256: str) -> Path:
        """The folder of the one upload with this hash."""
        folder = self.folder / "uploaded" / base64.b64decode(sha256).hex()
        if not folder.is_dir():
            with zipfile.ZipFile(io.BytesIO(self._uploaded(sha256))) as archive:
                archive.extractall(folder)
        return folder

    def _uploaded(self, sha256: str) -> bytes:
        aws = self.server.aws
        for listed in aws("s3", "ListObjectsV2", Bucket=BUCKET)["Contents"]:
            content: bytes = aws("s3", "GetObject", Bucket=BUCKET, Key=listed["Key"])["Body"].read()
            if base64.b64encode(hashlib.sha256(content).digest()).decode() == sha256:
                return content
        pytest.fail(f"nothing that was uploaded to {BUCKET} has the hash {sha256} of what is deployed")


def _overrides(parameters: Mapping[str, str]) -> list[str]:
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    return ["--parameter-overrides", *overrides] if overrides else []
