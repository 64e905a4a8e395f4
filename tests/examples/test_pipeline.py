"""examples/pipeline.yaml: what it makes, what each of its roles may do, and nothing more."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from cfnlint import api
from cfnlint.config import ManualArgs
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from sluice_sim.aws_rules.iam_policies import Request
from sluice_sim.template import ResolvedStack
from tests.examples.pipeline_stack import (
    BUCKET,
    CONNECTION,
    KEY,
    REQUESTS,
    SECRET,
    SERVICE,
    SOURCES,
    TEMPLATE,
    THROUGH_CLOUDFORMATION,
    deployed,
    pass_role,
    pipeline,
)
from tests.privileges import catalog
from tests.privileges.proof import Use, grants, refused, surplus
from tests.privileges.roles import roles
from tests.templates import stacks
from tests.templates.stacks import ACCOUNT, REGION, ROOT, arn, of_type

ROLES = "CreateEcsRole", "CreateServiceScalingRole", "CreateGroupScalingRole"


def the(stack: ResolvedStack, logical_id: str) -> Any:
    return stack.resources[logical_id].properties


def actions(stack: ResolvedStack) -> dict[str, Any]:
    stages = the(stack, "Pipeline")["Stages"]
    return {action["Name"]: action for stage in stages for action in stage["Actions"]}


# ---- every variant is a valid template ---------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_what_each_source_makes_is_valid_by_aws_own_schemas(source: str) -> None:
    stack = pipeline(source, NotificationEmail="operators@example.com", **dict.fromkeys(ROLES, "true"))
    resources = {
        name: {"Type": resource.type, "Properties": dict(resource.properties)}
        for name, resource in stack.resources.items()
    }
    # Its warnings are about written ARNs, which references have become.
    found = api.lint(json.dumps({"Resources": resources}), config=ManualArgs(regions=[REGION]))
    assert [str(match) for match in found if match.rule.id.startswith("E")] == []


@pytest.mark.parametrize("given", [{}, {**SOURCES["connection"], **SOURCES["token"]}])
def test_a_source_is_read_with_a_connection_or_a_token_and_not_both(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="Give either ConnectionArn or TokenSecretArn, and not both"):
        deployed(given)


# ---- the way of a commit -----------------------------------------------------------------------------------


def test_a_push_to_the_branch_is_built_and_then_deployed() -> None:
    stack = pipeline()
    stages = [stage["Name"] for stage in the(stack, "Pipeline")["Stages"]]
    assert stages == ["Source", "Build", "Deploy"]
    [trigger] = the(stack, "Pipeline")["Triggers"]
    assert trigger["GitConfiguration"]["Push"][0]["Branches"] == {"Includes": ["main"]}
    source = actions(stack)["Source"]
    assert source["Configuration"]["ConnectionArn"] == CONNECTION
    for name in ("Build", "Deploy"):
        action = actions(stack)[name]
        assert action["InputArtifacts"] == source["OutputArtifacts"]
        [variable] = json.loads(action["Configuration"]["EnvironmentVariables"])
        assert variable == {"name": "COMMIT", "value": "#{Source.CommitId}"}
        assert source["Namespace"] == "Source"


def test_each_project_runs_a_buildspec_that_is_there_with_the_variables_that_its_script_reads() -> None:
    stack = pipeline()
    for project, script in (("BuildProject", "image.sh"), ("DeployProject", "deploy.sh")):
        properties = the(stack, project)
        specification = (ROOT / properties["Source"]["BuildSpec"]).read_text(encoding="utf-8")
        assert f"- bash examples/pipeline/{script}" in specification
        text = (ROOT / "examples/pipeline" / script).read_text(encoding="utf-8")
        given = {each["Name"] for each in properties["Environment"]["EnvironmentVariables"]} | {"COMMIT"}
        read = {name for name in ("COMMIT", "REPOSITORY_URI", "SERVICE_STACK") if f"${{{name}:-}}" in text}
        assert given == read


def test_the_image_is_built_on_arm64_and_only_the_build_is_privileged() -> None:
    stack = pipeline()
    for name, project in of_type(stack, "AWS::CodeBuild::Project").items():
        environment = project["Environment"]
        assert environment["Type"] == "ARM_CONTAINER"
        assert "aarch64" in environment["Image"]
        assert environment.get("PrivilegedMode", False) is (name == "BuildProject")
    definition = of_type(stacks.example_fleet("ecs"), "AWS::ECS::TaskDefinition")["TaskDefinition"]
    assert definition["RuntimePlatform"]["CpuArchitecture"] == "ARM64"


def test_no_desired_count_is_named_where_a_deployment_could_read_it() -> None:
    [service] = of_type(stacks.example_fleet("ecs"), "AWS::ECS::Service").values()
    assert "DesiredCount" not in service
    assert "desired" not in json.dumps(stacks.template(TEMPLATE)["Resources"]).lower()
    for script in (ROOT / "examples/pipeline").glob("*.sh"):
        lines = script.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if "desired" in line.lower() and not line.startswith("#")]


def test_a_deployment_keeps_the_old_tasks_until_the_new_ones_run_and_rolls_back() -> None:
    [service] = of_type(stacks.example_fleet("ecs"), "AWS::ECS::Service").values()
    configured = service["DeploymentConfiguration"]
    assert configured["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert configured["MinimumHealthyPercent"] == 100


def test_the_pipeline_deploys_the_service_of_the_example_by_default() -> None:
    fleet = stacks.template("examples/fleet-ecs.yaml")["Parameters"]
    own = stacks.template(TEMPLATE)["Parameters"]
    assert own["ServiceName"]["Default"] == fleet["FleetName"]["Default"]
    assert own["ClusterName"]["Default"] == fleet["ClusterName"]["Default"]
    assert f"--stack-name {own['ServiceStack']['Default']} " in (ROOT / TEMPLATE).read_text(encoding="utf-8")


def test_the_name_of_the_services_stack_fits_into_the_names_of_its_roles() -> None:
    """CloudFormation shortens a name that IAM would refuse, and the pattern of the policy matches no more."""
    passed = [
        resource.rpartition("/")[2].removesuffix("-*")
        for statement in the(pipeline(ServiceStack="a" * 36), "DeployRole")["Policies"][0]["PolicyDocument"][
            "Statement"
        ]
        if statement["Action"] == "iam:PassRole"
        for resource in statement["Resource"]
    ]
    assert max(len(f"{name}-{'x' * 13}") for name in passed) == 64
    made = of_type(stacks.example_fleet("ecs"), "AWS::IAM::Role")
    assert {name.rpartition("-")[2] for name in passed} <= made.keys()
    allowed = stacks.template(TEMPLATE)["Parameters"]["ServiceStack"]["AllowedPattern"]
    assert re.search(allowed, "a" * 36)
    assert not re.search(allowed, "a" * 37)


# ---- secrets, encryption, the public -----------------------------------------------------------------------


def test_the_token_stays_in_secrets_manager() -> None:
    configuration = actions(pipeline("token"))["Source"]["Configuration"]
    assert configuration["OAuthToken"] == f"{{{{resolve:secretsmanager:{SECRET}:SecretString:token}}}}"
    assert "Triggers" not in the(pipeline("token"), "Pipeline")


@pytest.mark.parametrize("source", SOURCES)
def test_no_secret_is_a_variable_or_a_parameter(source: str) -> None:
    for project in of_type(pipeline(source), "AWS::CodeBuild::Project").values():
        names = {each["Name"] for each in project["Environment"]["EnvironmentVariables"]}
        assert names <= {"REPOSITORY_URI", "SERVICE_STACK"}
    secret = ("token", "password", "secret")
    for name in stacks.template(TEMPLATE)["Parameters"]:
        assert name.endswith("Arn") or not any(word in name.lower() for word in secret)


def test_the_artefacts_are_encrypted_private_versioned_and_forgotten() -> None:
    stack = pipeline()
    bucket = the(stack, "Artifacts")
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert the(stack, "Pipeline")["ArtifactStore"]["EncryptionKey"] == {"Type": "KMS", "Id": KEY}
    assert all(
        project["EncryptionKey"] == KEY for project in of_type(stack, "AWS::CodeBuild::Project").values()
    )
    assert the(stack, "Key")["EnableKeyRotation"] is True
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    [kept] = bucket["LifecycleConfiguration"]["Rules"]
    assert kept["Status"] == "Enabled"
    assert {"ExpirationInDays", "NoncurrentVersionExpiration"} <= kept.keys()
    [denied] = the(stack, "ArtifactsPolicy")["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", "*", "s3:*")
    assert denied["Resource"] == [BUCKET, f"{BUCKET}/*"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_an_images_tag_is_for_ever_and_the_newest_images_are_kept() -> None:
    images = the(pipeline(KeepImages="7"), "Images")
    assert images["ImageTagMutability"] == "IMMUTABLE"
    assert images["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert images["EncryptionConfiguration"] == {"EncryptionType": "AES256"}
    [rule] = json.loads(images["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 7}


def test_success_and_failure_reach_the_topic_which_is_encrypted_and_takes_events_of_this_rule_alone() -> None:
    stack = pipeline(NotificationEmail="operators@example.com")
    topic, rule = the(stack, "Topic"), the(stack, "EndRule")
    assert topic["KmsMasterKeyId"] == KEY
    assert topic["Subscription"] == [{"Protocol": "email", "Endpoint": "operators@example.com"}]
    assert {"SUCCEEDED", "FAILED"} <= set(rule["EventPattern"]["detail"]["state"])
    assert rule["EventPattern"]["detail"]["pipeline"] == ["pipeline-Pipeline"]
    [target] = rule["Targets"]
    assert target["Arn"] == arn("sns", "pipeline")
    named = target["InputTransformer"]["InputPathsMap"].keys()
    assert all(f"<{name}>" in target["InputTransformer"]["InputTemplate"] for name in named)
    [statement] = the(stack, "TopicPolicy")["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": arn("events", "rule/pipeline-EndRule")}}
    _, for_events = the(stack, "Key")["KeyPolicy"]["Statement"]
    assert for_events["Principal"] == {"Service": "events.amazonaws.com"}
    context = {"kms:EncryptionContext:aws:sns:topicArn": arn("sns", "pipeline")}
    assert for_events["Condition"] == {"StringEquals": context}
    assert "Subscription" not in the(pipeline(), "Topic")


# ---- least privilege ---------------------------------------------------------------------------------------


def uses() -> list[Use]:
    return [Use(role=role, request=request) for role, made in REQUESTS.items() for request in made]


def test_every_request_is_allowed_and_every_grant_is_used() -> None:
    allowed = roles(pipeline())
    assert refused(allowed, uses()) == []
    assert [str(grant) for grant in surplus(allowed, uses())] == []


def test_cloudformation_may_do_what_its_schemas_say_that_another_image_takes() -> None:
    """Another image makes a task definition, updates the service, and deletes the old task definition."""
    taken = {
        "AWS::ECS::TaskDefinition": ("create", "read", "delete"),
        "AWS::ECS::Service": ("update", "read"),
    }
    needed = {
        action
        for kind, handlers in taken.items()
        for handler in handlers
        for action in PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema["handlers"][handler][
            "permissions"
        ]
    }
    assert "ecs:DescribeServiceDeployments" in needed
    # A deployment keeps the stack's tags: none is removed.
    assert needed - {"ecs:UntagResource"} <= {request.action for request in REQUESTS["DeployRole"]}


def test_a_wildcard_stands_only_where_aws_takes_no_resource() -> None:
    for grant in grants(roles(pipeline())):
        if "*" in grant.statement.resources:
            assert catalog.action(grant.action).arn_formats == {}, grant


def test_every_action_is_one_of_aws() -> None:
    for grant in grants(roles(pipeline())):
        assert catalog.is_action(grant.action), grant


@pytest.mark.parametrize(
    ("role", "request_"),
    [
        ("BuildRole", Request(action="ecr:PutImage", resource=arn("ecr", "repository/other"))),
        ("BuildRole", Request(action="s3:GetObject", resource="arn:aws:s3:::other/object")),
        ("PipelineRole", Request(action="codebuild:StartBuild", resource=arn("codebuild", "project/other"))),
        (
            "DeployRole",
            Request(action="cloudformation:UpdateStack", resource=arn("cloudformation", "stack/o/1")),
        ),
        ("DeployRole", pass_role("administrator")),
        ("DeployRole", pass_role("sluice-example-service-TaskRole-1X2Y", "lambda.amazonaws.com")),
        # By itself, without CloudFormation, the deployment touches no service: it could give a count.
        ("DeployRole", Request(action="ecs:UpdateService", resource=SERVICE)),
        (
            "DeployRole",
            Request(
                action="ecs:UpdateService",
                resource=arn("ecs", "service/workers/other"),
                context=THROUGH_CLOUDFORMATION,
            ),
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else given.action,
)
def test_a_role_reaches_nothing_else(role: str, request_: Request) -> None:
    use = Use(role=role, request=request_)
    assert refused(roles(pipeline()), [use]) == [use]


def test_a_token_needs_no_permission_on_a_connection() -> None:
    statements = roles(pipeline("token"))["PipelineRole"]
    assert not any("UseConnection" in action for each in statements for action in each.actions)


def test_each_role_is_taken_by_its_service_in_this_account_alone() -> None:
    takers = {"PipelineRole": "codepipeline", "BuildRole": "codebuild", "DeployRole": "codebuild"}
    found = of_type(pipeline(), "AWS::IAM::Role")
    assert found.keys() == takers.keys()
    for name, role in found.items():
        [trusted] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trusted["Principal"] == {"Service": f"{takers[name]}.amazonaws.com"}
        assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


# ---- service-linked roles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [each for n in range(4) for each in itertools.combinations(ROLES, n)])
def test_exactly_the_service_linked_roles_that_are_asked_for_are_made(wanted: tuple[str, ...]) -> None:
    services = {
        "CreateEcsRole": "ecs.amazonaws.com",
        "CreateServiceScalingRole": "ecs.application-autoscaling.amazonaws.com",
        "CreateGroupScalingRole": "autoscaling.amazonaws.com",
    }
    made = of_type(pipeline(**dict.fromkeys(wanted, "true")), "AWS::IAM::ServiceLinkedRole")
    assert {role["AWSServiceName"] for role in made.values()} == {services[name] for name in wanted}


def test_what_others_still_use_outlives_the_stack() -> None:
    resources = stacks.template(TEMPLATE)["Resources"]
    kept = {name for name, each in resources.items() if each.get("DeletionPolicy") == "Retain"}
    assert kept == {"Artifacts", "Images", "EcsRole", "ServiceScalingRole", "GroupScalingRole"}
