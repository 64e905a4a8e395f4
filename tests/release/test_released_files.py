"""A release that is built twice, as two people would, and what its files hold."""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from email import message_from_string
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from trove_classifiers import classifiers

from release.build import ARCHITECTURES
from release.versions import release_of
from sluice_sim import template
from tests.deploy.build import ARCHITECTURE, ROOT, SCRIPTS
from tests.deploy.deployment import Deployment
from tests.deploy.emulator import emulated, lambda_runtime
from tests.deploy.prerequisites import demand, unmet
from tests.deploy.server import served

pytestmark = pytest.mark.slow

LIMIT_S = 300
MACHINES = {"arm64": 183, "x86_64": 62}
"""EM_AARCH64 and EM_X86_64 of an ELF header."""
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
VERSION = PROJECT["version"]
PACKAGES = [Path(each).name for each in SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
WHEEL, SOURCE = f"sluice-{VERSION}-py3-none-any.whl", f"sluice-{VERSION}.tar.gz"
LAYERS = {each: f"sluice-layer-{VERSION}-{each}.zip" for each in ARCHITECTURES}
TEMPLATES = {each: f"template-{each}.yaml" for each in ARCHITECTURES}
FUNCTIONS = f"sluice-functions-{VERSION}.zip"
BILLS = {"sluice-layer.cdx.json", "sluice-worker.cdx.json"}
COPIED = {"workload.yaml", "LICENSE", "README.md"}
IMPORT_EVERYTHING = f"""
import importlib, pkgutil
absent = set()
for package in {sorted(PACKAGES)}:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith(".__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                absent.add(error.name)
print(sorted(absent))
"""
"""Prints the packages that some module of the wheel does not find."""
BY_CHECKED_HASH = 0b11
"""The flags of bytecode (PEP 552) that is compared with the hash of its source."""


OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: str | Path, folder: Path, umask: int = 0o022, **variables: str) -> str:
    """What a command printed; the test fails if it does."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**OUTSIDE, **variables},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The two folders, and when the commit was made (seconds since the epoch)."""

    first: Path
    second: Path
    epoch_s: int


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Of two clones of the last commit, at the same time, in folders and environments that differ."""
    demand(unmet())
    folder = tmp_path_factory.mktemp("release")
    first, second = folder / "clone", folder / "another" / "clone of it"
    for clone in (first, second):
        run("git", "clone", "--quiet", ROOT, clone, folder=folder)
    build = (sys.executable, "-m", "release")
    elsewhere = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}
    elsewhere |= {"PYTHONOPTIMIZE": "1", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    run("git", "config", "core.autocrlf", "true", folder=second)
    with ThreadPoolExecutor() as both:
        plain = both.submit(
            run, *build, folder / "first", folder=first, TZ="UTC", LC_ALL="C", PYTHONHASHSEED="1"
        )
        run(*build, folder / "second", folder=second, umask=0o077, **elsewhere)
        plain.result()
    epoch_s = int(run("git", "log", "-1", "--format=%ct", folder=first))
    return Built(first=folder / "first", second=folder / "second", epoch_s=epoch_s)


@pytest.fixture
def files(built: Built) -> Path:
    return built.first


# ---- twice the same bytes ----------------------------------------------------------------------------------


def test_two_clones_make_the_same_bytes(built: Built) -> None:
    ones, others = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (built.first, built.second)
    )
    assert ones == others


def test_a_release_consists_of_these_files(files: Path) -> None:
    assert {path.name for path in files.iterdir()} == {
        *(WHEEL, SOURCE, FUNCTIONS, *LAYERS.values(), *TEMPLATES.values()),
        *(*COPIED, *BILLS, "RELEASE_NOTES.md", "SHA256SUMS"),
    }
    for name in COPIED:
        assert (files / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_sha256sum_checks_every_file(files: Path) -> None:
    checked = run("sha256sum", "--strict", "-c", "SHA256SUMS", folder=files).splitlines()
    assert checked == [f"{path.name}: OK" for path in sorted(files.iterdir()) if path.name != "SHA256SUMS"]


def test_the_notes_are_the_changelogs_and_say_how_to_build_the_same(files: Path) -> None:
    notes, release = (files / "RELEASE_NOTES.md").read_text(encoding="utf-8"), release_of(ROOT)
    assert notes.startswith(f"# Sluice {VERSION}\n")
    assert release.changes in notes
    assert ("Not released:" in notes) is not release.released
    assert run("git", "log", "-1", "--format=%H", folder=ROOT).strip() in notes


# ---- the layers --------------------------------------------------------------------------------------------


@pytest.fixture(params=ARCHITECTURES)
def layer(request: pytest.FixtureRequest, files: Path) -> Iterator[tuple[str, zipfile.ZipFile]]:
    with zipfile.ZipFile(files / LAYERS[request.param]) as archive:
        yield request.param, archive


def test_a_layer_holds_the_package_file_for_file_and_its_dependencies(
    layer: tuple[str, zipfile.ZipFile],
) -> None:
    names = layer[1].namelist()
    folder = ROOT / "layers" / "sluice"
    ours = {f"python/{path.relative_to(folder).as_posix()}" for path in (folder / "sluice").rglob("*.py")}
    assert {each for each in names if each.startswith("python/sluice/") and each.endswith(".py")} == ours
    assert {"python/pydantic/__init__.py", "python/aws_lambda_powertools/__init__.py"} <= {*names}
    assert not [each for each in names if each.startswith(("python/boto", "python/moto"))]


def test_a_layers_binaries_are_for_its_architecture(layer: tuple[str, zipfile.ZipFile]) -> None:
    architecture, archive = layer
    libraries = [name for name in archive.namelist() if name.endswith(".so")]
    assert libraries
    machines = {struct.unpack_from("<H", archive.read(name), 18)[0] for name in libraries}
    assert machines == {MACHINES[architecture]}


def test_a_layers_bytecode_is_of_its_source_and_names_no_folder_of_the_build(
    layer: tuple[str, zipfile.ZipFile],
) -> None:
    archive = layer[1]
    compiled = [name for name in archive.namelist() if name.endswith(".pyc")]
    assert len(compiled) == len([name for name in archive.namelist() if name.endswith(".py")])
    for name in compiled:
        content = archive.read(name)
        assert struct.unpack_from("<I", content, 4)[0] == BY_CHECKED_HASH, name
        assert marshal.loads(content[16:]).co_filename.startswith("/opt/python/"), name


def test_a_layer_holds_the_locked_version_of_each_package(layer: tuple[str, zipfile.ZipFile]) -> None:
    locked = (ROOT / "layers" / "sluice" / "requirements.txt").read_text(encoding="utf-8")
    metadata = {each for each in layer[1].namelist() if each.endswith(".dist-info/METADATA")}
    assert {each.split("/")[1].removesuffix(".dist-info").replace("-", "==") for each in metadata} == {
        pinned.replace("-", "_") for pinned in re.findall(r"^\S+==\S+", locked, re.MULTILINE)
    }


def test_a_binary_package_that_is_not_the_locked_one_stops_the_release(tmp_path: Path) -> None:
    """sam fetches those of the other architecture by version alone, here pydantic-core for arm64."""
    clone, locked = tmp_path / "clone", tmp_path / "clone" / "layers" / "sluice" / "requirements.txt"
    run("git", "clone", "--quiet", ROOT, clone, folder=tmp_path)
    wheel = r"pydantic_core-[^/]+-cp313-cp313-manylinux[^/]+aarch64\.whl\", hash = \"sha256:(\w+)"
    (theirs,) = re.findall(wheel, (clone / "uv.lock").read_text(encoding="utf-8"))
    text = locked.read_text(encoding="utf-8")
    locked.write_text(text.replace(theirs, "0" * len(theirs)), encoding="utf-8")
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    run("git", *who, "commit", "--quiet", "--all", "--message", "Lock another package", folder=clone)
    command = [sys.executable, "-m", "release", tmp_path / "out"]
    refused = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=OUTSIDE)
    assert refused.returncode == 1
    assert "pydantic-core==" in refused.stderr
    assert not (tmp_path / "out").exists()


# ---- the bills of materials --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BILLS))
def test_a_bill_is_valid_and_says_of_which_version_and_when(built: Built, name: str) -> None:
    text = (built.first / name).read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    bill = json.loads(text)
    about = bill["metadata"]["component"]
    assert (about["name"], about["version"]) == ("sluice", VERSION)
    assert datetime.fromisoformat(bill["metadata"]["timestamp"]).timestamp() == built.epoch_s


def test_bills_have_different_serial_numbers(files: Path) -> None:
    assert len({json.loads((files / name).read_text())["serialNumber"] for name in BILLS}) == len(BILLS)


# ---- the packages ------------------------------------------------------------------------------------------


@pytest.fixture
def metadata(files: Path) -> Metadata:
    """The wheel's, which is refused here if it breaks a rule of the format."""
    with zipfile.ZipFile(files / WHEEL) as wheel:
        return Metadata.from_email(wheel.read(f"sluice-{VERSION}.dist-info/METADATA"), validate=True)


