"""Changes an input where its reader will look: at a value of its JSON, or at a word of its text."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

TEXTS = (
    "", " ", "\n", "\r\n{\"level\": \"INFO\"}\n", "\x1b[2J", "\u2028", "\x85", "\x00", "\ud800", "ü",
    "../../etc/passwd", "Europe/Berlin", "/", "NaN", "Infinity", "-1", "1e400", "9" * 5000, "a" * 300,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-15T12:00:00Z", "at(2026-01-15T12:00)",
    "[" * 3000, "{\"a\":" * 1100 + "1" + "}" * 1100, "[" * 200_000, "${", "}", "!Ref A", "&a [*a]", "*a", ",",
    "\"",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, 1e300, -1e300, float("inf"), float("nan"), 10**15 + 1, 10**400,
    10**4200, [], {}, [[]], {"a": {}}, *TEXTS,
)  # fmt: skip
NUMBERS = ("1e400", "-0", "9" * 4400, "1_0", "0x1", ".5", "5.", "NaN")


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Another input, near this one."""
    text = as_text(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        text = _in_json(text, chance) if chance.random() < 0.7 else _in_text(text, chance)
    return text.encode("utf-8", "surrogatepass")


def as_text(data: bytes) -> str:
    """The text of an input, lone surrogates included; bytes that are none count as Latin-1."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _in_json(text: str, chance: random.Random) -> str:
    try:
        document = json.loads(text)
        places = list(_places(document))
        if not places:
            return _in_text(text, chance)
        holder, key = chance.choice(places)
        match chance.randrange(5):
            case 0:
                del holder[key]
            case 1:
                holder[key] = json.loads(json.dumps(_value(chance.choice(places))))
            case 2 if isinstance(holder[key], str) and holder[key]:
                holder[key] = _in_text(holder[key], chance)
            case 3 if isinstance(holder[key], int | float):
                holder[key] = holder[key] * chance.choice((-1, 0, 2, 10, 0.1)) + chance.choice((-1, 0, 1))
            case _:
                holder[key] = chance.choice(VALUES)
        return json.dumps(document, ensure_ascii=chance.random() < 0.5)
    except (ValueError, RecursionError, OverflowError):
        return _in_text(text, chance)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """The holder and the key of every value; without recursion, as an input may be deep."""
    waiting = [node]
    while waiting:
        holder = waiting.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            waiting.append(holder[key])


def _value(place: tuple[Any, Any]) -> Any:
    return place[0][place[1]]


def _in_text(text: str, chance: random.Random) -> str:
    at, to = sorted(chance.randint(0, len(text)) for _ in range(2))
    to = min(to, at + 40)
    match chance.randrange(5):
        case 0:
            return text[:at] + text[to:]
        case 1:
            return text[:at] + chance.choice(TEXTS) + text[at:]
        case 2:
            return text[:at] + text[at:to] * chance.choice((2, 3, 50)) + text[to:]
        case 3:
            return text[:at] + chance.choice(NUMBERS) + text[to:]
        case _:
            return (
                text[:at] + chr(chance.choice((chance.randrange(128), chance.randrange(0x3000)))) + text[at:]
            )
