"""Imports go inward, and what only one file may do is done by only that file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Container, Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYER = ROOT / "layers/sluice/sluice"
WORKER = ROOT / "sluice_worker"
PURE_LIBRARY = {"__future__", "collections", "dataclasses", "datetime", "enum", "math", "struct", "zlib"}
# The deadline engine's memory is bytes of compressed JSON, whose values have any type until they are checked;
# the engine caches a function of its arguments alone. A surge is stored in the name of a scheduled action.
# Schedules start by the clock of a time zone, whose rules are a table of the language.
PURE_LIBRARY_OF_THE_LAYER = PURE_LIBRARY | {"functools", "itertools", "json", "re", "typing", "zoneinfo"}
# A worker's buffer is typed over its messages; its back-off is spread by their ids.
PURE_LIBRARY_OF_THE_WORKER = PURE_LIBRARY | {"bisect", "typing"}
# Its checks are wrapped, typed over what they need, and print commands with quoted names.
PURE_LIBRARY_OF_THE_OPERATOR = PURE_LIBRARY | {
    "fnmatch",
    "functools",
    "itertools",
    "json",
    "re",
    "shlex",
    "typing",
    "zoneinfo",
}


def _imports(path: Path) -> Iterator[str]:
    """The modules a file imports, those only for the type checker left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.py"))
    assert files, f"no source in {folder}"
    return files


