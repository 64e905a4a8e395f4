"""The states of CloudWatch alarms that users name: metric alarms and composite ones, a hundred a call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from sluice.aws.concurrent_reads import batches, fan_out, parse_item, per_item
from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field
from sluice.core.guard import AlarmState
from sluice.core.model import Unknown
from sluice.ports import RemainingS

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NAMES_PER_CALL = 100
"""The most that DescribeAlarms takes (documented)."""


class CloudWatchAlarms:
    """Implements `ports.Alarms`."""

    def __init__(self, client: Callable[[], CloudWatchClient], pool: ThreadPoolExecutor) -> None:
        self._client, self._pool = client, pool

    def read(self, names: Collection[str], remaining_s: RemainingS) -> Mapping[str, AlarmState | Unknown]:
        """DescribeAlarms by name; the calls run concurrently."""
        read = partial(_states, self._client())
        return per_item(fan_out(self._pool, read, batches(names, NAMES_PER_CALL), _reading, remaining_s))


def _reading(names: tuple[str, ...]) -> str:
    return f"DescribeAlarms of {len(names)} alarms"


def _states(client: CloudWatchClient, names: tuple[str, ...]) -> dict[str, AlarmState | Unknown]:
    with aws_errors(_reading(names)):
        response = client.describe_alarms(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"], MaxRecords=NAMES_PER_CALL
        )
        described = {
            str(field(alarm, "AlarmName")): str(field(alarm, "StateValue"))
            for kind in ("MetricAlarms", "CompositeAlarms")
            for alarm in list_field(response, kind)
        }
    return {
        name: parse_item(f"the state of alarm {name}", partial(AlarmState, described[name]))
        if name in described
        else Unknown(reason=f"the alarm {name} does not exist in this account and region")
        for name in names
    }
