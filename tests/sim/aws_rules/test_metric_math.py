from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sluice_sim.aws_rules.metric_math import (
    ExpressionError,
    MissingOperand,
    evaluate,
    parse,
)

BOOTSTRAP = "IF(visible > 0 AND desired == 0, 1, 0)"


def one(expression: str, missing: MissingOperand | None = None, **points: float | None) -> float | None:
    """The value of one minute; None for a metric without a point in it."""
    series = {name: {} if value is None else {60: value} for name, value in points.items()}
    return evaluate(expression, series, missing or MissingOperand()).get(60)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("m + 2", 8),
        ("2 - m", -4),
        ("m * m", 36),
        ("m / 4", 1.5),
        ("-m + 10", 4),
        ("--m", 6),
        ("2 + m * 3", 20),
        ("(2 + m) * 3", 24),
        ("20 - m - 4", 10),
        ("36 / m / 2", 3),
        ("m * 1.5e1", 90),
        ("m * .5", 3),
        ("m == 6", 1),
        ("m != 6", 0),
        ("m > 6", 0),
        ("m >= 6", 1),
        ("m < 7", 1),
        ("m <= 5", 0),
        ("m + 1 > m * 1", 1),
        ("m > 5 AND m < 7", 1),
        ("m > 5 AND m > 7", 0),
        ("m > 7 OR m == 6", 1),
        ("m < 1 OR m > 7 OR m != 6", 0),
        ("m == 6 AND (m == 1 OR m == 6)", 1),
        ("IF(m > 5, 10, 20)", 10),
        ("IF(m > 6, 10, m + 1)", 7),
        ("IF(m, 1, 0)", 1),
        ("IF(m > 5, IF(m > 6, 1, 2), 3) * 2", 4),
        ("m+1<=7", 1),
        ("  m  ", 6),
    ],
)
def test_operators_and_precedence(expression: str, value: float) -> None:
    assert one(expression, m=6) == value


def test_the_highest_of_several_metrics_is_that_of_those_with_a_point() -> None:
    found = evaluate("MAX([a, b])", {"a": {60: 1.0, 120: 5.0}, "b": {60: 3.0, 180: 2.0}})
    assert found == {60: 3.0, 120: 5.0, 180: 2.0}


def test_a_period_is_that_of_the_metrics() -> None:
    expression = parse("sent * 3600 / PERIOD(sent)")
    assert expression.evaluate({"sent": {0: 5.0}}, period_s=300) == {0: 60}
    assert expression.evaluate({"sent": {0: 5.0}}) == {0: 300}
    with pytest.raises(ExpressionError, match="the period of something else than a metric"):
        parse("PERIOD(60)")


def test_each_minute_is_evaluated_by_itself_in_order_of_time() -> None:
    series = {"visible": {120: 24.0, 60: 0.0, 180: 5.0}, "desired": {60: 0.0, 120: 0.0, 180: 2.0}}
    assert list(evaluate(BOOTSTRAP, series).items()) == [(60, 0.0), (120, 1.0), (180, 0.0)]


def test_arithmetic_counts_a_missing_operand_as_zero() -> None:
    assert one("a + b + c", a=None, b=4, c=None) == 4
    assert one("b - a", a=None, b=4) == 4
    assert one("a * b", a=None, b=4) == 0
    assert one("a / b", a=None, b=4) == 0
    assert one("a + 0 * b", a=None, b=4) == 0


def test_a_minute_without_any_point_yields_no_point() -> None:
    assert evaluate("a + b", {"a": {60: 1.0}, "b": {180: 2.0}}) == {60: 1.0, 180: 2.0}
    assert evaluate("a + 1", {"a": {}}) == {}


def test_a_metric_that_is_given_but_not_read_adds_no_minute() -> None:
    assert evaluate("a + 1", {"a": {60: 1.0}, "other": {120: 1.0}}) == {60: 2.0}


def test_division_by_zero_and_by_a_missing_point_drops_the_point() -> None:
    series = {"visible": {60: 8.0, 120: 8.0, 180: 8.0}, "running": {60: 2.0, 120: 0.0}}
    assert evaluate("visible / running", series) == {60: 4.0}
    assert one("0 / a", a=0) is None


def test_a_point_dropped_inside_an_expression_is_a_missing_operand() -> None:
    assert one("a / b + 1", a=5, b=0) == 1
    assert one("a / b + b / b", a=5, b=0) is None
    assert one("-(a / b)", a=5, b=0) is None


