from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim.aws_rules.alarms import (
    Alarm,
    AlarmError,
    MetricQuery,
    State,
    Treatment,
    next_state,
)

OUTCOMES = {"A": State.ALARM, "OK": State.OK, "I": State.INSUFFICIENT_DATA}
TREATMENTS = (Treatment.MISSING, Treatment.IGNORE, Treatment.BREACHING, Treatment.NOT_BREACHING)

# AWS's two tables, newest point right: outcomes for missing / ignore / breaching / notBreaching; R retains.
VECTORS = [
    (3, "0 - X - X", "OK OK OK OK"),
    (3, "0 - - - -", "OK OK OK OK"),
    (3, "- - - - -", "I R A OK"),
    (3, "0 X X - X", "A A A A"),
    (3, "- - X - -", "A R A OK"),
    (2, "0 - X - X", "A A A A"),
    (2, "0 0 X 0 X", "A A A A"),
    (2, "0 - X - -", "OK OK A OK"),
    (2, "- - - - 0", "OK OK A OK"),
    (2, "- - - X -", "A R A OK"),
]
# AWS's text next to the tables: a young breaching point does not alarm yet.
PREMATURE = [(3, "- - - - X", "OK R A OK"), (3, "- - - X -", "OK R A OK")]


def metric_alarm(**changes: Any) -> dict[str, Any]:
    """Properties of a single-metric alarm, `> 0` on the newest minute; a change to None removes one."""
    properties = {
        "AlarmName": "sluice-transcription-bootstrap",
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Dimensions": [{"Name": "QueueName", "Value": "transcription"}],
        "Statistic": "Maximum",
        "Period": 60,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 1,
    }
    return {key: value for key, value in (properties | changes).items() if value is not None}


def metric_stat(query_id: str, name: str, period: object = 60, **extra: Any) -> dict[str, Any]:
    metric = {
        "Namespace": "AWS/SQS",
        "MetricName": name,
        "Dimensions": [{"Name": "QueueName", "Value": "transcription"}],
    }
    stat = {"Metric": metric, "Period": period, "Stat": "Maximum"}
    return {"Id": query_id, "MetricStat": stat, "ReturnData": False} | extra


def math_alarm(*metrics: dict[str, Any], expression: str = "visible + in_flight") -> dict[str, Any]:
    """Properties of a metric-math alarm: at most 0 in 5 of 5 minutes, notBreaching."""
    entries = metrics or (metric_stat("visible", "V"), metric_stat("in_flight", "F"))
    return {
        "Metrics": [{"Id": "backlog", "Expression": expression, "ReturnData": True}, *entries],
        "ComparisonOperator": "LessThanOrEqualToThreshold",
        "Threshold": "0",
        "EvaluationPeriods": "5",
        "TreatMissingData": "notBreaching",
    }


def alarm(**changes: Any) -> Alarm:
    return Alarm.from_properties("TheAlarm", metric_alarm(**changes))


def points(drawn: str) -> list[float | None]:
    """`0 X -` as the values of an alarm on `> 0`."""
    return [{"0": 0.0, "X": 1.0, "-": None}[point] for point in drawn.split()]


def cases() -> list[Any]:
    return [
        pytest.param(needed, drawn, treatment, outcome, id=f"{needed} of 3: {drawn} {treatment}")
        for needed, drawn, outcomes in VECTORS + PREMATURE
        for treatment, outcome in zip(TREATMENTS, outcomes.split(), strict=True)
    ]


@pytest.mark.parametrize("previous", list(State))
@pytest.mark.parametrize(("needed", "drawn", "treatment", "outcome"), cases())
def test_a_range_with_missing_points_ends_as_in_the_tables_of_aws(
    needed: int, drawn: str, treatment: Treatment, outcome: str, previous: State
) -> None:
    subject = alarm(EvaluationPeriods=3, DatapointsToAlarm=needed, TreatMissingData=str(treatment))
    assert subject.next_state(points(drawn), previous) is OUTCOMES.get(outcome, previous)


