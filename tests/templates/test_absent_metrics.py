"""The shutdown alarm with metrics that SQS does not publish, however metric math treats a gap.

SQS reports messages in flight and delayed only while there are such messages, visible ones while the queue is
active. AWS documents that arithmetic counts a missing value as 0; should it drop the point instead, the alarm
has to judge the same.
"""

from __future__ import annotations

import pytest

from sluice_sim.aws_rules.alarms import (
    Alarm,
    State,
)
from sluice_sim.aws_rules.metric_math import (
    MissingOperand,
    parse,
)
from tests.templates.stacks import workload

MINUTES = 7
"""As many minutes as an alarm over five reads."""
NOW = MINUTES * 60
GAPS = {
    "counted as 0": MissingOperand(),
    "dropped by arithmetic": MissingOperand(arithmetic=None),
    "dropped by comparisons": MissingOperand(comparison=None),
}
SUMMED = "visible + FILL(in_flight, 0) + FILL(delayed, 0)"
Counts = list[float | None]
NONE: Counts = [None] * MINUTES
ZERO: Counts = [0] * MINUTES


def written() -> str:
    properties = workload().resources["ShutdownAlarm"].properties
    return str(next(entry["Expression"] for entry in properties["Metrics"] if "Expression" in entry))


def judged(
    expression: str | None = None, gaps: str = "counted as 0", **counts: Counts
) -> tuple[State, list[float | None]]:
    """The shutdown alarm's state, and the values it looks at, oldest first."""
    properties = dict(workload().resources["ShutdownAlarm"].properties)
    alarm = Alarm.from_properties("ShutdownAlarm", properties)
    if expression:
        object.__setattr__(alarm, "expression", parse(expression))
    series = {
        name: {60 * minute: value for minute, value in enumerate(counts.get(name, NONE)) if value is not None}
        for name in ("visible", "in_flight", "delayed")
    }
    points = alarm.datapoints(series, NOW, GAPS[gaps])
    return alarm.next_state(points, State.OK), points


@pytest.mark.parametrize("gaps", GAPS)
class TestShutdownAlarm:
    def test_an_empty_queue_of_which_visible_messages_alone_are_reported_goes_to_alarm(
        self, gaps: str
    ) -> None:
        assert judged(gaps=gaps, visible=ZERO) == (State.ALARM, ZERO)

    def test_missing_data_is_not_emptiness(self, gaps: str) -> None:
        assert judged(gaps=gaps) == (State.OK, NONE)

    def test_a_minute_without_data_is_not_an_empty_one(self, gaps: str) -> None:
        silent = [*ZERO[:-3], None, 0, 0]
        assert judged(gaps=gaps, visible=silent)[1] == silent

    def test_the_newest_minute_that_is_not_reported_yet_stays_open(self, gaps: str) -> None:
        # CloudWatch warns that FILL pins an alarm if its newest minute never has data.
        late: Counts = [*ZERO[:-1], None]
        assert judged(gaps=gaps, visible=late) == (State.ALARM, late)

    @pytest.mark.parametrize("busy", ["in_flight", "delayed"])
    def test_invisible_messages_count_as_work(self, gaps: str, busy: str) -> None:
        for minute in range(2, MINUTES):
            counts = list(NONE)
            counts[minute] = 3
            state, points = judged(gaps=gaps, visible=ZERO, **{busy: counts})
            assert state is State.OK
            assert points == [at == minute for at in range(MINUTES)]

    def test_visible_messages_are_work(self, gaps: str) -> None:
        assert judged(gaps=gaps, visible=[4.0] * MINUTES) == (State.OK, [1.0] * MINUTES)

    def test_the_alarm_state_is_the_same_if_fill_leaves_a_metric_without_points_empty(
        self, gaps: str
    ) -> None:
        unfilled = written().replace("FILL(in_flight, 0)", "in_flight").replace("FILL(delayed, 0)", "delayed")
        assert unfilled == "IF(visible > 0 OR in_flight > 0 OR delayed > 0, 1, visible)"
        assert judged(unfilled, gaps, visible=ZERO) == (State.ALARM, ZERO)
        assert judged(unfilled, gaps) == (State.OK, NONE)

    def test_messages_in_flight_without_a_visible_metric_are_not_emptiness(self, gaps: str) -> None:
        assert judged(gaps=gaps, in_flight=[2.0] * MINUTES) == (State.OK, [1.0] * MINUTES)


def test_neither_a_plain_nor_a_filled_sum_would_work() -> None:
    """Why the expression is not simpler."""
    plain = "visible + in_flight + delayed"
    assert judged(plain, "dropped by arithmetic", visible=ZERO)[0] is not State.ALARM
    assert judged(SUMMED, "counted as 0")[0] is State.ALARM  # no metric has data
