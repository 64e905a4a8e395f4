"""examples/pipeline: its scripts and buildspecs, run over the embedded AWS as CodeBuild would run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import jsonschema
import pytest
from moto.cloudformation.models import Stack

from release import bills
from tests.deploy.deployment import Deployment
from tests.deploy.server import Server, served
from tests.examples.pipeline_commands import (
    COMMIT,
    REGISTRY,
    REPOSITORY_URI,
    STACK,
    Commands,
    specification,
)
from tests.examples.pipeline_stack import BY_DEPLOY_SH, BY_IMAGE_SH
from tests.templates.stacks import ROOT

pytestmark = pytest.mark.slow

SCHEMA = json.loads(Path(__file__).with_name("buildspec.schema.json").read_text(encoding="utf-8"))
SPECIFICATIONS = ("buildspec.yml", "deployspec.yml")
IMAGE = f"{REPOSITORY_URI}:{COMMIT}"
IMAGE_SH, DEPLOY_SH = "examples/pipeline/image.sh", "examples/pipeline/deploy.sh"


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """An account with nothing but the images' repository, whose tags are immutable."""
    urlopen(Request(f"{started.endpoint}/moto-api/reset", method="POST")).close()
    repository = {"repositoryName": "sluice-worker", "imageTagMutability": "IMMUTABLE"}
    started.aws("ecr", "CreateRepository", **repository)
    return started


@pytest.fixture
def commands(server: Server, tmp_path: Path) -> Commands:
    return Commands.installed(tmp_path, server.endpoint)


@pytest.fixture
def service(server: Server, tmp_path: Path) -> Server:
    """The account with the example's service, which Sluice has set to seven tasks."""
    Deployment(server=server, built=tmp_path, folder=tmp_path).deploy_fleet(STACK, "fleet-ecs.yaml", {})
    server.aws("ecs", "UpdateService", cluster="workers", service="queue-proc", desiredCount=7)
    return server


def described(server: Server) -> dict[str, Any]:
    [service] = server.aws("ecs", "DescribeServices", cluster="workers", services=["queue-proc"])["services"]
    return service


def image_of(server: Server) -> str:
    """The image that the service's tasks run."""
    revision = described(server)["taskDefinition"]
    definition = server.aws("ecs", "DescribeTaskDefinition", taskDefinition=revision)["taskDefinition"]
    return definition["containerDefinitions"][0]["image"]


def tags(server: Server) -> list[str]:
    pushed = server.aws("ecr", "ListImages", repositoryName="sluice-worker")["imageIds"]
    return [each["imageTag"] for each in pushed]