def test_missing_data_is_treated_as_missing_unless_said_otherwise() -> None:
    assert alarm().treatment is Treatment.MISSING


def test_one_point_within_the_threshold_prevents_the_premature_alarm() -> None:
    assert alarm(EvaluationPeriods=3).next_state(points("0 - X - -"), State.ALARM) is State.OK


def test_a_one_of_one_alarm_follows_the_newest_real_point_of_its_range() -> None:
    subject = alarm(TreatMissingData="notBreaching")
    assert subject.next_state(points("X - -"), State.OK) is State.ALARM
    assert subject.next_state(points("X - 0"), State.ALARM) is State.OK
    assert subject.next_state(points("- - -"), State.ALARM) is State.OK


def verdict(
    breaching: list[bool | None], previous: State, periods: int, needed: int, treatment: Treatment
) -> State:
    return next_state(
        breaching,
        previous,
        evaluation_periods=periods,
        datapoints_to_alarm=needed,
        treatment=treatment,
    )


ranges = st.integers(1, 15).flatmap(
    lambda periods: st.tuples(
        st.lists(st.sampled_from([True, False, None]), min_size=periods + 2, max_size=periods + 2),
        st.sampled_from(State),
        st.just(periods),
        st.integers(1, periods),
    )
)


@given(case=ranges)
def test_an_alarm_that_fills_its_gaps_is_never_without_data(
    case: tuple[list[bool | None], State, int, int],
) -> None:
    assert verdict(*case, Treatment.NOT_BREACHING) is not State.INSUFFICIENT_DATA
    assert verdict(*case, Treatment.BREACHING) is not State.INSUFFICIENT_DATA


@given(case=ranges)
def test_only_a_range_without_any_point_is_insufficient(
    case: tuple[list[bool | None], State, int, int],
) -> None:
    empty = all(point is None for point in case[0])
    assert (verdict(*case, Treatment.MISSING) is State.INSUFFICIENT_DATA) is empty


@given(case=ranges)
def test_breaching_gaps_alarm_whenever_non_breaching_gaps_do(
    case: tuple[list[bool | None], State, int, int],
) -> None:
    if verdict(*case, Treatment.NOT_BREACHING) is State.ALARM:
        assert {verdict(*case, treatment) for treatment in TREATMENTS} == {State.ALARM}


@given(case=ranges, treatment=st.sampled_from(Treatment))
def test_a_full_range_is_decided_by_its_newest_points_alone(
    case: tuple[list[bool | None], State, int, int], treatment: Treatment
) -> None:
    breaching, previous, periods, needed = case
    full = [bool(point) for point in breaching]
    expected = State.ALARM if sum(full[-periods:]) >= needed else State.OK
    assert verdict([*full], previous, periods, needed, treatment) is expected


@pytest.mark.parametrize(
    ("operator", "breaching"),
    [
        ("GreaterThanThreshold", [9]),
        ("GreaterThanOrEqualToThreshold", [8, 9]),
        ("LessThanThreshold", [7]),
        ("LessThanOrEqualToThreshold", [7, 8]),
    ],
)
def test_each_comparison_breaches_on_its_own_side(operator: str, breaching: list[int]) -> None:
    subject = alarm(ComparisonOperator=operator, Threshold=8)
    assert [value for value in (7, 8, 9) if subject.breaches(value)] == breaching


@pytest.mark.parametrize(
    ("now", "newest"), [(600, 540), (600.5, 540), (659.9, 540), (660, 600), (719, 600), (720, 660)]
)
def test_the_newest_point_is_of_the_last_period_that_has_ended(now: float, newest: int) -> None:
    series = {"m1": {minute: float(minute) for minute in range(0, 1200, 60)}}
    assert alarm().datapoints(series, now) == [newest - 120, newest - 60, newest]


