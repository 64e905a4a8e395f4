"""examples/terraform: evaluated, its stack has the resources of workload.yaml, property by property.

tfparse evaluates the module without a provider. `make examples` gives the same values to Terraform itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tfparse import load_from_path

from sluice_sim.template import load
from tests.examples.infrastructure import (
    CONSTRAINED,
    INPUTS,
    PARAMETERS,
    SET_NAMES,
    arguments,
    decimal_text,
    differences,
    expected,
    generator,
    parameter_set,
    refused_sets,
    rounds,
    stack_of,
    verdicts,
)
from tests.templates.stacks import ROOT, WORKLOAD_TEMPLATE, template, workload_environments

pytestmark = pytest.mark.slow

MODULE = ROOT / "examples/terraform"
BUCKET = "templates-123456789012"
DOMAIN = "${data.aws_s3_bucket.templates.bucket_regional_domain_name}"
"""What tfparse knows of a bucket that only AWS can look up."""
STACK_ARGUMENTS = {
    *("capabilities", "disable_rollback", "iam_role_arn", "name", "notification_arns", "on_failure"),
    *("parameters", "policy_body", "policy_url", "region", "tags", "template_body", "template_url"),
    *("timeout_in_minutes", "timeouts"),
}
"""Of `aws_cloudformation_stack`, in the provider's documentation."""
OBJECT_ARGUMENTS = {
    *("acl", "bucket", "bucket_key_enabled", "cache_control", "content", "content_base64"),
    *("content_disposition", "content_encoding", "content_language", "content_type", "etag", "force_destroy"),
    *("key", "kms_key_id", "metadata", "object_lock_legal_hold_status", "object_lock_mode"),
    *("object_lock_retain_until_date", "server_side_encryption", "source", "source_hash", "storage_class"),
    *("tags", "website_redirect"),
}
"""Of `aws_s3_object`, there too."""
MOST_MODULES = 32
"""As many as tfparse evaluates in one root module."""


@dataclass(frozen=True)
class Plan:
    """What the module makes from one set of arguments."""

    stack: Mapping[str, Any]
    uploaded: Mapping[str, Any]
    root: Path
    valid: Mapping[str, bool]
    """Variable -> whether its validation passes."""

    @property
    def parameters(self) -> Mapping[str, str]:
        return self.stack["parameters"]

    @property
    def template(self) -> Path:
        """The file that CloudFormation reads at the stack's URL."""
        assert self.stack["template_url"] == f"https://{DOMAIN}/${{aws_s3_object.template.key}}"
        return self.root / self.uploaded["source"]

    @property
    def precondition(self) -> Mapping[str, Any]:
        return self.stack["lifecycle"]["precondition"]


def planned(folder: Path, modules: Mapping[str, Mapping[str, Any]]) -> list[Plan]:
    """Evaluates root modules that use the module once for each set of arguments."""
    module = folder / "sluice/examples/terraform"
    shutil.copytree(MODULE, module, ignore=shutil.ignore_patterns("example", ".terraform*"))
    shutil.copy(ROOT / WORKLOAD_TEMPLATE, folder / "sluice")
    found = []
    for first in range(0, len(modules), MOST_MODULES):
        names = [*modules][first : first + MOST_MODULES]
        root = folder / f"root_{first}"
        root.mkdir()
        (root / "main.tf").write_text(
            "\n".join(module_block(each, modules[each]) for each in names), encoding="utf-8"
        )
        found += evaluated(root, names)
    return found


def module_block(name: str, given: Mapping[str, Any]) -> str:
    lines = [f"  {variable} = {hcl(value)}" for variable, value in given.items()]
    head = [f'module "{name}" {{', '  source = "../sluice/examples/terraform"']
    return "\n".join([*head, f'  template_bucket = "{BUCKET}"', *lines, "}"])


def hcl(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(hcl, value))}]"
    return decimal_text(value) if isinstance(value, Decimal) else generator.quoted(str(value))


def evaluated(root: Path, modules: list[str]) -> list[Plan]:
    """The plans of a root module's modules."""
    loaded = load_from_path(str(root), stop_on_hcl_error=True)

    def of(kind: str, name: str) -> Iterator[dict[str, Any]]:
        return (each for each in loaded[kind] if each["__tfmeta"]["path"].startswith(f"module.{name}."))

    return [
        Plan(
            stack=next(of("aws_cloudformation_stack", name)),
            uploaded=next(of("aws_s3_object", name)),
            root=root,
            valid={
                each["__tfmeta"]["label"]: each["validation"]["condition"]
                for each in of("variable", name)
                if "validation" in each
            },
        )
        for name in modules
    ]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """The plan of each parameter set."""
    given = {f"set_{number}": arguments(parameter_set(name)) for number, name in enumerate(SET_NAMES)}
    return dict(zip(SET_NAMES, planned(tmp_path_factory.mktemp("sets"), given), strict=True))


# ---- one template, one stack -------------------------------------------------------------------------------


def test_the_committed_files_are_what_make_infrastructure_writes() -> None:
    for path, text in generator.files().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run make infrastructure"


def test_the_sets_give_every_parameter_two_values() -> None:
    every = [parameter_set(name) for name in SET_NAMES]
    seen = {
        name: {values.get(name, declared.get("Default")) for values in every}
        for name, declared in PARAMETERS.items()
    }
    assert {name: values for name, values in seen.items() if len(values) < 2} == {}


