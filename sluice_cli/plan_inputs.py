"""Types of options that have a unit, where a number alone is refused, and of the fleet and its price."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from sluice_cli.usage_errors import UsageError
from sluice_operator.core.hardware import FargateTasks, fargate_usd_per_hour
from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import Prices

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
RATES_S = {"s": 1.0, "min": 60.0, "hour": 3600.0, "day": 86_400.0}
NUMBER = r"[0-9]{1,15}(?:[.][0-9]{1,9})?"


class Written(click.ParamType):
    """An option whose text a function reads, from the option's name and the text; it raises UsageError."""

    def __init__(self, name: str, read: Callable[[str, str], Any]) -> None:
        self.name, self._read = name, read

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> Any:
        """What the text says; click also passes on what was converted before."""
        if not isinstance(value, str):
            return value
        return self._read(param.opts[0] if param is not None else "", value.strip())


def duration_between(shortest_s: float, longest_s: float) -> Written:
    """`2s`, `500ms`, `1m30s` or `7d`, as seconds within a range."""

    def read(option: str, text: str) -> float:
        if _is_number(text):
            raise UsageError(
                f"{option} {text}: give the unit, such as {text}s or {text}ms; there are ms, s, m, h and d"
            )
        if not re.fullmatch(rf"(?:{NUMBER}(?:ms|[smhd]))+", text, re.ASCII):
            raise UsageError(f"{option} {text}: not a duration: write it as 500ms, 2s, 1m30s, 3h or 7d")
        parts = re.findall(rf"({NUMBER})(ms|[smhd])", text)
        seconds = sum(float(number) * UNITS_S[unit] for number, unit in parts)
        if not shortest_s <= seconds <= longest_s:
            raise UsageError(f"{option} {text}: give between {_short(shortest_s)} and {_short(longest_s)}")
        return seconds

    return Written("DURATION", read)


def _rate(option: str, text: str) -> float:
    text = text.replace("_", "")
    if _is_number(text):
        raise UsageError(
            f"{option} {text}: give the time in which they arrive, such as {text}/day; there are "
            f"/{', /'.join(RATES_S)}"
        )
    number, _, unit = text.partition("/")
    if not re.fullmatch(NUMBER, number, re.ASCII) or unit not in RATES_S:
        raise UsageError(f"{option} {text}: not a rate: write it as 7/s, 420/min, 25000/hour or 600000/day")
    return float(number) / RATES_S[unit]


RATE = Written("N/UNIT", _rate)
"""`600000/day`, as messages a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetKind:
    """What instances or tasks are made of."""

    label: str
    fleet_type: str
    """Of workload.yaml: asg or ecs."""
    instance_type: str | None = None
    vcpu: float = 0.0
    memory_gb: float = 0.0
    architecture: str = "arm64"

    def price(self, prices: Prices) -> FleetPrice:
        """What one costs; UsageError if the table has no price for it."""
        if self.instance_type is None:
            tasks = FargateTasks(vcpu=self.vcpu, memory_gb=self.memory_gb, architecture=self.architecture)
            return FleetPrice(label=self.label, usd_per_hour=fargate_usd_per_hour(tasks, prices))
        usd_per_hour = prices.ec2_hour.get(self.instance_type)
        if usd_per_hour is None:
            raise UsageError(
                f"--fleet ec2:{self.instance_type}: the {prices} have no such type: give --price, its "
                "dollars an hour, or run `sluice plan --refresh-prices "
                f"--fleet ec2:{self.instance_type}`; there are {', '.join(sorted(prices.ec2_hour))}"
            )
        return FleetPrice(label=self.label, usd_per_hour=usd_per_hour)


def fleet_price(fleet: FleetKind | None, usd_per_hour: float | None, prices: Prices) -> FleetPrice | None:
    """What an instance costs: the user's own price before that of the table; None if neither is given."""
    if usd_per_hour is not None:
        label = fleet.label if fleet is not None else "instances at your own price"
        return FleetPrice(label=label, usd_per_hour=usd_per_hour)
    return fleet.price(prices) if fleet is not None else None


FARGATE_MEMORY_GB = {
    0.25: (0.5, 2), 0.5: (1, 4), 1: (2, 8), 2: (4, 16), 4: (8, 30), 8: (16, 60), 16: (32, 120),
}  # fmt: skip
"""vCPU -> the least and the most memory of a task (AWS Fargate, "Task CPU and memory")."""


def _fleet(option: str, text: str) -> FleetKind:
    if found := re.fullmatch(r"ec2:([a-z][a-z0-9-]{0,15}[.][a-z0-9-]{1,15})", text, re.ASCII):
        return FleetKind(label=found[1], fleet_type="asg", instance_type=found[1])
    sizes = rf"fargate:({NUMBER})vcpu,({NUMBER})gb(?:,(arm64|x86_64))?"
    if not (found := re.fullmatch(sizes, text, re.ASCII)):
        raise UsageError(
            f"{option} {text}: write it as ec2:c7g.large, fargate:0.25vcpu,0.5gb or "
            "fargate:1vcpu,2gb,x86_64 (without an architecture: arm64)"
        )
    vcpu, memory_gb, architecture = float(found[1]), float(found[2]), found[3] or "arm64"
    _require_fargate_size(f"{option} {text}", vcpu, memory_gb)
    label = f"Fargate tasks, {vcpu:g} vCPU, {memory_gb:g} GB, {architecture}"
    return FleetKind(label=label, fleet_type="ecs", vcpu=vcpu, memory_gb=memory_gb, architecture=architecture)


FLEET = Written("KIND:SIZE", _fleet)
"""`ec2:c7g.large`, or `fargate:0.25vcpu,0.5gb` with `,x86_64` unless it is arm64."""


def _require_fargate_size(given: str, vcpu: float, memory_gb: float) -> None:
    if vcpu not in FARGATE_MEMORY_GB:
        known = ", ".join(f"{size:g}" for size in FARGATE_MEMORY_GB)
        raise UsageError(f"{given}: Fargate has no such number of vCPUs: there are {known}")
    least, most = FARGATE_MEMORY_GB[vcpu]
    if not least <= memory_gb <= most:
        raise UsageError(f"{given}: with {vcpu:g} vCPU a task has {least:g} to {most:g} GB")


def _queue_name(option: str, text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,80}|[a-zA-Z0-9_-]{1,75}[.]fifo", text, re.ASCII):
        raise UsageError(
            f"{option} {text!r}: give the queue's name, not its URL or ARN: 1 to 80 letters, digits, hyphens "
            "or underscores, with .fifo at the end if it is a FIFO queue"
        )
    return text


QUEUE_NAME = Written("NAME", _queue_name)
"""The name of a queue."""


def positive_up_to(largest: float) -> Written:
    """A finite number above 0, up to a limit."""

    def read(option: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number <= largest:
            raise UsageError(f"{option} {text}: give a number above 0, {largest:,g} at most")
        return number

    return Written("NUMBER", read)


def _is_number(text: str) -> bool:
    return re.fullmatch(NUMBER, text, re.ASCII) is not None


def _short(seconds: float) -> str:
    """In the largest unit that gives a whole number, or in seconds."""
    whole = [
        f"{seconds / size:g}{unit}"
        for unit, size in UNITS_S.items()
        if seconds >= size and (seconds / size).is_integer()
    ]
    return whole[-1] if whole else f"{seconds:g}s"
