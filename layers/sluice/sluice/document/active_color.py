"""The active color of a blue/green workload, in its document.

The stack registers both fleets; which of them is active is an SSM parameter of its own, as a switch changes
it and no stack update may change it back. Whoever reads the registry puts that color into the document.
"""

from __future__ import annotations

import json

from sluice.core.model import Color
from sluice.document.problems import repeated_keys
from sluice.errors import DocumentError, Problem

TYPE = "blue_green"


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


def with_active_color(text: str, color: Color) -> str:
    """A document of a blue/green workload with this color as the active one.

    A text with a key that stands twice is returned as it is: parsing refuses it.
    """
    if repeated_keys(text):
        return text
    document = json.loads(text)
    document["fleet"]["active"] = color.value
    return json.dumps(document)


def color_of(value: str, *, what: str) -> Color:
    """The color that a parameter names; DocumentError for any other text."""
    try:
        return Color(value)
    except ValueError:
        way_out = "write blue or green, the color that is to be scaled"
        raise DocumentError(what, [Problem(path="active color", value=value[:40], way_out=way_out)]) from None