def test_an_infinite_result_is_dropped() -> None:
    assert one("a * a", a=1e200) is None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("gone == 0", 1.0),
        ("gone == here / 0", None),
        ("gone == here - 3", 1.0),
        ("gone > 0 OR here > 0", 1.0),
        ("gone AND here", 0.0),
        ("gone OR here", 1.0),
    ],
)
def test_a_missing_operand_outside_arithmetic_follows_the_named_assumptions(
    expression: str, value: float | None
) -> None:
    # `here` gives the minute a point; alone, `gone == 0` would have no minute at all
    assert one(f"IF(here == 0, 9, {expression})", here=3, gone=None) == value


def test_a_missing_desired_capacity_counts_as_zero_in_the_bootstrap_expression() -> None:
    assert one(BOOTSTRAP, visible=24, desired=None) == 1
    assert one(BOOTSTRAP, visible=None, desired=0) == 0


def test_each_assumption_about_a_missing_operand_can_be_changed() -> None:
    assert one(BOOTSTRAP, MissingOperand(comparison=1), visible=24, desired=None) == 0
    assert one("IF(a == b, 1, 2)", MissingOperand(comparison=None), a=None, b=0) is None
    assert one("a OR b", MissingOperand(logic=1), a=None, b=0) == 1
    assert one("IF(a, 1, 2) + b", MissingOperand(condition=1), a=None, b=0) == 1
    assert one("IF(a, 1, 2) + b", MissingOperand(condition=0), a=None, b=5) == 7
    assert one("IF(b == 0, a, 1)", MissingOperand(then=7), a=None, b=0) == 7
    assert one("IF(b == 1, 1, a)", MissingOperand(otherwise=7), a=None, b=0) == 7
    assert one("a + b", MissingOperand(arithmetic=None), a=None, b=5) is None
    assert one("b - a", MissingOperand(arithmetic=7), a=None, b=5) == -2


def series(*values: float | None) -> dict[int, float]:
    """One value a minute; None for a minute without a point."""
    return {60 * minute: value for minute, value in enumerate(values) if value is not None}


METRIC_1 = series(1, 1, 0, 0, None)


@pytest.mark.parametrize(
    ("expression", "others", "expected"),
    [
        (
            "IF(metric1, metric2, metric3)",
            {"metric2": series(30, None, 0, 0, 30), "metric3": series(0, 0, 20, None, 20)},
            series(30, 0, 20, None, None),
        ),
        ("IF(metric1, 5, metric3)", {"metric3": series(0, 0, 20, None, 20)}, series(5, 5, 20, None, None)),
        ("IF(metric1, metric2, 5)", {"metric2": series(30, None, 0, 0, 30)}, series(30, 0, 5, 5, None)),
    ],
)
def test_if_treats_missing_points_as_in_the_tables_of_aws(
    expression: str, others: dict[str, dict[int, float]], expected: dict[int, float]
) -> None:
    assert evaluate(expression, {"metric1": METRIC_1, **others}) == expected


def test_comparisons_treat_missing_points_as_in_the_table_of_aws() -> None:
    metrics = {"metric1": series(30, 20, 0, 0), "metric2": series(20, None, 20, None)}
    assert evaluate("metric1 < metric2", metrics) == series(0, 0, 1, 0)
    assert evaluate("metric1 >= 30", metrics) == series(1, 0, 0, 0)
    assert evaluate("metric1 > 15 AND metric2 > 15", metrics) == series(1, 0, 0, 0)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("FILL(gappy, 0)", series(7, 0, 0, 9)),
        ("FILL(gappy, 10)", series(7, 10, 10, 9)),
        ("FILL(gappy, -1.5)", series(7, -1.5, -1.5, 9)),
        ("FILL(empty, 3)", series(3, 3, 3, 3)),  # assumption: AWS's documents do not say
        ("gappy + FILL(empty, 1)", series(8, 1, 1, 10)),
        ("IF(FILL(empty, 0) > 0, 1, gappy)", series(7, None, None, 9)),
        ("gappy", series(7, None, None, 9)),
    ],
)
def test_fill_gives_a_value_to_every_minute_that_is_asked_for(
    expression: str, expected: dict[int, float]
) -> None:
    metrics = {"gappy": series(7, None, None, 9), "empty": {}}
    assert evaluate(expression, metrics, minutes=range(0, 240, 60)) == expected


