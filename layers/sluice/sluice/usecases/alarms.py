"""Entry point: a workload's bootstrap or shutdown alarm changed state."""

from __future__ import annotations

from sluice.core.emptiness import alarm_proof_end_minutes
from sluice.core.model import Trigger, Workload
from sluice.errors import ConfigError
from sluice.events import Alarm
from sluice.ports import Counter, Ports, RemainingS, Report
from sluice.usecases.resize import bootstrap, shutdown


def on_bootstrap_alarm(alarm: Alarm, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """The bootstrap alarm changed state; only the change to ALARM needs an action."""
    if not alarm.is_alarm:
        report.event(Counter.EVENT_IGNORED, f"alarm {alarm.name} is {alarm.state}: nothing to do")
        return
    workload = ports.registry.one(alarm.workload, remaining_s)
    _check(alarm, workload, workload.bootstrap_alarm_arn)
    bootstrap(workload, ports, Trigger.ALARM, report, remaining_s)


def on_shutdown_alarm(alarm: Alarm, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """The shutdown alarm changed state; only the change to ALARM needs an action."""
    if not alarm.is_alarm:
        report.event(Counter.EVENT_IGNORED, f"alarm {alarm.name} is {alarm.state}: nothing to do")
        return
    workload = ports.registry.one(alarm.workload, remaining_s)
    _check(alarm, workload, workload.shutdown_alarm_arn)
    shutdown(workload, alarm_proof_end_minutes(ports.now()), ports, Trigger.ALARM, report, remaining_s)


def _check(alarm: Alarm, workload: Workload, expected_arn: str) -> None:
    """Only the document's own alarm may resize the fleet: any alarm's description could name the workload."""
    if alarm.arn != expected_arn:
        raise ConfigError(
            f"alarm {alarm.arn} says it belongs to workload {workload.name}, whose document names "
            f"{expected_arn}: update the workload's stack, or delete the stray alarm"
        )
