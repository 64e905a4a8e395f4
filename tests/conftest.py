"""What every test shares: an environment that can reach no real account, and one hypothesis profile."""

from collections.abc import Iterator
from functools import cache

import pytest
from botocore import session
from hypothesis import settings

# Derandomized, so that the gate answers the same twice; `--hypothesis-profile=explore` looks further.
settings.register_profile("sluice", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("sluice")

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SLUICE_REGISTRY_PREFIX": "/sluice/workloads",
    "SLUICE_METRIC_NAMESPACE": "Sluice",
    "POWERTOOLS_METRICS_NAMESPACE": "Sluice/ControlPlane",
    "POWERTOOLS_SERVICE_NAME": "tests",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}


@pytest.fixture(autouse=True, scope="session")
def _no_real_account() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_loader() -> Iterator[None]:
    """Every boto3 session shares the services' models: to read them takes most of making a client."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", cache(session.create_loader))
        yield
