"""Format shares, durations and amounts, in the terminal and in the reports alike.

Shares are truncated, never rounded: anything below 1 never reads 100 %, and 98.996 % never reads 99 %, or a
missed promise would look kept. Pure text, cheap to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal

UNKNOWN = "–"
THREE_DIGITS = 999.5
"""From here on, three significant digits would round up to four."""
MAX_DECIMALS = 5
"""Of a share in per cent: tells one message in ten million."""
UNITS_S = ((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86_400.0, "days"))
FROM_S = (0.0, 600.0, 7200.0, 172_800.0)
"""From how many seconds on a person would choose each of the units."""


def number(value: float) -> str:
    """An amount: three significant digits below a thousand, separated thousands above."""
    return f"{value:,.0f}" if abs(value) >= THREE_DIGITS or value == int(value) else f"{value:.3g}"


def count(amount: int, noun: str) -> str:
    """An amount and its noun: 1 message, 24 messages."""
    return f"{number(amount)} {noun}" + ("" if amount == 1 else "s")


def share(part: float | None) -> str:
    """A share (0 to 1) in per cent, truncated to three digits, or to as many as distinguish it from 100 %."""
    if part is None:
        return UNKNOWN
    if part in (0, 1):
        return f"{100 * part:.0f} %"
    percent = 100 * Decimal(repr(part))  # the shortest decimal that is this float: 0.29 stays 29 %
    missing = 100 - percent
    digits = -missing.adjusted() if missing <= 50 else 2 - percent.adjusted()
    decimals = min(max(1, digits), MAX_DECIMALS)
    cut = percent.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)
    return f"{cut} %" if cut else f"under {Decimal(1).scaleb(-decimals):f} %"


def duration(seconds: float | None) -> str:
    """A duration, in the unit a person would choose."""
    return durations([seconds])[0]


def durations(seconds: Sequence[float | None]) -> list[str]:
    """Durations that stand together, all in one unit: the one for the smallest that is not 0."""
    smallest_s = min((each for each in seconds if each), default=0.0)
    size_s, unit = max(one for one, from_s in zip(UNITS_S, FROM_S, strict=True) if smallest_s >= from_s)
    return [
        UNKNOWN if each is None else f"{number(round(each, 3) if size_s == 1 else each / size_s)} {unit}"
        for each in seconds
    ]


def times(value: float | None) -> str:
    """How many times something, with two decimals where they matter."""
    if value is None:
        return UNKNOWN
    return f"{value:,.2f}" if value < 10 else number(value)
