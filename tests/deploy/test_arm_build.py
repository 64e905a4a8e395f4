"""What `sam deploy` ships by default is for arm64 and Lambda's Python, whatever machine built it."""

from __future__ import annotations

import struct
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.deploy.build import (
    WHEEL_MACHINES,
    sam_build,
)
from tests.deploy.prerequisites import (
    demand,
    unmet,
)
from tests.deploy.tags import platform_tags

AARCH64 = 183
"""The number of the machine in an ELF header: EM_AARCH64."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    demand(unmet())
    built = sam_build(tmp_path_factory.mktemp("arm"), architecture="arm64")
    return built / "SluiceLayer" / "python"


def machine(library: Path) -> int:
    """Which processor an ELF file is for."""
    header = library.read_bytes()[:20]
    assert header[:6] == b"\x7fELF\x02\x01", "64 bits, little-endian"
    (number,) = struct.unpack_from("<H", header, 18)
    return int(number)


def test_every_library_is_for_arm64_and_pythons_abi_is_lambdas(packages: Path) -> None:
    libraries = list(packages.rglob("*.so"))
    assert libraries
    assert {library.name: machine(library) for library in libraries} == {
        library.name: AARCH64 for library in libraries
    }
    assert all(".cpython-313-aarch64-linux-gnu." in library.name for library in libraries)


def test_every_wheel_is_pure_or_for_lambdas_python_on_arm64(packages: Path) -> None:
    tags = platform_tags(distributions(path=[str(packages)]))
    assert tags
    assert all(tag.startswith("cp313-") and tag.endswith(WHEEL_MACHINES["arm64"]) for tag in tags)


def test_it_holds_what_the_layer_for_this_machine_holds(packages: Path, built: Path) -> None:
    here = distributions(path=[str(built / "SluiceLayer" / "python")])
    there = distributions(path=[str(packages)])
    assert {(each.name, each.version) for each in there} == {(each.name, each.version) for each in here}
