"""Step of the deadline engine's tick: how long messages take, as the workers measured it.

It is read after the tick has acted, an hour at most before it is used, so that a slow CloudWatch delays no
decision. Until then, the document's ProcessingSeconds counts.
"""

from __future__ import annotations

import math

from sluice.core.deadline.plan import Processing
from sluice.core.model import Durations, Unknown, Workload
from sluice.ports import Ports
from sluice.usecases.last_known import Quantity, earlier_readings, last_known
from sluice.usecases.processing_time import MIN_SAMPLES, processing_quantity
from sluice.usecases.tick_context import TickContext

MAX_VARIATION = 3.0


def processing_of(workload: Workload, ports: Ports) -> Processing:
    """The processing time of the last hour that was measured; the document's until one was."""
    mean_s = _known(MEAN, workload, ports)
    median_s = _known(MEDIAN, workload, ports)
    if mean_s is None:
        return Processing(mean_s=workload.planned_processing_s)
    return Processing(mean_s=mean_s, variation=variation(mean_s, median_s) if median_s else 0.0)


def variation(mean_s: float, median_s: float) -> float:
    """The coefficient of variation of a log-normal distribution with this mean and median: at most 3.

    mean / median = exp(sigma^2 / 2), and variation^2 = exp(sigma^2) - 1: CloudWatch has no standard
    deviation.
    """
    return min(math.sqrt(max((mean_s / median_s) ** 2 - 1, 0.0)), MAX_VARIATION)


def measure_processing(tick: TickContext) -> None:
    """Read the processing times that are due, for later ticks."""
    for quantity in (MEAN, MEDIAN):
        last_known(quantity, tick.workloads, tick)


def _known(quantity: Quantity[Durations], workload: Workload, ports: Ports) -> float | None:
    reading = earlier_readings(quantity, {workload.name: workload}, ports).get(workload.name)
    if reading is None or isinstance(reading.value, Unknown) or not reading.value > 0:
        return None
    return reading.value


def _min_samples(workload: Workload) -> int:  # noqa: ARG001 - the same for all
    return MIN_SAMPLES


MEAN = processing_quantity("mean processing time", "Average", _min_samples)
MEDIAN = processing_quantity("median processing time", "p50", _min_samples)
"""Seconds; each read is billed as two metrics, as four if the last hour has too few samples."""