def test_the_core_imports_only_itself_and_pure_standard_library_modules() -> None:
    for path in _files(LAYER / "core"):
        for module in _imports(path):
            allowed = module.startswith("sluice.core.") or module.split(".")[0] in PURE_LIBRARY_OF_THE_LAYER
            assert allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_the_operators_core_imports_only_itself_the_layers_core_and_pure_parts_of_the_standard_library() -> (
    None
):
    for path in _files(ROOT / "sluice_operator/core"):
        for module in _imports(path):
            inward = module.startswith(("sluice_operator.core.", "sluice.core."))
            allowed = inward or module.split(".")[0] in PURE_LIBRARY_OF_THE_OPERATOR
            assert allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_the_workers_core_imports_only_itself_the_layers_model_and_pure_parts_of_the_standard_library() -> (
    None
):
    for path in _files(WORKER / "core"):
        for module in _imports(path):
            inward = module.startswith("sluice_worker.core.") or module == "sluice.core.model"
            allowed = inward or module.split(".")[0] in PURE_LIBRARY_OF_THE_WORKER
            assert allowed, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize(
    "core",
    [LAYER / "core", WORKER / "core", ROOT / "sluice_operator/core"],
    ids=["layer", "worker", "operator"],
)
@pytest.mark.parametrize("module", ["boto3", "logging", "os", "random", "threading", "time"])
def test_lint_refuses_a_core_that_is_not_pure(core: Path, module: str) -> None:
    lint = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251"]
    refused = subprocess.run(
        [*lint, "--stdin-filename", str(core / "model.py"), "-"],
        input=f"import {module}\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, "TID251" in refused.stdout) == (1, True), refused.stdout + refused.stderr


def test_adapters_know_the_core_and_the_ports_but_no_use_case() -> None:
    allowed = ("sluice.core", "sluice.aws", "sluice.ports", "sluice.errors", "sluice.document")
    for path in _files(LAYER / "aws"):
        for module in _imports(path):
            inward = not module.startswith("sluice.") or module.startswith(allowed)
            assert inward, f"{path.relative_to(ROOT)} imports {module}"


def test_use_cases_reach_aws_through_ports_alone() -> None:
    for path in [*_files(LAYER / "usecases"), LAYER / "ports.py"]:
        for module in _imports(path):
            outward = module.startswith(("sluice.aws", "sluice.wiring", "boto3", "botocore"))
            assert not outward, f"{path.relative_to(ROOT)} imports {module}"


def test_what_ships_to_lambda_imports_nothing_of_what_does_not() -> None:
    for path in [*_files(LAYER), *_files(ROOT / "functions")]:
        stays_home = [module for module in _imports(path) if module.startswith(("sluice_", "moto"))]
        assert not stays_home, f"{path.relative_to(ROOT)} imports {stays_home}"


def test_a_release_is_built_by_nothing_that_it_releases() -> None:
    """It builds any commit, in an environment that may have another one installed."""
    for path in _files(ROOT / "release"):
        released = [module for module in _imports(path) if module.startswith(("sluice", "tests", "scan"))]
        assert not released, f"{path.relative_to(ROOT)} imports {released}"


def test_the_worker_knows_nothing_of_the_simulator_the_command_or_their_cloud() -> None:
    for path in _files(WORKER):
        for module in _imports(path):
            outward = module.startswith("sluice_") and not module.startswith("sluice_worker")
            assert not outward, f"{path.relative_to(ROOT)} imports {module}"
            assert module.split(".")[0] != "moto", f"{path.relative_to(ROOT)} imports {module}"


def test_what_reads_a_real_account_knows_nothing_of_the_simulator_or_the_command() -> None:
    for path in _files(ROOT / "sluice_operator"):
        outward = [
            module for module in _imports(path) if module.startswith(("sluice_sim", "sluice_cli", "moto"))
        ]
        assert not outward, f"{path.relative_to(ROOT)} imports {outward}"


def test_the_workers_parts_reach_aws_through_ports_alone() -> None:
    for path in _files(WORKER):
        if path.parent.name == "aws" or path.name == "wiring.py":
            continue
        for module in _imports(path):
            outward = module.startswith(("sluice.aws", "sluice_worker.aws", "boto", "urllib3"))
            assert not outward, f"{path.relative_to(ROOT)} imports {module}"


def _reading_the_environment(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in _files(folder)
        if re.search(r"\b(environb?|getenv)\b", path.read_text(encoding="utf-8"))
    ]


def test_only_wiring_reads_the_environment() -> None:
    assert _reading_the_environment(LAYER) == ["wiring.py"]


def test_of_the_worker_only_wiring_and_the_instance_metadata_read_the_environment() -> None:
    assert _reading_the_environment(WORKER) == ["aws/metadata.py", "wiring.py"]


def _catching_everything(folder: Path) -> list[str]:
    return [
        path.name
        for path in _files(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or {"Exception", "BaseException"} & {*re.findall(r"\w+", ast.unparse(node.type))}
        )
    ]


def test_only_one_broad_except_stands_in_the_layer() -> None:
    assert _catching_everything(LAYER) == ["errors.py"]


def test_the_worker_catches_everything_only_around_handlers_and_where_a_thread_begins() -> None:
    assert {*_catching_everything(WORKER)} == {"handler_runner.py", "handler_pool.py", "loops.py"}


def test_importing_a_handler_makes_no_client() -> None:
    """boto3 itself is imported only when ports are first built."""
    for path in [*_files(LAYER), *_files(ROOT / "functions")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                assert "boto3" not in [alias.name for alias in node.names], path.name


ARROWS: Mapping[str, str] = {
    "sluice.core": "",
    "sluice.document": "sluice.core sluice.errors",
    "sluice.usecases": "sluice.core sluice.errors sluice.events sluice.ports",
    "sluice.aws": "sluice.core sluice.document sluice.errors sluice.ports",
    "sluice_worker.core": "sluice.core",
    "sluice_worker.runtime": """sluice.errors sluice_worker.core sluice_worker.json_lines
        sluice_worker.message sluice_worker.ports sluice_worker.settings""",
    "sluice_worker.aws": """sluice.aws sluice.errors sluice_worker.core sluice_worker.json_lines
        sluice_worker.message sluice_worker.ports""",
    "sluice_worker.otlp": "sluice.errors sluice_worker.core sluice_worker.message",
    "sluice_sim.aws_rules": "sluice_sim.clock",
    "sluice_sim.template": "sluice.core sluice.document sluice_sim.account",
    "sluice_sim.embedded": """sluice.aws sluice.core sluice.document sluice.wiring sluice_sim.account
        sluice_sim.aws_rules sluice_sim.clock sluice_sim.promise sluice_sim.template sluice_worker
        sluice_worker.aws sluice_worker.core""",
    "sluice_sim.simulator": """sluice.core sluice.errors sluice.ports sluice.report sluice_sim.account
        sluice_sim.aws_rules sluice_sim.clock sluice_sim.template""",
    "sluice_sim.workloads": "sluice_sim.simulator sluice_sim.template",
    "sluice_sim.policies": """sluice.core sluice.errors sluice.events sluice.usecases
        sluice_sim.account sluice_sim.aws_rules sluice_sim.simulator sluice_sim.switching
        sluice_sim.template""",
    "sluice_sim.study": """sluice.core sluice.document sluice_sim.aws_rules sluice_sim.policies
        sluice_sim.promise sluice_sim.simulator sluice_sim.template sluice_sim.workloads""",
    "sluice_operator.core": "sluice.core",
    "sluice_operator.aws": """sluice.aws sluice.core sluice.errors sluice.ports sluice_operator.core
        sluice_worker.aws""",
    "sluice_operator.cost": """sluice.aws sluice.core sluice.errors sluice.ports sluice.usecases
        sluice.wiring sluice_operator.account sluice_operator.aws sluice_operator.core
        sluice_operator.status""",
    "sluice_operator.doctor": """sluice.aws sluice.core sluice.errors sluice.ports sluice.usecases
        sluice.wiring sluice_operator.account sluice_operator.aws sluice_operator.core
        sluice_operator.status""",
    "sluice_report.chart": "sluice_report.quantities",
    "sluice_report.demo": """sluice_report.chart sluice_report.quantities sluice_sim.embedded
        sluice_sim.promise""",
    "sluice_report.simulation": """sluice_report.chart sluice_report.quantities sluice_sim.policies
        sluice_sim.promise sluice_sim.simulator sluice_sim.study""",
}
"""Each folder, and the folders and single files that it imports."""
OUTSIDE = ("sluice_sim", "sluice_operator", "sluice_report", "sluice_cli", "benchmarks")
PACKAGES = {
    "sluice": LAYER,
    "sluice_worker": WORKER,
    **{name: ROOT / name for name in OUTSIDE},
}


def _module(path: Path) -> str:
    """The name that a file is imported by."""
    parts = path.relative_to(LAYER.parent if path.is_relative_to(LAYER) else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _graph() -> Mapping[str, frozenset[str]]:
    """Each module and the modules that it imports, in functions and for the type checker too."""
    modules = {_module(path): path for folder in PACKAGES.values() for path in _files(folder)}
    return {name: frozenset(_imported(path, modules.keys()) - {name}) for name, path in modules.items()}


def _imported(path: Path, modules: Container[str]) -> set[str]:
    """`from package import module` imports the module; the package's own file is run for any import of it."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {each if each in modules else node.module for each in inner}
    return {name for name in named if name in modules}


def _folder(module: str) -> str:
    return next((folder for folder in ARROWS if module == folder or module.startswith(f"{folder}.")), module)


@pytest.mark.parametrize("folder", ARROWS)
def test_a_folder_imports_only_the_folders_that_its_arrows_allow(folder: str) -> None:
    inside = [targets for module, targets in _graph().items() if _folder(module) == folder]
    imported = {_folder(target) for targets in inside for target in targets}
    assert imported - {folder} == {*ARROWS[folder].split()}


def test_every_folder_has_its_allowed_imports() -> None:
    folders = {_module(path) for name in PACKAGES for path in PACKAGES[name].glob("*/__init__.py")}
    assert folders == ARROWS.keys()


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(_graph()).prepare()  # CycleError names the modules of a circle


@pytest.mark.parametrize("package", ["sluice", "sluice_worker", "sluice_sim", "sluice_operator"])
def test_few_files_are_outside_the_folders(package: str) -> None:
    modules = [path.name for path in PACKAGES[package].glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= {"sluice_worker": 10, "sluice_operator": 10}.get(package, 8), modules
