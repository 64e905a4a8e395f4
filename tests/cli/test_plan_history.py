"""`sluice plan` of a queue's history: what CloudWatch has, what it lacks, and what it may not say."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import botocore.client
import pytest
from botocore.exceptions import ClientError

from sluice_cli import plan as command
from sluice_cli import plan_history, workloads
from sluice_operator.aws.price_list import PRODUCTS
from sluice_operator.price_files import user_file
from sluice_sim.embedded import recorded_days
from sluice_sim.template import deployment
from tests.cli.conftest import Answer
from tests.operator.aws.test_price_list import product

pytestmark = pytest.mark.slow

POLICY = json.loads((workloads.CHECKOUT / "docs/policies/plan.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 1, 15, 12, 7, 30, tzinfo=UTC)
UNTIL = datetime(2026, 1, 15, 12, 2, tzinfo=UTC)
DAYS = 3
MINUTES = DAYS * 1440
HOURLY = ("SampleCount", "Average", "Maximum", "p50", "p84.13")
Sluice = Callable[..., Answer]


class Clock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return NOW


class CloudWatch:
    """The metrics of one queue and its workers; tests change them."""

    def __init__(self) -> None:
        minutes = [UNTIL - timedelta(minutes=ago) for ago in range(MINUTES, 0, -1)]
        self.sent = dict.fromkeys(minutes, 10.0)
        self.deleted = dict.fromkeys(minutes, 10.0)
        self.visible: dict[datetime, float] = dict.fromkeys(minutes, 0.0)
        hours = [UNTIL.replace(minute=0) - timedelta(hours=ago) for ago in range(DAYS * 24)]
        self.processing: dict[str, dict[datetime, float]] = {
            statistic: dict.fromkeys(hours, value)
            for statistic, value in zip(HOURLY, (600.0, 2.0, 9.0, 1.5, 3.0), strict=True)
        }

    def forget(self, ago: Iterable[int], *metrics: str) -> None:
        for minute in ago:
            for metric in metrics or ("sent", "deleted", "visible"):
                getattr(self, metric).pop(UNTIL - timedelta(minutes=minute), None)

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert operation == "GetMetricData"
        results = []
        for query in arguments["MetricDataQueries"]:
            metric, statistic = query["MetricStat"]["Metric"], query["MetricStat"]["Stat"]
            found = {
                "NumberOfMessagesSent": self.sent,
                "NumberOfMessagesDeleted": self.deleted,
                "ApproximateNumberOfMessagesVisible": self.visible,
            }.get(metric["MetricName"]) or self.processing.get(statistic, {})
            results.append(
                {
                    "Id": query["Id"],
                    "Timestamps": [*found],
                    "Values": [*found.values()],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": results}


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> CloudWatch:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(plan_history, "datetime", Clock)
    account = CloudWatch()
    answers = lambda client, operation, arguments: account.call(operation, arguments)  # noqa: E731
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answers)
    return account


def of_queue(sluice: Sluice, *options: object) -> Answer:
    return sluice(
        "plan", "--queue", "uploads", "--days", DAYS, "--processing", "2s", "--promise", "10m", *options
    )


def of_workload(sluice: Sluice, *options: object) -> Answer:
    return sluice("plan", "queue-proc", "--days", DAYS, "--promise", "10m", *options)


def refusal(answer: Answer) -> str:
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.stderr
    return answer.stderr.strip().splitlines()[-1]


def test_the_arrivals_of_a_queue_are_planned_minute_by_minute(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    found = json.loads(of_queue(sluice, "--json").stdout)
    assert found["demand"]["intervals"] == MINUTES
    assert found["demand"]["arrivals_per_day"] == pytest.approx(14_400)
    assert found["parameters"]["QueueName"] == "uploads"
    assert not any("CloudWatch" in note or "history begins" in note for note in found["notes"])


def test_a_queue_whose_name_a_workload_may_not_have_gives_it_one_that_it_may(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    options = ("--days", DAYS, "--processing", "2s", "--promise", "10m", "--json")
    for queue, name in (("1_new_orders.fifo", "new-orders"), ("42", "workload")):
        found = json.loads(sluice("plan", "--queue", queue, *options).stdout)["parameters"]
        assert (found["Name"], found["QueueName"]) == (name, queue)


def test_a_workload_brings_its_processing_times_their_spread_and_its_names(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    found = json.loads(of_workload(sluice, "--json").stdout)
    demand = found["demand"]
    assert (demand["processing_s"], demand["longest_s"]) == (2.0, 9.0)
    assert demand["processing_cv"] == pytest.approx(0.786, abs=0.01), "lognormal with p84.13 / p50 = 2"
    assert found["settings"]["visibility_timeout_s"] == 30
    assert found["parameters"]["ClusterName"] == "workers"


def test_a_workloads_own_promise_is_planned_for(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    dynamic = json.loads(sluice("plan", "queue-proc", "--days", DAYS, "--json").stdout)["demand"]
    assert (dynamic["promise_s"], dynamic["promise_percent"], dynamic["boot_s"]) == (60, 99, 180)
    engine = json.loads(sluice("plan", "report-export", "--days", DAYS, "--json").stdout)["demand"]
    assert (engine["promise_s"], engine["promise_percent"], engine["boot_s"]) == (180, 97, 60)
    assert engine["concurrency"] == 4


def test_without_percentiles_the_spread_is_not_known_and_said(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    cloudwatch.processing |= {"p50": {}, "p84.13": {}}
    assert "CloudWatch has no percentiles of the processing times" in of_workload(sluice).stdout


def test_a_history_younger_than_two_days_is_refused(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    cloudwatch.forget(range(14 * 60 + 1, MINUTES + 1))
    said = refusal(of_queue(sluice))
    assert "the history of queue uploads begins 14 h ago: a plan needs two days" in said
    assert "give --arrivals or --trace" in said


def test_a_history_that_begins_later_than_asked_for_counts_from_its_beginning(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    cloudwatch.forget(range(2 * 1440 + 1, MINUTES + 1))
    found = json.loads(of_queue(sluice, "--json").stdout)
    assert found["demand"]["arrivals_per_day"] == pytest.approx(14_400)
    assert "The history begins on 2026-01-13 12:02 UTC: what was before is not known" in found["notes"]


def test_a_gap_is_left_out_and_never_counted_as_zero(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    cloudwatch.forget(range(1000, 1060))
    found = json.loads(of_queue(sluice, "--json").stdout)
    assert found["demand"]["arrivals_per_day"] == pytest.approx(14_400)
    [said] = [note for note in found["notes"] if "CloudWatch lacks" in note]
    assert said == (
        "CloudWatch lacks 60 min of the history of queue uploads: left out, and not counted as time without "
        "messages"
    )


def test_minutes_without_a_count_of_a_queue_that_is_reported_had_no_messages(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    cloudwatch.forget(range(1, MINUTES // 2 + 1), "sent")
    found = json.loads(of_queue(sluice, "--json").stdout)
    assert found["demand"]["arrivals_per_day"] == pytest.approx(7_200)
    assert not any("lacks" in note for note in found["notes"])


def test_a_queue_that_slept_for_more_than_six_hours_had_no_messages_then(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    asleep = range(1000, 1500)
    cloudwatch.forget(range(1000, 1000 + 500 + 360), "sent")
    cloudwatch.forget(asleep)
    found = json.loads(of_queue(sluice, "--json").stdout)
    assert found["demand"]["intervals"] == MINUTES
    assert not any("lacks" in note for note in found["notes"])


def test_too_many_gaps_are_refused(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    cloudwatch.forget(minute for minute in range(1, 2000) if minute % 2)
    assert re.search(
        r"CloudWatch lacks .* 23 % of it: that is too much to plan from", refusal(of_queue(sluice))
    )


def test_an_unknown_queue_is_refused(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    cloudwatch.sent = {}
    assert "no message sent to queue uploads in the last 3 days" in refusal(of_queue(sluice))


def test_workers_that_publish_nothing_are_named_with_the_way_out(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    cloudwatch.processing = {}
    said = refusal(of_workload(sluice))
    assert "the workers of queue-proc have published no MsgProcessingDuration" in said
    assert "give --processing" in said
    assert of_workload(sluice, "--processing", "2s").exit_code == 0


def test_workers_that_publish_zeros_are_named(sluice: Sluice, cloudwatch: CloudWatch) -> None:
    cloudwatch.processing["Average"] = dict.fromkeys(cloudwatch.processing["Average"], 0.0)
    assert "a mean MsgProcessingDuration of 0 s: give --processing" in refusal(of_workload(sluice))


def test_workers_that_publish_milliseconds_are_found_by_the_load_they_kept_up_with(
    sluice: Sluice, cloudwatch: CloudWatch
) -> None:
    for statistic in ("Average", "Maximum"):
        cloudwatch.processing[statistic] = dict.fromkeys(cloudwatch.processing[statistic], 2000.0)
    said = refusal(of_workload(sluice))
    assert "would keep 333 instances busy, and at most 10 have kept up: do they publish milliseconds?" in said
    cloudwatch.deleted = dict.fromkeys(cloudwatch.deleted, 1.0)
    assert of_workload(sluice, "--promise", "2d").exit_code == 0, "a fleet that did not keep up may need them"


def test_without_the_permission_the_sentence_says_which(
    sluice: Sluice, cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: Any, operation: str, arguments: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, operation)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refuse)
    said = refusal(of_queue(sluice))
    assert "AWS answered AccessDenied" in said
    assert "allow cloudwatch:GetMetricData" in said
    said = refusal(sluice("plan", "--refresh-prices"))
    assert "AWS answered AccessDenied" in said
    assert "docs/policies/plan.json is the policy that allows all" in said


# ---- The embedded AWS


def test_a_plan_of_the_embedded_accounts_past_is_of_what_was_played_there(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "samconfig.toml"
    answer = sluice("plan", "queue-proc", "--embedded", "--json", "--name", "planned", "--write", path)
    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    played = recorded_days.read()
    known = played[: found["demand"]["intervals"]]
    assert len(played) - len(known) == 5, "the newest minutes may not be published in full"
    sent = sum(minute.sent or 0 for minute in known)
    assert found["demand"]["arrivals_per_day"] == pytest.approx(sent / len(known) * 1440, rel=1e-3)
    took = Counter[float]()
    for minute in played:
        took += minute.durations
    assert found["demand"]["processing_s"] == pytest.approx(sum(took.elements()) / took.total(), rel=0.01)
    assert found["demand"]["longest_s"] == max(took)
    assert (found["demand"]["promise_s"], found["settings"]["scaling"]) == (300, "deadline")
    assert found["instances"]["load"] == pytest.approx(
        sent * found["demand"]["processing_s"] / len(known) / 60
    )
    assert any(note.startswith("The history begins on 2026-01-13 11:20 UTC") for note in found["notes"])
    assert deployment.environments_of(path)["planned"] == found["parameters"]
    assert found["parameters"]["QueueName"] == "queue-proc"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("queue-proc", "--region", "us-east-1"), "reads no account of yours: leave --profile and"),
        (("queue-proc", "--refresh-prices"), "has no price list: leave --embedded or --refresh-prices out"),
        (("--arrivals", "5/s"), "--arrivals reads no account: leave --embedded out"),
        (("--trace", "steady"), "--trace reads no account: leave --embedded out"),
        ((), "nothing says what arrives"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_the_embedded_account_has_no_use_for_is_refused(
    sluice: Sluice, options: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refusal(sluice("plan", *options, "--embedded"))


def test_a_workload_that_the_embedded_account_lacks_is_named(sluice: Sluice) -> None:
    assert "transcription: no such workload is registered" in refusal(
        sluice("plan", "transcription", "--embedded")
    )


# ---- Prices


@pytest.fixture
def price_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[Mapping[str, Any]]:
    """The requests that were made; AWS's price list has a price for everything."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(command, "datetime", Clock)
    made: list[Mapping[str, Any]] = []

    def answer(client: Any, operation: str, arguments: Any) -> Any:
        assert operation == "GetProducts"
        made.append({"region": client.meta.region_name, **arguments})
        products = [
            product(f"EU-{each.usage_type}", ("0", "0.5"))
            for each in PRODUCTS.values()
            if each.service == arguments["ServiceCode"]
        ]
        return {"PriceList": products or [product("EU-BoxUsage", ("0", "0.25"))]}

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answer)
    return made


