"""Fleets whose sizes AWS does not count in instances.

Sluice counts a desired count, a bound and a backlog per instance in instances. With instance weights AWS
counts capacity units instead: if an instance weighs 4, a maximum of 8 allows two instances.
"""

from __future__ import annotations

from sluice.core.model import Capacity, Workload


def why_not_served(workload: Workload, capacity: Capacity) -> str:
    """Why nothing is published or decided for a fleet with `unsupported_units`, and how to change that."""
    return (
        f"{workload.fleet} counts its sizes in capacity units, not in instances "
        f"({', '.join(capacity.unsupported_units)}), which is not supported: set every WeightedCapacity to 1 "
        "or remove it, and set DesiredCapacityType to units or remove it; then set the group's sizes in "
        "instances. Instances that were launched with a weight keep it until they are replaced"
    )
