"""Service Quotas of the embedded account: what the control plane may reach. moto knows VPC's alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException
from moto.servicequotas.responses import ServiceQuotasResponse

from sluice_sim.account import arn
from sluice_sim.embedded.operations import Parameters, answered, page

MAX_RESULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One quota of a service in a region, with AWS's default."""

    service: str
    code: str
    name: str
    default: float


CONCURRENCY = Quota(service="lambda", code="L-B99A9384", name="Concurrent executions", default=1000)
ALARMS = Quota(service="monitoring", code="L-2FF78D7B", name="Number of CloudWatch alarms", default=5000)
QUOTAS = (CONCURRENCY, ALARMS)
DEFAULTS = {quota.code: quota.default for quota in QUOTAS}


class NoSuchResourceError(ServiceException):
    """A quota that does not exist, or that has no value other than the default."""

    code = "NoSuchResourceException"
    message = "The request failed because the specified quota or service does not exist."


class ServiceQuotas:
    """The quotas that were applied to the account, in place of AWS's defaults."""

    def __init__(self) -> None:
        self.applied: dict[str, float] = {CONCURRENCY.code: CONCURRENCY.default}
        """By the quota's code. Only these are retrieved by GetServiceQuota (documented)."""

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, quotas are answered here."""
        with answered(
            ServiceQuotasResponse,
            get_service_quota=lambda asked: {"Quota": self._described(_asked(asked), self.applied)},
            get_aws_default_service_quota=lambda asked: {"Quota": self._described(_asked(asked), DEFAULTS)},
            list_service_quotas=self._list,
        ):
            yield

    def _list(self, asked: Parameters) -> object:
        found = [
            self._described(quota, self.applied)
            for quota in QUOTAS
            if quota.service == asked["ServiceCode"] and quota.code in self.applied
        ]
        some, token = page(found, asked.get("MaxResults", MAX_RESULTS), asked.get("NextToken"))
        return {"Quotas": some, **token}

    def _described(self, quota: Quota, values: Mapping[str, float]) -> dict[str, Any]:
        if quota.code not in values:
            raise NoSuchResourceError
        return {
            "ServiceCode": quota.service,
            "QuotaCode": quota.code,
            "QuotaArn": arn("servicequotas", f"{quota.service}/{quota.code}"),
            "QuotaName": quota.name,
            "Value": values[quota.code],
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def _asked(asked: Parameters) -> Quota:
    for quota in QUOTAS:
        if (quota.service, quota.code) == (asked["ServiceCode"], asked["QuotaCode"]):
            return quota
    raise NoSuchResourceError
