import json

import pytest

from sluice.errors import ConfigError
from tests.functions.conftest import Plane, sample
from tests.sluice.aws import account


def waiting(url: str) -> int:
    counts = account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(counts["ApproximateNumberOfMessages"])


def test_the_schedules_input_says_how_much_work_to_send(plane: Plane) -> None:
    plane.invoke("send_test_messages", sample("send-test-messages"))
    assert (waiting(plane.queues["asg"]), waiting(plane.queues["ecs"])) == (50, 0)
    message = account.client("sqs").receive_message(QueueUrl=plane.queues["asg"])["Messages"][0]
    assert json.loads(message["Body"]) == {"duration_s": 5}
    [counted] = [line for line in plane.lines() if "_aws" in line]
    assert counted["MessagesSent"] == [50]


def test_a_load_without_a_workload_sends_nothing(plane: Plane) -> None:
    with pytest.raises(ConfigError, match="the event lacks `workload`"):
        plane.invoke("send_test_messages", {"messages": 5})
    assert [waiting(url) for url in plane.queues.values()] == [0, 0]
