"""The control plane as `sam build` leaves it, and what each of its functions is deployed with.

Owns the build and the reading of the built template. Copies no setting by hand: SAM's own transform joins the
Globals to each function, and the project's resolver puts the parameters in.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform

from sluice_sim.embedded.account import ACCOUNT_ID, REGION, arn
from sluice_sim.template import ResolvedStack, load, resolve
from tests.e2e.processes import running

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent
ARM = platform.machine() in ("arm64", "aarch64")
ARCHITECTURE = "arm64" if ARM else "x86_64"
WHEEL_MACHINE = "aarch64" if ARM else "x86_64"
BUILD_LIMIT_S = 180
"""A build takes some eight seconds; the first on a machine also downloads wheels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltFunction:
    """One function, ready to be run: where its code lies, and all that Lambda is told about it."""

    name: str
    folder: Path
    handler: str
    layers: tuple[Path, ...]
    environment: Mapping[str, str]
    timeout_s: int
    memory_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlane:
    """What a build left: functions by logical id, the layer's folder, and what the stack would export."""

    functions: Mapping[str, BuiltFunction]
    layer: Path
    exports: Mapping[str, str]


def sam_build(into: Path) -> BuiltPlane:
    """Build template.yaml for this machine below `into`, with the interpreter that runs the tests."""
    build, log = into / "build", into / "sam.log"
    command = [
        *(SCRIPTS / "sam", "build", "--template", ROOT / "template.yaml", "--no-cached"),
        *("--parameter-overrides", f"Architecture={ARCHITECTURE}"),
        *("--build-dir", build, "--cache-dir", into / "cache"),
    ]
    environment = {
        **os.environ,
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
    }
    with running(command, cwd=into, environment=environment, log=log) as sam:
        try:
            status = sam.wait(BUILD_LIMIT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"sam build took longer than {BUILD_LIMIT_S} s:\n{log.read_text()}")
    if status != 0:
        pytest.fail(f"sam build ended with status {status}:\n{log.read_text()}")
    return _plane(build)


def stack(template: Mapping[str, Any], name: str, imports: Mapping[str, str], **given: str) -> ResolvedStack:
    """A template's stack in the embedded account."""
    return resolve(
        template,
        given,
        identity=_identity,
        imports=imports,
        account_id=ACCOUNT_ID,
        region=REGION,
        stack_name=name,
    )


def _plane(build: Path) -> BuiltPlane:
    built = load(build / "template.yaml")
    for resource in built["Resources"].values():
        properties = resource["Properties"]
        for source in ("CodeUri", "ContentUri"):
            if source in properties:
                properties[source] = f"s3://built/{properties[source]}"
    plane = stack(transform(built, {}, _NoManagedPolicies()), "sluice", {}, Architecture=ARCHITECTURE)
    functions = {
        logical_id: BuiltFunction(
            name=f"sluice-{logical_id}",
            folder=build / resource.properties["Code"]["S3Key"],
            handler=resource.properties["Handler"],
            layers=tuple(build / layer for layer in resource.properties.get("Layers", ())),
            environment=resource.properties["Environment"]["Variables"],
            timeout_s=int(resource.properties["Timeout"]),
            memory_mb=int(resource.properties["MemorySize"]),
        )
        for logical_id, resource in plane.resources.items()
        if resource.type == "AWS::Lambda::Function"
    }
    layers = {function.layers for function in functions.values()}
    if [len(stacked) for stacked in layers] != [1]:
        pytest.fail(f"every function must run on the one layer, but the built template has {layers}")
    ((layer,),) = layers
    return BuiltPlane(functions=functions, layer=layer, exports=plane.exports)


def _identity(logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str) -> str:
    """What Ref and GetAtt give; a layer is known by the folder it was built in."""
    match kind, attribute:
        case "AWS::Lambda::LayerVersion", "Ref":
            return str(properties["Content"]["S3Key"])
        case "AWS::CloudWatch::Alarm", "Arn":
            return arn("cloudwatch", f"alarm:{properties['AlarmName']}")
        case _:
            return f"{logical_id}.{attribute}"


class _NoManagedPolicies:
    """Stands where the transform would ask IAM for AWS's own policies; the template names none."""

    def load(self) -> dict[str, str]:
        return {}
