"""The alarms of the embedded account as CloudWatch shows them, and what an operator may do to them.

moto neither evaluates alarms nor keeps their history; it describes them without pages. Every alarm of
`Monitoring` is shown here, those of target-tracking policies included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from moto.cloudwatch.exceptions import ResourceNotFound, ValidationError
from moto.cloudwatch.responses import CloudWatchResponse

from sluice_sim.account import arn
from sluice_sim.aws_rules.alarm_properties import AlarmError
from sluice_sim.aws_rules.alarm_states import AlarmChange, AlarmStatus
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.monitoring import AlarmAction, Monitoring
from sluice_sim.embedded.operations import Parameters, answered, page

MAX_RECORDS = 100
"""The most that one call describes; how many without MaxRecords is not documented."""


class Alarms:
    """CloudWatch's alarm API over `Monitoring`."""

    def __init__(self, monitoring: Monitoring) -> None:
        self._monitoring = monitoring
        self._mute_rules: dict[str, Parameters] = {}

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, the operations on alarms are answered here."""
        with answered(
            CloudWatchResponse,
            describe_alarms=self._describe,
            describe_alarm_history=self._history,
            put_metric_alarm=self._put,
            delete_alarms=self._delete,
            enable_alarm_actions=partial(self._enable, enabled=True),
            disable_alarm_actions=partial(self._enable, enabled=False),
            put_alarm_mute_rule=self._put_mute_rule,
            get_alarm_mute_rule=lambda asked: self._mute_rule(asked["AlarmMuteRuleName"]),
            list_alarm_mute_rules=self._list_mute_rules,
            delete_alarm_mute_rule=self._delete_mute_rule,
        ):
            yield

    def _describe(self, asked: Parameters) -> dict[str, Any]:
        names, types = asked.get("AlarmNames", []), asked.get("AlarmTypes", ["MetricAlarm"])
        if len(names) > MAX_RECORDS:
            raise ValidationError(
                f"The collection AlarmNames must not have a size greater than {MAX_RECORDS}."
            )
        if names and "AlarmNamePrefix" in asked:
            raise ValidationError("AlarmNamePrefix and AlarmNames are mutually exclusive.")
        found = [
            status
            for status in self._monitoring.alarms()
            if "MetricAlarm" in types
            and (not names or status.alarm.name in names)
            and status.alarm.name.startswith(asked.get("AlarmNamePrefix", ""))
            and asked.get("StateValue", status.state) == status.state
            and any(action.startswith(asked.get("ActionPrefix", "")) for action in _actions(status) or [""])
        ]
        some, token = page(found, asked.get("MaxRecords", MAX_RECORDS), asked.get("NextToken"))
        return {"MetricAlarms": [_described(status) for status in some], "CompositeAlarms": [], **token}

    def _history(self, asked: Parameters) -> dict[str, Any]:
        kind, start, end = (asked.get(key) for key in ("HistoryItemType", "StartDate", "EndDate"))
        items = [
            item
            for item in map(_history_item, self._monitoring.history)
            if asked.get("AlarmName", item["AlarmName"]) == item["AlarmName"]
            and kind in (None, item["HistoryItemType"])
            and (start is None or _aware(start) <= item["Timestamp"])
            and (end is None or item["Timestamp"] <= _aware(end))
        ]
        if asked.get("ScanBy") != "TimestampAscending":
            items.reverse()
        some, token = page(items, asked.get("MaxRecords", MAX_RECORDS), asked.get("NextToken"))
        return {"AlarmHistoryItems": some, **token}

    def _put(self, asked: Parameters) -> None:
        try:
            self._monitoring.add_alarm(Alarm.from_properties("PutMetricAlarm", asked))
        except AlarmError as refused:
            raise ValidationError(str(refused)) from refused

    def _delete(self, asked: Parameters) -> None:
        known = {status.alarm.name for status in self._monitoring.alarms()}
        if unknown := sorted(set(asked["AlarmNames"]) - known):
            raise ResourceNotFound(f"Unknown alarms: {', '.join(unknown)}")
        for name in asked["AlarmNames"]:
            self._monitoring.delete_alarm(name)

    def _enable(self, asked: Parameters, *, enabled: bool) -> None:
        for status in self._monitoring.alarms():
            if status.alarm.name in asked["AlarmNames"]:
                status.actions_enabled = enabled

    def _put_mute_rule(self, asked: Parameters) -> object:
        """A rule is shown as active at once; its alarms act all the same."""
        self._mute_rules[asked["Name"]] = asked
        return {}

    def _mute_rule(self, name: str) -> dict[str, Any]:
        if name not in self._mute_rules:
            raise ResourceNotFound(f"Unknown alarm mute rule: {name}")
        rule_arn = arn("cloudwatch", f"alarm-mute-rule:{name}")
        return {**self._mute_rules[name], "AlarmMuteRuleArn": rule_arn, "Status": "ACTIVE"}

    def _list_mute_rules(self, asked: Parameters) -> object:
        found = [self._mute_rule(name) for name in sorted(self._mute_rules)]
        listed = [
            {key: rule[key] for key in ("AlarmMuteRuleArn", "Status")}
            for rule in found
            if rule["Status"] in asked.get("Statuses", [rule["Status"]])
        ]
        some, token = page(listed, asked.get("MaxRecords", MAX_RECORDS), asked.get("NextToken"))
        return {"AlarmMuteRuleSummaries": some, **token}

    def _delete_mute_rule(self, asked: Parameters) -> None:
        self._mute_rules.pop(asked["AlarmMuteRuleName"], None)


def named_alarms(statuses: Sequence[AlarmStatus]) -> list[dict[str, str]]:
    """Alarms as a scaling policy lists them."""
    names = [status.alarm.name for status in statuses]
    return [{"AlarmName": name, "AlarmARN": alarm_arn(name)} for name in names]


def alarm_arn(name: str) -> str:
    """The ARN of an alarm of this account."""
    return arn("cloudwatch", f"alarm:{name}")


def reason_data(change: AlarmChange) -> dict[str, Any]:
    """StateReasonData: the evaluation behind a state; only a single metric has a statistic there."""
    alarm = change.alarm
    single = {} if "Metrics" in alarm.properties else {"statistic": alarm.queries[0].stat}
    first = alarm.evaluation_range(change.at)[-alarm.evaluation_periods]
    return {
        "version": "1.0",
        "queryDate": _json_time(change.at),
        "startDate": _json_time(first),
        **single,
        "period": alarm.period_s,
        "recentDatapoints": [point for point in change.points if point is not None],
        "threshold": alarm.threshold,
    }


def _actions(status: AlarmStatus) -> Sequence[str]:
    alarm = status.alarm
    return alarm.alarm_actions + alarm.ok_actions + alarm.insufficient_data_actions


def _described(status: AlarmStatus) -> dict[str, Any]:
    alarm, since = status.alarm, _time(status.since)
    state = {"StateReasonData": json.dumps(reason_data(status.change))} if status.change else {}
    return state | {
        "AlarmName": alarm.name,
        "AlarmArn": alarm_arn(alarm.name),
        "AlarmDescription": alarm.description,
        "AlarmConfigurationUpdatedTimestamp": _time(status.created_at),
        "ActionsEnabled": status.actions_enabled,
        "OKActions": list(alarm.ok_actions),
        "AlarmActions": list(alarm.alarm_actions),
        "InsufficientDataActions": list(alarm.insufficient_data_actions),
        "StateValue": status.state,
        "StateReason": status.reason,
        "StateUpdatedTimestamp": since,
        "StateTransitionedTimestamp": since,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "Threshold": alarm.threshold,
        "ComparisonOperator": alarm.comparison,
        "TreatMissingData": alarm.treatment,
        **_metric(alarm),
    }


def _metric(alarm: Alarm) -> dict[str, Any]:
    """The metric or the metric math as it was put, with numbers and flags that a template gives as text."""
    entries = alarm.properties.get("Metrics")
    if entries is None:
        keys = ("MetricName", "Namespace", "Dimensions", "Statistic", "ExtendedStatistic")
        single = {key: alarm.properties[key] for key in keys if key in alarm.properties}
        return {"Dimensions": [], **single, "Period": alarm.period_s}
    return {"Metrics": [_math_entry(entry, alarm.period_s) for entry in entries]}


def _math_entry(entry: Mapping[str, Any], period_s: int) -> dict[str, Any]:
    shown = {**entry, "ReturnData": str(entry.get("ReturnData", True)).lower() == "true"}
    if "MetricStat" in entry:
        shown["MetricStat"] = {**entry["MetricStat"], "Period": period_s}
    return shown


def _history_item(event: AlarmChange | AlarmAction) -> dict[str, Any]:
    change = event if isinstance(event, AlarmChange) else event.change
    item = {"AlarmName": change.alarm.name, "AlarmType": "MetricAlarm", "Timestamp": _time(change.at)}
    if isinstance(event, AlarmChange):
        data: dict[str, Any] = {
            "version": "1.0",
            "oldState": {"stateValue": change.previous, "stateReason": change.previous_reason},
            "newState": {
                "stateValue": change.state,
                "stateReason": change.reason,
                "stateReasonData": reason_data(change),
            },
        }
        kind, summary = "StateUpdate", f"Alarm updated from {change.previous} to {change.state}"
    else:
        data = {"actionState": "Succeeded", "notificationResource": event.arn}
        kind, summary = "Action", f"Successfully executed action {event.arn}"
        if event.failure:
            data |= {"actionState": "Failed", "error": event.failure}
            summary = f'Failed to execute action {event.arn}. Received error: "{event.failure}"'
    return item | {"HistoryItemType": kind, "HistorySummary": summary, "HistoryData": json.dumps(data)}


def _time(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _json_time(epoch_s: float) -> str:
    return _time(epoch_s).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
