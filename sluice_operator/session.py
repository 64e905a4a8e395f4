"""The caller's AWS session: profile, region and endpoint by the usual AWS chain, or as given."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from functools import cache
from threading import Lock
from typing import Any

import boto3
import botocore.session
from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError, ProfileNotFound

from sluice.aws.clients import client
from sluice.errors import ConfigError
from sluice.wiring import READERS, TimeLimits

INVOKE_READ_S = 70
"""A function that is invoked answers within its timeout of a minute."""
LIMITS = TimeLimits(connect_s=5, read_s=20, attempts=3, reserve_s=0)


class AwsSession:
    """Makes clients, and is what `sluice.wiring` takes for a boto3.Session.

    Raises ConfigError if the AWS configuration has no region, names an unknown profile or cannot be read.
    """

    def __init__(
        self, *, profile: str | None = None, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        try:
            # boto3 is the only AWS SDK that ignores AWS_REGION.
            self._session = boto3.Session(
                profile_name=profile, region_name=region or os.environ.get("AWS_REGION") or None
            )
            if not self._session.region_name:  # botocore would take an empty AWS_DEFAULT_REGION as a region
                raise NoRegionError
        except (BotoCoreError, ValueError) as error:
            raise _misconfigured(error) from error
        self.region: str = self._session.region_name
        self._endpoint_url = endpoint_url
        self._one_at_a_time = Lock()

    def in_region(self, region: str) -> AwsSession:
        """The same session for another region: its credentials are read, and a role is assumed, only once.

        Raises ConfigError if there are no credentials.
        """
        try:
            # Before any client exists: botocore assumes a role in the region of the first one, and that
            # region may refuse every call.
            credentials = self._session.get_credentials()
        except (BotoCoreError, ValueError) as error:
            raise _misconfigured(error) from error
        if credentials is None:
            raise ConfigError(f"the profile {self._session.profile_name}: {NoCredentialsError()}")
        other = copy(self)
        other.region = region
        return other

    def client(self, service: str, **settings: Any) -> Any:
        """As `boto3.Session.client`, at this session's endpoint."""
        try:
            with self._one_at_a_time:  # boto3's sessions are not safe for threads; their clients are
                return self._session.client(  # type: ignore[call-overload]
                    service, region_name=self.region, endpoint_url=self._endpoint_url, **settings
                )
        except (BotoCoreError, ValueError) as error:  # ValueError: endpoints and numbers in the environment
            raise _misconfigured(error) from error

    def clients(self) -> Callable[[str], Any]:
        """Clients that parse every field of AWS's answers, one of each service."""

        def make(service: str) -> Any:
            return client(
                self,
                service,
                read={},
                connect_timeout=LIMITS.connect_s,
                read_timeout=INVOKE_READ_S if service == "lambda" else LIMITS.read_s,
                max_pool_connections=READERS,
                retries={"mode": "standard", "total_max_attempts": LIMITS.attempts},
            )

        return cache(make)


def _misconfigured(error: Exception) -> ConfigError:
    problem = f"your AWS configuration: {str(error).rstrip('.')}"
    if isinstance(error, ProfileNotFound):
        known = ", ".join(botocore.session.Session().available_profiles) or "none"
        return ConfigError(f"{problem}; --profile and AWS_PROFILE take one of your profiles ({known})")
    if "endpoint" in str(error):
        return ConfigError(
            f"{problem}; --endpoint-url and AWS_ENDPOINT_URL take a URL: http://127.0.0.1:4566"
        )
    if isinstance(error, NoRegionError):
        return ConfigError(f"{problem}; give --region, or set AWS_REGION and AWS_PROFILE")
    return ConfigError(f"{problem}; look at your AWS_... variables and your AWS configuration file")