def test_a_range_has_two_points_more_than_its_periods_and_shows_gaps() -> None:
    series = {"m1": {0: 1.0, 120: 3.0, 300: 6.0, 360: 7.0}}
    assert alarm(EvaluationPeriods=3).datapoints(series, 360) == [None, 3.0, None, None, 6.0]


def test_a_longer_period_is_read_at_its_own_starts() -> None:
    series = {"m1": {0: 1.0, 300: 2.0, 600: 3.0}}
    assert alarm(Period=300).datapoints(series, 899) == [None, 1.0, 2.0]
    assert alarm(Period=300).datapoints(series, 900) == [1.0, 2.0, 3.0]


def test_metric_math_is_evaluated_over_all_its_metrics() -> None:
    subject = Alarm.from_properties("Shutdown", math_alarm())
    series = {"visible": {540: 0.0, 480: 2.0}, "in_flight": {540: 1.0, 420: 0.0}}
    assert subject.datapoints(series, 600) == [None, None, None, None, 0.0, 2.0, 1.0]


def test_a_single_metric_alarm_says_what_it_reads() -> None:
    assert alarm().metric_queries() == (
        MetricQuery(
            id="m1",
            namespace="AWS/SQS",
            name="ApproximateNumberOfMessagesVisible",
            dimensions=(("QueueName", "transcription"),),
            stat="Maximum",
            period_s=60,
        ),
    )
    assert alarm(Statistic=None, ExtendedStatistic="p90").metric_queries()[0].stat == "p90"


def test_a_math_alarm_says_what_it_reads_with_dimensions_in_order() -> None:
    dimensions = [{"Name": "ServiceName", "Value": "s"}, {"Name": "ClusterName", "Value": "c"}]
    entry = metric_stat("running", "RunningTaskCount")
    entry["MetricStat"]["Metric"]["Dimensions"] = dimensions
    subject = Alarm.from_properties("Silence", math_alarm(entry, expression="running"))
    (query,) = subject.metric_queries()
    assert (query.id, query.name, query.stat) == ("running", "RunningTaskCount", "Maximum")
    assert query.dimensions == (("ClusterName", "c"), ("ServiceName", "s"))


def test_a_returned_metric_needs_no_expression() -> None:
    properties = math_alarm() | {"Metrics": [metric_stat("visible", "V", ReturnData=True)]}
    subject = Alarm.from_properties("Visible", properties)
    assert subject.datapoints({"visible": {540: 4.0}}, 600)[-1] == 4.0


def test_properties_may_be_text_as_parameters_are() -> None:
    subject = alarm(
        Threshold="0.5", EvaluationPeriods="5", DatapointsToAlarm="4", Period="60", ActionsEnabled="false"
    )
    assert (subject.threshold, subject.evaluation_periods, subject.datapoints_to_alarm) == (0.5, 5, 4)
    assert subject.period_s == 60
    assert subject.actions_enabled is False


def test_actions_name_and_description_are_read() -> None:
    subject = alarm(
        AlarmDescription="Sluice workload transcription: work waits",
        AlarmActions=["arn:alarm"],
        OKActions=["arn:ok"],
        InsufficientDataActions=["arn:silence"],
    )
    assert subject.name == "sluice-transcription-bootstrap"
    assert subject.description == "Sluice workload transcription: work waits"
    assert subject.alarm_actions == ("arn:alarm",)
    assert subject.ok_actions == ("arn:ok",)
    assert subject.insufficient_data_actions == ("arn:silence",)
    assert subject.actions_enabled is True


