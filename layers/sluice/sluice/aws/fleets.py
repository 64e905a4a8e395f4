"""Both kinds of fleet behind one port, each through its own adapter."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sluice.aws.asg import AutoScalingGroups
from sluice.aws.ecs import EcsServices
from sluice.core.model import AutoScalingGroup, Capacity, EcsService, Fleet, Unknown
from sluice.ports import RemainingS


class AwsFleets:
    """Implements `ports.Fleets` for every kind of fleet."""

    def __init__(self, groups: AutoScalingGroups, services: EcsServices) -> None:
        self._groups, self._services = groups, services

    def read(self, fleets: Collection[Fleet], remaining_s: RemainingS) -> Mapping[Fleet, Capacity | Unknown]:
        """One reading per fleet; a kind without fleets costs no call, and the kinds are read concurrently."""
        groups = [fleet for fleet in fleets if isinstance(fleet, AutoScalingGroup)]
        services = [fleet for fleet in fleets if isinstance(fleet, EcsService)]
        of_groups = self._groups.start_reads(groups) if groups else None
        of_services = self._services.start_reads(services) if services else None
        readings: dict[Fleet, Capacity | Unknown] = {}
        if of_groups:
            readings |= dict(of_groups(remaining_s).items())
        if of_services:
            readings |= dict(of_services(remaining_s).items())
        return readings

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        """Set the desired count through the fleet's own service."""
        if isinstance(fleet, AutoScalingGroup):
            self._groups.set_desired(fleet, instances)
        else:
            self._services.set_desired(fleet, instances)
