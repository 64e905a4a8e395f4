from dataclasses import replace

import pytest

from sluice.core.model import AutoScalingGroup, Color, EcsService, Fleet
from tests.support.builders import backlog, blue_green, deadline_workload, workload


@pytest.mark.parametrize(
    ("fleet", "dimensions", "text"),
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
def test_a_fleet_has_awss_dimensions_and_a_readable_name(
    fleet: Fleet, dimensions: dict[str, str], text: str
) -> None:
    assert (fleet.dimensions, str(fleet)) == (dimensions, text)


def test_the_backlog_counts_every_message_that_is_not_deleted_yet() -> None:
    assert backlog(visible=3, in_flight=4, delayed=5).total == 12


def test_a_workload_without_a_processing_time_plans_with_none() -> None:
    assert deadline_workload().planned_processing_s == 1
    with pytest.raises(ValueError, match="workload transcription gives no processing time"):
        _ = workload().planned_processing_s


def test_another_active_color_leaves_a_duration_metric_that_names_no_fleet_as_it_is() -> None:
    served = blue_green(active=Color.GREEN)
    shared = replace(served.duration_metric, dimensions={"Queue": "transcription"})
    other = replace(served, duration_metric=shared).with_active(Color.BLUE)
    assert (other.color, other.duration_metric) == (Color.BLUE, shared)
