"""The workload document as workload.yaml writes it, and the parameters that may enter it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sluice.core.model import BusyInstances, Color, Deadline, SurgeOnAlarms
from sluice.document.parsing import MAX_BYTES, parse
from sluice.document.versions import (
    RELEASE,
    VERSION,
)
from sluice.errors import DocumentError
from sluice_sim.template import TemplateError
from tests.templates.stacks import (
    WORKLOAD_TEMPLATE,
    WORKLOADS,
    alarm_arn,
    document,
    resolved,
    template,
    workload,
    workload_environments,
)

ALLOWED_INTRINSICS = {
    "Ref",
    "Condition",
    "Fn::Sub",
    "Fn::If",
    "Fn::Equals",
    "Fn::And",
    "Fn::Or",
    "Fn::Not",
    "Fn::GetAtt",
    "Fn::ImportValue",
    "Fn::Join",
    "Fn::Select",
    "Fn::Split",
}
TEMPLATE = template(WORKLOAD_TEMPLATE)
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
FLEET_NAMES = ("AutoScalingGroupName", "ClusterName", "ServiceName")
GREEN = {"asg": "GreenAutoScalingGroupName", "ecs": "GreenServiceName"}
PATTERNED = sorted(name for name, parameter in PARAMETERS.items() if "AllowedValues" not in parameter)


def intrinsics(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (key for key in node if key in ("Ref", "Condition") or key.startswith("Fn::"))
        for child in node.values():
            yield from intrinsics(child)
    elif isinstance(node, list):
        for child in node:
            yield from intrinsics(child)


@pytest.mark.parametrize("environment", sorted(workload_environments()))
def test_every_environments_document_is_accepted_and_fits_a_standard_parameter(environment: str) -> None:
    stack = resolved(TEMPLATE, workload_environments()[environment], stack_name=f"sluice-{environment}")
    registration = stack.resources["Registration"].properties
    assert len(registration["Value"].encode()) < 4096
    name = environment.removeprefix("e2e-")  # twins under another control plane
    assert parse(registration["Value"], active=Color.BLUE).name == name
    assert registration["Name"] == f"/sluice/workloads/{name}"


def test_the_transcription_environment_is_what_its_promise_says() -> None:
    parsed = parse(json.dumps(document(resolved(TEMPLATE, workload_environments()["transcription"]))))
    assert parsed.queue_url == "https://sqs.eu-west-1.amazonaws.com/123456789012/transcription"
    assert parsed.fleet.dimensions == {"AutoScalingGroupName": "transcription"}
    assert (parsed.bounds.min, parsed.bounds.max, parsed.bootstrap_instances) == (0, 5, 1)
    assert parsed.target.messages_per_instance == 8


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
@pytest.mark.parametrize("target_type", ["static", "dynamic"])
def test_every_kind_of_workload_is_accepted_with_the_defaults(
    fleet: str, mode: str, target_type: str
) -> None:
    known = {"CreateScalableTarget": "not-yet"} if fleet == "ecs" and mode != "active" else {}
    stack = workload(fleet, Mode=mode, TargetType=target_type, **known)
    parsed = parse(stack.resources["Registration"].properties["Value"])
    assert parsed.name == WORKLOADS[fleet]["Name"]
    assert parsed.mode.value == mode
    assert (parsed.policy_arn is not None) == (mode == "active")


def test_a_dynamic_target_carries_every_setting_as_a_number() -> None:
    settings = {
        "AcceptableLatencySeconds": "900",
        "ConcurrencyPerInstance": "2.5",
        "DurationStatistic": "p90",
        "MinMessagesPerInstance": "0.25",
        "MaxMessagesPerInstance": "64",
        "MessagesPerInstance": "12",
        "DeadbandRatio": "0.2",
        "MaxFactorPerRetune": "1.5",
        "MinSamples": "50",
    }
    assert document(workload(TargetType="dynamic", **settings))["target"] == {
        "type": "dynamic",
        "acceptable_latency_s": 900,
        "concurrency_per_instance": 2.5,
        "statistic": "p90",
        "min_messages_per_instance": 0.25,
        "max_messages_per_instance": 64,
        "fallback_messages_per_instance": 12,
        "deadband_ratio": 0.2,
        "max_factor_per_retune": 1.5,
        "min_samples": 50,
    }


@pytest.mark.parametrize("margin", ["0", "0.0", "0.3", "2.999999", "3", "3.0"])
def test_the_document_says_what_is_tracked_and_how_arrivals_are_counted(margin: str) -> None:
    effective = workload(ProcessingSeconds="4.32", ConcurrencyPerInstance="2.5", ArrivalMargin=margin)
    assert document(effective)["tracking"] == {
        "metric": "effective",
        "source": "published",
        "arrival_margin": float(margin),
        "processing_s": 4.32,
    }
    assert document(effective)["target"]["concurrency_per_instance"] == 2.5
    served = parse(effective.resources["Registration"].properties["Value"])
    assert served.tracking.arrival_margin == float(margin)


@pytest.mark.parametrize(
    ("parameters", "metric"),
    [
        ({"TargetType": "static"}, "backlog"),
        ({"TargetType": "static", "ProcessingSeconds": "60"}, "effective"),
        ({"TargetType": "dynamic"}, "effective"),
        ({"TargetType": "static", "TrackedMetric": "effective"}, "effective"),
        ({"TargetType": "static", "ProcessingSeconds": "60", "TrackedMetric": "backlog"}, "backlog"),
        ({"TargetType": "dynamic", "TrackedMetric": "backlog"}, "backlog"),
    ],
    ids=str,
)
@pytest.mark.parametrize("source", ["published", "native"])
def test_arrivals_are_counted_by_default_where_the_processing_time_is_known(
    parameters: dict[str, str], metric: str, source: str
) -> None:
    if source == "native" and parameters == {"TargetType": "static", "TrackedMetric": "effective"}:
        parameters = {**parameters, "ProcessingSeconds": "60"}  # a rule asks for it
    tracking = document(workload(MetricSource=source, **parameters))["tracking"]
    assert (tracking["metric"], tracking["source"]) == (metric, source)
    seconds = parameters.get("ProcessingSeconds")
    assert tracking["processing_s"] == (float(seconds) if seconds else None)


def test_native_metrics_that_count_arrivals_need_the_processing_time_of_a_static_target(fleet: str) -> None:
    native = {"MetricSource": "native", "TrackedMetric": "effective"}
    with pytest.raises(TemplateError, match=r"ProcessingSeconds is empty; AWS's own metrics do not say"):
        workload(fleet, TargetType="static", **native)
    for known in ({"TargetType": "dynamic"}, {"TargetType": "static", "ProcessingSeconds": "60"}):
        assert document(workload(fleet, **native, **known))["tracking"]["metric"] == "effective"
    measured = workload(fleet, TargetType="static", TrackedMetric="effective")
    assert document(measured)["tracking"]["processing_s"] is None


@pytest.mark.parametrize("target_type", ["static", "dynamic"])
def test_target_tracking_scales_a_workload_by_default(fleet: str, target_type: str) -> None:
    stack = workload(fleet, TargetType=target_type, ProcessingSeconds="5")
    assert document(stack)["scaling"] == {"type": "target_tracking"}
    assert parse(stack.resources["Registration"].properties["Value"]).deadline is None


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
@pytest.mark.parametrize("target_type", ["static", "dynamic"])
def test_the_deadline_engine_is_accepted_with_the_defaults(fleet: str, target_type: str, mode: str) -> None:
    stack = workload(
        fleet,
        Mode=mode,
        TargetType=target_type,
        Scaling="deadline",
        ProcessingSeconds="5",
        CreateScalableTarget="true",
    )
    assert parse(stack.resources["Registration"].properties["Value"]).deadline == Deadline(
        promise_s=600,
        promise_percent=99,
        tick_s=10,
        boot_s=180,
        margin_s=20,
        busy_instances=BusyInstances.PROTECTED,
    )


def test_the_document_carries_every_setting_of_the_deadline_engine_as_a_number(fleet: str) -> None:
    settings = {
        "Scaling": "deadline",
        "AcceptableLatencySeconds": "240.5",
        "PromisePercent": "97.5",
        "TickSeconds": "20",
        "BootSeconds": "90",
        "MarginSeconds": "30",
        "BusyInstances": "unprotected",
        "ProcessingSeconds": "4.32",
    }
    written = document(workload(fleet, **settings))
    assert written["scaling"] == {
        "type": "deadline",
        "promise_s": 240.5,
        "promise_percent": 97.5,
        "tick_s": 20,
        "boot_s": 90,
        "margin_s": 30,
        "busy_instances": "unprotected",
    }
    assert written["tracking"]["processing_s"] == 4.32


def test_the_deadline_engine_needs_a_processing_time(fleet: str) -> None:
    for target_type in ("static", "dynamic"):
        with pytest.raises(TemplateError, match=r"ProcessingSeconds is empty; Scaling deadline plans with"):
            workload(fleet, TargetType=target_type, Scaling="deadline")


@pytest.mark.parametrize("promise_s", ["10", "20"])
def test_a_margin_that_leaves_nothing_of_the_promise_is_refused_with_the_document(promise_s: str) -> None:
    """CloudFormation compares no numbers; `sluice validate` says it before the deploy."""
    stack = workload(Scaling="deadline", ProcessingSeconds="5", AcceptableLatencySeconds=promise_s)
    with pytest.raises(DocumentError) as refused:
        parse(stack.resources["Registration"].properties["Value"])
    [problem] = refused.value.problems
    assert (problem.path, problem.value) == ("scaling.margin_s", 20)
    assert problem.way_out == f"must be below promise_s ({promise_s}): lower this or raise promise_s"


@pytest.mark.parametrize(
    ("bootstrap_capacity", "min_capacity", "expected"),
    [("", "0", 1), ("", "3", 3), ("2", "0", 2), ("4", "3", 4), ("backlog", "0", "backlog")],
)
def test_a_bootstrap_is_one_instance_or_the_minimum_by_default(
    bootstrap_capacity: str, min_capacity: str, expected: int | str
) -> None:
    stack = workload(BootstrapCapacity=bootstrap_capacity, MinCapacity=min_capacity)
    assert document(stack)["capacity"] == {"min": int(min_capacity), "max": 5, "bootstrap": expected}


def test_durations_are_read_from_the_control_planes_namespace_by_default() -> None:
    default, own = document(workload()), document(workload(DurationNamespace="Acme/Workers"))
    assert default["duration_metric"] == {"namespace": "Sluice", "name": "MsgProcessingDuration"}
    assert own["duration_metric"]["namespace"] == "Acme/Workers"


def test_the_document_knows_its_stack_and_its_alarms(fleet: str) -> None:
    written, name = document(workload(fleet)), WORKLOADS[fleet]["Name"]
    assert re.fullmatch(r"arn:aws:cloudformation:.*:stack/sluice-workload/.+", written["stack_id"])
    assert written["alarm_arns"] == {
        "bootstrap": alarm_arn(f"sluice-{name}-bootstrap"),
        "shutdown": alarm_arn(f"sluice-{name}-shutdown"),
    }


def test_the_document_has_no_surge_that_an_older_control_plane_would_refuse_unless_it_is_asked_for() -> None:
    assert "surge" not in document(workload(DepthAlarms="true", AgeAlarms="true"))


@pytest.mark.parametrize(
    ("switches", "kinds"),
    [
        (["DepthAlarms"], ["depth"]),
        (["AgeAlarms"], ["age"]),
        (["DepthAlarms", "AgeAlarms"], ["depth", "age"]),
    ],
)
def test_a_surge_names_the_critical_alarms_that_may_start_it(
    fleet: str, switches: list[str], kinds: list[str]
) -> None:
    given = dict.fromkeys(switches, "true") | {"SurgeDrainMinutes": "20", "SurgeHoldMinutes": "90"}
    written = document(workload(fleet, SurgeOnCriticalAlarms="true", **given))
    arns = [alarm_arn(f"sluice-{WORKLOADS[fleet]['Name']}-{kind}-critical") for kind in kinds]
    assert written["surge"] == {"alarm_arns": arns, "drain_min": 20, "hold_min": 90}
    assert parse(json.dumps(written)).surge == SurgeOnAlarms(
        alarm_arns=tuple(arns), drain_in_s=1200, hold_s=5400
    )


def test_a_surge_without_a_critical_alarm_is_refused_by_a_rule() -> None:
    with pytest.raises(TemplateError, match="SurgeOnCriticalAlarms needs the critical alarm of one of them"):
        workload(SurgeOnCriticalAlarms="true")


def test_a_surge_that_ends_before_the_backlog_is_drained_is_refused_with_the_document() -> None:
    given = {"SurgeOnCriticalAlarms": "true", "AgeAlarms": "true", "SurgeDrainMinutes": "61"}
    with pytest.raises(DocumentError, match=r"surge.hold_min: 60: must be at least drain_min \(61\)"):
        parse(json.dumps(document(workload(**given))))


@pytest.mark.parametrize("value", ["true", "false"])
def test_in_flight_messages_count_according_to_the_parameter(value: str) -> None:
    assert document(workload(CountInFlight=value))["count_in_flight"] is (value == "true")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.slow
def test_every_value_that_the_patterns_allow_gives_valid_json(data: st.DataObject) -> None:
    fleet = data.draw(st.sampled_from(sorted(WORKLOADS)))
    drawn = {
        name: data.draw(st.from_regex(PARAMETERS[name]["AllowedPattern"], fullmatch=True), label=name)
        for name in PATTERNED
        if name != "ControlPlaneStack"  # names the exports, which this test does not vary
    }
    # Rules refuse the empty ones, a green fleet of the other kind, one for both colors, and schedules.
    drawn |= {name: drawn[name] or "a" for name in (*FLEET_NAMES, "DeadLetterQueueName")}
    (other,) = GREEN.keys() - {fleet}
    drawn[GREEN[other]] = ""
    assume(drawn[GREEN[fleet]] not in (drawn["AutoScalingGroupName"], drawn["ServiceName"]))
    if drawn[GREEN[fleet]]:
        drawn |= dict.fromkeys((name for name in PATTERNED if name.startswith("Schedule")), "")
    choices = {name: data.draw(st.sampled_from(["static", "dynamic"])) for name in ("TargetType",)}
    written = document(workload(fleet, **{**drawn, **choices}))
    assert written["name"] == drawn["Name"]
    assert isinstance(written["idle_minutes"], int)
    numbers = [value for key, value in written["target"].items() if key not in ("type", "statistic")]
    assert all(isinstance(value, int | float) for value in numbers)


@pytest.mark.parametrize("name", PATTERNED)
@pytest.mark.parametrize("poison", ['"', "\\", "\n", "'", "{", "}"])
def test_no_parameter_accepts_a_value_that_breaks_the_json(name: str, poison: str) -> None:
    pattern = PARAMETERS[name]["AllowedPattern"]
    samples = [poison, f"1{poison}", f"a{poison}", f"{poison}1", f"a{poison}a", f"p90{poison}"]
    assert not [sample for sample in samples if re.fullmatch(pattern, sample)]


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("MinCapacity", "08"),
        ("MinCapacity", "-1"),
        ("MaxCapacity", "0"),
        ("BootstrapCapacity", "0"),
        ("MessagesPerInstance", ".5"),
        ("MessagesPerInstance", "0"),
        ("MessagesPerInstance", "0.0"),
        ("DeadbandRatio", "1"),
        ("MaxFactorPerRetune", "1"),
        ("MaxFactorPerRetune", "1.0"),
        ("MinSamples", "0"),
        ("IdleMinutes", "0"),
        ("IdleMinutes", "121"),
        ("DurationStatistic", "Sum"),
        ("TrackedMetric", "Effective"),
        ("ArrivalMargin", "-0.1"),
        ("ArrivalMargin", "3.1"),
        ("ArrivalMargin", "3.000001"),
        ("ArrivalMargin", "NaN"),
        ("ArrivalMargin", "inf"),
        ("ArrivalMargin", ""),
        ("ArrivalMargin", ".3"),
        ("ProcessingSeconds", "0"),
        ("ProcessingSeconds", "0.0"),
        ("ProcessingSeconds", "-60"),
        ("ProcessingSeconds", "NaN"),
        ("ProcessingSeconds", "1e3"),
        ("Scaling", "forecast"),
        ("TickSeconds", "15"),
        ("TickSeconds", "0"),
        ("PromisePercent", "49.9"),
        ("PromisePercent", "0.99"),
        ("PromisePercent", "100"),
        ("PromisePercent", "99.999"),
        ("PromisePercent", "NaN"),
        ("BootSeconds", "0"),
        ("BootSeconds", "-180"),
        ("BootSeconds", "NaN"),
        ("BootSeconds", ""),
        ("MarginSeconds", "-1"),
        ("MarginSeconds", "NaN"),
        ("BusyInstances", "idle"),
        ("AcceptableLatencySeconds", "0"),
        ("AcceptableLatencySeconds", ""),
        ("Name", "9lives"),
        ("Mode", "Active"),
    ],
)
def test_a_value_the_document_would_refuse_is_refused_at_deployment(name: str, refused: str) -> None:
    with pytest.raises(TemplateError, match=name):
        workload(**{name: refused})


def test_the_longest_names_still_fit_a_standard_parameter() -> None:
    longest = {
        "Name": "n" * 64,
        "QueueName": "q" * 80,
        "ClusterName": "c" * 255,
        "ServiceName": "s" * 255,
        "DurationNamespace": "d" * 255,
    }
    for scaling in ("target_tracking", "deadline"):
        stack = workload("ecs", TargetType="dynamic", Scaling=scaling, ProcessingSeconds="5", **longest)
        registration = stack.resources["Registration"].properties
        assert registration["Tier"] == "Standard"
        assert len(registration["Value"].encode()) < 4096
        assert parse(registration["Value"]).name == longest["Name"]


def test_with_the_longest_names_of_two_services_the_parameter_becomes_an_advanced_one() -> None:
    longest = {
        "Name": "n" * 64,
        "QueueName": "q" * 80,
        "ClusterName": "c" * 255,
        "ServiceName": "b" * 255,
        "GreenServiceName": "g" * 255,
        "DurationNamespace": "d" * 255,
    }
    stack = workload("ecs", TargetType="dynamic", Scaling="deadline", ProcessingSeconds="5", **longest)
    registration = stack.resources["Registration"].properties
    assert registration["Tier"] == "Intelligent-Tiering"
    assert len(registration["Value"].encode()) <= MAX_BYTES
    assert parse(registration["Value"], active=Color.GREEN).fleet.service == longest["GreenServiceName"]


def test_only_the_intrinsics_that_the_simulator_resolves_are_used() -> None:
    sections = {key: TEMPLATE.get(key, {}) for key in ("Conditions", "Resources", "Outputs")}
    assert set(intrinsics(sections)) <= ALLOWED_INTRINSICS
    assert "Transform" not in TEMPLATE


def test_a_fleet_without_its_name_is_refused_by_a_rule() -> None:
    for fleet, name in (("asg", "AutoScalingGroupName"), ("ecs", "ClusterName"), ("ecs", "ServiceName")):
        with pytest.raises(TemplateError, match=f"{name} is empty; FleetType {fleet} needs the name"):
            workload(fleet, **{name: ""})


def test_two_workloads_share_no_name() -> None:
    first, second = (
        {
            value
            for resource in workload(Name=name, QueueName="q").resources.values()
            for key, value in resource.properties.items()
            if key in ("AlarmName", "Name", "PolicyName")
        }
        for name in ("one", "two")
    )
    assert len(first) == len(second) == 5
    assert not first & second


def test_the_document_names_its_version_and_the_release_that_wrote_it(fleet: str) -> None:
    written = document(workload(fleet))
    assert (written["version"], written["release"]) == (VERSION, RELEASE)
    assert next(iter(written)) == "version"
