"""The active and the draining color of a blue/green workload, in its document.

The stack registers both fleets; which of them is active, and whose workers receive no more, are two SSM
parameters of their own, as a switch changes them and no stack update may change them back. Whoever reads the
registry puts these colors into the document.
"""

from __future__ import annotations

import json

from sluice.core.model import Color
from sluice.document.problems import repeated_keys
from sluice.errors import DocumentError, Problem

TYPE = "blue_green"
NONE_DRAINS = "none"
"""The value of the parameter while both colors receive."""


def is_blue_green(text: str) -> bool:
    """Whether the document may be one of two fleets; one that is no JSON object is not."""
    if TYPE not in text:
        return False
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    fleet = document.get("fleet") if isinstance(document, dict) else None
    return isinstance(fleet, dict) and fleet.get("type") == TYPE


def with_colors(text: str, active: Color, draining: Color | None) -> str:
    """A document of a blue/green workload with this active color, and the one whose workers receive no more.

    A text with a key that stands twice is returned as it is: parsing refuses it.
    """
    if repeated_keys(text):
        return text
    document = json.loads(text)
    document["fleet"] |= {"active": active.value, "draining": draining and draining.value}
    # Compact: what is added must not take a document beyond the size that was allowed to its author.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def draining_of(value: str | None, active: Color) -> Color | None:
    """The color that receives no more by its parameter; where that is unknown, the one that is not active.

    Such a color is then not counted among those that share the backlog. That makes the backlog per instance
    larger than it may be, which starts an instance too many, and never ends one too early.
    """
    if value == NONE_DRAINS:
        return None
    return Color(value) if value in tuple(Color) else active.other


def color_of(value: str, *, what: str) -> Color:
    """The color that a parameter names; DocumentError for any other text."""
    try:
        return Color(value)
    except ValueError:
        way_out = "write blue or green, the color that is to be scaled"
        raise DocumentError(what, [Problem(path="active color", value=value[:40], way_out=way_out)]) from None
