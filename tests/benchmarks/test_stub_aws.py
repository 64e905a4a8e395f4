"""The benchmark's stub of AWS answers the adapters as AWS would."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from benchmarks.stub_aws import (
    CLUSTER,
    PREFIX,
    Stub,
    backlog_per_instance,
    is_at_zero,
    is_idle,
    name_of,
    on_ecs,
    stub,
)
from sluice.aws import clients
from sluice.aws.asg import AutoScalingGroups
from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.aws.ecs import EcsServices
from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.aws.fleets import AwsFleets
from sluice.aws.registry import SsmRegistry
from sluice.aws.sqs import SqsQueues
from sluice.core.backlog import backlog_per_instance as in_core
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.state import Arrivals
from sluice.core.model import Backlog, Capacity, DataPoint
from sluice.ports import SeriesQuery, StateWrite, StoredState
from tests.sluice.aws import account
from tests.support.builders import (
    MINUTE_NOW,
    POOL,
    engine_state,
    metric,
    plenty,
    queue_url,
)

WORKLOADS = 35


@pytest.fixture(scope="module")
def aws() -> Iterator[Stub]:
    with stub(workloads=WORKLOADS, latency_s=0) as running:
        yield running


@pytest.fixture(scope="module")
def client(aws: Stub) -> Iterator[Callable[[str], Any]]:
    session, made = boto3.Session(), dict[str, Any]()

    def cached_client(service: str) -> Any:
        if service not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
                made[service] = clients.client(session, service)
        return made[service]

    yield cached_client
    for one in made.values():
        one.close()


def test_its_workloads_have_the_expected_backlog_per_instance(client: Callable[[str], Any]) -> None:
    workloads = SsmRegistry(lambda: client("ssm"), POOL, PREFIX).all(plenty).workloads
    assert [workload.name for workload in workloads] == [name_of(number) for number in range(WORKLOADS)]
    with account.threads() as pool:
        queues = SqsQueues(lambda: client("sqs"), pool)
        fleets = AwsFleets(
            AutoScalingGroups(lambda: client("autoscaling"), pool),
            EcsServices(lambda: client("ecs"), lambda: client("application-autoscaling"), pool),
        )
        backlogs = queues.read([workload.queue_url for workload in workloads], lambda: 30)
        running = fleets.read([workload.fleet for workload in workloads], lambda: 30)
    for number, workload in enumerate(workloads):
        backlog, capacity = backlogs[workload.queue_url], running[workload.fleet]
        assert isinstance(backlog, Backlog)
        assert isinstance(capacity, Capacity)
        assert in_core(backlog, capacity, count_in_flight=True) == backlog_per_instance(number)
        assert (capacity.desired == 0) == is_at_zero(number)
        assert (backlog.visible == 0) == (is_at_zero(number) or is_idle(number))


def test_it_stores_data_points_per_minute_and_averages_duplicates(
    aws: Stub, client: Callable[[str], Any]
) -> None:
    metrics = CloudWatchMetrics(lambda: client("cloudwatch"), POOL)
    metric_ = metric(AutoScalingGroupName="kept")
    for value in (3.0, 5.0):
        point = DataPoint(metric=metric_, at=MINUTE_NOW, value=value)
        assert metrics.publish({"kept": [point]}) == {}
    assert aws.points()["kept"] == {"2026-01-15T12:00": [8.0, 2]}
    query = SeriesQuery(metric=metric_, statistic="Average", period_s=60)
    start, end = MINUTE_NOW - timedelta(minutes=5), MINUTE_NOW + timedelta(minutes=1)
    assert metrics.read({"kept": query}, start, end, plenty)["kept"] == {MINUTE_NOW: 4.0}
    assert metrics.read({"kept": query}, start, MINUTE_NOW, plenty)["kept"] == {}


def test_it_keeps_sent_messages_until_they_are_read(aws: Stub, client: Callable[[str], Any]) -> None:
    with account.threads() as pool:
        SqsQueues(lambda: client("sqs"), pool).send(queue_url("shards"), ["one", "two"])
    assert aws.sent("ticks") == []
    assert aws.sent("shards") == ["one", "two"]
    assert aws.sent("shards") == []


class TestStates:
    """A table of DynamoDB behind the adapter of the deadline engine's states."""

    @pytest.fixture
    def states(self, client: Callable[[str], Any]) -> Iterator[DynamoDbEngineStates]:
        with account.threads() as pool:
            yield DynamoDbEngineStates(lambda: client("dynamodb"), pool, "states")

    def test_a_state_is_replaced_once_and_a_duplicate_is_refused(self, states: DynamoDbEngineStates) -> None:
        first, second = engine_state(100), engine_state(110)
        assert states.write({"a": StateWrite(state=first, replaces=None)}, plenty) == {"a": True}
        assert states.write({"a": StateWrite(state=first, replaces=None)}, plenty) == {"a": False}
        stored = StoredState(tick_s=100, state=first)
        assert states.read(["a", "b"], plenty) == {"a": stored, "b": None}
        for written in (True, False):
            assert states.write({"a": StateWrite(state=second, replaces=stored)}, plenty) == {"a": written}

    def test_what_was_learned_stays_beside_each_state(self, states: DynamoDbEngineStates) -> None:
        learned = Learned(at_s=90, margin_s=12.5)
        states.learn("taught", learned)
        before = StoredState(tick_s=0, state=None, learned=learned)
        assert states.read(["taught"], plenty) == {"taught": before}
        for tick_s in (100, 110):
            write = StateWrite(state=engine_state(tick_s), replaces=before)
            assert states.write({"taught": write}, plenty) == {"taught": True}
            before = StoredState(tick_s=tick_s, state=engine_state(tick_s), learned=learned)
            assert states.read(["taught"], plenty) == {"taught": before}

    def test_a_write_is_billed_by_the_larger_of_the_item_before_and_after(
        self, aws: Stub, states: DynamoDbEngineStates
    ) -> None:
        chance = random.Random(0)
        ring = tuple(Arrivals(until_s=100, elapsed_s=0, messages=chance.randrange(10**9)) for _ in range(300))
        large, small = engine_state(100, waiting=ring), engine_state(110)
        states.write({"shrunk": StateWrite(state=large, replaces=None)}, plenty)
        before = aws.counts()
        states.write({"shrunk": StateWrite(state=small, replaces=None)}, plenty)
        states.write({"shrunk": StateWrite(state=engine_state(120), replaces=None)}, plenty)
        assert aws.counts().write_units - before.write_units == 2 + 1

    @pytest.mark.parametrize(("arrivals", "units"), [(0, 1), (300, 2)])
    def test_each_kilobyte_of_a_write_is_a_unit(
        self, aws: Stub, states: DynamoDbEngineStates, arrivals: int, units: int
    ) -> None:
        chance = random.Random(0)
        ring = tuple(
            Arrivals(until_s=100, elapsed_s=0, messages=chance.randrange(10**9)) for _ in range(arrivals)
        )
        before = aws.counts()
        name = f"sized-{arrivals}"
        states.write({name: StateWrite(state=engine_state(100, waiting=ring), replaces=None)}, plenty)
        states.read([name], plenty)
        after = aws.counts()
        assert after.write_units - before.write_units == units
        assert after.read_units - before.read_units == 1


