"""Step: what a tick, and each shard of one, does for its workloads."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

from sluice.core.minutes import minute_of
from sluice.core.model import Workload
from sluice.errors import TransientError
from sluice.ports import Counter, Ports, Registered, RemainingS, Report, first_half
from sluice.usecases.fifo_warning import warn_idle_instances
from sluice.usecases.isolation import EVERY_WORKLOAD, isolated, raise_for_defects
from sluice.usecases.launch_failures import report_launch_failures
from sluice.usecases.missed_alarms import retry_missed_alarms
from sluice.usecases.native_metrics import warn_missing_metrics
from sluice.usecases.observe import observe
from sluice.usecases.publish_metrics import publish_metrics
from sluice.usecases.queue_ticks import queue_ticks
from sluice.usecases.tick_context import TickContext

STALE_AFTER = timedelta(seconds=110)
"""EventBridge may start a tick 59 s late, and a cold start takes more time.

Ticks that overlap do no harm: a data point carries its scheduled minute, and CloudWatch averages two of one
minute.
"""


TICKS_BELOW_A_MINUTE = "ticks below a minute"
"""Stands in for a workload's name in the log if they could not be queued."""


def serve_minute(
    scheduled: datetime, registry: Registered, ports: Ports, report: Report, remaining_s: RemainingS
) -> None:
    """Queue the ticks below a minute of these workloads, then serve them for the minute of `scheduled`.

    Raises as `serve_workloads` does, and TransientError if a tick could not be queued.
    """
    # First, so that slow reads delay no tick; the minute is served even if this fails.
    queue = partial(queue_ticks, scheduled, registry, ports, report, first_half(remaining_s))
    with raise_for_defects(report):
        queued = isolated(TICKS_BELOW_A_MINUTE, Counter.TICK_FAILED, report, queue)
        serve_workloads(minute_of(scheduled), registry.workloads, ports, report, remaining_s)
    if not queued:
        raise TransientError("ticks below a minute could not be queued; the log says why")


def serve_workloads(
    minute: datetime, served: Collection[Workload], ports: Ports, report: Report, remaining_s: RemainingS
) -> None:
    """Observe the workloads, publish their metrics, retry what an alarm missed, and report what is wrong.

    `minute` is the scheduled one. Raises DefectError if a step met a defect, and TransientError if
    CloudWatch refused data points; in both cases every step has run.
    """
    refused: dict[str, str] = {}
    with raise_for_defects(report):
        tick = TickContext(
            minute=minute,
            workloads={workload.name: workload for workload in served},
            observed=observe(ports, served, remaining_s),
            ports=ports,
            report=report,
            remaining_s=remaining_s,
        )

        def publish() -> None:
            refused.update(publish_metrics(tick))

        # A defect that breaks a whole step must not stop the next step.
        isolated(EVERY_WORKLOAD, Counter.PUBLISH_FAILED, report, publish)
        isolated(EVERY_WORKLOAD, Counter.ACTION_FAILED, report, partial(retry_missed_alarms, tick))
        if remaining_s() > 0:
            isolated(EVERY_WORKLOAD, Counter.OBSERVATION_FAILED, report, partial(warn_idle_instances, tick))
        isolated(EVERY_WORKLOAD, Counter.OBSERVATION_FAILED, report, partial(warn_missing_metrics, tick))
        isolated(EVERY_WORKLOAD, Counter.OBSERVATION_FAILED, report, partial(report_launch_failures, tick))
    if refused:
        raise TransientError(f"CloudWatch refused the data points of {len(refused)} workloads")


def is_stale(scheduled: datetime, ports: Ports, report: Report) -> bool:
    """Whether the tick of this scheduled time comes too late or too early to be served; logs that if so."""
    age = ports.now() - scheduled
    if abs(age) <= STALE_AFTER:
        return False
    report.event(
        Counter.STALE_TICK,
        f"scheduled {age.total_seconds():.0f} s ago, more than {STALE_AFTER.seconds} s off: "
        "the tick of the current minute does the work",
    )
    return True
