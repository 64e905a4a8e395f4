"""The engine's memory as bytes, under 1 KB for a promise and a boot of 300 s, and back.

Times are whole tenths of a second before the reading, messages are tenths and rates thousandths; JSON,
compressed. Whatever cannot be trusted raises ValueError with the reason: a truncated text, another version, a
number that is not finite, negative or too large, a time after the reading.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

from sluice.core.deadline.floor import CLASSES
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import Arrivals, BootSamples, EngineState, Groups, Launch, Safety
from sluice.core.model import Backlog

VERSION = 1
MAX_DECODED_BYTES = 64 * 1024
MAX_NUMBER = 1e15
"""No time, count or weight of a state is stored as more; with such numbers no arithmetic overflows."""
TENTHS = 10
SAFETY_UNITS = 200_000
"""The messages behind a safety factor are stored in units of so many of them all, or of a tenth message."""
LEARNED_VERSION = 1
LEARNED = struct.Struct(">Bdffff")
"""Version; seconds since the epoch; seconds, messages, seconds and a ratio."""


def encoded(state: EngineState) -> bytes:
    """The state, compressed; `decoded` gives it back to a tenth of a second and of a message."""
    read_s = state.read_s

    def ago(moment_s: float | None) -> int | None:
        return None if moment_s is None else _tenths(read_s - moment_s)

    def arrivals(ring: tuple[Arrivals, ...]) -> list[int]:
        # Each interval ends where the next one begins, the last one at the reading.
        return [_tenths(number) for one in ring for number in (read_s - one.since_s, one.messages)]

    def launches(*, warm: bool) -> list[int | None]:
        some = [one for one in state.launches if one.warm is warm]
        return [number for one in some for number in (ago(one.at_s), one.instances)]

    def samples(boots: tuple[BootSamples, ...], *, warm: bool) -> list[int]:
        some = [one for one in boots if one.warm is warm]
        return [number for one in some for number in (_tenths(one.boot_s), _tenths(one.weight))]

    fields: dict[str, Any] = {
        "v": VERSION,
        "tick": _tenths(state.tick_s),
        "read": _tenths(read_s),
        "queue": [state.backlog.visible, state.backlog.in_flight, state.backlog.delayed],
        "desired": state.desired,
        "running": state.running,
        "deficit": _tenths(-state.deficit),
        "recent": arrivals(state.recent),
        "waiting": arrivals(state.waiting),
        "launches": launches(warm=False),
        "ready": samples(state.ready, warm=False),
        "ready_since": ago(state.ready_since_s),
        "boots": samples(state.boots, warm=False),
        "surplus_since": ago(state.surplus_since_s),
        "logged": ago(state.out_of_reach_logged_s),
    }
    # Left out without a warm pool; a release that knows none ignores them.
    warm = {
        "warm": state.warm,
        "warm_launches": launches(warm=True),
        "warm_ready": samples(state.ready, warm=True),
        "warm_boots": samples(state.boots, warm=True),
    }
    fields |= {name: value for name, value in warm.items() if value}
    if state.floor:
        fields["floor"] = state.floor
    if state.safety.seconds:
        fields["safety"] = _safety_numbers(state.safety, read_s)
    if state.groups is not None:
        fields["groups"] = [
            state.groups.in_flight,
            state.groups.was_idle,
            _tenths(max(0.0, state.groups.limited_until_s - read_s)),
        ]
    return zlib.compress(json.dumps(fields, separators=(",", ":"), allow_nan=False).encode(), 9)


def decoded(data: bytes) -> EngineState:
    """The state that `encoded` wrote; ValueError with the reason for anything else."""
    fields = _fields(data)
    version = fields.get("v")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"version {version!r:.40}, and this release reads {VERSION}")
    try:
        return _state(fields)
    except (KeyError, TypeError, IndexError) as wrong:
        raise ValueError(f"{type(wrong).__name__}: {wrong}") from wrong


def encoded_learned(learned: Learned) -> bytes:
    """What was learned, in 25 bytes; single precision is enough for averages."""
    mean_s, variation = math.nan, math.nan
    if learned.processing is not None:
        mean_s, variation = min(learned.processing.mean_s, MAX_NUMBER), learned.processing.variation
    return LEARNED.pack(
        LEARNED_VERSION, learned.at_s, learned.margin_s, min(learned.messages, MAX_NUMBER), mean_s, variation
    )


def decoded_learned(data: bytes) -> Learned:
    """What `encoded_learned` wrote; ValueError with the reason for anything else."""
    try:
        version, at_s, margin_s, messages, mean_s, variation = LEARNED.unpack(data)
    except struct.error as wrong:
        raise ValueError(str(wrong)) from wrong
    if version != LEARNED_VERSION:
        raise ValueError(
            f"what was learned is of version {version}, and this release reads {LEARNED_VERSION}"
        )
    if not (abs(margin_s) <= MAX_NUMBER and messages >= 0 and 0 <= at_s <= MAX_NUMBER):
        raise ValueError(f"what was learned has a margin of {margin_s} s by {messages} messages")
    processing = None
    if not math.isnan(mean_s):
        if not (0 < mean_s <= MAX_NUMBER and 0 <= variation <= MAX_NUMBER):
            raise ValueError(f"what was learned has a processing time of {mean_s} s, variation {variation}")
        processing = Processing(mean_s=mean_s, variation=variation)
    return Learned(at_s=at_s, margin_s=margin_s, messages=messages, processing=processing)


def _fields(data: bytes) -> dict[str, Any]:
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(data, MAX_DECODED_BYTES)
        if not stream.eof or stream.unused_data:
            raise ValueError("truncated, or longer than any state")
        fields = json.loads(text, parse_constant=_refused)
    except (zlib.error, UnicodeDecodeError, RecursionError) as wrong:
        raise ValueError(str(wrong)) from wrong
    if not isinstance(fields, dict):
        raise ValueError(f"no object: {fields!r:.40}")  # noqa: TRY004 - every defect of the bytes is one error
    return fields


def _state(fields: dict[str, Any]) -> EngineState:
    read_s = _number(fields["read"]) / TENTHS

    def moment(ago: object) -> float:
        return read_s - _number(ago) / TENTHS

    def optional(ago: object) -> float | None:
        return None if ago is None else moment(ago)

    visible, in_flight, delayed = (_count(one) for one in fields["queue"])
    groups = None
    if "groups" in fields:
        most, was_idle, limited = fields["groups"]
        groups = Groups(
            in_flight=_number(most),
            was_idle=bool(was_idle),
            limited_until_s=read_s + _number(limited) / TENTHS,
        )
    return EngineState(
        tick_s=_number(fields["tick"]) / TENTHS,
        read_s=read_s,
        backlog=Backlog(visible=visible, in_flight=in_flight, delayed=delayed),
        desired=_count(fields["desired"]),
        floor=_count(fields.get("floor", 0)),
        running=_count(fields["running"]),
        warm=_count(fields.get("warm", 0)),
        deficit=-_number(fields["deficit"]) / TENTHS,
        recent=_arrivals(fields["recent"], read_s),
        waiting=_arrivals(fields["waiting"], read_s),
        safety=_safety(fields, read_s),
        launches=tuple(
            sorted(
                (
                    Launch(at_s=moment(ago), instances=_count(instances), warm=warm)
                    for ago, instances, warm in _by_kind(fields, "launches")
                ),
                key=lambda one: (one.at_s, not one.warm),
            )
        ),
        ready=_samples(fields, "ready"),
        ready_since_s=optional(fields["ready_since"]),
        boots=_samples(fields, "boots"),
        groups=groups,
        surplus_since_s=optional(fields["surplus_since"]),
        out_of_reach_logged_s=optional(fields["logged"]),
    )


def _arrivals(numbers: list[Any], until_s: float) -> tuple[Arrivals, ...]:
    read_s, ring = until_s, []
    for ago, messages in reversed(_pairs(numbers)):
        since_s = read_s - _number(ago) / TENTHS
        if since_s > until_s:
            raise ValueError("arrivals are not in the order of time")
        ring.append(
            Arrivals(until_s=until_s, elapsed_s=until_s - since_s, messages=_number(messages) / TENTHS)
        )
        until_s = since_s
    return tuple(reversed(ring))


def _samples(fields: dict[str, Any], name: str) -> tuple[BootSamples, ...]:
    return tuple(
        BootSamples(boot_s=_number(boot) / TENTHS, weight=_number(weight) / TENTHS, warm=warm)
        for boot, weight, warm in _by_kind(fields, name)
    )


def _by_kind(fields: dict[str, Any], name: str) -> list[tuple[Any, Any, bool]]:
    """The pairs of both kinds of start and whether they are from a warm pool, cold ones first."""
    kinds = ((fields[name], False), (fields.get(f"warm_{name}", []), True))
    return [(one, other, warm) for numbers, warm in kinds for one, other in _pairs(numbers)]


def _safety_numbers(safety: Safety, read_s: float) -> list[float]:
    unit = max(1 / TENTHS, float(f"{(sum(safety.loaded) + sum(safety.idle)) / SAFETY_UNITS:.2g}"))
    messages = [round(min(one, MAX_NUMBER) / unit) for one in (*safety.loaded, *safety.idle)]
    return [_tenths(safety.seconds), _tenths(read_s - safety.newest_s), unit, len(safety.loaded), *messages]


def _safety(fields: dict[str, Any], read_s: float) -> Safety:
    if "safety" not in fields:
        return Safety()
    seconds, ago, unit, count, *messages = fields["safety"]
    messages = [_number(one) * _number(unit) for one in messages]
    loaded, idle = tuple(messages[: _count(count)]), tuple(messages[count:])
    if max(len(loaded), len(idle)) > CLASSES:
        raise ValueError(f"{max(len(loaded), len(idle))} classes of safety factors; there are {CLASSES}")
    newest_s = read_s - _number(ago) / TENTHS
    return Safety(seconds=_number(seconds) / TENTHS, newest_s=newest_s, loaded=loaded, idle=idle)


def _pairs(numbers: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _tenths(value: float) -> int:
    return _whole(value, TENTHS)


def _whole(value: float, parts: int) -> int:
    return round(min(value * parts, MAX_NUMBER))


def _number(value: object) -> float:
    # NaN is in no range.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{value!r:.40} is no number from 0 to {MAX_NUMBER:g}")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{value!r:.40} is no count from 0 to {MAX_NUMBER:g}")
    return value


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number of a state")
