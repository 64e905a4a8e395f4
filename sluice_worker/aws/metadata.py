"""The instance metadata service, version 2."""

from __future__ import annotations

import os

import urllib3
from urllib3.exceptions import HTTPError

from sluice.errors import TransientError

ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""As the SDKs name it, for tests and proxies."""
ENDPOINT = "http://169.254.169.254"
DISABLED_VARIABLE = "AWS_EC2_METADATA_DISABLED"
"""As the SDKs name it: if it is true, in any case of letters, the service is not called."""
TOKEN_TTL_S = 300
OK, NOT_FOUND = 200, 404


def is_disabled() -> bool:
    """Whether the environment turns the service off."""
    return os.environ.get(DISABLED_VARIABLE, "").lower() == "true"


class InstanceMetadata:
    """Reads from the service, each with a new token (IMDSv2)."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = (endpoint or os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT).rstrip("/")
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(2), retries=False)

    def get(self, path: str) -> str | None:
        """The value at `/latest/meta-data/PATH`, or None; TransientError if the service fails."""
        token = self._ask(
            "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
        )
        return self._ask("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": token or ""})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        try:
            answer = self._http.request(method, self._endpoint + path, headers=headers)
        except HTTPError as unreachable:
            raise TransientError(f"instance metadata at {self._endpoint}: {unreachable}") from unreachable
        if answer.status == NOT_FOUND:
            return None
        if answer.status != OK:
            raise TransientError(f"instance metadata at {self._endpoint}{path}: HTTP {answer.status}")
        return answer.data.decode()