# ---- the buildspecs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_a_buildspec_has_the_structure_that_aws_documents(name: str) -> None:
    jsonschema.validate(specification(name), SCHEMA)


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_each_command_of_a_buildspec_is_a_script_or_a_target_of_this_project(name: str) -> None:
    commands = [
        each for phase in specification(name)["phases"].values() for each in phase.get("commands", [])
    ]
    assert commands
    for command in commands:
        if command.startswith("make "):
            dry_run = subprocess.run(
                ["make", "--dry-run", *command.split()[1:]],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert dry_run.returncode == 0, dry_run.stderr
        else:
            bash, script = command.split()
            assert bash == "bash"
            assert os.access(ROOT / script, os.X_OK), f"{script} is no executable file"
            checked = subprocess.run(
                ["bash", "-n", ROOT / script], capture_output=True, text=True, check=False
            )
            assert checked.stderr == ""
            assert "\nset -euo pipefail\n" in (ROOT / script).read_text(encoding="utf-8")


def test_the_bills_of_materials_are_what_the_build_hands_on() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    [folder, pattern] = specification("buildspec.yml")["artifacts"]["files"][0].split("/")
    assert f"BILLS = {folder}\n" in recipe
    assert "python -m release.bills $(BILLS)\n" in recipe
    assert fnmatch("sluice-worker.cdx.json", pattern)
    assert "worker" in bills.CONTENTS


def test_a_build_tests_lists_what_is_inside_and_pushes_the_image(server: Server, commands: Commands) -> None:
    assert commands.build(specification("buildspec.yml"))
    assert commands.noted("make") == [["test"], ["sbom"]]
    assert tags(server) == [COMMIT]


@pytest.mark.parametrize("target", ["test", "sbom"])
def test_what_fails_is_not_pushed(server: Server, commands: Commands, target: str) -> None:
    assert not commands.build(specification("buildspec.yml"), FAILING_TARGET=target)
    assert tags(server) == []


# ---- the image ---------------------------------------------------------------------------------------------


def test_the_image_is_built_for_arm64_by_the_dockerfile_and_pushed_by_its_commit(
    server: Server, commands: Commands
) -> None:
    finished = commands.run(IMAGE_SH)
    assert finished.returncode == 0, finished.stderr
    assert commands.noted("docker") == [
        ["build", "--platform", "linux/arm64", "--file", "examples/Dockerfile", "--tag", IMAGE, "."],
        ["login", "--username", "AWS", "--password-stdin", REGISTRY],
        ["push", IMAGE],
    ]
    assert tags(server) == [COMMIT]


def test_a_commit_that_was_pushed_before_is_neither_built_nor_pushed_again(
    server: Server, commands: Commands
) -> None:
    assert commands.run(IMAGE_SH).returncode == 0
    assert tags(server) == [COMMIT]
    before = commands.noted("docker")
    again = commands.run(IMAGE_SH)
    assert again.returncode == 0, again.stderr
    assert "is there already" in again.stdout
    assert commands.noted("docker") == before


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"COMMIT": ""}, "image.sh: COMMIT is '', which is no tag of an image; set it to the commit"),
        ({"COMMIT": "a b"}, "COMMIT is 'a b', which is no tag"),
        (
            {"REPOSITORY_URI": "sluice-worker"},
            "REPOSITORY_URI is 'sluice-worker'; set it to the repository's URI",
        ),
        ({"REPOSITORY_URI": f"{REGISTRY}/other"}, "cannot ask the repository other for the tag"),
        ({"NO_ENGINE": "1"}, "no container engine answers (docker info); start it, and in CodeBuild set"),
    ],
)
def test_what_an_image_lacks_is_said_in_a_sentence_and_nothing_is_built(
    commands: Commands, variables: dict[str, str], said: str
) -> None:
    finished = commands.run(IMAGE_SH, **variables)
    assert finished.returncode == 1
    assert said in finished.stderr
    assert commands.noted("docker") == []


@pytest.mark.parametrize(("script", "program"), [(IMAGE_SH, "aws"), (IMAGE_SH, "docker"), (DEPLOY_SH, "aws")])
def test_a_program_that_is_missing_is_named(commands: Commands, script: str, program: str) -> None:
    # The PATH has the stand-ins but this one, and what bash itself needs.
    (commands.folder / program).unlink()
    for needed in ("bash", "dirname"):
        (commands.folder / needed).symlink_to(shutil.which(needed) or pytest.fail(needed))
    finished = commands.run(script, PATH=str(commands.folder))
    assert finished.returncode == 1
    assert f"{program} is not on the PATH" in finished.stderr.replace("the AWS CLI", "aws")


# ---- the deployment ----------------------------------------------------------------------------------------


def test_a_deployment_gives_the_service_the_image_and_leaves_its_desired_count(
    service: Server, commands: Commands
) -> None:
    before = described(service)
    assert commands.build(specification("deployspec.yml"))
    after = described(service)
    assert image_of(service) == IMAGE
    assert after["taskDefinition"] != before["taskDefinition"]
    assert after["desiredCount"] == before["desiredCount"] == 7


def test_a_deployment_keeps_the_template_and_every_other_parameter(
    service: Server, commands: Commands
) -> None:
    def parameters() -> dict[str, str]:
        [stack] = service.aws("cloudformation", "DescribeStacks", StackName=STACK)["Stacks"]
        return {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}

    before = parameters()
    assert commands.run(DEPLOY_SH).returncode == 0
    assert parameters() == {**before, "Image": IMAGE}
    [update] = [call for call in commands.noted("aws") if call["operation"] == "UpdateStack"]
    assert update["parameters"].keys() == {"StackName", "UsePreviousTemplate", "Capabilities", "Parameters"}
    given = {each.pop("ParameterKey"): each for each in update["parameters"]["Parameters"]}
    assert given.pop("Image") == {"ParameterValue": IMAGE}
    assert given.keys() == before.keys() - {"Image"}
    assert all(value == {"UsePreviousValue": True} for value in given.values())


