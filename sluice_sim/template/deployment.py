"""Deployments: from an environment of samconfig.toml or a workload document to a resolved workload stack.

The stack holds the workload, the alarms and the scaling policy that `workload.yaml` creates from the
parameters. A document that violates the schema is a ConfigError.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice.core.model import (
    AutoScalingGroup,
    Color,
    Deadline,
    DynamicTarget,
    EcsService,
    StaticTarget,
    SurgeOnAlarms,
    Workload,
)
from sluice.document import parsing
from sluice.document.schedule_lines import written
from sluice_sim import template
from sluice_sim.account import ACCOUNT_ID, REGION, arn, identity
from sluice_sim.template import ResolvedStack
from sluice_sim.template.errors import TemplateError

NAMESPACE = "Sluice"
BOOTSTRAP = arn("lambda", "function:sluice-BootstrapFunction")
SHUTDOWN = arn("lambda", "function:sluice-ShutdownFunction")
SURGE = arn("lambda", "function:sluice-SurgeFunction")
PLANE = "sluice"
EXPORTS = {
    "MetricNamespace": NAMESPACE,
    "RegistryPrefix": "/sluice/workloads",
    "BootstrapFunctionArn": BOOTSTRAP,
    "ShutdownFunctionArn": SHUTDOWN,
    "SurgeFunctionArn": SURGE,
}
"""Exports of a control plane's stack, by output."""


WARNINGS_BEFORE_CRITICAL = {
    "WarningDepthMessages": "CriticalDepthMessages",
    "WarningAgeSeconds": "CriticalAgeSeconds",
}
"""Thresholds in order; a template's Rules compare no numbers."""


class SettingError(ValueError):
    """A setting that cannot be simulated; the message names the place, the value and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One workload as its stack deploys it."""

    root: Path
    """The folder of its `workload.yaml`."""
    parameters: Mapping[str, str]
    """The given parameters."""
    workload: Workload
    stack: ResolvedStack
    defaults: Mapping[str, str]
    """Parameters with the template's default value."""

    def changed(self, **parameters: str) -> Deployed:
        """The same workload with other values of these parameters."""
        return deployed(self.root, {**self.parameters, **parameters})


def resolved(root: Path, parameters: Mapping[str, str]) -> ResolvedStack:
    """Resolve `workload.yaml` with these parameters in the simulated account; raises TemplateError."""
    plane = parameters.get("ControlPlaneStack", PLANE)
    stack_name = f"sluice-{parameters.get('Name', 'workload')}"
    loaded = template.load(root / "workload.yaml")
    stack = template.resolve(
        loaded,
        parameters,
        identity=lambda *about: identity(stack_name, *about),
        imports={f"{plane}-{output}": value for output, value in EXPORTS.items()},
        account_id=ACCOUNT_ID,
        region=REGION,
        stack_name=stack_name,
    )
    defaults = {name: declared.get("Default", "") for name, declared in loaded["Parameters"].items()}
    if problems := list(_out_of_order(defaults | dict(parameters))):
        raise TemplateError(*problems)
    return stack


def _out_of_order(parameters: Mapping[str, str]) -> Iterator[str]:
    for warning, critical in WARNINGS_BEFORE_CRITICAL.items():
        low, high = parameters[warning], parameters[critical]
        if int(low) >= int(high):
            yield f"Parameters.{warning} = '{low}': must be below {critical}, which is {high}"


def registration(stack: ResolvedStack) -> str:
    """The workload document that the stack registers."""
    return str(stack.resources["Registration"].properties["Value"])


def deployed(root: Path, parameters: Mapping[str, str]) -> Deployed:
    """The workload that `workload.yaml` creates from these parameters, always in mode active."""
    declared = template.load(root / "workload.yaml")["Parameters"]
    given = {**parameters, "Mode": "active", "ControlPlaneStack": PLANE}
    stack = resolved(root, given)
    defaults = {
        name: str(parameter["Default"])
        for name, parameter in declared.items()
        if name not in given and parameter.get("Default") not in (None, "")
    }
    return Deployed(
        root=root,
        parameters=given,
        workload=parsing.parse(registration(stack), active=Color.BLUE),
        stack=stack,
        defaults=defaults,
    )


def environments(root: Path) -> dict[str, dict[str, str]]:
    """The workloads of the project's own samconfig.toml; see `environments_of`."""
    return environments_of(root / "samconfig.toml")


def environments_of(samconfig: Path) -> dict[str, dict[str, str]]:
    """The workloads of a samconfig file: environment -> the parameters it deploys `workload.yaml` with.

    Environments that only deploy the same workloads into an emulated AWS (`e2e-...`) are omitted.
    """
    try:
        loaded = tomllib.loads(samconfig.read_text(encoding="utf-8"))
    except OSError as refused:
        raise SettingError(f"{samconfig}: cannot be read: {refused.strerror}") from refused
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise SettingError(f"{samconfig}: not valid TOML: {broken}") from broken
    found = {}
    for name, commands in loaded.items():
        parameters = _table(_table(commands, "deploy"), "parameters")
        template_file = parameters.get("template_file")
        if not isinstance(template_file, str) or Path(template_file).name != "workload.yaml":
            continue
        if not name.startswith("e2e-"):
            place = f"{samconfig}: [{name}.deploy.parameters]: parameter_overrides"
            found[name] = _overrides(place, parameters.get("parameter_overrides", []))
    return found


