"""examples/stackset: the control plane's template as StackSets take it, the same plane as SAM deploys."""

from __future__ import annotations

import json
import re
import shutil
import sys
import uuid
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cfnlint import api
from cfnlint.config import ManualArgs

from sluice_sim.template import ResolvedStack, resolve
from tests.templates import stacks
from tests.templates.stacks import ACCOUNT, REGION, ROOT
from tests.templates.test_names import longest

FOLDER = ROOT / "examples/stackset"
UNITS = "ou-ab12-cdefghij,ou-ab12-klmnopqr"
URL = "https://acme-sluice-eu-west-1.s3.eu-west-1.amazonaws.com/sluice/template-0d5a.json"
ORGANIZATION = "o-0123456789"


def loaded() -> ModuleType:
    spec = spec_from_file_location("stackset_package", FOLDER / "package.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


package = loaded()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template and its code; a build has the same folders, with more packages in the layer."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copy(ROOT / "template.yaml", folder)
    for code in ("functions", "layers/sluice"):
        shutil.copytree(ROOT / code, folder / code, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "template.yaml"


@pytest.fixture(scope="module")
def packaged(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that is written."""
    return package.package(built, tmp_path_factory.mktemp("stackset"))


@pytest.fixture(scope="module")
def body(packaged: Path) -> dict[str, Any]:
    return json.loads(packaged.read_text(encoding="utf-8"))


def code(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Logical id -> where the code of a function or layer is."""
    names = {"AWS::Lambda::Function": "Code", "AWS::Lambda::LayerVersion": "Content"}
    return {
        logical_id: resource["Properties"][names[resource["Type"]]]
        for logical_id, resource in body["Resources"].items()
        if resource["Type"] in names
    }


# ---- the template ------------------------------------------------------------------------------------------


def test_no_transform_is_left_which_stacksets_with_service_managed_permissions_refuse(
    body: dict[str, Any],
) -> None:
    assert "Transform" not in body
    assert "Fn::Transform" not in json.dumps(body)
    types = {resource["Type"] for resource in body["Resources"].values()}
    assert not [each for each in types if each.startswith("AWS::Serverless::")]
    assert "AWS::CloudFormation::Stack" not in types


def test_it_is_clean_to_cfn_lint(body: dict[str, Any]) -> None:
    found = api.lint(json.dumps(body), config=ManualArgs(regions=[REGION, "us-east-1"]))
    assert [str(match) for match in found] == []


def test_it_is_small_enough_for_cloudformation(packaged: Path) -> None:
    assert packaged.stat().st_size < 1_000_000


def test_every_function_finds_its_code_in_the_bucket_of_its_own_region(
    packaged: Path, body: dict[str, Any]
) -> None:
    found = code(body)
    assert len(found) == 10, "nine functions and the layer"
    for logical_id, place in found.items():
        assert place["S3Bucket"] == {"Fn::Sub": "${CodeBucket}-${AWS::Region}"}, logical_id
        with zipfile.ZipFile(packaged.parents[1] / place["S3Key"]) as archive:
            handler = body["Resources"][logical_id]["Properties"].get("Handler", "sluice/wiring.layer")
            assert f"{handler.rpartition('.')[0]}.py" in archive.namelist(), logical_id


def test_it_is_the_plane_that_sam_deploys_but_for_where_its_code_is(body: dict[str, Any]) -> None:
    def without_code(stack: ResolvedStack) -> str:
        kept = {
            name: {**resource.properties, "Code": None, "Content": None}
            for name, resource in stack.resources.items()
        }
        text = json.dumps(kept, sort_keys=True)
        return re.sub(r"SluiceLayer[0-9a-f]{10}", "SluiceLayer", text)  # its name has the code's hash

    bucket = {"CodeBucket": "acme-sluice"}
    assert without_code(stacks.resolved(body, bucket)) == without_code(stacks.plane())
    assert body["Outputs"] == stacks.transformed_plane()["Outputs"]


def test_the_same_build_gives_the_same_files(built: Path, packaged: Path, tmp_path: Path) -> None:
    again = package.package(built, tmp_path)
    first, second = packaged.parent, again.parent
    names = sorted(path.name for path in first.iterdir())
    assert sorted(path.name for path in second.iterdir()) == names
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_change_of_the_code_changes_the_templates_address(
    built: Path, packaged: Path, tmp_path: Path
) -> None:
    shutil.copytree(built.parent, tmp_path / "changed")
    (tmp_path / "changed/functions/bootstrap/app.py").write_text("CHANGED = True\n")
    assert package.package(tmp_path / "changed/template.yaml", tmp_path / "out").name != packaged.name


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "usage: package.py BUILD-FOLDER OUTPUT-FOLDER"),
        (["nowhere", "out"], 1, "nowhere holds no template.yaml: run `sam build` first"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package.main(arguments) == status
    assert said in capsys.readouterr().err


# ---- the StackSet ------------------------------------------------------------------------------------------


def example(template: str, **parameters: str) -> ResolvedStack:
    return resolve(
        stacks.template(template),
        parameters,
        identity=lambda logical_id, kind, properties, attribute: f"{logical_id}.{attribute}",
        imports={},
        account_id=ACCOUNT,
        region=REGION,
        stack_name="everywhere",
    )


@pytest.fixture
def stack_set() -> dict[str, Any]:
    stack = example(
        "examples/stackset.yaml",
        OrganizationalUnitIds=UNITS,
        Regions="eu-west-1,us-east-1",
        CodeBucket="acme-sluice",
        TemplateUrl=URL,
    )
    return dict(stack.resources["ControlPlanes"].properties)


def test_every_account_of_the_units_gets_a_plane_in_each_region_and_later_accounts_too(
    stack_set: dict[str, Any],
) -> None:
    assert stack_set["PermissionModel"] == "SERVICE_MANAGED"
    assert stack_set["AutoDeployment"] == {"Enabled": True, "RetainStacksOnAccountRemoval": False}
    [group] = stack_set["StackInstancesGroup"]
    assert group["DeploymentTargets"] == {"OrganizationalUnitIds": UNITS.split(",")}
    assert group["Regions"] == ["eu-west-1", "us-east-1"]
    assert stack_set["TemplateURL"] == URL


def test_a_bad_version_stops_before_it_is_everywhere(stack_set: dict[str, Any]) -> None:
    preferences = stack_set["OperationPreferences"]
    assert preferences["RegionConcurrencyType"] == "SEQUENTIAL"
    assert preferences["RegionOrder"] == ["eu-west-1", "us-east-1"]
    assert preferences["FailureTolerancePercentage"] <= preferences["MaxConcurrentPercentage"] <= 25


def test_the_stackset_gives_the_template_the_parameters_and_capabilities_that_it_asks_for(
    stack_set: dict[str, Any], body: dict[str, Any]
) -> None:
    given = {each["ParameterKey"] for each in stack_set["Parameters"]}
    required = {name for name, each in body["Parameters"].items() if "Default" not in each}
    assert given == required == {"CodeBucket"}
    own = stacks.template("examples/stackset.yaml")["Parameters"]["CodeBucket"]
    bucket = stacks.template("examples/stackset/code-bucket.yaml")["Parameters"]["Prefix"]
    pattern = body["Parameters"]["CodeBucket"]["AllowedPattern"]
    assert own["AllowedPattern"] == bucket["AllowedPattern"] == pattern
    # Named roles would need CAPABILITY_NAMED_IAM; a transform CAPABILITY_AUTO_EXPAND.
    assert stack_set["Capabilities"] == ["CAPABILITY_IAM"]
    kinds = ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
    iam = [each for each in body["Resources"].values() if each["Type"] in kinds]
    assert iam
    assert not [each for each in iam if {"RoleName", "ManagedPolicyName"} & each["Properties"].keys()]


def test_the_template_names_no_account_and_no_region(body: dict[str, Any]) -> None:
    text = json.dumps(body["Resources"])
    assert not re.search(r"\b(eu|us|ap)-[a-z]+-\d\b", text)
    assert not re.search(r"\b\d{12}\b", text)


def test_the_names_of_the_stacks_that_aws_makes_are_short_enough_for_the_plane() -> None:
    pattern = stacks.template("examples/stackset.yaml")["Parameters"]["StackSetName"]["AllowedPattern"]
    allowed = longest("template.yaml", "AWS::StackName", {}) - len(f"StackSet--{uuid.uuid4()}")
    assert re.fullmatch(pattern, "n" * allowed)
    assert not re.fullmatch(pattern, "n" * (allowed + 1))


# ---- the code's buckets ------------------------------------------------------------------------------------


def test_a_bucket_of_code_is_named_as_the_functions_look_for_it_and_read_by_the_organization_alone() -> None:
    stack = example("examples/stackset/code-bucket.yaml", Prefix="acme-sluice", OrganizationId=ORGANIZATION)
    bucket = stack.resources["Code"].properties
    assert bucket["BucketName"] == f"acme-sluice-{REGION}"
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    reads, denied = stack.resources["CodePolicy"].properties["PolicyDocument"]["Statement"]
    assert (reads["Effect"], reads["Action"]) == ("Allow", "s3:GetObject")
    assert reads["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}
    assert denied["Effect"] == "Deny"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
