"""Wrong responses: something in AWS's response is missing, empty or implausible.

The fields to corrupt are not listed anywhere: a healthy run records each field that is read, and a field that
nothing reads cannot matter.
"""

import math
from collections.abc import Iterator, MutableSet
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]
OF_BOTOCORE = "ResponseMetadata"
EMPTY_PAGE, MISSING_FIELD, ABSURD_NUMBER = "empty page", "missing field", "absurd number"
CUT_SHORT = "bytes cut short"
WRONG_ANSWERS = (EMPTY_PAGE, MISSING_FIELD, ABSURD_NUMBER, CUT_SHORT)
EACH = "*"
HUGE = 10**18
ABSENT = object()


class RecordingDict(dict[str, Any]):
    """A mapping that notes the path of every key that is read from it."""

    def __init__(self, content: dict[str, Any], read: MutableSet[Path], path: Path = ()) -> None:
        super().__init__({key: recording(value, read, (*path, key)) for key, value in content.items()})
        self._read, self._path = read, path

    def _note(self, key: str) -> None:
        if key in self and key != OF_BOTOCORE:
            self._read.add((*self._path, key))

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def items(self) -> Any:
        for key in self:
            self._note(key)
        return super().items()


def recording(value: Any, read: MutableSet[Path], path: Path = ()) -> Any:
    """`value` as it is, but telling what is read from it."""
    if isinstance(value, dict):
        return RecordingDict(value, read, path)
    if isinstance(value, list):
        return [recording(item, read, (*path, EACH)) for item in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One thing wrong with an answer: `path` is gone, or holds `value`; `*` is every item of a list."""

    kind: str
    path: Path
    value: Any = ABSENT

    def __str__(self) -> str:
        where = ".".join(str(step) for step in self.path)
        return f"{self.kind} {where}" + (f"={_shown(self.value)}" if self.kind == ABSURD_NUMBER else "")

    def apply(self, parsed: dict[str, Any]) -> None:
        for holder in list(_at(parsed, self.path[:-1])):
            for key in _keys(holder, self.path[-1]):
                if self.value is ABSENT:
                    holder.pop(key, None)
                else:
                    holder[key] = self.value


def corruptions(parsed: dict[str, Any], read: set[Path]) -> Iterator[Corruption]:
    """Every way to spoil what was read of this answer."""
    for path in sorted(path for path in read if path[0] != OF_BOTOCORE):
        value = next(_at(parsed, path))
        if len(path) == 1 and isinstance(value, list | dict) and value:
            yield Corruption(kind=EMPTY_PAGE, path=path, value=type(value)())
        yield Corruption(kind=MISSING_FIELD, path=path)
        if isinstance(value, bytes):
            yield Corruption(kind=CUT_SHORT, path=path, value=value[: len(value) // 2])
        if isinstance(value, list) and value:
            path, value = (*path, EACH), value[0]
        for absurd in _absurd(value):
            yield Corruption(kind=ABSURD_NUMBER, path=path, value=absurd)


def _absurd(value: Any) -> list[Any]:
    """As negative, as large and as little of a number as the field can carry."""
    if not _is_number(value):
        return []
    if isinstance(value, str):
        return ["-1", str(HUGE), "NaN"]
    return [-1.0, float(HUGE), math.nan] if isinstance(value, float) else [-1, HUGE, "NaN"]


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.lstrip("-").isdecimal()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}"


def _at(parsed: Any, path: Path) -> Iterator[Any]:
    """Everything at this path."""
    if not path:
        yield parsed
        return
    for key in _keys(parsed, path[0]):
        yield from _at(parsed[key], path[1:])


def _keys(holder: Any, step: str) -> list[Any]:
    if step == EACH:
        return list(range(len(holder)))
    return [step] if step in holder else []
