import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from sluice import wiring
from sluice.aws.launch_failures import AwsLaunches
from sluice.aws.sqs import SqsQueues
from sluice.core.model import Capacity, Unknown
from sluice.errors import ConfigError, TransientError
from sluice.ports import SeriesQuery
from tests.functions.conftest import Context, Plane, sample
from tests.sluice.aws import account
from tests.support.builders import (
    GROUP,
    SERVICE,
    metric,
    minutes_ago,
    plenty,
)

SETTINGS = {"SLUICE_REGISTRY_PREFIX": "/sluice/workloads", "SLUICE_METRIC_NAMESPACE": "Sluice"}


@pytest.fixture(autouse=True)
def _cold() -> Iterator[None]:
    wiring.cold_start()
    yield
    wiring.cold_start()


@pytest.mark.parametrize("absent", SETTINGS)
@pytest.mark.parametrize("emptied", [True, False])
def test_a_missing_setting_is_named(absent: str, emptied: bool) -> None:
    environ = {name: value for name, value in SETTINGS.items() if name != absent}
    if emptied:
        environ[absent] = ""
    with pytest.raises(ConfigError, match=f"environment lacks {absent}: template.yaml sets them"):
        wiring.ports(environ)


def test_all_missing_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match="SLUICE_REGISTRY_PREFIX, SLUICE_METRIC_NAMESPACE"):
        wiring.ports({})


def test_a_warm_process_keeps_its_ports_and_a_cold_one_rebuilds_them() -> None:
    first = wiring.ports(SETTINGS)
    assert wiring.ports(dict(SETTINGS)) is first
    assert first.namespace == "Sluice"
    wiring.cold_start()
    assert wiring.ports(SETTINGS) is not first


def test_shards_have_a_queue_only_where_the_environment_names_one() -> None:
    assert wiring.ports(SETTINGS).shards is None
    assert wiring.ports(SETTINGS | {"SLUICE_SHARD_QUEUE_URL": "https://queue"}).shards is not None


def test_aws_can_be_asked_why_instances_do_not_start_by_a_client_that_keeps_a_services_events() -> None:
    launches = wiring.ports(SETTINGS).launches
    assert isinstance(launches, AwsLaunches)
    with_events = launches._ecs().meta.service_model.operation_model("DescribeServices").output_shape
    assert with_events.members["services"].member.members.keys() == {"serviceName", "events"}
    assert launches._ecs() is launches._ecs()


def test_the_clock_is_utc() -> None:
    offset = wiring.now().utcoffset()
    assert offset is not None
    assert not offset


def test_reading_stops_in_time_to_publish_and_act() -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 50_000

    assert wiring.remaining_s(Context())() == 25


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The service of every client that is made."""
    made: list[str] = []

    class Session(boto3.Session):
        def client(self, service: str, **named: Any) -> Any:
            made.append(service)
            return super().client(service, **named)

    monkeypatch.setattr("boto3.Session", Session)
    return made


def test_a_client_gives_up_early_and_has_a_connection_for_every_reader(
    services: list[str],
) -> None:
    queues = wiring.ports(SETTINGS).queues
    assert services == []  # a client is made at its first call
    client = queues._client()
    assert queues._client() is client
    assert services == ["sqs"]
    settings = client.meta.config
    assert (settings.connect_timeout, settings.read_timeout) == (2, 5)
    # botocore counts retries: the first attempt, and three more.
    assert settings.retries == {"mode": "standard", "total_max_attempts": 3}
    assert settings.max_pool_connections == wiring.READERS == queues._pool._max_workers == 32


@pytest.fixture
def slow_reads() -> Iterator[None]:
    """Reading a queue takes a while, so that a read without a wait has no result."""
    events = account.session().events

    def linger(**_: object) -> None:
        time.sleep(0.1)

    events.register("before-call.sqs.GetQueueAttributes", linger)
    yield
    events.unregister("before-call.sqs.GetQueueAttributes", linger)


@pytest.mark.parametrize(("remaining_s", "read"), [(25, False), (35, True)])
def test_a_tick_may_read_for_the_remaining_time_minus_the_publishing_reserve(
    plane: Plane, slow_reads: None, monkeypatch: pytest.MonkeyPatch, remaining_s: int, read: bool
) -> None:
    wiring.ports().registry.all(plenty)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: remaining_s * 1000)
    plane.invoke("publish_backlog", sample("schedule"))
    assert [bool(plane.points(kind)) for kind in ("asg", "ecs")] == [read, read]
    failed = [line for line in plane.lines() if line.get("failure") == "ObservationFailed"]
    assert {line["workload"] for line in failed} == (set() if read else {"transcription", "queue-proc"})
    assert all("not read before the deadline" in line["message"] for line in failed)


@pytest.mark.parametrize(
    ("function", "event"), [("bootstrap", "bootstrap-asg-direct"), ("shutdown", "shutdown-asg-direct")]
)
def test_an_alarm_without_time_to_read_fails_so_that_lambda_retries(
    plane: Plane, slow_reads: None, monkeypatch: pytest.MonkeyPatch, function: str, event: str
) -> None:
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 15_000)
    with pytest.raises(TransientError, match="not read before the deadline"):
        plane.invoke(function, sample(event))


@pytest.mark.parametrize(
    ("function", "event"),
    [
        ("retune_target", "schedule"),
        ("publish_backlog", "schedule"),
        ("bootstrap", "bootstrap-asg-direct"),
        ("shutdown", "shutdown-asg-direct"),
        ("guard_downstream", "schedule"),
        ("send_test_messages", "send-test-messages"),
    ],
)
def test_every_line_carries_the_id_of_its_request(plane: Plane, function: str, event: str) -> None:
    plane.invoke(function, sample(event))
    lines = [line for line in plane.lines() if "_aws" not in line]
    assert lines or function == "send_test_messages"
    assert {line["function_request_id"] for line in lines} <= {Context.aws_request_id}


def test_hanging_queues_on_every_thread_do_not_block_fleet_and_metric_reads(
    plane: Plane,
) -> None:
    """Hanging calls occupy threads beyond the time for reading, but only those of their own port."""
    ports, over = wiring.ports(), threading.Event()
    events = account.session().events

    def hang(**_: object) -> None:
        over.wait(30)  # one pool for all ports must fail this test, not hang it

    events.register("before-call.sqs.GetQueueAttributes", hang)
    try:
        urls = [f"https://sqs.eu-west-1.amazonaws.com/123456789012/q{n}" for n in range(wiring.READERS)]
        backlogs = ports.queues.read(urls, lambda: 0.05)
        capacities = ports.fleets.read([GROUP, SERVICE], lambda: 10)
        query = SeriesQuery(metric=metric(), statistic="Maximum", period_s=60)
        series = ports.metrics.read({"one": query}, minutes_ago(5), minutes_ago(0), plenty)
        workload = ports.registry.one("transcription", plenty)
        policy = ports.policies.read(workload, plenty)
    finally:
        over.set()
        events.unregister("before-call.sqs.GetQueueAttributes", hang)
        assert isinstance(ports.queues, SqsQueues)
        ports.queues._pool.shutdown()  # while the account is still there to answer
    assert all(isinstance(backlog, Unknown) for backlog in backlogs.values())
    assert all(isinstance(capacity, Capacity) for capacity in capacities.values())
    assert series == {"one": {}}
    assert policy.fleet == GROUP
