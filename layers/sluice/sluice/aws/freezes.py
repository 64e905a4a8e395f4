"""AWS's own scaling of a fleet, held and released during a switch between two colors.

A group's process AlarmNotification, the suspended state of a service's scalable target: Sluice's own scale-in
is held by both, as it reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sluice.aws import own_scaling
from sluice.core.held_fields import Fields
from sluice.core.model import Fleet


class AwsFreezes:
    """Implements `ports.Freezes` for both kinds of fleet."""

    def __init__(self, clients: Callable[[str], Any]) -> None:
        self._clients = clients

    def fields(self, fleet: Fleet) -> Fields:
        """DescribeAutoScalingGroups or DescribeScalableTargets."""
        return own_scaling.read_fleet(self._clients, fleet).fields

    def put(self, fleet: Fleet, fields: Fields) -> None:
        """SuspendProcesses, ResumeProcesses or RegisterScalableTarget, if anything changes."""
        for call in own_scaling.read_fleet(self._clients, fleet).changes(fields):
            own_scaling.make(self._clients, call)
