"""How `sluice plan` is printed, and its JSON; docs/schemas/plan.json describes that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sluice_cli.plan_environment import messages_per_instance
from sluice_operator.core.demand import Demand
from sluice_operator.core.engine_choice import Scaling
from sluice_operator.core.monthly_cost import FleetPrice, LambdaCost, Line
from sluice_operator.core.planning import Plan
from sluice_operator.core.prices import Prices
from sluice_report.quantities import duration, number, share

DAY_S = 86_400.0
NONE = "-"
INDENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A plan, what it was made for, and its cost."""

    demand: Demand
    plan: Plan
    prices: Prices
    own_prices: bool
    """Whether the prices are the user's own file."""
    lines: Sequence[Line]
    once: float | None
    """Dollars, once, for the backlog; None without one, or without a price of the fleet."""
    fleet: FleetPrice | None
    on_lambda: LambdaCost
    parameters: Mapping[str, str]
    """Of workload.yaml."""
    name: str
    is_named: bool
    """False while the names of queue and fleet are placeholders."""
    notes: Sequence[str]

    @property
    def together(self) -> float:
        """Dollars a month."""
        return sum(line.usd for line in self.lines)


Row = tuple[str, str, str]
"""Name, value, and why it is so."""


def shown(report: Report) -> Group:
    """The plan as tables."""
    parts: list[RenderableType] = []
    for title, rows in (
        ("Instances", _sizes(report)),
        ("Settings", _settings(report)),
        (f"Cost a month, {report.prices}", _costs(report)),
    ):
        parts += [Text(title, style="bold"), _table([*rows])]
    return Group(*(part for each in parts for part in _spaced(each)))


def sentences(report: Report) -> list[Text]:
    """What cannot be kept, and what to know besides."""
    return [
        *(Text(f"Cannot be kept: {each}", style="bold red") for each in report.plan.shortfalls),
        *(Text(f"{each}.", style="dim") for each in report.notes),
    ]


def _spaced(part: RenderableType) -> Sequence[RenderableType]:
    return (part, Text("")) if isinstance(part, Padding) else (part,)


def asked(demand: Demand, plan: Plan) -> str:
    """The demand in a sentence."""
    busy = f"{number(round(plan.load_instances, 2))} instances are busy on average"
    arriving = f"{number(round(demand.arrivals.per_s * DAY_S))} messages a day"
    backlog = f", {number(demand.backlog)} wait" if demand.backlog else ""
    return (
        f"{arriving}{backlog}; {duration(demand.processing_s)} each, {demand.concurrency} at a time: {busy}; "
        f"{demand.promise_percent:g} % start within {duration(demand.promise_s)}."
    )


