"""Real workers with an OTLP endpoint: what a collector receives, and what a bad collector cannot do."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.worker.otlp.collector import Collector, ReceivedSpan, collecting
from tests.worker.process.endpoints import closed_endpoint
from tests.worker.process.processes import Running, running
from tests.worker.waiting import eventually

pytestmark = pytest.mark.processes

NUMBERS = itertools.count()
ROOT, PARENT = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
TRACE = ROOT[2:].replace("-", "")
HEADER = f"Root={ROOT};Parent={PARENT};Sampled=1"
UNSAMPLED = HEADER.replace("Sampled=1", "Sampled=0")
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "200"}


class Account:
    """A queue with a dead-letter queue at the server, and CloudWatch."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, number = endpoint, next(NUMBERS)
        self._sqs: Any = boto3.client("sqs", endpoint_url=endpoint)
        self.cloudwatch: Any = boto3.client("cloudwatch", endpoint_url=endpoint)
        self.name = f"traced-{number}"
        self.fleet = ("--cluster", "c", "--service", self.name, "--no-protect")
        self.url: str = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.dead_url: str = self._sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]

    def send(self, body: str, header: str | None = None, **attributes: str) -> str:
        system = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}} if header else {}
        own = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sent = self._sqs.send_message(
            QueueUrl=self.url, MessageBody=body, MessageSystemAttributes=system, MessageAttributes=own
        )
        return str(sent["MessageId"])

    def dead(self) -> int:
        return self._count(self.dead_url, "ApproximateNumberOfMessages")

    def visible(self) -> int:
        return self._count(self.url, "ApproximateNumberOfMessages")

    def left(self) -> int:
        return self.visible() + self._count(self.url, "ApproximateNumberOfMessagesNotVisible")

    def _count(self, url: str, name: str) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def close(self) -> None:
        self._sqs.close()
        self.cloudwatch.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def account(endpoint: str) -> Iterator[Account]:
    one = Account(endpoint)
    yield one
    one.close()


@pytest.fixture
def worker(account: Account, tmp_path: Path) -> Any:
    """Starts one: `worker(handler, *options, **variables)`."""

    def start(handler: str, *options: str, **variables: str) -> Any:
        common = (
            "--queue",
            f"{account.url}=high",
            "--visibility-s",
            "20",
            "--grace-s",
            "5",
            "--worker-id",
            "w",
        )
        variables = {"AWS_ENDPOINT_URL": account.endpoint, **SOON, **variables}
        return running(tmp_path, handler, *common, *options, **variables)

    return start


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    one = Collector()
    with collecting(one) as url:
        yield one, url


def ended(one: Running) -> None:
    one.send_signal(signal.SIGTERM)
    assert one.await_end() == 0, one.log
    assert "defect" not in one.log


def of_message(collector: Collector, message_id: str) -> list[ReceivedSpan]:
    """The spans of the message's trace, of its first receipt."""
    [first, *_] = [
        span
        for span in collector.spans
        if span.attributes.get("messaging.message.id") == message_id and span.name.startswith("consume ")
    ]
    children = [span for span in collector.spans if span.parent_id == first.span_id]
    return [first, *children]


def named(spans: list[ReceivedSpan], operation: str) -> ReceivedSpan:
    [found] = [span for span in spans if span.name.split()[0] == operation]
    return found


