"""An account with a control plane, opened for reading: its stack, the layer's adapters, and more clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sluice.ports import Ports
from sluice.wiring import wired
from sluice_operator.aws import control_plane
from sluice_operator.aws.control_plane import ControlPlane
from sluice_operator.aws.decisions import LoggedDecisions
from sluice_operator.session import LIMITS, AwsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a command reads from; nothing of it writes unless a command calls a writing port."""

    plane: ControlPlane
    ports: Ports
    decisions: LoggedDecisions
    clients: Callable[[str], Any]
    """Service -> its client, for what the ports do not read."""


def open_account(session: AwsSession, stack: str) -> Account:
    """Find the control plane that this stack deployed; raises ConfigError or TransientError."""
    clients = session.clients()
    plane = control_plane.find(clients("cloudformation"), stack)
    return Account(
        plane=plane,
        ports=wired(
            session,
            plane.registry_prefix,
            plane.namespace,
            state_table=plane.state_table,
            limits=LIMITS,
        ),
        decisions=LoggedDecisions(clients("logs"), plane.log_groups),
        clients=clients,
    )
