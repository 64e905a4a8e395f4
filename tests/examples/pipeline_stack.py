"""The pipeline of examples/pipeline.yaml as deployed, and every request that is made under its roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice_sim.aws_rules.iam_policies import Request
from sluice_sim.template import ResolvedStack, resolve
from tests.templates import stacks
from tests.templates.stacks import ACCOUNT, REGION, arn

TEMPLATE = "examples/pipeline.yaml"
CONNECTION = arn("codeconnections", "connection/0d5a8f0b-7c2e-4a6f-9b1d-3c5e7f9a0b2c")
SECRET = arn("secretsmanager", "secret:github-0d5a8f")
SOURCES = {"connection": {"ConnectionArn": CONNECTION}, "token": {"TokenSecretArn": SECRET}}
BUCKET, KEY = "arn:aws:s3:::artifacts", arn("kms", "key/0d5a8f0b-7c2e-4a6f-9b1d-3c5e7f9a0b2c")
IMAGES = arn("ecr", "repository/sluice-worker")
SERVICE = arn("ecs", "service/workers/queue-proc")
DEPLOYMENT = arn("ecs", "service-deployment/workers/queue-proc/0d5a8f0b")
SERVICE_STACK = arn("cloudformation", "stack/sluice-example-service/0d5a8f0b")
REVISION = arn("ecs", "task-definition/queue-proc:8")
THROUGH_CLOUDFORMATION = {"aws:CalledViaFirst": "cloudformation.amazonaws.com"}


def identity(logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str) -> str:
    """What Ref and GetAtt give, as AWS forms them."""
    name = f"pipeline-{logical_id}"
    known = {
        "AWS::CodeBuild::Project": {"Ref": name, "Arn": arn("codebuild", f"project/{name}")},
        "AWS::CodePipeline::Pipeline": {"Ref": name},
        "AWS::ECR::Repository": {
            "Arn": arn("ecr", f"repository/{properties.get('RepositoryName')}"),
            "RepositoryUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{properties.get('RepositoryName')}",
        },
        "AWS::Events::Rule": {"Arn": arn("events", f"rule/{name}")},
        "AWS::IAM::Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}"},
        "AWS::KMS::Key": {"Arn": KEY},
        "AWS::Logs::LogGroup": {
            "Ref": properties.get("LogGroupName", ""),
            "Arn": arn("logs", f"log-group:{properties.get('LogGroupName')}:*"),
        },
        "AWS::S3::Bucket": {"Ref": "artifacts", "Arn": BUCKET},
        "AWS::SNS::Topic": {"Ref": arn("sns", str(properties.get("TopicName")))},
    }
    return known[kind][attribute]


def pipeline(source: str = "connection", **parameters: str) -> ResolvedStack:
    """The pipeline as deployed."""
    return deployed({**SOURCES[source], **parameters})


def deployed(parameters: Mapping[str, str]) -> ResolvedStack:
    """The same with these parameters; refuses what the template's rules do."""
    return resolve(
        stacks.template(TEMPLATE),
        {"RepositoryId": "owner/name", **parameters},
        identity=identity,
        imports={},
        account_id=ACCOUNT,
        region=REGION,
        stack_name="pipeline",
    )


def pass_role(name: str, service: str = "ecs-tasks.amazonaws.com") -> Request:
    """The role given to a service."""
    resource = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    return Request(action="iam:PassRole", resource=resource, context={"iam:PassedToService": service})


def _of(resource: str, *actions: str, context: Mapping[str, str] | None = None) -> list[Request]:
    return [Request(action=action, resource=resource, context=context or {}) for action in actions]


def _logs(project: str) -> list[Request]:
    stream = arn("logs", f"log-group:/aws/codebuild/pipeline/{project}:*:log-stream:0d5a8f0b")
    return _of(stream, "logs:CreateLogStream", "logs:PutLogEvents")


_ARTEFACT = f"{BUCKET}/pipeline/Source/0d5a"
BY_IMAGE_SH = [*_of(IMAGES, "ecr:BatchGetImage"), *_of("*", "ecr:GetAuthorizationToken")]
BY_DEPLOY_SH = _of(SERVICE_STACK, "cloudformation:DescribeStacks", "cloudformation:UpdateStack")
REQUESTS: Mapping[str, list[Request]] = {
    # CodePipeline, by its user guide ("Manage the CodePipeline service role").
    "PipelineRole": [
        *_of(CONNECTION, "codeconnections:UseConnection", "codestar-connections:UseConnection"),
        *_of(arn("codebuild", "project/pipeline-BuildProject"), "codebuild:StartBuild"),
        *_of(arn("codebuild", "project/pipeline-DeployProject"), "codebuild:BatchGetBuilds"),
        *_of(BUCKET, "s3:GetBucketVersioning"),
        *_of(_ARTEFACT, "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"),
        *_of(KEY, "kms:Decrypt", "kms:GenerateDataKey"),
    ],
    "BuildRole": [
        # CodeBuild: its log, its input, its output.
        *_logs("build"),
        *_of(_ARTEFACT, "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"),
        *_of(KEY, "kms:Decrypt", "kms:GenerateDataKey"),
        *BY_IMAGE_SH,
        # docker push, by ECR's user guide ("IAM permissions for pushing an image").
        *_of(IMAGES, "ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart"),
        *_of(IMAGES, "ecr:CompleteLayerUpload", "ecr:PutImage"),
    ],
    "DeployRole": [
        *_logs("deploy"),
        *_of(_ARTEFACT, "s3:GetObject", "s3:GetObjectVersion"),
        *_of(KEY, "kms:Decrypt"),
        *BY_DEPLOY_SH,
        # CloudFormation, with its caller's permissions: a new revision, the service, the end of the old one.
        *_of(REVISION, "ecs:RegisterTaskDefinition", "ecs:TagResource", context=THROUGH_CLOUDFORMATION),
        *_of(
            "*", "ecs:DescribeTaskDefinition", "ecs:DeregisterTaskDefinition", context=THROUGH_CLOUDFORMATION
        ),
        *_of(SERVICE, "ecs:DescribeServices", "ecs:UpdateService", context=THROUGH_CLOUDFORMATION),
        *_of(
            SERVICE, "ecs:ListServiceDeployments", "ecs:ListTagsForResource", context=THROUGH_CLOUDFORMATION
        ),
        *_of(DEPLOYMENT, "ecs:DescribeServiceDeployments", context=THROUGH_CLOUDFORMATION),
        *_of(DEPLOYMENT, "ecs:StopServiceDeployment", context=THROUGH_CLOUDFORMATION),
        *_of(f"arn:aws:iam::{ACCOUNT}:role/sluice-example-service-TaskRole-1X2Y", "iam:GetRole"),
        *_of(f"arn:aws:iam::{ACCOUNT}:role/sluice-example-service-ExecutionRole-3Z4W", "iam:GetRole"),
        pass_role("sluice-example-service-TaskRole-1X2Y"),
        pass_role("sluice-example-service-ExecutionRole-3Z4W"),
        # The same, for parameters of the types AWS::EC2::VPC::Id and List<AWS::EC2::Subnet::Id>.
        *_of("*", "ec2:DescribeVpcs", "ec2:DescribeSubnets"),
    ],
}
"""Role -> every request that is made under it, each by whom the comment says."""