# ---- traces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", ["as_the_body_says", "as_a_coroutine"])
def test_a_message_is_one_trace_from_its_sending_to_its_delete(
    worker: Any, account: Account, collector: tuple[Collector, str], handler: str
) -> None:
    received, url = collector
    before_ns = time.time_ns()
    sent = account.send("secret-of-the-body", HEADER, password="secret-of-an-attribute")
    with worker(handler, OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:
        one.await_events("done", 1)
        eventually(lambda: account.left() == 0, "it is deleted")
        ended(one)
    consume, *children = of_message(received, sent)
    name = account.name
    assert {span.trace_id for span in received.spans} == {TRACE}
    assert (consume.name, consume.kind, consume.parent_id) == (f"consume {name}", "CONSUMER", PARENT)
    queued, buffered, process, delete = children
    assert [span.name for span in children] == [
        f"queued {name}",
        f"buffered {name}",
        f"process {name}",
        f"delete {name}",
    ]
    assert (process.kind, delete.kind) == ("CONSUMER", "CLIENT")
    assert consume.start_ns == queued.start_ns
    assert consume.start_ns % 1_000_000 == 0
    assert before_ns - 1_000_000 <= consume.start_ns <= before_ns + 10_000_000_000, "SentTimestamp"
    assert queued.end_ns == buffered.start_ns
    assert buffered.end_ns == process.start_ns
    assert process.end_ns == delete.start_ns
    assert delete.end_ns == consume.end_ns
    own = named(received.spans, "resize")
    assert own.parent_id == process.span_id
    assert process.start_ns <= own.start_ns <= own.end_ns <= process.end_ns
    assert consume.attributes == {
        "messaging.system": "aws_sqs",
        "messaging.destination.name": name,
        "messaging.operation.name": "consume",
        "messaging.message.id": sent,
        "sluice.priority": "high",
        "sluice.receive_count": 1,
        "sluice.outcome": "success",
    }
    assert process.attributes["sluice.outcome"] == "success"
    assert not any(span.is_error for span in received.spans)
    assert not any(b"secret" in body for _, _, body in received.requests)


def test_each_failure_is_seen_in_its_trace_without_the_exceptions_text(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    received, url = collector
    sent = {body: account.send(body) for body in ("fail", "reject", "hang")}
    options = ("--max-processing-s", "0.5", "--dead-letter-queue", account.dead_url, "--backoff-s", "30")
    with worker("as_the_body_says", *options, OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:
        one.await_events("began", 3)
        eventually(lambda: account.dead() == 1, "the rejected one is a dead letter")
        for message_id in sent.values():
            eventually(
                lambda one=message_id: any(
                    span.attributes.get("messaging.message.id") == one and span.name.startswith("consume ")
                    for span in received.spans
                ),
                "its trace has ended",
            )
        ended(one)
    failed, rejected, hung = (of_message(received, message_id) for message_id in sent.values())
    assert failed[0].attributes["sluice.outcome"] == "failure"
    assert named(failed, "process").attributes["error.type"] == "LookupError"
    assert named(failed, "process").events == [("exception", {"exception.type": "LookupError"})]
    assert named(failed, "return").end_ns == failed[0].end_ns
    assert rejected[0].attributes["sluice.outcome"] == "dead-lettered"
    assert named(rejected, "process").attributes["sluice.outcome"] == "rejected"
    assert named(rejected, "dead-letter").end_ns == rejected[0].end_ns
    assert hung[0].attributes["sluice.outcome"] == "timeout"
    assert named(hung, "process").attributes["error.type"] == "timeout"
    assert named(hung, "return")
    for spans in (failed, rejected, hung):
        assert spans[0].is_error
        assert named(spans, "process").is_error
    assert not any(b"secret" in body for _, _, body in received.requests)


def test_a_message_that_the_drain_releases_ends_its_trace_as_released(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    """One whose handler runs, and one that was not begun."""
    received, url = collector
    account.send("short")  # from then on the worker prefetches
    options = ("--max-concurrency", "1", "--grace-s", "1", "--prefetch-s", "10")
    with worker("as_the_body_says", *options, OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:
        one.await_events("done", 1)
        sent = [account.send("hang"), account.send("hang")]
        one.await_events("began", 2)
        eventually(lambda: account.visible() == 0, "both are received")
        ended(one)
    running_one, waiting = sorted((of_message(received, each) for each in sent), key=len, reverse=True)
    assert running_one[0].attributes["sluice.outcome"] == "released"
    assert named(running_one, "process").attributes["sluice.outcome"] == "released"
    assert waiting[0].attributes["sluice.outcome"] == "released"
    assert [span.name.split()[0] for span in waiting] == ["consume", "queued", "buffered", "release"]
    assert not any(span.is_error for span in received.spans)


def test_a_message_that_is_delivered_twice_has_both_deliveries_in_its_trace(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    received, url = collector
    account.send("fail", HEADER)
    with worker("as_the_body_says", "--backoff-s", "0", OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:

        def deliveries() -> list[ReceivedSpan]:
            return [span for span in received.spans if span.name.startswith("consume ")]

        eventually(lambda: len(deliveries()) >= 2, "it is delivered again")
        ended(one)
    first, second, *_ = sorted(deliveries(), key=lambda span: span.attributes["sluice.receive_count"])
    assert (first.trace_id, second.trace_id) == (TRACE, TRACE)
    assert first.span_id != second.span_id
    assert [first.attributes["sluice.receive_count"], second.attributes["sluice.receive_count"]] == [1, 2]
    assert first.start_ns == second.start_ns, "both count from the sending"


def test_an_unsampled_message_has_no_span_and_neither_has_its_handler(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    received, url = collector
    account.send("one", UNSAMPLED)
    sampled = account.send("two", HEADER)
    with worker("as_the_body_says", "--max-concurrency", "1", OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:
        one.await_events("done", 2)
        eventually(lambda: account.left() == 0, "both are deleted")
        ended(one)
    assert len(received.spans) == 6
    assert of_message(received, sampled)


def test_a_batch_has_a_span_of_its_own_that_is_linked_with_its_messages(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    received, url = collector
    sent = [account.send("one", HEADER), account.send("fail"), account.send("two", UNSAMPLED)]
    options = ("--batch", "3", "--batch-wait-s", "5", "--max-concurrency", "1", "--backoff-s", "30")
    with worker("in_batches", *options, OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:
        one.await_events("done", 3)
        eventually(lambda: account.left() == 1, "two are deleted")
        ended(one)
    first, second = of_message(received, sent[0]), of_message(received, sent[1])
    batch = next(span for span in received.spans if "messaging.batch.message_count" in span.attributes)
    processes = [named(first, "process"), named(second, "process")]
    assert batch.attributes["messaging.batch.message_count"] == 3
    assert batch.parent_id == ""
    assert batch.links == [(span.trace_id, span.span_id) for span in processes]
    assert all(span.links == [(batch.trace_id, batch.span_id)] for span in processes)
    assert named(received.spans, "resize").parent_id == batch.span_id
    assert [first[0].attributes["sluice.outcome"], second[0].attributes["sluice.outcome"]] == [
        "success",
        "failure",
    ]


# ---- metrics -----------------------------------------------------------------------------------------------


def test_the_metrics_are_those_of_cloudwatch_over_all_processes(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    received, url = collector
    for number in range(20):
        account.send("fail" if number % 5 == 0 else f"ok-{number}")
    options = (*account.fleet, "--processes", "2", "--backoff-s", "600", "--publish-wait", "--publish-gauges")
    with worker("as_the_body_says", *options, OTEL_EXPORTER_OTLP_ENDPOINT=url) as one:
        one.await_events("done", 16)
        one.await_events("began", 17)  # by body: the failing ones are one
        eventually(lambda: account.left() == 4, "the others are deleted")
        ended(one)
    published = _published(account)
    processed = received.points("messaging.process.duration")
    for outcome in ("success", "failure"):
        points = [point for point in processed if point.attributes["sluice.outcome"] == outcome]
        count, total = published["MsgProcessingDuration", outcome]
        assert sum(point.count for point in points) == count
        assert sum(point.total for point in points) == pytest.approx(total, rel=0.005)
        for point in points:
            assert point.attributes["sluice.fleet"] == f"c/{account.name}"
            assert point.attributes["messaging.destination.name"] == account.name
            assert point.attributes["sluice.priority"] == "high"
            assert 0.005 in point.boundaries
            assert 3600 in point.boundaries
    waits = received.points("sluice.message.wait.duration")
    count, total = published["MsgWaitDuration", ""]
    assert sum(point.count for point in waits) == count == 20
    assert sum(point.total for point in waits) == pytest.approx(total, rel=0.005)
    assert sum(point.value for point in received.points("messaging.client.consumed.messages")) == 20
    assert {point.resource["service.name"] for point in waits} == {f"c/{account.name}"}
    instances = {point.resource["service.instance.id"] for point in received.points("sluice.slots")}
    assert len(instances) == 2
    assert {each.split(":")[0] for each in instances} == {"w-0", "w-1"}
    assert {
        "sluice.buffer.messages",
        "sluice.buffer.utilization",
        "sluice.pollers",
        "sluice.slots",
        "sluice.slots.busy",
    } <= received.metric_names()


def _published(account: Account) -> dict[tuple[str, str], tuple[float, float]]:
    """What CloudWatch got: (metric, outcome) -> count and sum."""
    found = {}
    for metric in account.cloudwatch.list_metrics(Namespace="Sluice")["Metrics"]:
        dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        if dimensions.get("ServiceName") != account.name:
            continue
        got = []
        for statistic in ("SampleCount", "Sum"):
            [result] = account.cloudwatch.get_metric_data(
                MetricDataQueries=[
                    {"Id": "m", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": statistic}}
                ],
                StartTime=time.time() - 7200,
                EndTime=time.time() + 7200,
            )["MetricDataResults"]
            got.append(sum(result["Values"]))
        found[metric["MetricName"], dimensions.get("Outcome", "")] = (got[0], got[1])
    return found


# ---- which signals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "paths"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, {"/v1/metrics"}),
        ({"OTEL_METRICS_EXPORTER": "none"}, {"/v1/traces"}),
        ({"OTEL_SDK_DISABLED": "true"}, set()),
    ],
)
def test_a_signal_that_is_switched_off_is_not_exported(
    worker: Any,
    account: Account,
    collector: tuple[Collector, str],
    variables: dict[str, str],
    paths: set[str],
) -> None:
    received, url = collector
    account.send("one")
    with worker("as_the_body_says", OTEL_EXPORTER_OTLP_ENDPOINT=url, **variables) as one:
        one.await_events("done", 1)
        ended(one)
    assert {path for path, _, _ in received.requests} == paths


def test_headers_and_the_resource_are_those_of_the_standard_variables(
    worker: Any, account: Account, collector: tuple[Collector, str]
) -> None:
    received, url = collector
    account.send("one")
    variables = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/tenant/v1/traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=of-the-tenant",
        "OTEL_SERVICE_NAME": "thumbnails",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging",
    }
    with worker("as_the_body_says", **variables) as one:
        one.await_events("done", 1)
        ended(one)
    assert {path for path, _, _ in received.requests} == {"/tenant/v1/traces"}
    assert {headers["api-key"] for _, headers, _ in received.requests} == {"of-the-tenant"}
    [resource] = {tuple(sorted(span.resource.items())) for span in received.spans}
    assert dict(resource)["service.name"] == "thumbnails"
    assert dict(resource)["deployment.environment.name"] == "staging"


# ---- a bad collector ---------------------------------------------------------------------------------------

BAD = ("refuses", "answers 503", "hangs")


@pytest.mark.parametrize("how", BAD)
def test_a_bad_collector_costs_spans_and_no_message_and_the_worker_ends_in_time(
    worker: Any, account: Account, how: str
) -> None:
    bad = Collector(status=503, hangs=threading.Event() if how == "hangs" else None)
    for number in range(40):
        account.send(f"ok-{number}")
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
    with collecting(bad) as served:
        url = closed_endpoint() if how == "refuses" else served
        with worker("as_the_body_says", *account.fleet, OTEL_EXPORTER_OTLP_ENDPOINT=url, **small) as one:
            one.await_events("done", 40)
            eventually(lambda: account.left() == 0, "all are deleted while the collector is bad")
            began = time.monotonic()
            ended(one)
            took_s = time.monotonic() - began
    published = _published(account)["MsgProcessingDuration", "success"]
    assert published[0] == 40, "CloudWatch has them all"
    assert took_s < 5 + 10, "beyond the grace the supervisor would kill it"
    lines = [line for line in one.logs if "OTLP collector" in line]
    assert sum("takes no spans" in line for line in lines) <= 1, lines
    assert sum("takes no metrics" in line for line in lines) <= 1, lines
    [lost] = [line for line in lines if "which are lost" in line]
    assert int(lost.split("did not take ")[1].split()[0]) >= 200
    assert not any("opentelemetry" in line for line in one.logs), "the SDK's own lines, one for each attempt"
