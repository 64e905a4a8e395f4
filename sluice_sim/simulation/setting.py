"""What is simulated: a workload as its stack would be deployed, the messages that come, how workers are.

Owns the way from an environment of samconfig.toml, or from a workload document, to the workload, alarms and
policy that `workload.yaml` makes of it. Refuses a document the schema refuses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice import config
from sluice.core.model import AutoScalingGroup, DynamicTarget, Workload
from sluice_sim import template
from sluice_sim.account import ACCOUNT_ID, REGION, arn, identity
from sluice_sim.template import ResolvedStack

NAMESPACE = "Sluice"
BOOTSTRAP = arn("lambda", "function:sluice-BootstrapFunction")
SHUTDOWN = arn("lambda", "function:sluice-ShutdownFunction")
EXPORTS = {
    "sluice-MetricNamespace": NAMESPACE,
    "sluice-RegistryPrefix": "/sluice/workloads",
    "sluice-BootstrapFunctionArn": BOOTSTRAP,
    "sluice-ShutdownFunctionArn": SHUTDOWN,
}


class SettingError(ValueError):
    """Something a person asked for that cannot be simulated; the message says where, what and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One workload as its stack leaves it."""

    workload: Workload
    stack: ResolvedStack
    defaults: Mapping[str, str]
    """Parameters that took the template's default."""


def deployed(root: Path, parameters: Mapping[str, str]) -> Deployed:
    """The workload that `workload.yaml` makes of these parameters, in mode active whatever they say."""
    loaded = template.load(root / "workload.yaml")
    given = {**parameters, "Mode": "active", "ControlPlaneStack": "sluice"}
    stack_name = f"sluice-{given.get('Name', 'workload')}"
    stack = template.resolve(
        loaded,
        given,
        identity=lambda *about: identity(stack_name, *about),
        imports=EXPORTS,
        account_id=ACCOUNT_ID,
        region=REGION,
        stack_name=stack_name,
    )
    defaults = {
        name: str(parameter["Default"])
        for name, parameter in loaded["Parameters"].items()
        if name not in given and parameter.get("Default") not in (None, "")
    }
    workload = config.parse(stack.resources["Registration"].properties["Value"])
    return Deployed(workload=workload, stack=stack, defaults=defaults)


def environments(root: Path) -> dict[str, dict[str, str]]:
    """The workloads of samconfig.toml: environment -> the parameters it deploys `workload.yaml` with.

    The environments that only deploy the same workloads into an embedded AWS (`e2e-...`) are left out.
    """
    loaded = tomllib.loads((root / "samconfig.toml").read_text(encoding="utf-8"))
    found = {}
    for name, commands in loaded.items():
        parameters = commands.get("deploy", {}).get("parameters", {}) if isinstance(commands, dict) else {}
        if parameters.get("template_file") == "workload.yaml" and not name.startswith("e2e-"):
            overrides = parameters.get("parameter_overrides", [])
            found[name] = dict(override.split("=", 1) for override in overrides)
    return found


def document_parameters(text: str, *, what: str) -> dict[str, str]:
    """A workload document as parameters of `workload.yaml`."""
    workload = config.parse(text, what=what)
    fleet, target = workload.fleet, workload.target
    if isinstance(fleet, AutoScalingGroup):
        named = {"FleetType": "asg", "AutoScalingGroupName": fleet.name}
    else:
        named = {"FleetType": "ecs", "ClusterName": fleet.cluster, "ServiceName": fleet.service}
    size = workload.bootstrap_instances
    parameters = {
        "Name": workload.name,
        "QueueName": workload.queue_name,
        **named,
        "MinCapacity": str(workload.bounds.min),
        "MaxCapacity": str(workload.bounds.max),
        "BootstrapCapacity": "backlog" if size is None else str(size),
        "CountInFlight": str(workload.count_in_flight).lower(),
        "IdleMinutes": str(workload.idle_minutes),
        "DurationNamespace": workload.duration_metric.namespace,
    }
    if not isinstance(target, DynamicTarget):
        return parameters | {
            "TargetType": "static",
            "MessagesPerInstance": _text(target.messages_per_instance),
        }
    return parameters | {
        "TargetType": "dynamic",
        "AcceptableLatencySeconds": _text(target.acceptable_latency_s),
        "ConcurrencyPerInstance": _text(target.concurrency_per_instance),
        "DurationStatistic": target.statistic,
        "MinMessagesPerInstance": _text(target.min_messages_per_instance),
        "MaxMessagesPerInstance": _text(target.max_messages_per_instance),
        "MessagesPerInstance": _text(target.fallback_messages_per_instance),
        "DeadbandRatio": _text(target.deadband_ratio),
        "MaxFactorPerRetune": _text(target.max_factor_per_retune),
        "MinSamples": str(target.min_samples),
    }


def _text(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")