def test_the_wheels_metadata_are_complete(metadata: Metadata, files: Path) -> None:
    assert (metadata.name, str(metadata.version)) == ("sluice", VERSION)
    assert metadata.summary == PROJECT["description"]
    assert metadata.author == metadata.maintainer == "The Sluice authors"
    assert (metadata.license_expression, metadata.license_files) == ("Apache-2.0", ["LICENSE"])
    assert str(metadata.requires_python) == PROJECT["requires-python"]
    assert metadata.keywords == PROJECT["keywords"]
    assert metadata.description == (ROOT / "README.md").read_text(encoding="utf-8")
    assert metadata.description_content_type == "text/markdown"
    with zipfile.ZipFile(files / WHEEL) as wheel:
        licence = wheel.read(f"sluice-{VERSION}.dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_every_classifier_exists_and_those_that_an_index_is_searched_by_are_there(metadata: Metadata) -> None:
    given = metadata.classifiers or []
    assert set(given) <= classifiers
    kinds = ("Development Status", "Environment", "Intended Audience", "Operating System", "Topic")
    assert [kind for kind in kinds if not any(each.startswith(f"{kind} :: ") for each in given)] == []
    python = "Programming Language :: Python :: "
    assert {f"{python}3.{minor}" for minor in (11, 12, 13)} == {
        each for each in given if f"{python}3." in each
    }


def test_the_wheel_requires_what_the_project_does(metadata: Metadata) -> None:
    extras = PROJECT["optional-dependencies"]
    expected = [Requirement(text) for text in PROJECT["dependencies"]]
    expected += [Requirement(f"{text}; extra == '{extra}'") for extra in extras for text in extras[extra]]
    assert {str(each) for each in metadata.requires_dist or ()} == {str(each) for each in expected}
    assert {*(metadata.provides_extra or ())} == {*extras}


def installed(wheel: Path, extra: str, folder: Path) -> Path:
    """The commands of a new environment with the wheel and this extra, in the versions of the lock."""
    uv, python, locked = SCRIPTS / "uv", folder / "venv" / "bin" / "python", folder / "locked.txt"
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv", folder=folder)
    exported = ("--frozen", "--no-dev", "--extra", extra, "--no-emit-project", "--no-hashes", "--quiet")
    run(uv, "export", *exported, "--output-file", locked, folder=ROOT)
    what = ("--constraint", locked, f"{wheel}[{extra}]")
    run(uv, "pip", "install", "--quiet", "--python", python, *what, folder=folder)
    return python.parent


def test_the_worker_of_the_wheel_explains_itself_and_the_command_names_the_extra_that_it_lacks(
    files: Path, tmp_path: Path
) -> None:
    commands = installed(files / WHEEL, "worker", tmp_path)
    assert "--queue" in run(commands / "python", "-m", "sluice_worker", "--help", folder=tmp_path)
    command = [commands / "sluice", "status"]
    lacking = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (lacking.returncode, lacking.stderr.splitlines()) == (
        1,
        ["sluice needs the package rich: install the wheel with its extra `cli`"],
    )


def test_the_command_of_the_wheel_says_its_version_and_runs_outside_a_clone(
    files: Path, tmp_path: Path
) -> None:
    command = installed(files / WHEEL, "cli", tmp_path) / "sluice"
    assert run(command, "--version", folder=tmp_path) == f"sluice {VERSION}\n"
    assert "Show what every workload does now" in run(command, "status", "--help", folder=tmp_path)
    # The demo's workers import the handler of examples/, and the demo says that it needs a clone.
    # OpenTelemetry is an extra of its own, which only an endpoint makes the worker import.
    missing = run(command.with_name("python"), "-c", IMPORT_EVERYTHING, folder=tmp_path)
    assert missing == "['examples', 'opentelemetry']\n"


def test_the_source_distribution_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    shutil.unpack_archive(built.first / SOURCE, tmp_path, filter="data")
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "out")
    run(*build, folder=tmp_path / f"sluice-{VERSION}", SOURCE_DATE_EPOCH=str(built.epoch_s))
    assert (tmp_path / "out" / WHEEL).read_bytes() == (built.first / WHEEL).read_bytes()


