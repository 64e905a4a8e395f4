"""Reads the costs of a control plane and its workloads, in as few calls as AWS allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sluice.core.model import Unknown
from sluice.errors import ConfigError
from sluice.ports import RemainingS, SeriesQuery
from sluice.wiring import READERS
from sluice_operator.account import Account
from sluice_operator.aws import billed_resources
from sluice_operator.core.account_usage import Amounts, PlaneUsage, Window
from sluice_operator.core.conditions import refused
from sluice_operator.cost import plane, workloads
from sluice_operator.cost.reads import Reads, hourly, total, window_of
from sluice_operator.cost.workloads import WorkloadCost
from sluice_operator.status import chosen_names

CALLS = ("PutMetricData", "GetMetricData")
"""Those that are billed, and that AWS/Usage counts for the whole account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What was read of the account."""

    at: datetime
    window: Window
    region: str
    plane: PlaneUsage | None
    """None if one workload alone was asked for."""
    workloads: tuple[WorkloadCost, ...]
    account_calls: Amounts
    """Calls in the window by any caller of the account; empty if the control plane was not asked for."""


def read_costs(
    account: Account,
    names: Sequence[str],
    remaining_s: RemainingS,
    *,
    with_plane: bool = False,
    with_workloads: bool = True,
    with_hardware: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> Costs:
    """These workloads, or all without names; raises ConfigError for a name that is not registered."""
    on_step("reading the registry")
    registered = account.ports.registry.all(remaining_s, fresh=True)
    chosen = chosen_names(registered, names)
    served = [each for each in registered.workloads if with_workloads and each.name in chosen]
    known = {*registered.refused, *(each.name for each in registered.workloads)}
    cloudformation = account.clients("cloudformation")
    deployed = billed_resources.stack(cloudformation, account.plane.stack)
    if deployed is None:
        raise ConfigError(f"the stack {account.plane.stack} was deleted while it was read")
    now, region = account.ports.now(), cloudformation.meta.region_name
    window = window_of(now, deployed.created_at)
    pool = ThreadPoolExecutor(READERS)
    try:
        reads = Reads(account=account, pool=pool, remaining_s=remaining_s)
        on_step(f"reading the stacks and alarms of {len(served)} workloads")
        plane_begun = plane.begin(reads, deployed) if with_plane else None
        workloads_begun = workloads.begin(reads, served, with_hardware=with_hardware) if served else None
        of_plane = plane_begun() if plane_begun else None
        of_workloads = workloads_begun() if workloads_begun else None
        found = workloads.attributed(reads, of_workloads, served, known) if of_workloads else []
        wanted: dict[str, SeriesQuery] = workloads.queries(found)
        if of_plane:
            wanted |= plane.queries(of_plane)
            wanted |= {
                call: hourly(
                    "AWS/Usage",
                    "CallCount",
                    "Sum",
                    Service="CloudWatch",
                    Type="API",
                    Resource=call,
                    Class="None",
                )
                for call in CALLS
            }
        on_step(f"reading {len(wanted):,} metrics of the last 30 days")
        series = reads.series(wanted, window)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    costs = workloads.costs(of_workloads, found, series, window, region) if of_workloads else []
    costs += [
        _refused(name, "; ".join(each.message for each in refused(registered.refused[name]) if each.wrong))
        for name in chosen
        if with_workloads and name in registered.refused
    ]
    return Costs(
        at=now,
        window=window,
        region=region,
        plane=plane.usage(of_plane, series, window, registered.workloads, len(known)) if of_plane else None,
        workloads=tuple(sorted(costs, key=lambda each: each.name)),
        account_calls={call: total(series[call]) for call in CALLS if series.get(call)},
    )


def _refused(name: str, reason: str) -> WorkloadCost:
    unknown = Unknown(reason=reason)
    return WorkloadCost(name=name, usage=None, fleet=unknown, hardware=unknown, notes=(reason,))