def test_an_alarm_without_a_name_has_its_logical_id() -> None:
    assert alarm(AlarmName=None).name == "TheAlarm"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"Unit": "Count"}, r"TheAlarm\.Unit = 'Count'"),
        ({"ThresholdMetricId": "band"}, r"ThresholdMetricId"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, r"ComparisonOperator = 'GreaterThanUpper"),
        ({"TreatMissingData": "notbreaching"}, r"TreatMissingData = 'notbreaching'.*notBreaching"),
        ({"Threshold": "many"}, r"Threshold = 'many'.*number"),
        ({"Threshold": "nan"}, r"Threshold = 'nan'.*finite"),
        ({"Threshold": None}, r"Threshold is missing"),
        ({"EvaluationPeriods": 0}, r"EvaluationPeriods = 0"),
        ({"EvaluationPeriods": 1.5}, r"EvaluationPeriods = 1\.5"),
        ({"EvaluationPeriods": 1441}, r"EvaluationPeriods = 1441.*one day"),
        ({"DatapointsToAlarm": 2}, r"DatapointsToAlarm = 2.*EvaluationPeriods 1"),
        ({"Period": 45}, r"Period = 45"),
        ({"Statistic": None}, r"one statistic"),
        ({"ExtendedStatistic": "p90"}, r"one statistic"),
        ({"AlarmActions": "arn"}, r"AlarmActions = 'arn'"),
        ({"Dimensions": {"QueueName": "q"}}, r"Dimensions"),
        ({"Dimensions": [{"Name": "QueueName"}]}, r"Dimensions\[0\]\.Value is missing"),
        ({"ActionsEnabled": "yes"}, r"ActionsEnabled = 'yes'"),
        ({"MetricName": {"Ref": "Name"}}, r"MetricName"),
    ],
)
def test_what_would_change_the_outcome_and_is_not_simulated_is_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AlarmError, match=sentence):
        alarm(**changes)


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        (math_alarm() | {"MetricName": "V"}, "MetricName = 'V'.*beside Metrics"),
        (math_alarm(metric_stat("visible", "V")), "reads in_flight"),
        (math_alarm(metric_stat("visible", "V"), metric_stat("visible", "F")), "of its own Id"),
        (math_alarm(metric_stat("visible", "V"), metric_stat("in_flight", "F", 300)), "all of one Period"),
        (math_alarm(*(metric_stat(f"m{index}", "V") for index in range(11)), expression="m1"), "1 to 10"),
        (math_alarm(metric_stat("visible", "V", ReturnData=True), expression="visible"), "returns 2 series"),
        (math_alarm(metric_stat("visible", "V", AccountId="1"), expression="visible"), "AccountId"),
        (
            math_alarm(
                metric_stat("visible", "V"),
                {"Id": "e2", "Expression": "visible * 2", "ReturnData": False},
                expression="visible",
            ),
            r"Metrics\[2\]\.Expression.*only one expression",
        ),
        (math_alarm() | {"Metrics": [{"Id": "e1", "Expression": "1", "Period": 60}]}, "Metrics"),
    ],
)
def test_metrics_outside_one_expression_over_one_period_are_refused(
    properties: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AlarmError, match=sentence):
        Alarm.from_properties("Math", properties)


def test_a_reason_quotes_the_points_the_threshold_and_the_filled_values() -> None:
    subject = alarm(EvaluationPeriods=3, DatapointsToAlarm=2, Threshold=8, TreatMissingData="breaching")
    assert subject.reason_text([1.0, 2.0, 9.0, 7.0, 24.0], State.ALARM) == (
        "Threshold Crossed: 2 out of the last 3 datapoints [9.0, 7.0, 24.0] were greater than the threshold "
        "(8.0) (2 needed for ALARM)."
    )
    assert subject.reason_text([None, None, None, None, 9.0], State.ALARM) == (
        "Threshold Crossed: 1 out of the last 3 datapoints [9.0] was greater than the threshold "
        "(8.0) (2 needed for ALARM; 2 missing, treated as [breaching])."
    )


def test_a_reason_for_missing_data_counts_the_gaps() -> None:
    subject = alarm(EvaluationPeriods=3)
    assert subject.reason_text([None] * 5, State.INSUFFICIENT_DATA) == (
        "Insufficient Data: 3 of 3 datapoints were missing."
    )