@pytest.mark.parametrize("name", SET_NAMES)
def test_the_stack_has_the_resources_of_workload_yaml(name: str, plans: dict[str, Plan]) -> None:
    plan = plans[name]
    assert differences(stack_of(load(plan.template), plan.parameters), expected(parameter_set(name))) == {}


def test_every_set_passes_the_validations_and_the_rules(plans: dict[str, Plan]) -> None:
    for name, plan in plans.items():
        assert {variable for variable, valid in plan.valid.items() if valid is not True} == set(), name
        assert plan.precondition["condition"] is True, name


def test_what_is_not_given_has_the_default_of_the_template(tmp_path: Path) -> None:
    given = {"name": "transcription", "queue_name": "transcription", "max_capacity": Decimal(5)}
    [plan] = planned(tmp_path, {"least": given})
    text = {"Name": "transcription", "QueueName": "transcription", "MaxCapacity": "5"}
    assert plan.parameters == {name: each.get("Default") for name, each in PARAMETERS.items()} | text


@pytest.mark.parametrize(
    ("module", "environment"), [("transcription",) * 2, ("report_export", "report-export")]
)
def test_the_example_deploys_what_samconfig_deploys(module: str, environment: str) -> None:
    [plan] = evaluated(MODULE / "example", [module])
    deployed = stack_of(load(plan.template.resolve()), plan.parameters)
    assert differences(deployed, expected(workload_environments()[environment])) == {}


def test_the_module_that_the_page_shows_can_be_planned(tmp_path: Path) -> None:
    page = (ROOT / "docs/ways-in.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```hcl\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    shown = re.sub(r'source = ".*"', f'source = "{os.path.relpath(MODULE, tmp_path)}"', block)
    (tmp_path / "main.tf").write_text(shown, encoding="utf-8")
    [plan] = evaluated(tmp_path, ["transcription"])
    assert plan.precondition["condition"] is True
    assert {*plan.valid.values()} == {True}


def test_each_output_of_the_stack_is_one_of_the_module() -> None:
    outputs = {each["__tfmeta"]["label"] for each in load_from_path(str(MODULE))["output"]}
    wanted = {generator.snake_case(name) for name in template(WORKLOAD_TEMPLATE)["Outputs"]}
    assert outputs == wanted | {"stack_id"}


def test_another_template_has_another_url_so_that_the_stack_is_updated(plans: dict[str, Plan]) -> None:
    digest = hashlib.sha256((ROOT / WORKLOAD_TEMPLATE).read_bytes()).hexdigest()
    plan = plans["transcription"]
    assert plan.uploaded["key"] == f"sluice/sluice-transcription/{digest}.yaml"
    assert plan.uploaded["lifecycle"]["create_before_destroy"] is True
    assert plan.uploaded["bucket"] == BUCKET


def test_the_template_is_uploaded_encrypted_and_to_nobody_else(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        assert plan.uploaded["server_side_encryption"] == "AES256"
        assert "acl" not in plan.uploaded


def test_each_argument_of_a_resource_is_one_that_the_provider_documents(plans: dict[str, Plan]) -> None:
    meta = {"__tfmeta", "id", "lifecycle"}
    assert plans["transcription"].stack.keys() - meta <= STACK_ARGUMENTS
    assert plans["transcription"].uploaded.keys() - meta <= OBJECT_ARGUMENTS


def test_a_key_of_the_users_own_encrypts_the_template(tmp_path: Path) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    given = arguments(parameter_set("transcription")) | {"template_kms_key_arn": key}
    [plan] = planned(tmp_path, {"own_key": given})
    assert (plan.uploaded["server_side_encryption"], plan.uploaded["kms_key_id"]) == ("aws:kms", key)


# ---- what a plan refuses -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, bool]]:
    """Whether each validation passes, for one candidate of each variable after the other."""
    given = {f"round_{number}": each for number, each in enumerate(rounds())}
    return [plan.valid for plan in planned(tmp_path_factory.mktemp("candidates"), given)]


@pytest.mark.parametrize("name", CONSTRAINED)
def test_a_variable_takes_what_its_parameter_takes(name: str, valid: list[Mapping[str, bool]]) -> None:
    wanted = verdicts(name)
    assert {text: valid[number][name] for number, text in enumerate(wanted)} == wanted
    assert {*wanted.values()} == {True, False}


def test_a_sixth_schedule_is_refused(tmp_path: Path) -> None:
    line = "office-hours,MON-FRI,8:00,Europe/Berlin,3,20"
    given = arguments(parameter_set("transcription"))
    five, six = planned(tmp_path, {f"of_{count}": given | {"schedules": [line] * count} for count in (5, 6)})
    assert (five.valid["schedules"], six.valid["schedules"]) == (True, False)


def test_a_plan_refuses_what_the_rules_refuse_in_its_own_names(tmp_path: Path) -> None:
    given = {f"set_{number}": arguments(values) for number, (values, _) in enumerate(refused_sets())}
    for (values, refused), plan in zip(refused_sets(), planned(tmp_path, given), strict=True):
        sentences = [generator.in_snake_case(sentence, INPUTS) for sentence in refused]
        assert plan.precondition["condition"] is (refused == []), values
        assert plan.precondition["error_message"].splitlines() == sentences, values
