"""Reads what is known of the two colors of blue/green workloads, for the checks of `sluice doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from sluice.aws.concurrent_reads import batches
from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field
from sluice.core.held_fields import Holds
from sluice.core.model import Capacity, Unknown, Workload
from sluice.core.switch_record import Switch
from sluice.errors import SluiceError
from sluice.ports import RemainingS
from sluice_operator.account import Account
from sluice_operator.aws import executions

NAMES_PER_CALL = 10
"""Parameters that one GetParameters reads."""


class ColorFacts(TypedDict):
    """The facts about two colors, as `Facts` names them."""

    switch: Switch | Unknown | None
    switch_runs: bool | Unknown
    draining: str | Unknown
    idle_capacity: Capacity | Unknown | None
    registry_prefix: str


def read_colors(
    account: Account,
    workloads: Sequence[Workload],
    holds: Mapping[str, Holds | Unknown],
    remaining_s: RemainingS,
) -> Mapping[str, ColorFacts]:
    """The facts by the workload's name; of a single fleet nothing is read."""
    prefix = account.plane.registry_prefix
    pairs = {workload.name: workload.idle for workload in workloads if workload.idle is not None}
    capacities = account.ports.fleets.read({of.fleet for of in pairs.values()}, remaining_s) if pairs else {}
    draining = _draining(account.clients("ssm"), prefix, list(pairs)) if pairs else {}
    found = {}
    for workload in workloads:
        held, idle = holds[workload.name], pairs.get(workload.name)
        switch = held if isinstance(held, Unknown) else held.switch
        found[workload.name] = ColorFacts(
            switch=switch,
            switch_runs=_runs(account, switch) if isinstance(switch, Switch) else False,
            draining=draining.get(workload.name, "none"),
            idle_capacity=capacities[idle.fleet] if idle is not None else None,
            registry_prefix=prefix,
        )
    return found


def _runs(account: Account, switch: Switch) -> bool | Unknown:
    try:
        return executions.runs(account.clients("stepfunctions"), switch.execution)
    except SluiceError as failure:
        return Unknown(reason=str(failure))


def _draining(client: Any, prefix: str, names: Sequence[str]) -> dict[str, str | Unknown]:
    """The color of each whose workers receive no more, or `none`."""
    paths = {f"{prefix}/{name}/draining-color": name for name in names}
    found: dict[str, str | Unknown] = {}
    try:
        with aws_errors("GetParameters of draining colors"):
            for some in batches(list(paths), NAMES_PER_CALL):
                for parameter in list_field(client.get_parameters(Names=list(some)), "Parameters"):
                    found[paths[field(parameter, "Name")]] = field(parameter, "Value")
    except SluiceError as failure:
        return dict.fromkeys(names, Unknown(reason=str(failure)))
    absent = Unknown(reason="the parameter draining-color is missing: update the workload's stack")
    return {name: found.get(name, absent) for name in names}
