"""How long a backlog takes to drain at the present rate."""

from __future__ import annotations

import math

from sluice.core.model import Backlog, Unknown
from sluice_operator.core.readings import Readings


def drain_s(readings: Readings) -> float | Unknown:
    """Seconds until the queue is empty: messages / (deletions - arrivals); infinite if it does not shrink.

    A queue that receives and deletes nothing has no data points, which counts as a rate of 0.
    """
    backlog = readings.observation.backlog
    for reading in (backlog, readings.arrivals_per_s, readings.deletions_per_s):
        if isinstance(reading, Unknown):
            return reading
    assert isinstance(backlog, Backlog)
    if not backlog.total:
        return 0.0
    net_per_s = float(readings.deletions_per_s or 0) - float(readings.arrivals_per_s or 0)  # type: ignore[arg-type]
    return backlog.total / net_per_s if net_per_s > 0 else math.inf
