"""What the parameter of a blue/green workload says to the workers of one color.

It holds the color whose workers receive no more, or `none`.
"""

from __future__ import annotations

from sluice.core.model import Color

NO_COLOR = "none"
VALUES = (NO_COLOR, *(color.value for color in Color))


def is_draining(value: str, color: str) -> bool | None:
    """Whether workers of this color receive no more; None if the value is none of VALUES."""
    return value == color if value in VALUES else None
