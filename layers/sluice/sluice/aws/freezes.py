"""AWS's own scaling of a fleet, held and released during a switch between two colors.

A group's process AlarmNotification, its policy's DisableScaleIn, the suspended state of a service's scalable
target. Sluice's own scale-in heeds the first and the last, as it reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sluice.aws import own_scaling
from sluice.core.held_fields import Fields
from sluice.core.model import ColoredFleet
from sluice.errors import TransientError


class AwsFreezes:
    """Implements `ports.Freezes` for both kinds of fleet."""

    def __init__(self, clients: Callable[[str], Any]) -> None:
        self._clients = clients

    def fields(self, colored: ColoredFleet) -> Fields:
        """DescribeAutoScalingGroups and DescribePolicies, or DescribeScalableTargets."""
        return self._read(colored).fields

    def put(self, colored: ColoredFleet, fields: Fields) -> None:
        """SuspendProcesses, ResumeProcesses, PutScalingPolicy or RegisterScalableTarget, if it changes."""
        for call in self._read(colored).changes(fields):
            own_scaling.make(self._clients, call)

    def _read(self, colored: ColoredFleet) -> own_scaling.OwnScaling:
        scaling = own_scaling.read_fleet(self._clients, colored.fleet, colored.policy_arn)
        if not scaling.fields:
            # An answer without it would otherwise pass for nothing to hold, or nothing to put back.
            raise TransientError(
                f"AWS names no scalable target of {colored.fleet}, so nothing of it can be held or released: "
                "try again, and if it was deleted, register it again (CreateScalableTarget of workload.yaml)"
            )
        return scaling