def test_an_image_that_runs_already_is_not_deployed_again(service: Server, commands: Commands) -> None:
    assert commands.run(DEPLOY_SH).returncode == 0
    again = commands.run(DEPLOY_SH)
    assert again.returncode == 0, again.stderr
    assert "runs" in again.stdout
    assert "nothing to deploy" in again.stdout
    assert [call["operation"] for call in commands.noted("aws")].count("UpdateStack") == 1


def test_a_deployment_that_was_rolled_back_fails(
    service: Server, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Stack.update

    def roll_back(stack: Stack, *arguments: Any, **more: Any) -> None:
        """What ECS's circuit breaker and CloudFormation make of an image that does not start."""
        update(stack, *arguments, **more)
        stack.status = "UPDATE_ROLLBACK_COMPLETE"

    monkeypatch.setattr(Stack, "update", roll_back)
    finished = commands.run(DEPLOY_SH)
    assert finished.returncode == 1
    assert (
        f"{STACK} is UPDATE_ROLLBACK_COMPLETE and not UPDATE_COMPLETE: {IMAGE} is not deployed"
        in finished.stderr
    )
    assert "aws cloudformation describe-stack-events" in finished.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"COMMIT": ""}, "deploy.sh: COMMIT is empty; set it to the commit"),
        ({"REPOSITORY_URI": ""}, "REPOSITORY_URI is ''; set it to the repository's URI"),
        ({"SERVICE_STACK": ""}, "SERVICE_STACK is empty; set it to the name"),
        ({"SERVICE_STACK": "absent"}, "sam deploy -t examples/fleet-ecs.yaml --stack-name absent"),
        ({"SERVICE_STACK": "absent"}, f"Image={IMAGE} Repository=sluice-worker"),
    ],
)
def test_what_a_deployment_lacks_is_said_with_the_way_out(
    commands: Commands, variables: dict[str, str], said: str
) -> None:
    finished = commands.run(DEPLOY_SH, **variables)
    assert finished.returncode == 1
    assert said in finished.stderr


def test_a_stack_that_makes_no_service_is_refused(server: Server, commands: Commands) -> None:
    queue = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {}}}}
    server.aws("cloudformation", "CreateStack", StackName="other", TemplateBody=json.dumps(queue))
    finished = commands.run(DEPLOY_SH, SERVICE_STACK="other")
    assert finished.returncode == 1
    assert "has no parameter Image; name the stack of a service" in finished.stderr


# ---- what the scripts may do -------------------------------------------------------------------------------


def test_the_roles_are_proved_for_what_the_scripts_call(service: Server, commands: Commands) -> None:
    """`test_pipeline.py` proves that the roles allow these requests, and no others."""
    for script, requests in ((IMAGE_SH, BY_IMAGE_SH), (DEPLOY_SH, BY_DEPLOY_SH)):
        before = len(commands.noted("aws"))
        assert commands.run(script).returncode == 0
        called = {f"{call['service']}:{call['operation']}" for call in commands.noted("aws")[before:]}
        assert called == {request.action for request in requests}


# ---- the stand-in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("aws ecr batch-get-images", "ecr has no command batch-get-images"),
        ("aws ecr batch-get-image --repository r", "unknown options of BatchGetImage: repository"),
        ("aws ecr batch-get-image --repository-name r", "required options of BatchGetImage: imageIds"),
        ("aws ecr batch-get-image --repository-name r --image-ids tag=1", "ImageIdentifier has no tag"),
    ],
)
def test_the_stand_in_refuses_what_the_cli_would(commands: Commands, command: str, said: str) -> None:
    finished = commands.run(command)
    assert finished.returncode == 252
    assert said in finished.stderr
