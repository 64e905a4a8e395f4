"""`sluice status` of several control planes: one below the other, then those that are missing or unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Group
from rich.text import Text

from sluice.errors import ConfigError
from sluice_cli import status_json, status_tables, status_view
from sluice_cli.aws_account import AccountOptions, of_another_release
from sluice_cli.several_planes import OpenedPlane, Place, Planes, UnknownPlace, each, find
from sluice_cli.status_view import View
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.status import NotRegisteredError

MAX_ABSENT = 4
"""Regions without a control plane that are named; more are counted."""

Read = Callable[[Sequence[str]], "Several"]
"""Reads these workloads of every control plane that has them, or all without names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """What one reading of the control planes has found."""

    read: Sequence[tuple[OpenedPlane, View]]
    unknown: Sequence[UnknownPlace]
    """Those that were not found out, or could not be read."""
    absent: Sequence[Place]

    @property
    def ok(self) -> bool:
        """Whether everything is known and nothing is wrong."""
        return not self.unknown and all(view.ok for _, view in self.read)


def reader(options: AccountOptions, on_step: Callable[[str], None], *, all_regions: bool) -> Read:
    """Find the control planes; returns how to read them, again and again."""
    planes = find(options, all_regions=all_regions, on_step=on_step)
    for plane in planes.opened:
        if note := of_another_release(plane.account.plane.release):
            click.echo(f"{plane.place}: {note}", err=True)
    readers = [(plane, status_view.reader(plane.account, on_step)) for plane in planes.opened]

    def read(names: Sequence[str]) -> Several:
        views: list[tuple[OpenedPlane, View]] = []
        unknown = list(planes.unknown)
        for (plane, _), view in each(readers, lambda one: _of_those_registered(one[1], names)):
            if isinstance(view, View):
                views.append((plane, view))
            elif view is not None:
                place = plane.place
                unknown.append(UnknownPlace(profile=place.profile, region=place.region, reason=view))
        if not unknown:
            _require_registered(names, views, planes)
        return Several(read=views, unknown=unknown, absent=planes.absent)

    return read


def _of_those_registered(read: status_view.Read, names: Sequence[str]) -> View | None:
    """The view of the names that this control plane has; None if it has none of them."""
    try:
        return read(names)
    except NotRegisteredError as missing:
        here = [name for name in names if name in missing.known]
        return read(here) if here else None


def _require_registered(
    names: Sequence[str], views: Sequence[tuple[OpenedPlane, View]], planes: Planes
) -> None:
    """Raise ConfigError for a name that no control plane has; one that is unknown may have it."""
    registered = {workload.name for _, view in views for workload in view.workloads}
    for name in names:
        if name not in registered:
            places = "; ".join(str(plane.place) for plane in planes.opened)
            raise ConfigError(
                f"{name}: no such workload is registered in {places}: without a name all are listed"
            )


def tables(found: Several, width: int) -> Group:
    """Each control plane under its heading, then what is missing, and a line about all."""
    parts: list[Group | Text] = []
    for plane, view in found.read:
        place, account = plane.place, plane.account.plane.account_id
        parts += [
            Text(f"{place} (account {account})", style="bold underline"),
            _plane(view, found, width),
            Text(""),
        ]
    for unknown in found.unknown:
        reason = with_way_out(unknown.reason, "status")
        parts.append(Text(f"? {unknown}: {reason}", style=status_tables.UNKNOWN_STYLE))
    if found.absent:
        where = "; ".join(map(str, found.absent))
        if len(found.absent) > MAX_ABSENT:
            where = f"{len(found.absent)} other regions: --json names them"
        parts.append(Text(f"No control plane in {where}.", style="dim"))
    return Group(*parts, _summary(found))


def _plane(view: View, found: Several, width: int) -> Group:
    """In detail if it is all that was asked for."""
    if view.events is not None and len(found.read) == 1:
        return status_tables.detail(view.workloads[0], view.events, view.at)
    return status_tables.overview(view.workloads, view.at, width)


def _summary(found: Several) -> Text:
    workloads = [workload for _, view in found.read for workload in view.workloads]
    wrong = sum(workload.wrong for workload in workloads)
    counted = [_counted(len(found.read), "control plane"), _counted(len(workloads), "workload")]
    if found.ok:
        return Text(f"{', '.join(counted)}: nothing is wrong.")
    if wrong:
        counted.append(f"{wrong:,} with a condition that is wrong")
    if found.unknown:
        counted.append(f"{_counted(len(found.unknown), 'place')} unknown")
    return Text(f"{', '.join(counted)}.", style=status_tables.WRONG_STYLE)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def document(found: Several) -> dict[str, Any]:
    """What docs/schemas/status-of-several.json describes."""
    return {
        "ok": found.ok,
        "planes": [
            {
                "profile": plane.place.profile,
                "region": plane.place.region,
                "account": plane.account.plane.account_id,
                **status_json.document(view, plane.account.plane.stack),
            }
            for plane, view in found.read
        ],
        "unknown": [
            {"profile": place.profile, "region": place.region, "reason": place.reason}
            for place in found.unknown
        ],
        "absent": [{"profile": place.profile, "region": place.region} for place in found.absent],
    }