SERVICES = [name_of(number) for number in range(WORKLOADS) if on_ecs(number)]


@pytest.mark.parametrize(("service", "method", "requested"), [
    ("ssm", "get_parameters_by_path", {"Path": PREFIX, "MaxResults": 11}),
    ("ecs", "describe_services", {"cluster": CLUSTER, "services": SERVICES[:11]}),
    ("autoscaling", "describe_auto_scaling_groups", {"MaxRecords": 101}),
    ("application-autoscaling", "describe_scalable_targets",
     {"ServiceNamespace": "ecs", "ResourceIds": ["service/workers/workload-00006"] * 51}),
    ("sqs", "send_message_batch",
     {"QueueUrl": queue_url("shards"), "Entries": [{"Id": str(n), "MessageBody": "x"} for n in range(11)]}),
    ("sqs", "send_message_batch",
     {"QueueUrl": queue_url("shards"), "Entries": [{"Id": "0", "MessageBody": "x" * (2**20 + 1)}]}),
    ("cloudwatch", "put_metric_data",
     {"Namespace": "Sluice", "MetricData": [{"MetricName": "Backlog", "Value": 1.0, "Timestamp": MINUTE_NOW,
                                             "Dimensions": [{"Name": "x", "Value": "x"}]}] * 1001}),
])  # fmt: skip
def test_it_rejects_requests_beyond_aws_limits(
    client: Callable[[str], Any], service: str, method: str, requested: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match="at most"):
        getattr(client(service), method)(**requested)
