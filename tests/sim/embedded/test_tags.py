"""Queues, fleets and scalable targets of the embedded AWS have the tags of the examples and templates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from tests.sim.embedded.test_embedded import ROOT

MANAGED = {"sluice": "managed"}


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as account:
        demo = Demo(account, ROOT)
        demo.add_workload(TRANSCRIPTION)
        demo.add_workload(QUEUE_PROC)
        yield account


def test_a_queue_is_managed_and_its_dead_letter_queue_is_not(aws: EmbeddedAws) -> None:
    url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
    assert aws.sqs.list_queue_tags(QueueUrl=url)["Tags"] == MANAGED
    dead = aws.sqs.get_queue_url(QueueName="dead-transcription")["QueueUrl"]
    assert not aws.sqs.list_queue_tags(QueueUrl=dead).get("Tags")


def test_a_group_is_managed_and_its_instances_are_not(aws: EmbeddedAws) -> None:
    (group,) = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    (tag,) = group["Tags"]
    assert (tag["Key"], tag["Value"], tag["PropagateAtLaunch"]) == ("sluice", "managed", False)


def test_a_service_is_managed(aws: EmbeddedAws) -> None:
    described = aws.ecs.describe_services(cluster="workers", services=["queue-proc"], include=["TAGS"])
    assert described["services"][0]["tags"] == [{"key": "sluice", "value": "managed"}]


def test_the_scalable_target_has_the_tags_of_the_template_until_they_are_removed(aws: EmbeddedAws) -> None:
    (target,) = aws.scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    arn = target["ScalableTargetARN"]
    assert aws.scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == MANAGED
    aws.scaling.tag_resource(ResourceARN=arn, Tags={"team": "audio"})
    aws.scaling.untag_resource(ResourceARN=arn, TagKeys=["sluice"])
    assert aws.scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"team": "audio"}


def test_an_unknown_scalable_target_has_no_tags_to_list(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        aws.scaling.list_tags_for_resource(ResourceARN="arn:aws:application-autoscaling:eu-west-1:1:other")
