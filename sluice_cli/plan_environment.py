"""A plan as parameters of workload.yaml: what `--write` writes, and what its stacks would be billed for."""

from __future__ import annotations

from collections.abc import Mapping

from sluice_cli.workloads import CHECKOUT
from sluice_operator.core.demand import LARGEST_MARGIN_S, Demand
from sluice_operator.core.engine_choice import Scaling
from sluice_operator.core.monthly_cost import Stacks
from sluice_operator.core.planning import Plan
from sluice_sim import template
from sluice_sim.template import deployment
from sluice_sim.template.deployment import parameter_text

AGE_ALARM_S = (60, 1_209_600)
DEFAULT_AGE_ALARM_S = 900
"""Of a static target, in workload.yaml."""
AGES_PER_PROMISE = 3
OF_A_DYNAMIC_TARGET = (
    "DurationStatistic",
    "MinMessagesPerInstance",
    "MaxMessagesPerInstance",
    "DeadbandRatio",
    "MaxFactorPerRetune",
    "MinSamples",
)


def named(name: str, fleet_type: str) -> dict[str, str]:
    """The parameters that name a workload's queue and fleet, all of them `name`."""
    fleet = (
        {"AutoScalingGroupName": name} if fleet_type == "asg" else {"ClusterName": name, "ServiceName": name}
    )
    return {"Name": name, "QueueName": name, "FleetType": fleet_type, **fleet}


def parameters(plan: Plan, demand: Demand, base: Mapping[str, str]) -> dict[str, str]:
    """The planned parameters, over those of the environment or of the names.

    They are checked as `sluice validate` does: SettingError, TemplateError or ConfigError.
    """
    kept = {name: value for name, value in base.items() if name not in OF_A_DYNAMIC_TARGET}
    planned = {
        "MinCapacity": str(plan.minimum),
        "MaxCapacity": str(plan.maximum),
        "ConcurrencyPerInstance": str(demand.concurrency),
        "ProcessingSeconds": parameter_text(max(demand.processing_s, 0.000001)),
        "IdleMinutes": str(plan.idle_minutes),
        "Scaling": plan.scaling.value,
        **_by_engine(plan, demand, base.get("FleetType", "asg")),
    }
    made = kept | planned
    deployment.deployed(CHECKOUT, made)
    return made


def _by_engine(plan: Plan, demand: Demand, fleet_type: str) -> dict[str, str]:
    boot_s = str(max(round(demand.boot_s), 1))
    if plan.scaling is Scaling.DEADLINE:
        margin_s = demand.deadline.margin_s
        return {
            "AcceptableLatencySeconds": parameter_text(demand.promise_s),
            "PromisePercent": f"{demand.promise_percent:g}",
            "BootSeconds": boot_s,
            **({} if margin_s == LARGEST_MARGIN_S else {"MarginSeconds": f"{margin_s:g}"}),
        }
    return {
        "TargetType": "static",
        "MessagesPerInstance": messages_per_instance(plan.target),
        "BootstrapCapacity": "backlog",
        **({"InstanceWarmupSeconds": boot_s} if fleet_type == "asg" else {}),
        **_age_alarm(demand),
    }


def messages_per_instance(target: float) -> str:
    """The target as a parameter: rounded down, to whole messages from ten on."""
    return str(int(target)) if target >= 10 else parameter_text(max(int(target * 100) / 100, 0.01))


def _age_alarm(demand: Demand) -> dict[str, str]:
    """The alarm on the oldest message shall not ring while the promise, or the time to drain, is kept."""
    age_s = round(max(AGES_PER_PROMISE * demand.promise_s, demand.drain_within_s or 0))
    if age_s <= DEFAULT_AGE_ALARM_S:
        return {}
    return {"OldestMessageAgeSeconds": str(min(max(age_s, AGE_ALARM_S[0]), AGE_ALARM_S[1]))}


def stacks(made: Mapping[str, str]) -> Stacks:
    """What the workload's stack and the control plane's create that is billed by the month."""
    resources = deployment.deployed(CHECKOUT, made).stack.resources.values()
    plane = template.load(CHECKOUT / "template.yaml")["Resources"].values()
    return Stacks(
        workload_alarms=[one.properties for one in resources if one.type == ALARM],
        policies=[one.properties for one in resources if one.type.endswith("::ScalingPolicy")],
        # Those with a condition come with a parameter that is off by default.
        plane_alarms=[one["Properties"] for one in plane if one["Type"] == ALARM and "Condition" not in one],
        is_fifo=made["QueueName"].endswith(".fifo"),
    )


ALARM = "AWS::CloudWatch::Alarm"
