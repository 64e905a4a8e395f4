"""The control planes of several profiles and regions, each read for itself: one that fails hides no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sluice.errors import ConfigError, SluiceError
from sluice_cli.aws_account import AccountOptions
from sluice_cli.usage_errors import UsageError
from sluice_operator.account import Account, open_account
from sluice_operator.aws import control_plane, regions
from sluice_operator.aws.control_plane import NoControlPlaneError
from sluice_operator.session import AwsSession

ANY = "*"
"""In the name of a stack: the control planes of a stack set have an id of their own behind its name."""
AT_A_TIME = 8
"""Control planes that are read beside each other; each takes a few threads more."""

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a control plane may be: a region, as one profile reaches it."""

    profile: str | None
    """As it was given; None for the caller's usual credentials."""
    region: str
    session: AwsSession

    def __str__(self) -> str:
        return f"{self.profile}, {self.region}" if self.profile else self.region


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPlace:
    """A region, or all of a profile's, of which nothing is known, and why."""

    profile: str | None
    region: str | None
    reason: str

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.profile, self.region or "all regions")))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPlane:
    """A control plane that was found."""

    place: Place
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """What the profiles and regions have."""

    opened: Sequence[OpenedPlane]
    absent: Sequence[Place]
    """Without a stack of the control plane's name."""
    unknown: Sequence[UnknownPlace]


def are_several(options: AccountOptions, *, all_regions: bool) -> bool:
    """Whether the options name more than one account, region or stack."""
    several = any("," in (option or "") for option in (options.profile, options.region))
    return all_regions or several or ANY in options.stack


def find(options: AccountOptions, *, all_regions: bool, on_step: Callable[[str], None]) -> Planes:
    """Open each control plane of the profiles and regions; a second profile of the same one is left out.

    Raises ConfigError for a profile that does not exist or has no region, and UsageError if no region has a
    control plane although all of them could be read.
    """
    if all_regions and options.region:
        raise UsageError("--all-regions reads every enabled region: leave --region out, or name some by it")
    places, unknown = _places(options, all_regions=all_regions)
    on_step(f"looking for the control planes of {len(places)} regions")
    opened: dict[str, OpenedPlane] = {}
    absent: list[Place] = []
    for place, found in each(places, partial(_opened, stack=options.stack)):
        planes = [found] if isinstance(found, str) else found
        if not planes:
            absent.append(place)
        for plane in planes:
            if isinstance(plane, Account):
                opened.setdefault(plane.plane.stack_arn, OpenedPlane(place=place, account=plane))
            else:
                unknown.append(UnknownPlace(profile=place.profile, region=place.region, reason=plane))
    if not opened and not unknown:
        raise UsageError(
            f"no control plane: CloudFormation finds no stack {options.stack} in any of {len(absent)} "
            "regions: give --profile of its account, or --stack if it was deployed under another name"
        )
    return Planes(opened=[*opened.values()], absent=absent, unknown=unknown)


def _places(options: AccountOptions, *, all_regions: bool) -> tuple[list[Place], list[UnknownPlace]]:
    """The regions of each profile; one without credentials, or whose regions cannot be read, is unknown."""
    places: list[Place] = []
    unknown: list[UnknownPlace] = []
    named = _names(options.region, "--region")
    for profile in _names(options.profile, "--profile"):
        session = _session(profile, named[0], options.endpoint_url)
        try:
            home = session.in_region(session.region)
            names = regions.enabled(home.clients()("ec2")) if all_regions else named
        except SluiceError as failure:
            unknown.append(UnknownPlace(profile=profile, region=None, reason=str(failure)))
            continue
        for region in (name or home.region for name in names):
            places.append(Place(profile=profile, region=region, session=home.in_region(region)))
    return places, unknown


def each(items: Sequence[Item], read: Callable[[Item], Found]) -> list[tuple[Item, Found | str]]:
    """What `read` finds of each, some at a time, or the reason of its failure."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(zip(items, pool.map(partial(_or_reason, read), items), strict=True))


def _or_reason(read: Callable[[Item], Found], item: Item) -> Found | str:
    try:
        return read(item)
    except SluiceError as failure:
        return str(failure)


def _names(given: str | None, option: str) -> Sequence[str | None]:
    """The names between the commas, each once; None alone if the option was not given."""
    if given is None:
        return [None]
    names = [name.strip() for name in given.split(",")]
    if not all(names):
        raise UsageError(f"{option} {given}: an empty name beside a comma; separate names by single commas")
    return list(dict.fromkeys(names))


def _session(profile: str | None, region: str | None, endpoint_url: str | None) -> AwsSession:
    """In the profile's own region, where a role is assumed: a region that is named may refuse everything."""
    with suppress(ConfigError):
        return AwsSession(profile=profile, endpoint_url=endpoint_url)
    return AwsSession(profile=profile, region=region, endpoint_url=endpoint_url)


def _opened(place: Place, stack: str) -> Sequence[Account | str]:
    """The control planes of this name, or of this pattern; the reason for one that cannot be opened."""
    if ANY in stack:
        names = control_plane.stack_names(place.session.clients()("cloudformation"), stack)
        return [_or_reason(partial(open_account, place.session), name) for name in names]
    try:
        return [open_account(place.session, stack)]
    except NoControlPlaneError:
        return []