def test_fill_knows_no_other_minutes_than_those_of_the_points_and_those_asked_for() -> None:
    assert evaluate("FILL(m, 4)", {"m": {60: 1.0}}) == {60: 1.0}
    assert evaluate("FILL(m, 4)", {"m": {60: 1.0}}, minutes=[180]) == {60: 1.0, 180: 4.0}


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("FILL(m, REPEAT)", "REPEAT"),
        ("FILL(m, LINEAR)", "LINEAR"),
        ("FILL(m, a)", "fills m with a"),
        ("FILL(m)", r"','"),
        ("FILL(m + a, 0)", r"','"),
        ("FILL(1, 0)", "something else than a metric"),
        ("FILL(METRICS(), 0)", "METRICS"),
        ("MAX(a)", r"where '\[' should stand"),
        ("MAX([1, a])", "something else than metrics"),
        ("METRICS()", "METRICS"),
        ("m ^ 2", r"\^"),
        ("m % 2", "%"),
        ("a && b", "&&"),
        ("a || b", r"\|\|"),
        ("!m", "!"),
        ("m = 1", "="),
        ("IF(m = 1, 1, 0)", "="),
        ("'text'", '"\'"'),
        ("[a, b]", r"\["),
        ("Total + 1", "Total"),
        ("AND", "AND"),
        ("m > 0 and a > 0", "and"),
        ("a > 0 AND b > 0 OR c > 0", "parentheses"),
        ("1 < m < 3", "chains"),
        ("m 5", "5"),
        ("m end", "'end'"),
        ("(m", "'the end'|nothing"),
        ("m +", "nothing"),
        ("", "nothing"),
        ("IF(m, 1)", r"','"),
        ("1 + 1", "reads no metric"),
        ("m * 1e999", "too large"),
    ],
)
def test_unsimulated_properties_are_refused_by_name(expression: str, named: str) -> None:
    with pytest.raises(ExpressionError, match=named):
        parse(expression)


def test_an_expression_knows_the_ids_it_reads() -> None:
    assert parse(BOOTSTRAP).ids == {"visible", "desired"}


def test_an_id_without_a_series_is_refused_with_the_ids_there_are() -> None:
    with pytest.raises(ExpressionError, match=r"reads desired.*visible"):
        evaluate(BOOTSTRAP, {"visible": {60: 1.0}})


def test_two_parses_of_one_text_are_equal() -> None:
    assert parse("a + b") == parse("a + b")
    assert parse("a + b") != parse("a - b")


def expressions() -> st.SearchStrategy[str]:
    """Arithmetic and comparisons that Python reads the same way, fully parenthesised or not."""
    leaves = st.sampled_from(["a", "b", "c", "2", "0.5"])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        arithmetic = st.builds("{} {} {}".format, inner, st.sampled_from("+-*"), inner)
        compared = st.builds("({} {} {})".format, inner, st.sampled_from(["<", ">=", "==", "!="]), inner)
        return st.one_of(arithmetic, arithmetic.map("({})".format), compared, inner.map("(-{})".format))

    return st.recursive(leaves, larger, max_leaves=8)


numbers = st.integers(-1000, 1000).map(float)


@given(expression=expressions(), points=st.fixed_dictionaries({"a": numbers, "b": numbers, "c": numbers}))
def test_metric_math_agrees_with_python_where_nothing_is_missing(
    expression: str, points: Mapping[str, float]
) -> None:
    assume(set("abc") & set(expression))
    expected = float(eval(expression, {}, dict(points)))  # the text comes from the strategy above
    series = {name: {60: value} for name, value in points.items()}
    assert evaluate(expression, series)[60] == pytest.approx(expected)


@given(points=st.dictionaries(st.sampled_from(["a", "b", "c"]), numbers, min_size=1))
def test_a_sum_has_a_point_wherever_any_metric_has_one(points: dict[str, float]) -> None:
    series = {name: ({60: points[name]} if name in points else {}) for name in "abc"}
    assert evaluate("a + b + c", series) == {60: pytest.approx(sum(points.values()))}


def test_an_expression_that_is_nested_too_deeply_is_refused():
    with pytest.raises(ExpressionError, match="nested too deeply"):
        parse("(" * 5000 + "a" + ")" * 5000)
