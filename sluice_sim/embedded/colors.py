"""The fleets of a deployed workload: one, or blue and green on one queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moto.ssm.models import ssm_backends

from sluice.core.model import AutoScalingGroup, EcsService, Fleet
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.fleet import EmbeddedFleet
from sluice_sim.embedded.worker_protocol import Worker

ONE_AFTER_THE_OTHER_S = (0.0, 2.0, 4.0, 1.0, 3.0)
"""When the workers of two colors poll first, so that both get messages."""
REGISTRY = "/sluice/workloads"


def fleets_of(deployed: Mapping[str, str]) -> dict[str, Fleet]:
    """Color -> fleet of the parameters of a workload's stack; blue alone for one with a single fleet."""
    if deployed.get("FleetType", "asg") == "asg":
        names = {
            "blue": deployed["AutoScalingGroupName"],
            "green": deployed.get("GreenAutoScalingGroupName", ""),
        }
        return {color: AutoScalingGroup(name=name) for color, name in names.items() if name}
    names = {"blue": deployed["ServiceName"], "green": deployed.get("GreenServiceName", "")}
    return {
        color: EcsService(cluster=deployed["ClusterName"], service=name)
        for color, name in names.items()
        if name
    }


def create_fleet(
    aws: EmbeddedAws,
    fleet: Fleet,
    *,
    minimum: int,
    maximum: int,
    boot_s: float,
    start: Callable[[], Worker],
) -> tuple[str, EmbeddedFleet]:
    """Create the fleet at its minimum; returns the name by which AWS scales it, and the fleet."""
    if isinstance(fleet, EcsService):
        service = aws.create_service(fleet.cluster, fleet.service, boot_s=boot_s, start=start)
        return f"service/{fleet.cluster}/{fleet.service}", service
    group = aws.create_group(fleet.name, minimum=minimum, maximum=maximum, boot_s=boot_s, start=start)
    return fleet.name, group


def receives(workload: str, color: str) -> bool:
    """Whether the workers of this color may receive: the workload's second parameter does not name it."""
    return _told(workload, "draining-color") != color


def active(workload: str) -> str:
    """The color that is scaled; blue for a workload with a single fleet."""
    return _told(workload, "active-color") or _told(workload, "first-color") or "blue"


def _told(workload: str, parameter: str) -> str | None:
    told = ssm_backends[ACCOUNT_ID][REGION].get_parameter(f"{REGISTRY}/{workload}/{parameter}")
    return None if told is None else str(told.value)
