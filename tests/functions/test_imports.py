"""Each cold start imports a function's modules: none is unnecessary, and none is uncompiled."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APPS = {path.parent.name: str(path) for path in sorted((ROOT / "functions").glob("*/app.py"))}
NOT_NEEDED = (
    "asyncio",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.batch",
    "aws_lambda_powertools.utilities.data_classes",  # thirty kinds of event; ours are read as plain JSON
    "aws_lambda_powertools.utilities.idempotency",
    "aws_lambda_powertools.utilities.parser",
    "aws_lambda_powertools.utilities.validation",
    "click",
    "numpy",
    "pydantic.deprecated.class_validators",
    "pydantic.networks",
    "pydantic.v1",
    "rich",
    "unittest",
    "yaml",
)
PROGRAM = """
import importlib.util, json, sys
brought = {}
for name, path in json.loads(sys.argv[1]).items():
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(name, path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    brought |= {module: name for module in set(sys.modules) - before}
print(json.dumps(brought))
"""


@pytest.fixture(scope="module")
def brought() -> dict[str, str]:
    """Imported module -> the first function that brought it, in one fresh process for all functions."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(APPS)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "layers/sluice")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_every_function_is_imported(brought: dict[str, str]) -> None:
    assert len(APPS) >= 5
    assert {"sluice.wiring", "pydantic", "aws_lambda_powertools"} <= brought.keys()


@pytest.mark.parametrize("module", NOT_NEEDED)
def test_no_function_imports_what_it_does_not_need(brought: dict[str, str], module: str) -> None:
    assert module not in brought, f"functions/{brought[module]} imports {module}"


@pytest.mark.parametrize("module", NOT_NEEDED)
def test_the_modules_that_are_not_needed_exist(module: str) -> None:
    assert importlib.util.find_spec(module), f"there is no module {module}"


def test_deploy_ships_the_layer_with_bytecode_that_needs_no_file_times() -> None:
    """Archives change times, and a layer is read-only: bytecode that is not believed is never replaced."""
    makefile = (ROOT / "Makefile").read_text()
    assert "WITH_BYTECODE = python3.13 -m compileall -q --invalidation-mode checked-hash\n" in makefile
    assert "sam build && $(WITH_BYTECODE) .aws-sam/build/SluiceLayer && .venv/bin/sam deploy" in makefile
