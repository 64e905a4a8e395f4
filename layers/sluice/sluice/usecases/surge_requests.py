"""Entry point: an operator asks for a surge or its end, or a critical alarm of a workload rings."""

from __future__ import annotations

from sluice.core.model import Trigger, Workload
from sluice.core.surge import Asked
from sluice.errors import ConfigError
from sluice.events import Alarm, SurgeRequest
from sluice.ports import Counter, Ports, RemainingS, Report
from sluice.usecases.surge import Surged, end_surge, surge


def on_surge_event(
    event: SurgeRequest | Alarm, ports: Ports, report: Report, remaining_s: RemainingS
) -> Surged | None:
    """Serve it; an operator's command waits for what was done, an alarm does not."""
    if isinstance(event, Alarm):
        _on_critical_alarm(event, ports, report, remaining_s)
        return None
    workload = ports.registry.one(event.workload, remaining_s)
    if event.asked is None:
        return end_surge(workload, ports, Trigger.OPERATOR, report, remaining_s)
    return surge(workload, event.asked, ports, Trigger.OPERATOR, report, remaining_s)


def _on_critical_alarm(alarm: Alarm, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """Only the change to ALARM needs an action, and only of an alarm that the document names."""
    if not alarm.is_alarm:
        report.event(Counter.EVENT_IGNORED, f"alarm {alarm.name} is {alarm.state}: nothing to do")
        return
    workload = ports.registry.one(alarm.workload, remaining_s)
    surge(workload, _asked(alarm, workload), ports, Trigger.ALARM, report, remaining_s)


def _asked(alarm: Alarm, workload: Workload) -> Asked:
    """What the document asks for; any alarm's description could name the workload."""
    settings = workload.surge
    if settings is None or alarm.arn not in settings.alarm_arns:
        named = ", ".join(settings.alarm_arns) if settings else "none"
        raise ConfigError(
            f"alarm {alarm.arn} says it belongs to workload {workload.name}, whose document names {named} "
            "for a surge: update the workload's stack, or delete the stray alarm"
        )
    return Asked(by=alarm.arn, hold_s=settings.hold_s, drain_in_s=settings.drain_in_s)