def test_refreshed_prices_are_of_the_region_and_the_day_and_are_used_from_then_on(
    sluice: Sluice, price_list: list[Mapping[str, Any]]
) -> None:
    done = sluice("plan", "--refresh-prices", "--region", "eu-west-1", "--fleet", "ec2:x9z.large")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == f"{user_file()}: list prices of eu-west-1, 2026-01-15\n"
    assert {request["region"] for request in price_list} == {"eu-central-1"}
    load = ("--arrivals", "600000/day", "--processing", "2s", "--promise", "10m")
    cost = json.loads(sluice("plan", *load, "--fleet", "ec2:x9z.large", "--json").stdout)["cost"]
    assert cost["prices"] == {"region": "eu-west-1", "as_of": date(2026, 1, 15).isoformat()}
    assert cost["items"][0]["usd"] == pytest.approx(14 * 0.25 * 730)


def test_a_plan_may_follow_in_the_same_call(sluice: Sluice, price_list: list[Mapping[str, Any]]) -> None:
    load = ("--arrivals", "600000/day", "--processing", "2s", "--promise", "10m")
    answer = sluice("plan", *load, "--refresh-prices", "--region", "eu-west-1")
    assert "Cost a month, list prices of eu-west-1, 2026-01-15" in answer.stdout


def test_the_policy_allows_every_call_and_nothing_that_no_call_needs(
    sluice: Sluice, cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: set[str] = set()

    def answer(client: Any, operation: str, arguments: Any) -> Any:
        called.add(f"{client.meta.service_model.signing_name}:{operation}")
        if operation == "GetProducts":
            return {"PriceList": [product(each.usage_type, ("0", "1")) for each in PRODUCTS.values()]}
        return cloudwatch.call(operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answer)
    assert of_workload(sluice).exit_code == 0
    assert of_queue(sluice).exit_code == 0
    assert sluice("plan", "--refresh-prices").exit_code == 0
    allowed = {statement["Action"] for statement in POLICY["Statement"]}
    assert {each.replace("monitoring:", "cloudwatch:") for each in called} == allowed