def _table(parent: object, key: str) -> Mapping[str, object]:
    """The table at `key`; empty if there is something else, as in environments of other templates."""
    child = parent.get(key) if isinstance(parent, dict) else None
    return child if isinstance(child, dict) else {}


def _overrides(place: str, written: object) -> dict[str, str]:
    """parameter_overrides as SAM accepts them: a list of Name=value, or one text."""
    try:
        pairs = shlex.split(written) if isinstance(written, str) else written
    except ValueError as broken:
        raise SettingError(f"{place}: {written!r}: {broken}") from broken
    if not isinstance(pairs, list):
        raise SettingError(f"{place}: {pairs!r}: write a list of Name=value")
    if wrong := [pair for pair in pairs if not isinstance(pair, str) or "=" not in pair]:
        raise SettingError(f"{place}: {wrong[0]!r}: write it as Name=value")
    return dict(pair.split("=", 1) for pair in pairs)


def document_parameters(text: str, *, what: str) -> dict[str, str]:
    """Convert a workload document to parameters of `workload.yaml`."""
    return workload_parameters(parsing.parse(text, what=what, active=Color.BLUE))


def workload_parameters(workload: Workload) -> dict[str, str]:
    """The parameters of `workload.yaml` that register this workload."""
    target, tracking = workload.target, workload.tracking
    size = workload.bootstrap_instances
    parameters = {
        "Name": workload.name,
        "QueueName": workload.queue_name,
        **_fleet_parameters(workload),
        "MinCapacity": str(workload.bounds.min),
        "MaxCapacity": str(workload.bounds.max),
        "BootstrapCapacity": "backlog" if size is None else str(size),
        "CountInFlight": str(workload.count_in_flight).lower(),
        "IdleMinutes": str(workload.idle_minutes),
        "DurationNamespace": workload.duration_metric.namespace,
        "ConcurrencyPerInstance": parameter_text(target.concurrency_per_instance),
        "TrackedMetric": tracking.metric.value,
        "MetricSource": tracking.source.value,
        "ArrivalMargin": parameter_text(tracking.arrival_margin),
        **({"ProcessingSeconds": parameter_text(tracking.processing_s)} if tracking.processing_s else {}),
    }
    # The engine's promise comes last: it replaces that of a dynamic target.
    promised = _deadline_parameters(workload.deadline) if workload.deadline is not None else {}
    scheduled = {f"Schedule{place}": written(each) for place, each in enumerate(workload.schedules, 1)}
    return parameters | _target_parameters(target) | promised | _surge_parameters(workload.surge) | scheduled


def _fleet_parameters(workload: Workload) -> dict[str, str]:
    fleet, *others = workload.fleets if workload.color is not Color.GREEN else reversed(workload.fleets)
    green = others[0] if others else None
    if isinstance(fleet, AutoScalingGroup):
        named = {"FleetType": "asg", "AutoScalingGroupName": fleet.name}
        return named | (
            {"GreenAutoScalingGroupName": green.name} if isinstance(green, AutoScalingGroup) else {}
        )
    named = {"FleetType": "ecs", "ClusterName": fleet.cluster, "ServiceName": fleet.service}
    return named | ({"GreenServiceName": green.service} if isinstance(green, EcsService) else {})


def _target_parameters(target: StaticTarget | DynamicTarget) -> dict[str, str]:
    if not isinstance(target, DynamicTarget):
        return {
            "TargetType": "static",
            "MessagesPerInstance": parameter_text(target.messages_per_instance),
        }
    return {
        "TargetType": "dynamic",
        "AcceptableLatencySeconds": parameter_text(target.acceptable_latency_s),
        "DurationStatistic": target.statistic,
        "MinMessagesPerInstance": parameter_text(target.min_messages_per_instance),
        "MaxMessagesPerInstance": parameter_text(target.max_messages_per_instance),
        "MessagesPerInstance": parameter_text(target.fallback_messages_per_instance),
        "DeadbandRatio": parameter_text(target.deadband_ratio),
        "MaxFactorPerRetune": parameter_text(target.max_factor_per_retune),
        "MinSamples": str(target.min_samples),
    }


def _surge_parameters(surge: SurgeOnAlarms | None) -> dict[str, str]:
    """The alarms are named as `workload.yaml` names them."""
    if surge is None:
        return {}
    kinds = {"DepthAlarms": "-depth-critical", "AgeAlarms": "-age-critical"}
    return {
        "SurgeOnCriticalAlarms": "true",
        "SurgeDrainMinutes": parameter_text(surge.drain_in_s / 60),
        "SurgeHoldMinutes": parameter_text(surge.hold_s / 60),
        **{
            switch: str(any(arn.endswith(end) for arn in surge.alarm_arns)).lower()
            for switch, end in kinds.items()
        },
    }


def _deadline_parameters(deadline: Deadline) -> dict[str, str]:
    return {
        "Scaling": "deadline",
        "AcceptableLatencySeconds": parameter_text(deadline.promise_s),
        "PromisePercent": parameter_text(deadline.promise_percent),
        "TickSeconds": str(deadline.tick_s),
        "BootSeconds": parameter_text(deadline.boot_s),
        "MarginSeconds": parameter_text(deadline.margin_s),
        "BusyInstances": deadline.busy_instances.value,
    }


def parameter_text(number: float) -> str:
    """A number as a value of a stack parameter: at most six decimals, without zeros at the end."""
    return f"{number:.6f}".rstrip("0").rstrip(".") or "0"
