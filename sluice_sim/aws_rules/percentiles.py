"""CloudWatch's statistics that need single values: percentiles, and percentile ranks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")
"""The value that this percentage of all values do not exceed, such as p99.5."""
PERCENTILE_RANK = re.compile(r"PR\((\d+(?:\.\d+)?)?:(\d+(?:\.\d+)?)\)")
"""The percentage of all values above the first number, if there is one, and up to the second: PR(:300)."""


def needs_single_values(statistic: str) -> bool:
    """Whether CloudWatch has this statistic of single values alone, not of statistic sets."""
    return bool(PERCENTILE.fullmatch(statistic) or PERCENTILE_RANK.fullmatch(statistic))


def of_single_values(statistic: str, values: Sequence[float]) -> float | None:
    """That percentile, by nearest rank, or percentile rank of the values; None without values."""
    if not values:
        return None
    if rank := PERCENTILE_RANK.fullmatch(statistic):
        low, high = float(rank[1] or "-inf"), float(rank[2])
        return 100 * sum(low < value <= high for value in values) / len(values)
    place = math.ceil(float(statistic.removeprefix("p")) / 100 * len(values))
    return sorted(values)[max(place, 1) - 1]
