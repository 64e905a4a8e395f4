"""What one workload costs in all: its stack, its workers' metrics, and its fleet.

Pure. Stack and metrics are of a month of 730 hours; the fleet is what it cost in the window, for the hours of
which its size is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sluice.core.model import Unknown
from sluice_operator.core.account_bill import BillItem, FleetHours, Sum, together
from sluice_operator.core.monthly_cost import FleetPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadBill:
    """One workload's bill."""

    name: str
    stack: Sequence[BillItem]
    workers: Sequence[BillItem]
    fleet: FleetHours | Unknown
    price: FleetPrice | Unknown
    """Of an instance; Unknown with the reason why no price is known."""
    notes: Sequence[str] = ()

    @property
    def fleet_usd(self) -> float | Unknown:
        """Dollars for the known instance-hours of the window."""
        if isinstance(self.fleet, Unknown):
            return self.fleet
        if isinstance(self.price, Unknown):
            return self.price
        return self.fleet.instance_hours * self.price.usd_per_hour

    @property
    def total(self) -> Sum:
        """All of it; a fleet without dollars, or with hours of which nothing is known, counts as unknown."""
        known = together([*self.stack, *self.workers])
        fleet = self.fleet_usd
        if isinstance(fleet, Unknown):
            return Sum(usd=known.usd, unknown=known.unknown + 1)
        return Sum(usd=known.usd + fleet, unknown=known.unknown)
