"""The one version of a release: every file that names it names the same, and the changelog has its section.

Reads texts, so that any checkout can be judged, whatever is installed.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

PYPROJECT, CHANGELOG = "pyproject.toml", "CHANGELOG.md"
PLACES = (
    ("layers/sluice/sluice/document/versions.py", r'^RELEASE: Final = "(.+)"$'),
    ("workload.yaml", r'^ +"release": "(.+)",$'),
    ("template.yaml", r"^    SemanticVersion: (.+)$"),
    ("template.yaml", r"^  Release:\n    Description: .+\n    Value: (.+)$"),
    ("uv.lock", r'^name = "sluice"\nversion = "(.+)"$'),
)
"""Where files name the version of pyproject.toml again."""
SECTION = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - \d{4}-\d{2}-\d{2})?\n", re.MULTILINE)
UNRELEASED = "Unreleased"
BUMP = "CONTRIBUTING.md, Cutting a release, has the steps"


class ReleaseError(Exception):
    """Why no release can be built, for the person who asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is released, and what changes with it."""

    version: str
    changes: str
    """The section of the changelog, without its heading."""
    released: bool
    """False if the changelog has no section of this version yet, and `changes` are those to come."""


def release_of(checkout: Path) -> Release:
    """The release that a checkout is; raises ReleaseError if two of its files disagree."""
    pyproject = tomllib.loads(_text(checkout, PYPROJECT))
    version = pyproject["project"]["version"]
    for place, pattern in PLACES:
        found = re.findall(pattern, _text(checkout, place), re.MULTILINE)
        if found != [version]:
            named = " and ".join(found) or "no version"
            raise ReleaseError(f"{PYPROJECT} says {version}, but {place} says {named}: {BUMP}")
    return _with_changes(version, _sections(_text(checkout, CHANGELOG)))


def _with_changes(version: str, sections: dict[str, str]) -> Release:
    to_come = sections.pop(UNRELEASED, "")
    newest = next(iter(sections), None)
    if newest is None or version not in sections:
        if not to_come:
            raise ReleaseError(
                f"{PYPROJECT} says {version}, but {CHANGELOG} says nothing of it, nor of what is "
                f"{UNRELEASED}: {BUMP}"
            )
        return Release(version=version, changes=to_come, released=False)
    if newest != version:
        raise ReleaseError(f"{PYPROJECT} says {version}, but {CHANGELOG} says {newest}: {BUMP}")
    if to_come:
        raise ReleaseError(
            f"{PYPROJECT} says {version}, which {CHANGELOG} says is released, with more under {UNRELEASED}: "
            f"raise the version; {BUMP}"
        )
    return Release(version=version, changes=sections[version], released=True)


def _sections(changelog: str) -> dict[str, str]:
    """Name -> text of each section, the newest first."""
    headings = list(SECTION.finditer(changelog))
    ends = [*(heading.start() for heading in headings[1:]), len(changelog)]
    return {
        heading["name"]: changelog[heading.end() : end].strip()
        for heading, end in zip(headings, ends, strict=True)
    }


def _text(checkout: Path, name: str) -> str:
    return (checkout / name).read_text(encoding="utf-8")
