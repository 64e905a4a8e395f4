"""What alarms do, a hundred a call, and the rules that mute them now: a call for each such rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.aws.concurrent_reads import batches, per_item, start_reads, unknown_reading
from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field, optional_list_field
from sluice.core.model import Unknown
from sluice.errors import attempt
from sluice.ports import RemainingS
from sluice_operator.core.checks.facts import AlarmSettings

ALARMS_PER_CALL = 100


def read_alarms(
    client: Any, pool: ThreadPoolExecutor, names: Collection[str], remaining_s: RemainingS
) -> Mapping[str, AlarmSettings | Unknown | None]:
    """The settings of each alarm; None for one that does not exist."""

    def read(batch: tuple[str, ...]) -> dict[str, AlarmSettings | Unknown | None]:
        with aws_errors(_read(batch)):
            answer = client.describe_alarms(AlarmNames=list(batch), MaxRecords=ALARMS_PER_CALL)
            found = {
                field(alarm, "AlarmName"): AlarmSettings(
                    actions_enabled=alarm.get("ActionsEnabled", True) is True,
                    actions=tuple(optional_list_field(alarm, "AlarmActions")),
                    threshold=alarm.get("Threshold"),
                )
                for alarm in list_field(answer, "MetricAlarms")
            }
        return {name: found.get(name) for name in batch}

    return per_item(start_reads(pool, read, batches(sorted(names), ALARMS_PER_CALL), _read)(remaining_s))


def read_mute_rules(client: Any) -> Mapping[str, tuple[str, ...]] | Unknown:
    """The names of the rules that mute an alarm now, by the alarm's name."""

    def read() -> Mapping[str, tuple[str, ...]]:
        muted: dict[str, tuple[str, ...]] = defaultdict(tuple)
        with aws_errors("ListAlarmMuteRules"):
            pages = client.get_paginator("list_alarm_mute_rules").paginate(Statuses=["ACTIVE"])
            for page in pages:
                for summary in optional_list_field(page, "AlarmMuteRuleSummaries"):
                    rule = str(field(summary, "AlarmMuteRuleArn")).rsplit(":", 1)[-1]
                    described = client.get_alarm_mute_rule(AlarmMuteRuleName=rule)
                    for alarm in optional_list_field(described.get("MuteTargets", {}), "AlarmNames"):
                        muted[alarm] += (rule,)
        return muted

    outcome = attempt(read)
    return unknown_reading(outcome, "ListAlarmMuteRules") if isinstance(outcome, Exception) else outcome


def _read(batch: tuple[str, ...]) -> str:
    return f"DescribeAlarms of {len(batch)} alarms"
