"""What a distribution's wheel says it was built for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution


def platform_tags(installed: Iterable[Distribution]) -> set[str]:
    """The tags of all wheels that are for one platform: interpreter, ABI and machine."""
    lines = [line for each in installed for line in (each.read_text("WHEEL") or "").splitlines()]
    tags = {line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")}
    return {tag for tag in tags if not tag.endswith("-any")}
