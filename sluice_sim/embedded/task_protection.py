"""The tasks of the embedded services, and which of them are protected from scale-in; moto knows neither.

As at AWS, a task that has ended is a failure of GetTaskProtection, with the reason MISSING.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moto.ecs.responses import EC2ContainerServiceResponse

from sluice_sim.account import arn
from sluice_sim.embedded.fleet import EmbeddedFleet, Instance
from sluice_sim.embedded.operations import Parameters, answered, page

MAX_RESULTS = 100


@contextmanager
def simulated_tasks(fleets: Callable[[], dict[str, EmbeddedFleet]]) -> Iterator[None]:
    """Within the context, ListTasks and GetTaskProtection are answered of these fleets, by resource id."""

    def tasks(cluster: str) -> dict[str, tuple[str, Instance]]:
        """ARN -> service and instance of every task of the cluster."""
        return {
            arn("ecs", f"task/{cluster}/{instance.task_id}"): (service, instance)
            for resource_id, fleet in fleets().items()
            for _, of, service in [resource_id.split("/")]
            if of == cluster
            for instance in fleet.instances
        }

    def list_tasks(asked: Parameters) -> object:
        found = [
            task
            for task, (service, _) in tasks(asked["cluster"]).items()
            if asked.get("serviceName", service) == service
        ]
        some, token = page(found, asked.get("maxResults", MAX_RESULTS), asked.get("nextToken"), "nextToken")
        return {"taskArns": some, **token}

    def get_task_protection(asked: Parameters) -> object:
        known = tasks(asked["cluster"])
        return {
            "protectedTasks": [
                {"taskArn": task, "protectionEnabled": known[task][1].protected}
                for task in asked["tasks"]
                if task in known
            ],
            "failures": [{"arn": task, "reason": "MISSING"} for task in asked["tasks"] if task not in known],
        }

    with answered(
        EC2ContainerServiceResponse, list_tasks=list_tasks, get_task_protection=get_task_protection
    ):
        yield
