"""samconfig.toml: what each environment deploys, and how carefully."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from sluice.core.deadline.promise import why_out_of_reach
from sluice.document.parsing import parse
from tests.templates.stacks import (
    ROOT,
    WORKLOAD_TEMPLATE,
    resolved,
    samconfig,
    template,
    workload_environments,
)


def test_the_plane_is_deployed_by_default_and_asks_first() -> None:
    environment = samconfig()["default"]
    assert environment["global"]["parameters"]["stack_name"] == "sluice"
    deploy = environment["deploy"]["parameters"]
    assert deploy["resolve_s3"] is True
    assert deploy["confirm_changeset"] is True
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert "template_file" not in deploy  # what `sam build` left, not the source


def test_the_e2e_plane_needs_no_confirmation() -> None:
    assert samconfig()["e2e"]["deploy"]["parameters"]["confirm_changeset"] is False


def named_buckets(node: object, where: str = "samconfig.toml") -> Iterator[str]:
    """Every setting that could send code to a bucket by its name."""
    if isinstance(node, dict):
        for key, child in node.items():
            if key in ("s3_bucket", "image_repository", "image_repositories"):
                yield f"{where}: {key} = {child!r}"
            yield from named_buckets(child, f"{where}: {key}")
    elif isinstance(node, str) and node.startswith(("s3://", "arn:aws:s3")):
        yield f"{where}: {node}"


def test_no_environment_names_a_bucket_because_its_owner_could_replace_the_code() -> None:
    assert list(named_buckets(samconfig())) == []
    environments = {name: found for name, found in samconfig().items() if name != "version"}
    assert all(found["deploy"]["parameters"]["resolve_s3"] is True for found in environments.values())


FOREIGN = {
    "a bucket": re.compile(
        r"s3://(?!BUCKET/|\$wheel)[a-z0-9]|(?<!aws_)s3[-_]bucket|arn:aws[a-z-]*:s3:::[a-z0-9]|[a-z0-9]\.s3[.-]"
    ),
    "a project of a package index": re.compile(r"(pip install|uv add|uvx|pipx run)[^\n`]*[ '\"]sluice\b"),
}
"""Names that anybody may own, and put code of their own under."""
DEPLOYED_OR_COPIED = ("template.yaml", "workload.yaml", "README.md", "Makefile", "examples", "docs", "events")


@pytest.mark.parametrize("path", DEPLOYED_OR_COPIED)
def test_nothing_that_a_user_deploys_loads_code_from_a_name_that_is_not_ours(path: str) -> None:
    whole = ROOT / path
    files = [file for file in (sorted(whole.rglob("*")) if whole.is_dir() else [whole]) if file.is_file()]
    # An environment is not part of the project.
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(ROOT).parts)]
    texts = {file.name: file.read_text() for file in files if file.suffix not in (".png", ".pyc")}
    assert texts
    assert [
        f"{name} names {what}: {found[0]}"
        for name, text in texts.items()
        for what, pattern in FOREIGN.items()
        if (found := pattern.search(text))
    ] == []


@pytest.mark.parametrize(
    "text",
    [
        "aws s3 cp x s3://acme/x",
        "s3_bucket = 'acme'",
        "arn:aws:s3:::acme/*",
        "acme.s3.amazonaws.com",
        "pip install sluice",
        "pip install 'sluice[worker]'",
        "uvx sluice demo",
    ],
)
def test_a_package_name_that_is_not_ours_is_detected(text: str) -> None:
    assert any(pattern.search(text) for pattern in FOREIGN.values())


def test_no_two_environments_deploy_one_stack() -> None:
    config = samconfig()
    names = [
        environment["deploy"]["parameters"].get("stack_name")
        or environment["global"]["parameters"]["stack_name"]
        for environment in config.values()
        if isinstance(environment, dict)
    ]
    assert len(names) == len(set(names)) == 11


def test_transcription_is_a_gpu_group_of_up_to_five_with_eight_messages_each() -> None:
    assert workload_environments()["transcription"] == {
        "Name": "transcription",
        "QueueName": "transcription",
        "FleetType": "asg",
        "AutoScalingGroupName": "transcription",
        "MinCapacity": "0",
        "MaxCapacity": "5",
        "TargetType": "static",
        "MessagesPerInstance": "8",
        "ProcessingSeconds": "60",
        "InstanceWarmupSeconds": "180",
    }


COMPILERS = {
    "FleetType": "asg",
    "TargetType": "static",
    "MessagesPerInstance": "3",
    "MetricSource": "published",
    "InstanceWarmupSeconds": "180",
}


@pytest.mark.parametrize(
    ("name", "minimum", "maximum"),
    [("compiler-aarch64-prod", "1", "6"), ("compiler-aarch64-staging", "0", "4")],
)
def test_the_compilers_have_two_colors_on_a_fifo_queue_and_three_messages_per_instance(
    name: str, minimum: str, maximum: str
) -> None:
    assert workload_environments()[name] == COMPILERS | {
        "Name": name,
        "QueueName": f"{name}.fifo",
        "AutoScalingGroupName": name,
        "GreenAutoScalingGroupName": f"{name}-green",
        "MinCapacity": minimum,
        "MaxCapacity": maximum,
    }


def test_queue_proc_is_a_service_of_up_to_ten_that_answers_within_a_minute() -> None:
    assert workload_environments()["queue-proc"] == {
        "Name": "queue-proc",
        "QueueName": "queue-proc",
        "FleetType": "ecs",
        "ClusterName": "workers",
        "ServiceName": "queue-proc",
        "MinCapacity": "0",
        "MaxCapacity": "10",
        "TargetType": "dynamic",
        "AcceptableLatencySeconds": "60",
        "MessagesPerInstance": "30",
        "MinMessagesPerInstance": "5",
        "MaxMessagesPerInstance": "60",
    }


def test_bulk_consumer_is_a_service_of_ten_to_thirty_that_leaves_slower_than_it_comes() -> None:
    assert workload_environments()["bulk-consumer"] == {
        "Name": "bulk-consumer",
        "QueueName": "bulk-consumer",
        "FleetType": "ecs",
        "ClusterName": "workers",
        "ServiceName": "bulk-consumer",
        "MinCapacity": "10",
        "MaxCapacity": "30",
        "TargetType": "static",
        "MessagesPerInstance": "833",
        "ProcessingSeconds": "4.32",
        "ScaleOutCooldownSeconds": "60",
        "ScaleInCooldownSeconds": "300",
        "OldestMessageAgeSeconds": "259200",
    }


def test_photo_import_is_a_group_that_starts_each_photo_within_five_minutes() -> None:
    assert workload_environments()["photo-import"] == {
        "Name": "photo-import",
        "QueueName": "photo-import",
        "FleetType": "asg",
        "AutoScalingGroupName": "photo-import",
        "MinCapacity": "0",
        "MaxCapacity": "40",
        "Scaling": "deadline",
        "AcceptableLatencySeconds": "300",
        "ProcessingSeconds": "5",
        "BootSeconds": "180",
    }


def test_report_export_is_a_service_that_starts_reports_within_three_minutes_four_at_a_time() -> None:
    assert workload_environments()["report-export"] == {
        "Name": "report-export",
        "QueueName": "report-export",
        "FleetType": "ecs",
        "ClusterName": "workers",
        "ServiceName": "report-export",
        "MinCapacity": "0",
        "MaxCapacity": "20",
        "Scaling": "deadline",
        "AcceptableLatencySeconds": "180",
        "PromisePercent": "97",
        "TickSeconds": "20",
        "ConcurrencyPerInstance": "4",
        "ProcessingSeconds": "20",
        "BootSeconds": "60",
    }


@pytest.mark.parametrize("environment", ["photo-import", "report-export"])
def test_an_example_of_the_deadline_engine_keeps_its_promise_from_zero(environment: str) -> None:
    stack = resolved(
        template(WORKLOAD_TEMPLATE), workload_environments()[environment], stack_name="sluice-example"
    )
    deadline = parse(stack.resources["Registration"].properties["Value"]).deadline
    assert deadline is not None
    assert why_out_of_reach(deadline, deadline.boot_s) is None


@pytest.mark.parametrize("workload", ["transcription", "queue-proc"])
def test_the_e2e_planes_workloads_keep_the_names_that_the_sample_events_carry(workload: str) -> None:
    environments = workload_environments()
    parameters, real = environments[f"e2e-{workload}"], environments[workload]
    assert parameters["ControlPlaneStack"] == samconfig()["e2e"]["deploy"]["parameters"]["stack_name"]
    assert parameters["Name"] == workload
    for name in (
        "QueueName",
        "FleetType",
        "AutoScalingGroupName",
        "ClusterName",
        "ServiceName",
        "TargetType",
    ):
        assert parameters.get(name) == real.get(name), name


def test_bulk_consumers_target_is_one_hours_work_of_a_task() -> None:
    environment = workload_environments()["bulk-consumer"]
    seconds_per_message = 24 * 3600 * int(environment["MaxCapacity"]) / 600_000
    assert int(environment["MessagesPerInstance"]) == int(3600 / seconds_per_message)


@pytest.mark.parametrize("seconds", [2, 4, 6])
def test_queue_procs_target_is_within_its_bounds_at_every_expected_duration(seconds: int) -> None:
    parameters = workload_environments()["queue-proc"]
    target = float(parameters["AcceptableLatencySeconds"]) / seconds
    assert float(parameters["MinMessagesPerInstance"]) < target < float(parameters["MaxMessagesPerInstance"])
    assert target <= float(parameters["MessagesPerInstance"])  # not known yet: start with the fastest


@pytest.mark.parametrize("environment", sorted(workload_environments()))
def test_a_workload_asks_before_it_changes_and_is_named_after_its_environment(environment: str) -> None:
    deploy = samconfig()[environment]["deploy"]["parameters"]
    assert deploy["stack_name"] == f"sluice-{environment}"
    assert deploy["confirm_changeset"] is not environment.startswith("e2e-")  # nobody can confirm those
    assert deploy["fail_on_empty_changeset"] is False


@pytest.mark.parametrize("environment", sorted(workload_environments()))
def test_a_workloads_environment_knows_the_templates_parameters(environment: str) -> None:
    declared = template(WORKLOAD_TEMPLATE)["Parameters"]
    required = {name for name, body in declared.items() if "Default" not in body}
    parameters = set(workload_environments()[environment])
    assert required <= parameters <= set(declared)
