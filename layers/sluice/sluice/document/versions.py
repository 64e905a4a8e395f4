"""The version of a workload document, and which versions this release of the control plane serves.

Unknown keys of a document are refused, so a document says which version of the schema it follows, and which
release of workload.yaml wrote it. A control plane serves its own version and the one before, so that it can
be upgraded first and its workloads later, one by one. This module validates nothing else of a document.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from sluice.errors import Problem

RELEASE: Final = "0.1.0"
"""The release of this control plane; pyproject.toml and workload.yaml have the same."""
RELEASE_PATTERN: Final = r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}([.+-]?[a-zA-Z0-9][a-zA-Z0-9.+-]{0,39})?$"
VERSION: Final = 4
"""The newest that this release serves; raised with each change that an older control plane would misread."""
FIRST_VERSION: Final = 1
"""The version of a document that does not name one."""


def version_problem(text: str, *, newest: int = VERSION, release: str = RELEASE) -> Problem | None:
    """Why a control plane of that release does not serve the document's version; None if it does.

    Also None if `text` is not a JSON object, which the schema reports.
    """
    document = _object(text)
    if document is None:
        return None
    version, written_by = document.get("version", FIRST_VERSION), document.get("release")
    if type(version) is not int or version < FIRST_VERSION:  # True is an int in Python
        way_out = f"must be a whole number from {FIRST_VERSION} to {newest}, as workload.yaml writes it"
        return Problem(path="version", value=version, way_out=way_out)
    oldest = max(newest - 1, FIRST_VERSION)
    if oldest <= version <= newest:
        return None
    named = isinstance(written_by, str) and re.fullmatch(RELEASE_PATTERN, written_by) is not None
    writer = f"release {written_by} of workload.yaml" if named else "a workload.yaml that names no release"
    served = f"version {newest}" if oldest == newest else f"versions {oldest} and {newest}"
    if version > newest:
        needed = f"release {written_by}" if named else "the release of that workload.yaml"
        way_out = f"update the control plane's stack to {needed} first"
    else:
        way_out = f"update the workload's stack with the workload.yaml of release {release}"
    return Problem(
        path="version",
        value=version,
        way_out=f"written by {writer}, but this control plane, release {release}, serves {served}: {way_out}",
    )


def newer_release(text: str, *, release: str = RELEASE) -> str | None:
    """What to do about what this release does not know; None if no newer release wrote the document.

    A version says what an older control plane would misread. It refuses a new key, mode or type by itself.
    """
    written_by = (_object(text) or {}).get("release")
    if not isinstance(written_by, str) or not re.fullmatch(RELEASE_PATTERN, written_by):
        return None
    if _numbers(written_by) <= _numbers(release):
        return None
    return (
        f"written by release {written_by} of workload.yaml, but this control plane, release {release}, does "
        f"not know it: update the control plane's stack to release {written_by} first"
    )


def _numbers(release: str) -> tuple[int, ...]:
    """Major, minor and patch, which is all that two releases are compared by."""
    return tuple(int(number) for number in re.findall(r"[0-9]+", release)[:3])


def _object(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
