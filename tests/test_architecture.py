"""The arrows point inward, and what only one file may do only one file does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYER = ROOT / "layers/sluice/sluice"
PURE_LIBRARY = {"__future__", "collections", "dataclasses", "datetime", "enum", "math"}


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


def test_the_core_imports_only_the_core_and_pure_parts_of_the_standard_library() -> None:
    for path in _files(LAYER / "core"):
        for module in _imports(path):
            allowed = module.startswith("sluice.core.") or module.split(".")[0] in PURE_LIBRARY
            assert allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_adapters_know_the_core_and_the_ports_but_no_use_case() -> None:
    allowed = ("sluice.core", "sluice.aws", "sluice.ports", "sluice.errors", "sluice.config")
    for path in _files(LAYER / "aws"):
        for module in _imports(path):
            inward = not module.startswith("sluice.") or module.startswith(allowed)
            assert inward, f"{path.relative_to(ROOT)} imports {module}"


def test_use_cases_reach_aws_through_ports_alone() -> None:
    for name in ("publish", "retune", "wake", "send", "observe", "isolation", "ports"):
        for module in _imports(LAYER / f"{name}.py"):
            outward = module.startswith(("sluice.aws", "sluice.wiring", "boto3", "botocore"))
            assert not outward, f"{name}.py imports {module}"


def test_what_ships_to_lambda_imports_nothing_of_what_does_not() -> None:
    for path in [*_files(LAYER), *_files(ROOT / "functions")]:
        stays_home = [module for module in _imports(path) if module.startswith(("sluice_", "moto"))]
        assert not stays_home, f"{path.relative_to(ROOT)} imports {stays_home}"


def test_only_wiring_reads_the_environment() -> None:
    readers = [path.name for path in _files(LAYER) if "os.environ" in path.read_text(encoding="utf-8")]
    assert readers == ["wiring.py"]


def test_only_one_broad_except_stands_in_the_layer() -> None:
    broad = [
        path.name
        for path in _files(LAYER)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert broad == ["isolation.py"]


def test_importing_a_handler_makes_no_client() -> None:
    """boto3 itself is imported only when a world is first built."""
    for path in [*_files(LAYER), *_files(ROOT / "functions")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                assert "boto3" not in [alias.name for alias in node.names], path.name
