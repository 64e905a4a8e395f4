"""Service Quotas of the embedded AWS answers as AWS does: a default only if nothing was applied."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.quotas import ALARMS, CONCURRENCY, Quota
from tests.sim.embedded.test_embedded import ROOT


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as account:
        yield account


def applied(quota: Quota) -> float:
    client = boto3.client("service-quotas")
    answer = client.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
    return float(answer["Quota"]["Value"])


def default(quota: Quota) -> float:
    client = boto3.client("service-quotas")
    answer = client.get_aws_default_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
    return float(answer["Quota"]["Value"])


def test_a_quota_that_was_never_changed_has_a_default_alone(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        applied(ALARMS)
    assert default(ALARMS) == 5000


def test_an_applied_quota_stands_beside_its_default(aws: EmbeddedAws) -> None:
    aws.quotas.applied[ALARMS.code] = 6000
    assert (applied(ALARMS), default(ALARMS)) == (6000, 5000)
    aws.quotas.applied[CONCURRENCY.code] = 10
    assert (applied(CONCURRENCY), default(CONCURRENCY)) == (10, 1000)


def test_the_applied_quotas_of_a_service_are_listed(aws: EmbeddedAws) -> None:
    client = boto3.client("service-quotas")
    listed = client.list_service_quotas(ServiceCode="lambda")["Quotas"]
    assert [(quota["QuotaName"], quota["Value"]) for quota in listed] == [("Concurrent executions", 1000)]
    assert client.list_service_quotas(ServiceCode="monitoring")["Quotas"] == []


def test_an_unknown_quota_is_refused(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        default(Quota(service="lambda", code=ALARMS.code, name="", default=0))
