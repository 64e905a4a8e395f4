"""CloudWatch dashboards: a body's widgets, and the metrics and expressions that each of them asks for.

Pure. Reads metric, alarm and log widgets, as far as this project's templates use them. What CloudWatch would
refuse, or what is not played here (the shorthand "." and "...", SEARCH, other widgets and properties), is a
DashboardError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice_sim.aws_rules import metric_math
from sluice_sim.aws_rules.alarms import MetricQuery

COLUMNS = 24
MAX_WIDGETS = 500
MAX_METRICS = 500
"""In one widget, expressions included (documented)."""
MAX_ALARMS = 100
WIDGET = {"type", "x", "y", "width", "height", "properties"}
PROPERTIES = {
    "metric": {"title", "region", "view", "stacked", "period", "stat", "yAxis", "metrics", "annotations"},
    "alarm": {"title", "alarms"},
    "log": {"title", "region", "view", "query"},
}
OPTIONS = {"id", "label", "period", "stat", "visible", "expression"}


class DashboardError(ValueError):
    """A body that CloudWatch refuses, or that is not played here; says which part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A metric, or an expression over others of the same widget."""

    id: str
    label: str
    visible: bool
    period_s: int
    metric: MetricQuery | None
    expression: str
    """Empty for a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A horizontal line."""

    label: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """One widget in the grid of 24 columns."""

    kind: str
    title: str
    x: int
    y: int
    width: int
    height: int
    stacked: bool = False
    lines: tuple[Line, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    alarms: tuple[str, ...] = ()
    """ARNs."""
    log_groups: tuple[str, ...] = ()
    query: str = ""
    """Of Logs Insights, without its sources."""


def widgets(body: str) -> tuple[Widget, ...]:
    """The widgets of a dashboard's body."""
    try:
        listed = json.loads(body)["widgets"]
    except (ValueError, KeyError, TypeError) as error:
        raise DashboardError(f"the body is no JSON object with widgets: {error}") from error
    if not 0 < len(listed) <= MAX_WIDGETS:
        raise DashboardError(f"{len(listed)} widgets; CloudWatch takes 1 to {MAX_WIDGETS}")
    return tuple(_widget(each) for each in listed)


def _widget(body: Mapping[str, Any]) -> Widget:
    kind, properties = body["type"], body["properties"]
    title = properties["title"]
    if kind not in PROPERTIES:
        raise DashboardError(f"{title}: widgets of type {kind} are not played")
    if unknown := (body.keys() - WIDGET) | (properties.keys() - PROPERTIES[kind]):
        raise DashboardError(f"{title}: {', '.join(sorted(unknown))} is not played")
    x, y, width, height = (body[side] for side in ("x", "y", "width", "height"))
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > COLUMNS:
        raise DashboardError(f"{title}: x {x} and width {width} leave the grid of {COLUMNS} columns")
    content: dict[str, Any] = {
        "metric": _metrics,
        "alarm": _alarms,
        "log": _log,
    }[kind](title, properties)
    return Widget(kind=kind, title=title, x=x, y=y, width=width, height=height, **content)


def _metrics(title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    entries = properties["metrics"]
    if not 0 < len(entries) <= MAX_METRICS:
        raise DashboardError(f"{title}: {len(entries)} metrics; CloudWatch takes 1 to {MAX_METRICS}")
    lines = tuple(_line(title, entry, properties) for entry in entries)
    ids = [line.id for line in lines]
    if len(set(ids)) < len(ids):
        raise DashboardError(f"{title}: an id occurs twice in {', '.join(ids)}")
    for line in lines:
        if line.expression and (unknown := metric_math.parse(line.expression).ids - set(ids)):
            raise DashboardError(f"{title}: {line.expression} reads {', '.join(unknown)}, which is no id")
    horizontal = properties.get("annotations", {}).get("horizontal", [])
    return {
        "stacked": properties["stacked"],
        "lines": lines,
        "annotations": tuple(
            Annotation(label=each["label"], value=float(each["value"])) for each in horizontal
        ),
    }


def _line(title: str, entry: Sequence[Any], widget: Mapping[str, Any]) -> Line:
    *named, options = entry
    if unknown := options.keys() - OPTIONS:
        raise DashboardError(f"{title}: {', '.join(sorted(unknown))} of a metric is not played")
    period_s, metric = int(options.get("period", widget["period"])), None
    if named:
        if any(part in (".", "...") for part in named) or len(named) < 2 or len(named) % 2:
            raise DashboardError(f"{title}: {named} is not namespace, name and pairs of a dimension")
        metric = MetricQuery(
            id=options["id"],
            namespace=named[0],
            name=named[1],
            dimensions=tuple(zip(named[2::2], named[3::2], strict=True)),
            stat=options.get("stat", widget["stat"]),
            period_s=period_s,
        )
    return Line(
        id=options["id"],
        label=options.get("label", options["id"]),
        visible=options.get("visible", True),
        period_s=period_s,
        metric=metric,
        expression="" if named else options["expression"],
    )


def _alarms(title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    arns = properties["alarms"]
    if not 0 < len(arns) <= MAX_ALARMS:
        raise DashboardError(f"{title}: {len(arns)} alarms; CloudWatch takes 1 to {MAX_ALARMS}")
    return {"alarms": tuple(arns)}


def _log(_title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    commands = [command.strip() for command in properties["query"].split("|")]
    sources = tuple(_sources(commands))
    return {"log_groups": sources, "query": " | ".join(commands[len(sources) :])}


def _sources(commands: Sequence[str]) -> Iterator[str]:
    for command in commands:
        if not command.startswith("SOURCE "):
            return
        yield command.removeprefix("SOURCE ").strip("'\" ")
