"""The price table, and what a template's alarms cost by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from sluice_operator.core.prices import Item, PriceError, month_of_alarm, month_of_policy, parse, written
from sluice_operator.price_files import SHIPPED, shipped


def table(change: Callable[[dict[str, Any]], Any] = lambda _: None) -> str:
    content = json.loads(SHIPPED.read_text(encoding="utf-8"))
    change(content)
    return json.dumps(content)


def test_the_table_of_the_release_names_its_region_and_its_day() -> None:
    assert (shipped().region, shipped().as_of) == ("us-east-1", date(2026, 6, 17))
    assert str(shipped()) == "list prices of us-east-1, 2026-06-17"


def test_it_has_the_types_of_the_examples_and_a_price_for_every_item() -> None:
    assert {"m6g.medium", "m7g.medium", "r7g.medium", "c7g.large"} <= shipped().ec2_hour.keys()
    assert all(shipped().of(item) > 0 for item in Item)


def test_what_is_written_is_read_again() -> None:
    assert parse(written(shipped()), what="x") == shipped()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "mine.json: not a price file: it needs region, as_of"),
        ("[]", "not a price file"),
        (table(lambda content: content.pop("ec2")), "not a price file"),
        (table(lambda content: content.update(as_of="yesterday")), "not a price file"),
        (table(lambda content: content["usd"].pop("sqs request")), "usd lacks sqs request"),
        (table(lambda content: content["usd"].update({"sqs request": -1})), "sqs request: -1 is not a price"),
        (table(lambda content: content["ec2"].update({"c7g.large": "0.07"})), "c7g.large: '0.07' is not a"),
        (table(lambda content: content["ec2"].update({"c7g.large": float("nan")})), "c7g.large: nan is not"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(PriceError, match=sentence):
        parse(text, what="mine.json")


def test_an_alarm_is_billed_by_its_metrics_and_more_below_a_minute() -> None:
    stat = {"MetricStat": {"Period": 60}}
    assert month_of_alarm({"Period": 60}, shipped()) == pytest.approx(0.10)
    assert month_of_alarm({"Metrics": [stat, stat, {"Expression": "a+b"}]}, shipped()) == pytest.approx(0.20)
    assert month_of_alarm({"Period": 10}, shipped()) == pytest.approx(0.30)


def test_target_tracking_has_two_alarms_and_one_if_it_never_scales_in() -> None:
    def policy(**more: Any) -> dict[str, Any]:
        metrics = {"Metrics": [{"MetricStat": {}}, {"MetricStat": {}}, {"Expression": "a/b"}]}
        return {"TargetTrackingConfiguration": {"CustomizedMetricSpecification": metrics, **more}}

    assert month_of_policy(policy(), shipped()) == pytest.approx(0.40)
    assert month_of_policy(policy(DisableScaleIn=True), shipped()) == pytest.approx(0.20)
    one = {"TargetTrackingScalingPolicyConfiguration": {"CustomizedMetricSpecification": {"MetricName": "x"}}}
    assert month_of_policy(one, shipped()) == pytest.approx(0.20)
    assert month_of_policy({"PolicyType": "StepScaling"}, shipped()) == 0
