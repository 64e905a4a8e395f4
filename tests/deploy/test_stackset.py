"""The plane that examples/stackset/package.py makes of a build is deployed as a StackSet deploys it."""

from __future__ import annotations

import base64
import hashlib
import uuid
from pathlib import Path

from sluice_sim.account import REGION
from tests.deploy.deployment import FUNCTIONS
from tests.deploy.server import Server
from tests.examples.test_stackset import package

BUCKET = f"acme-sluice-{REGION}"


def test_an_account_runs_the_packaged_code_out_of_the_bucket_of_its_region(
    server: Server, built: Path, tmp_path: Path
) -> None:
    written = package.package(built / "template.yaml", tmp_path)
    aws, stack = server.aws, f"StackSet-sluice-{uuid.uuid4()}"
    aws("s3", "CreateBucket", Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for path in written.parent.iterdir():
        key = path.relative_to(tmp_path).as_posix()
        aws("s3", "PutObject", Bucket=BUCKET, Key=key, Body=path.read_bytes())
    aws(
        "cloudformation",
        "CreateStack",
        StackName=stack,
        TemplateURL=f"https://{BUCKET}.s3.{REGION}.amazonaws.com/{written.relative_to(tmp_path)}",
        Parameters=[
            {"ParameterKey": "CodeBucket", "ParameterValue": "acme-sluice"},
            {"ParameterKey": "DownstreamGuard", "ParameterValue": "true"},
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    try:
        packaged = {hashlib.sha256(path.read_bytes()).hexdigest() for path in written.parent.glob("*.zip")}
        for function in FUNCTIONS:
            resource = aws(
                "cloudformation", "DescribeStackResource", StackName=stack, LogicalResourceId=function
            )
            name = resource["StackResourceDetail"]["PhysicalResourceId"]
            code = aws("lambda", "GetFunctionConfiguration", FunctionName=name)["CodeSha256"]
            assert base64.b64decode(code).hex() in packaged, function
    finally:
        aws("cloudformation", "DeleteStack", StackName=stack)
