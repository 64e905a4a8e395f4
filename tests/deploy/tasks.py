"""The tasks of the embedded services and their protection from scale-in; moto has neither.

A service has as many tasks as it desires. A group's instance refreshes are answered here too: there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from moto.autoscaling.responses import AutoScalingResponse
from moto.ecs.models import ecs_backends
from moto.ecs.responses import EC2ContainerServiceResponse

from sluice_sim.account import ACCOUNT_ID, REGION, arn
from sluice_sim.embedded.operations import Parameters, answered


@dataclass(slots=True)
class Tasks:
    """Service -> how many of its tasks are protected; the tests set it."""

    protected: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, these operations of both services are answered here."""
        with ExitStack() as contexts:
            contexts.enter_context(
                answered(
                    EC2ContainerServiceResponse,
                    list_tasks=self._list_tasks,
                    get_task_protection=self._get_task_protection,
                )
            )
            none = {"InstanceRefreshes": []}
            contexts.enter_context(answered(AutoScalingResponse, describe_instance_refreshes=lambda _: none))
            yield

    def _list_tasks(self, asked: Parameters) -> object:
        service = asked["serviceName"]
        (found,) = [
            each
            for each in ecs_backends[ACCOUNT_ID][REGION].services.values()
            if (each.cluster_name, each.name) == (asked["cluster"], service)
        ]
        named = (f"task/{asked['cluster']}/{service}.{number}" for number in range(found.desired_count))
        return {"taskArns": [arn("ecs", task) for task in named]}

    def _get_task_protection(self, asked: Parameters) -> object:
        told = []
        for task in asked["tasks"]:
            service, number = task.rsplit("/", 1)[-1].rsplit(".", 1)
            is_protected = int(number) < self.protected.get(service, 0)
            told.append({"taskArn": task, "protectionEnabled": is_protected})
        return {"protectedTasks": told, "failures": []}
