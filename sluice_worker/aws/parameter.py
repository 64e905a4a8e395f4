"""A parameter of Systems Manager Parameter Store, read by GetParameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from sluice.aws.errors import aws_errors

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def client(region: str | None = None) -> SSMClient:
    """A client that gives up soon and retries nothing: the reader asks again anyway."""
    return boto3.client(
        "ssm",
        region_name=region,
        config=Config(
            connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1}
        ),
    )


class SsmParameter:
    """Implements `ports.Parameter`."""

    def __init__(self, client: SSMClient, name: str) -> None:
        self._client, self.name = client, name

    def value(self) -> str:
        """The current value."""
        with aws_errors(f"reading the parameter {self.name}"):
            return self._client.get_parameter(Name=self.name)["Parameter"]["Value"]
