"""The contents of the installed distributions, from their metadata."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import distribution, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOT_IMPORTED = ("..", "__pycache__")


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Normalised name -> version installed here, of these requirements and of all that they need."""
    found: dict[str, str] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name in found or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        found[name] = version(name)
        waiting += [Requirement(text) for text in requires(name) or ()]
    return found


def roots(name: str) -> list[Path]:
    """The folders and modules that a distribution puts next to all others."""
    installed = distribution(name)
    tops = {file.parts[0] for file in installed.files or ()}.difference(NOT_IMPORTED)
    return [Path(str(installed.locate_file(top))) for top in sorted(tops)]
