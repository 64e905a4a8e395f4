"""The contract of `ports.Alarms`, for every implementation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sluice.aws.alarm_states import NAMES_PER_CALL, CloudWatchAlarms
from sluice.core.guard import AlarmState
from sluice.core.model import Unknown
from sluice.ports import Alarms
from tests.sluice.aws import account
from tests.support.builders import plenty
from tests.support.fakes import FakeAlarms


@dataclass
class Subject:
    port: Alarms
    put: Callable[[str, AlarmState], None]


@pytest.fixture(params=["fake", "cloudwatch"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeAlarms()
        yield Subject(fake, fake.states.__setitem__)
        return
    with account.account(), account.threads() as pool:
        cloudwatch = account.client("cloudwatch")

        def put(name: str, state: AlarmState) -> None:
            cloudwatch.put_metric_alarm(
                AlarmName=name,
                Namespace="Database",
                MetricName="Errors",
                Statistic="Sum",
                Period=60,
                EvaluationPeriods=1,
                Threshold=1,
                ComparisonOperator="GreaterThanThreshold",
            )
            cloudwatch.set_alarm_state(AlarmName=name, StateValue=state.value, StateReason="a test")

        yield Subject(CloudWatchAlarms(lambda: cloudwatch, pool), put)


@pytest.mark.parametrize("state", list(AlarmState))
def test_an_alarm_has_its_state(subject: Subject, state: AlarmState) -> None:
    subject.put("database", state)
    assert subject.port.read(["database"], plenty) == {"database": state}


def test_an_alarm_that_does_not_exist_is_unknown_and_the_others_are_read(subject: Subject) -> None:
    subject.put("database", AlarmState.OK)
    found = subject.port.read(["databse", "database"], plenty)
    assert found["database"] is AlarmState.OK
    assert found["databse"] == Unknown(reason="the alarm databse does not exist in this account and region")


def test_more_alarms_than_a_call_takes_are_read(subject: Subject) -> None:
    names = [f"alarm-{number}" for number in range(NAMES_PER_CALL + 1)]
    for name in (names[0], names[-1]):
        subject.put(name, AlarmState.ALARM)
    found = subject.port.read(names, plenty)
    assert found.keys() == set(names)
    assert [name for name in names if found[name] is AlarmState.ALARM] == [names[0], names[-1]]
