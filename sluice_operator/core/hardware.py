"""What the instances of a fleet are, and what one costs an hour by the table of list prices.

Pure. On-demand prices: Spot, Savings Plans and reserved instances are not in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.core.model import Unknown
from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import Item, Prices

FARGATE = {
    "arm64": (Item.FARGATE_ARM64_VCPU_HOUR, Item.FARGATE_ARM64_GB_HOUR),
    "x86_64": (Item.FARGATE_X86_64_VCPU_HOUR, Item.FARGATE_X86_64_GB_HOUR),
}
"""Architecture -> the items that a task is billed by."""
GIVE = "give --fleet or --price"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Instances:
    """The instance types that a group runs, or would start."""

    types: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FargateTasks:
    """The size of a service's tasks."""

    vcpu: float
    memory_gb: float
    architecture: str

    def __str__(self) -> str:
        return f"Fargate tasks, {self.vcpu:g} vCPU, {self.memory_gb:g} GB, {self.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """Instances that were read, and of which the table has no price."""

    reason: str


Hardware = Ec2Instances | FargateTasks | Unpriced


def fargate_usd_per_hour(tasks: FargateTasks, prices: Prices) -> float:
    """Dollars an hour for one task."""
    vcpu, memory = FARGATE[tasks.architecture]
    return tasks.vcpu * prices.of(vcpu) + tasks.memory_gb * prices.of(memory)


def price_of(hardware: Hardware | Unknown, prices: Prices) -> FleetPrice | Unknown:
    """What one instance costs an hour; Unknown with the reason, and what to give instead."""
    if isinstance(hardware, Unknown | Unpriced):
        return Unknown(reason=f"{hardware.reason}: {GIVE}")
    if isinstance(hardware, FargateTasks):
        return FleetPrice(label=f"{hardware}", usd_per_hour=fargate_usd_per_hour(hardware, prices))
    types = sorted(set(hardware.types))
    if not types:
        return Unknown(reason=f"the group names no instance type: {GIVE}")
    if len(types) > 1:
        return Unknown(reason=f"the group has several instance types ({', '.join(types)}): {GIVE}")
    usd_per_hour = prices.ec2_hour.get(types[0])
    if usd_per_hour is None:
        return Unknown(reason=f"the {prices} have no {types[0]}: {GIVE}")
    return FleetPrice(label=f"{types[0]}, on demand", usd_per_hour=usd_per_hour)
