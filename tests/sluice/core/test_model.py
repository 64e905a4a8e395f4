import pytest

from sluice.core.model import AutoScalingGroup, EcsService, Fleet
from tests.support.builders import backlog


@pytest.mark.parametrize(
    ("fleet", "dimensions", "said"),
    [
        (
            AutoScalingGroup(name="transcription"),
            {"AutoScalingGroupName": "transcription"},
            "Auto Scaling group transcription",
        ),
        (
            EcsService(cluster="workers", service="queue-proc"),
            {"ClusterName": "workers", "ServiceName": "queue-proc"},
            "ECS service workers/queue-proc",
        ),
    ],
)
def test_a_fleet_knows_the_dimensions_aws_publishes_it_under_and_its_name_for_people(
    fleet: Fleet, dimensions: dict[str, str], said: str
) -> None:
    assert (fleet.dimensions, str(fleet)) == (dimensions, said)


def test_a_backlog_is_every_message_not_deleted_yet() -> None:
    assert backlog(visible=3, in_flight=4, delayed=5).total == 12
