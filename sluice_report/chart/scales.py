"""The value axes of every panel: linear from zero, or logarithmic where the data spans powers of ten.

`headroom` is the axis's upper end as a multiple of the greatest value.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from sluice_report import quantities


def linear(axes: Axes, maximum: float, *, headroom: float, integer: bool = False) -> None:
    """From zero to `maximum` times `headroom`; an axis without data goes to 1."""
    axes.set_ylim(0, (maximum or 1) * headroom)
    steps = [1, 2, 5, 10] if integer else [1, 2, 2.5, 5, 10]
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=integer, steps=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.number(value)))


def logarithmic(axes: Axes, maximum: float, smallest: float, *, headroom: float) -> None:
    """Zero, then powers of ten; linear below the power of ten that holds `smallest`."""
    linear_up_to = 10.0 ** math.floor(math.log10(smallest))
    axes.set_yscale("symlog", linthresh=linear_up_to, linscale=0.5)
    axes.set_ylim(0, maximum * headroom)
    powers = range(round(math.log10(linear_up_to)), math.ceil(math.log10(maximum)) + 1)
    axes.yaxis.set_major_locator(FixedLocator([0, *(10.0**power for power in powers)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.number(value)))
