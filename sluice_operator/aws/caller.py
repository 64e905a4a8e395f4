"""Who calls AWS: whoever reads the credentials of the command."""

from __future__ import annotations

from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import field


def arn(client: Any) -> str:
    """The caller's ARN, which STS tells everybody; raises SluiceError if it does not."""
    with aws_errors("GetCallerIdentity"):
        found: str = field(client.get_caller_identity(), "Arn")
    return found
