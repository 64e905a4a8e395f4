"""What a worker and a control plane of different releases have in common, as the first release wrote it.

Neither knows the other's release: a name that changes here separates them in silence.
"""

from __future__ import annotations

import json

import pytest

from sluice.aws.registry import DRAINING
from sluice.core.model import MSG_PROCESSING_DURATION, MSG_WAIT_DURATION, AutoScalingGroup, EcsService
from sluice.document import parsing
from sluice_worker.core import metrics
from sluice_worker.core.counters import Counters
from sluice_worker.core.model import Outcome
from sluice_worker.settings import settings
from tests.support.builders import document
from tests.templates.stacks import written_before

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/transcription"
FLEETS = {
    "group": (AutoScalingGroup(name="transcription"), {"AutoScalingGroupName": "transcription"}),
    "service": (
        EcsService(cluster="workers", service="queue-proc"),
        {"ClusterName": "workers", "ServiceName": "queue-proc"},
    ),
}


def test_the_metrics_have_the_names_and_the_namespace_of_the_first_release() -> None:
    assert (MSG_PROCESSING_DURATION, MSG_WAIT_DURATION) == ("MsgProcessingDuration", "MsgWaitDuration")
    assert settings({"queues": [QUEUE]}).namespace == "Sluice"


@pytest.mark.parametrize(("fleet", "dimensions"), FLEETS.values(), ids=FLEETS)
def test_a_fleets_dimensions_are_those_of_the_first_release(
    fleet: AutoScalingGroup | EcsService, dimensions: dict[str, str]
) -> None:
    assert fleet.dimensions == dimensions


@pytest.mark.parametrize("text", [json.dumps(document()), written_before()], ids=["this", "before"])
def test_what_a_worker_publishes_is_what_documents_of_both_versions_are_retuned_by(text: str) -> None:
    read = parsing.parse(text).duration_metric
    counters = Counters(0.0)
    counters.record_end(Outcome.SUCCESS, 60.0)
    published = list(metrics.series(counters.close(60.0), read.dimensions, with_wait=False))
    assert (read.name, read.dimensions) in [(each.name, each.dimensions) for each in published]
    assert read.dimensions == {"AutoScalingGroupName": "transcription"}


def test_the_parameter_that_a_draining_colors_workers_read_keeps_its_name() -> None:
    assert DRAINING == "draining-color"