def test_the_source_distribution_deploys_and_has_its_tests_and_pages(files: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(files / SOURCE, tmp_path, filter="data")
    committed = {*run("git", "ls-files", folder=ROOT).splitlines()}
    folder = tmp_path / f"sluice-{VERSION}"
    unpacked = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert unpacked == committed | {"PKG-INFO"}
    assert message_from_string((folder / "PKG-INFO").read_text())["Version"] == VERSION


# ---- the control plane -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_released_template_names_its_own_layer_and_functions_that_their_archive_holds(
    files: Path, architecture: str
) -> None:
    resources = template.load(files / TEMPLATES[architecture])["Resources"]
    assert resources["SluiceLayer"]["Properties"]["ContentUri"] == LAYERS[architecture]
    functions = [
        each["Properties"] for each in resources.values() if each["Type"] == "AWS::Serverless::Function"
    ]
    assert {each["CodeUri"] for each in functions} == {FUNCTIONS}
    with zipfile.ZipFile(files / FUNCTIONS) as archive:
        handlers = {each["Handler"].removesuffix(".handler").replace(".", "/") + ".py" for each in functions}
        assert handlers == {*archive.namelist()}
        assert [
            each for each in handlers if archive.read(each) != (ROOT / "functions" / each).read_bytes()
        ] == []


def test_a_released_template_passes_sams_own_checks(files: Path) -> None:
    run(SCRIPTS / "sam", "validate", "--lint", "--template", TEMPLATES[ARCHITECTURE], folder=files)


def test_the_released_control_plane_deploys_without_a_build_and_ticks(files: Path, tmp_path: Path) -> None:
    """From the files of the release alone, in Lambda's own runtime."""
    here = tmp_path / "download"
    shutil.copytree(files, here)
    (here / TEMPLATES[ARCHITECTURE]).rename(here / "template.yaml")
    with served() as server:
        deployment = Deployment(server=server, built=here, folder=tmp_path)
        deployment.make_bucket()
        deployment.deploy_plane()
        function = deployment.function("PublishBacklogFunction")
        assert function.handler == "publish_backlog.app.handler"
        credentials, runtime = deployment.credentials(function.role_arn), lambda_runtime(tmp_path / "runtime")
        event = {"scheduled_time": datetime.now().astimezone().isoformat()}
        with emulated(function, runtime, server.endpoint, credentials, tmp_path / "tick.log") as running:
            assert running.invoke(event) is None
            assert any("WorkloadsServed" in metrics for metrics in running.embedded_metrics()), running.log()
