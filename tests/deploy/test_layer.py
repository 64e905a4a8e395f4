"""The deployed layer: the sluice package, its dependencies that the runtime lacks, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.deploy.build import (
    ARCHITECTURE,
    ROOT,
    WHEEL_MACHINES,
)
from tests.deploy.deployment import FUNCTIONS
from tests.deploy.distributions import closure
from tests.deploy.emulator import (
    PYTHON,
    process_environment,
)
from tests.deploy.shared_deployment import SharedDeployment
from tests.deploy.tags import platform_tags

MEGABYTE = 1_000_000
LARGEST_MB = 20
"""Unpacked. AWS allows 250 MB, but a layer of twice today's size contains something that it should not."""


@pytest.fixture
def layer(deployed: SharedDeployment) -> Path:
    """The one layer that every function runs on, unpacked from what was uploaded."""
    ((layer,),) = {deployed.function(name).layers for name in FUNCTIONS}
    return layer


@pytest.fixture
def packages(layer: Path) -> Path:
    return layer / "python"


@pytest.fixture
def shipped(packages: Path) -> dict[str, Distribution]:
    """Normalised name -> distribution in the layer."""
    found = distributions(path=[str(packages)])
    return {canonicalize_name(distribution.metadata["Name"]): distribution for distribution in found}


def test_the_sluice_package_is_there_file_for_file(packages: Path) -> None:
    source, built = ROOT / "layers" / "sluice" / "sluice", packages / "sluice"
    written = {path.relative_to(source) for path in source.rglob("*.py")}
    assert {path.relative_to(built) for path in built.rglob("*") if path.is_file()} == written


def test_it_ships_what_the_layer_group_needs_in_the_versions_the_tests_run_with(
    shipped: dict[str, Distribution],
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = closure(project["dependency-groups"]["layer"])
    assert {name: distribution.version for name, distribution in shipped.items()} == needed


def test_the_layer_contains_nothing_else(packages: Path, shipped: dict[str, Distribution]) -> None:
    owned = {file.parts[0] for distribution in shipped.values() for file in distribution.files or ()}
    scripts = {f"{distribution.name}-{distribution.version}.data" for distribution in shipped.values()}
    present = {path.name for path in packages.iterdir()}
    assert present - owned - scripts == {"sluice", "requirements.txt"}
    assert [path.name for path in packages.parent.iterdir()] == ["python"]


def test_no_cache_test_or_hidden_file_is_in_the_layer_or_in_a_function(
    layer: Path, deployed: SharedDeployment
) -> None:
    for name in FUNCTIONS:
        assert [path.name for path in deployed.function(name).folder.rglob("*")] == ["app.py"]
    unwanted = {"__pycache__", "tests", "test", "ruff.toml"}
    strays = [
        str(path.relative_to(layer))
        for path in layer.rglob("*")
        if path.name in unwanted or path.name.startswith(".") or path.suffix in (".pyc", ".pyo")
    ]
    assert strays == []


def test_its_binaries_are_for_the_architecture_it_was_built_for(shipped: dict[str, Distribution]) -> None:
    machines = platform_tags(shipped.values())
    assert machines
    assert all(tag.startswith("cp313-") and tag.endswith(WHEEL_MACHINES[ARCHITECTURE]) for tag in machines)


def test_it_stays_small(layer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size_mb = sum(path.stat().st_size for path in layer.rglob("*") if path.is_file()) / MEGABYTE
    with capsys.disabled():
        sys.stdout.write(f"\ndeployed layer: {size_mb:.1f} MB unpacked\n")
    assert size_mb < LARGEST_MB


def test_a_function_imports_sluice_from_the_layer_and_boto3_from_the_runtime(
    deployed: SharedDeployment, layer: Path, runtime: Path
) -> None:
    """The environment of the deployed functions, without any other place to import from."""
    function = deployed.function("PublishBacklogFunction")
    program = (
        "import sys, json, app, boto3;"
        "print(json.dumps({n: m.__file__ for n, m in sys.modules.items() if getattr(m, '__file__', None)}))"
    )
    done = subprocess.run(
        [*PYTHON, "-c", program],
        cwd=function.folder,
        env=process_environment(function, runtime, "http://127.0.0.1:1", {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files: dict[str, str] = json.loads(done.stdout)
    origin = {name: Path(file) for name, file in files.items()}
    for name in (
        "sluice",
        "sluice.core.bootstrap_shutdown",
        "pydantic",
        "pydantic_core._pydantic_core",
        "aws_lambda_powertools",
    ):
        assert origin[name].is_relative_to(layer), name
    for name in ("boto3", "botocore"):
        assert origin[name].is_relative_to(runtime), name
    standard_library = Path(json.__file__).parents[1]
    allowed = (function.folder, layer, runtime, standard_library)
    assert {name for name, file in origin.items() if not any(map(file.is_relative_to, allowed))} == set()