def _table(rows: Sequence[Row]) -> Padding:
    """Names, values and reasons; a reason that does not fit beside its value stands below it."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for name, value, because in rows:
        table.add_row(name, Text(value, style="bold"), because)
    return Padding(table, (0, 0, 0, INDENT))


def _sizes(report: Report) -> Iterator[Row]:
    plan, demand = report.plan, report.demand
    late = "" if plan.late_share < 1e-6 else f"; {share(plan.late_share)} start late"
    yield (
        "steady load",
        f"{plan.steady}",
        f"load + {plan.safety_factor:.2g} x sqrt(load), Erlang C{late}",
    )
    free = (
        f"{demand.promise_percent:g} % find a free slot: about load + {plan.at_once_factor:.2g} x sqrt(load)"
    )
    yield "to start at once", f"{plan.at_once}", free
    if plan.busiest is not None:
        yield "busiest time", f"{plan.busiest}", "the most that any part of the trace needs to start in time"
    if demand.drain_within_s is not None:
        value = NONE if plan.draining is None else f"{plan.draining}"
        yield f"drain in {duration(demand.drain_within_s)}", value, _fluid(demand, demand.drain_within_s)
    if demand.backlog:
        yield "drained by", _after(plan.drained_by_steady_s), f"the {plan.steady} of the steady load"
        yield "drained by", _after(plan.drained_by_maximum_s), f"the maximum of {plan.maximum}"
    yield "average of a month", f"{plan.mean_instances:.3g}", "that follow the load, without the backlog"


def _fluid(demand: Demand, within_s: float) -> str:
    total = demand.backlog + demand.arrivals.per_s * within_s
    return f"{number(round(total))} messages by then, {number(round(total / within_s * DAY_S))} a day"


def _after(seconds: float) -> str:
    return "never" if math.isinf(seconds) else duration(seconds)


def _settings(report: Report) -> Iterator[Row]:
    plan, demand = report.plan, report.demand
    yield "Scaling", plan.scaling.value, plan.scaling_because
    yield "MessagesPerInstance", messages_per_instance(plan.target), _target_because(plan, demand)
    yield "MinCapacity", f"{plan.minimum}", "held all the time" if plan.minimum else "from zero"
    yield "MaxCapacity", f"{plan.maximum}", "as given" if demand.maximum else "the most of the above"
    if plan.scaling is Scaling.TARGET_TRACKING:
        because = "as many as the backlog needs; for the present one "
        yield "BootstrapCapacity", "backlog", because + f"{plan.bootstrap}"
    else:
        yield "started from zero", f"{plan.bootstrap}", "for the present backlog; the engine decides itself"
    yield "IdleMinutes", f"{plan.idle_minutes}", "as long as a boot costs, 5 at least"
    yield (
        "visibility timeout",
        f"{plan.visibility_timeout_s} s",
        f"of the queue: twice the longest processing time, {duration(round(demand.assumed_longest_s, 3))}",
    )


def _target_because(plan: Plan, demand: Demand) -> str:
    of_promise = f"{number(plan.target_of_promise)} where instances run already"
    if plan.scaling is Scaling.DEADLINE:
        return f"what an instance launched now starts in time, without effect; {of_promise}"
    left = demand.promise_s - plan.start_s
    if left <= 0:
        left = demand.promise_s
    return f"{left:g} s left after a start x {demand.concurrency} / {demand.processing_s:g} s; {of_promise}"


def _costs(report: Report) -> Iterator[Row]:
    for line in report.lines:
        yield line.item, dollars(line.usd), line.because
    as_of = report.prices.as_of.isoformat()
    if report.fleet is None:
        yield "without the fleet", dollars(report.together), f"prices of {as_of}; --fleet adds its cost"
    else:
        yield "together", dollars(report.together), f"prices of {as_of}"
    if report.once is not None:
        yield "once, for the backlog", dollars(report.once), f"prices of {as_of}: its instance-hours"
    function = report.on_lambda
    because = function.impossible or function.because
    value = NONE if function.impossible else dollars(function.usd)
    yield "Lambda instead", value, f"prices of {as_of}: {because}"


def dollars(usd: float) -> str:
    """An amount, in cents."""
    return f"${usd:,.2f}"


def as_json(report: Report) -> dict[str, Any]:
    """The plan as one object; times in seconds, money in dollars a month."""
    plan, demand = report.plan, report.demand
    return {
        "demand": {
            "arrivals_per_day": demand.arrivals.per_s * DAY_S,
            "intervals": len(demand.arrivals.counts),
            "backlog": demand.backlog,
            "processing_s": demand.processing_s,
            "processing_cv": demand.processing_cv,
            "longest_s": demand.assumed_longest_s,
            "concurrency": demand.concurrency,
            "promise_s": demand.promise_s,
            "promise_percent": demand.promise_percent,
            "boot_s": demand.boot_s,
            "drain_within_s": demand.drain_within_s,
        },
        "instances": {
            "load": plan.load_instances,
            "steady": plan.steady,
            "at_once": plan.at_once,
            "safety_factor": plan.safety_factor,
            "late_share": plan.late_share,
            "busiest": plan.busiest,
            "draining": plan.draining,
            "drained_by_steady_s": _finite(plan.drained_by_steady_s),
            "drained_by_maximum_s": _finite(plan.drained_by_maximum_s),
            "mean": plan.mean_instances,
        },
        "settings": {
            "scaling": plan.scaling.value,
            "because": plan.scaling_because,
            "start_s": plan.start_s,
            "messages_per_instance": plan.target,
            "messages_per_instance_of_promise": plan.target_of_promise,
            "minimum": plan.minimum,
            "maximum": plan.maximum,
            "bootstrap": plan.bootstrap,
            "idle_minutes": plan.idle_minutes,
            "cold_share": plan.cold_share,
            "visibility_timeout_s": plan.visibility_timeout_s,
        },
        "parameters": dict(report.parameters),
        "cost": {
            "prices": {"region": report.prices.region, "as_of": report.prices.as_of.isoformat()},
            "usd_per_month": report.together,
            "includes_fleet": report.fleet is not None,
            "items": [{"item": each.item, "usd": each.usd, "because": each.because} for each in report.lines],
            "usd_once_for_backlog": report.once,
            "lambda": {
                "usd_per_month": None if report.on_lambda.impossible else report.on_lambda.usd,
                "gb_seconds": report.on_lambda.gb_seconds,
                "impossible": report.on_lambda.impossible,
            },
        },
        "is_kept": not plan.shortfalls,
        "shortfalls": [
            {"problem": each.problem, "ways_out": list(each.ways_out)} for each in plan.shortfalls
        ],
        "notes": list(report.notes),
    }


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds
