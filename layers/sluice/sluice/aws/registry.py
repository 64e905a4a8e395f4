"""The registered workloads: SSM parameters under one prefix, one document each.

Documents are cached for five minutes, and the last good copy is served while SSM fails. One bad document, or
two that claim one fleet, do not stop the others. Until the registry has been read once, nothing is served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from sluice.aws.concurrent_reads import read_in_time
from sluice.aws.errors import aws_errors
from sluice.core.model import Color, Fleet, Workload
from sluice.document import parsing
from sluice.document.active_color import color_of, draining_of, is_blue_green, with_colors
from sluice.errors import ConfigError, SluiceError, TransientError, attempt, failure_message
from sluice.ports import Registered, RemainingS, first_half

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

CACHE_S = 300
ACTIVE, DRAINING = "active-color", "draining-color"
FIRST = "first-color"
"""The active color before the first switch, from the stack, whose updates may put its value back."""
"""The parameters of a blue/green workload, below its document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Documents:
    """The parameters under the prefix: their texts, the ones that parse, and why the others do not."""

    texts: Mapping[str, str] = field(default_factory=dict)
    parsed: Mapping[str, Workload] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    defects: Mapping[str, Exception] = field(default_factory=dict)
    stale: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Colors:
    """The color that is scaled, and the one whose workers receive no more."""

    active: Color
    draining: Color | None


class SsmRegistry:
    """Implements `ports.Registry`."""

    def __init__(self, client: Callable[[], SSMClient], pool: ThreadPoolExecutor, prefix: str) -> None:
        self._client, self._pool, self._prefix = client, pool, prefix.rstrip("/")
        self._provider: SSMProvider | None = None
        self._last_good: _Documents | None = None

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
        """Every registered workload; while SSM fails or hangs, the last good copy, marked stale."""
        documents = self._documents(remaining_s, fresh=fresh)
        refused = dict(documents.refused)
        for fleet, names in _claims(documents.parsed).items():
            if len(names) > 1:
                refused |= dict.fromkeys(names, _shared(fleet, names))
        served = {name: workload for name, workload in documents.parsed.items() if name not in refused}
        return Registered(
            workloads=tuple(served.values()),
            refused=refused,
            documents={name: documents.texts[name] for name in served},
            defects=documents.defects,
            stale=documents.stale,
        )

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        """One workload, read anew; refused if another workload claims its fleet."""
        workload = self.fresh(name, remaining_s)
        documents = self._documents(remaining_s, fresh=False)
        claims = _claims({**documents.parsed, name: workload})
        for fleet in workload.fleets:
            if len(claims[fleet]) > 1:
                raise ConfigError(_shared(fleet, claims[fleet]))
        return workload

    def fresh(self, name: str, remaining_s: RemainingS) -> Workload:
        """One document, read anew, even if another workload claims its fleet."""
        text = self._read(f"{self._prefix}/{name}", remaining_s)
        if is_blue_green(text):
            colors = self._colors([name], remaining_s)[name]
            if isinstance(colors, SluiceError):
                raise colors
            text = with_colors(text, colors.active, colors.draining)
        return _parsed(name, text)

    def _read(self, path: str, remaining_s: RemainingS) -> str:
        what, parameters = f"GetParameter of {path}", self._parameters()

        def text() -> str:
            with _ssm_errors(what):
                return str(parameters.get(path, force_fetch=True))

        return read_in_time(self._pool, text, what, remaining_s)

    def _documents(self, remaining_s: RemainingS, *, fresh: bool) -> _Documents:
        # Two workloads on one fleet may be a rename in progress: do not serve such a copy for five minutes.
        fresh = fresh or (self._last_good is not None and _are_shared(self._last_good))
        what, parameters = f"GetParametersByPath of {self._prefix}", self._parameters()

        def texts_by_name() -> dict[str, Any]:
            with _ssm_errors(what):
                return parameters.get_multiple(self._prefix, max_age=CACHE_S, force_fetch=fresh)

        # If there is a copy to serve instead, a slow registry may use half of the time only.
        limit_s = remaining_s if self._last_good is None else first_half(remaining_s)
        try:
            found = read_in_time(self._pool, texts_by_name, what, limit_s)
        except SluiceError as failure:
            if self._last_good is None:
                raise
            return replace(self._last_good, stale=str(failure))
        texts = {name: str(found[name]) for name in sorted(found)}
        colors = self._colors([name for name, text in texts.items() if is_blue_green(text)], limit_s)
        for name, found_of in colors.items():
            # Its fleets stay claimed while its color is unknown, whichever of them is the active one.
            of = found_of if isinstance(found_of, _Colors) else _Colors(active=Color.BLUE, draining=None)
            texts[name] = with_colors(texts[name], of.active, of.draining)
        # Parsing a thousand documents anew would take 0.1 s of a core every minute.
        self._last_good = _parse_all(texts, self._last_good or _Documents())
        held = {name: str(why) for name, why in colors.items() if isinstance(why, SluiceError)}
        return replace(self._last_good, refused={**held, **self._last_good.refused})

    def _colors(self, names: Sequence[str], remaining_s: RemainingS) -> dict[str, _Colors | SluiceError]:
        """The two colors of each blue/green workload, read anew, or why the active one is unknown."""
        if not names:
            return {}
        parameters = self._parameters()

        def by_path() -> dict[str, Any]:
            with _ssm_errors(f"GetParameters of the colors of {len(names)} workloads"):
                paths: dict[str, dict[str, Any]] = {
                    f"{self._prefix}/{name}/{color}": {}
                    for name in names
                    for color in (ACTIVE, FIRST, DRAINING)
                }
                return parameters.get_parameters_by_name(paths, max_age=0, raise_on_error=False)

        try:
            found = read_in_time(self._pool, by_path, "GetParameters of colors", remaining_s)
        except SluiceError as failure:
            return dict.fromkeys(names, failure)
        return {
            name: _colors_of(
                name, *(found.get(f"{self._prefix}/{name}/{color}") for color in (ACTIVE, FIRST, DRAINING))
            )
            for name in names
        }

    def _parameters(self) -> SSMProvider:
        if self._provider is None:
            self._provider = SSMProvider(boto3_client=self._client())
        return self._provider


class SliceRegistry:
    """Implements `ports.Registry` for a shard: the documents that its tick sent, read again before an action.

    The tick has checked which workloads claim which fleet. A shard knows only its own slice, so a workload
    whose fleet has changed since is refused until the next tick has checked again.
    """

    def __init__(self, documents: Mapping[str, str], fresh: Callable[[str, RemainingS], Workload]) -> None:
        self._documents, self._fresh = documents, fresh
        self._sliced = _parse_all(documents, _Documents())

    def all(self, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:  # noqa: ARG002 - a slice never changes
        """Every workload of the slice, as the tick read it."""
        return Registered(
            workloads=tuple(self._sliced.parsed.values()),
            refused=self._sliced.refused,
            defects=self._sliced.defects,
            documents=self._documents,
        )

    def one(self, name: str, remaining_s: RemainingS) -> Workload:
        """One workload, read anew; refused if its document names another fleet than before."""
        workload, sliced = self._fresh(name, remaining_s), self._sliced.parsed.get(name)
        if sliced is None or workload.fleets != sliced.fleets:
            raise TransientError(
                f"workload {name} is on {workload.fleet}, but was not when its tick read the registry: "
                "the next tick checks whether another workload claims that fleet"
            )
        return workload


@contextmanager
def _ssm_errors(what: str) -> Iterator[None]:
    """As `aws_errors`, for Powertools, which wraps the AWS error in one of its own."""
    with aws_errors(what):
        try:
            yield
        except GetParameterError as hidden:
            raise hidden.__context__ or hidden from hidden


def _colors_of(
    name: str, switched: str | None, first: str | None, draining: str | None
) -> _Colors | SluiceError:
    """The colors that the parameters name; an error if the active one is missing or invalid."""
    active = first if switched is None else switched
    if active is None:
        return ConfigError(
            f"workload {name} has no SSM parameter with its active color, so it is held: update its stack"
        )
    try:
        color = color_of(active, what=f"workload {name}")
    except SluiceError as invalid:
        return invalid
    return _Colors(active=color, draining=draining_of(draining, color))


def _parsed(name: str, text: str) -> Workload:
    workload = parsing.parse(text, what=f"the document of workload {name}")
    if workload.name != name:
        raise ConfigError(
            f"the document of workload {name} has the name {workload.name!r}: name and parameter must agree"
        )
    return workload


def _parse_all(texts: Mapping[str, str], before: _Documents) -> _Documents:
    """The documents that parse, and why the others do not; an unchanged text is not parsed again."""
    parsed: dict[str, Workload] = {}
    refused: dict[str, str] = {}
    defects: dict[str, Exception] = {}
    for name, text in texts.items():
        if name in before.parsed and before.texts[name] == text:
            parsed[name] = before.parsed[name]
            continue
        outcome = attempt(partial(_parsed, name, text))
        if isinstance(outcome, Workload):
            parsed[name] = outcome
        elif isinstance(outcome, SluiceError):
            refused[name] = str(outcome)
        else:
            refused[name] = f"the document of workload {name}: {failure_message(outcome)}"
            defects[name] = outcome
    return _Documents(texts=texts, parsed=parsed, refused=refused, defects=defects)


def _claims(workloads: Mapping[str, Workload]) -> Mapping[Fleet, list[str]]:
    claims: dict[Fleet, list[str]] = defaultdict(list)
    for name, workload in workloads.items():
        for fleet in workload.fleets:
            claims[fleet].append(name)
    return claims


def _are_shared(documents: _Documents) -> bool:
    return any(len(names) > 1 for names in _claims(documents.parsed).values())


def _shared(fleet: Fleet, names: list[str]) -> str:
    return (
        f"{fleet} is claimed by workloads {' and '.join(names)}: one fleet serves one workload; all are held"
    )
