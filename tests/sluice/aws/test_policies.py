"""A retune changes only a policy's target. Responses are as AWS documents them, because moto drops fields."""

import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from sluice.aws.policies import ECS_CONFIGURATION, TargetTrackingPolicies
from sluice.core.model import Unknown, Workload
from sluice.errors import CapacityError, ConfigError, TransientError
from sluice.ports import Policy
from tests.sluice.aws.stubs import (
    Call,
    refusal,
    stubbed,
    unchecked,
)
from tests.support.builders import (
    ECS_POLICY_ARN,
    POLICY_ARN,
    POOL,
    ecs_workload,
    plenty,
    workload,
)

ALARM = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:TargetTracking-transcription-{side}-ab12"
ALARMS = [
    {"AlarmName": f"TargetTracking-transcription-{side}-ab12", "AlarmARN": ALARM.format(side=side)}
    for side in ("AlarmHigh", "AlarmLow")
]

NATIVE = {
    "Metrics": [
        {
            "Id": "visible",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/SQS",
                    "MetricName": "ApproximateNumberOfMessagesVisible",
                    "Dimensions": [{"Name": "QueueName", "Value": "transcription"}],
                },
                "Stat": "Maximum",
            },
            "ReturnData": False,
        },
        {
            "Id": "in_service",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/AutoScaling",
                    "MetricName": "GroupInServiceInstances",
                    "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "transcription"}],
                },
                "Stat": "Average",
            },
            "ReturnData": False,
        },
        {
            "Id": "backlog_per_instance",
            "Expression": "visible / in_service",
            "Label": "Messages per instance",
            "ReturnData": True,
        },
    ]
}
PUBLISHED = {
    "MetricName": "BacklogPerInstance",
    "Namespace": "Sluice",
    "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "transcription"}],
    "Statistic": "Average",
    "Unit": "Count",
}


def group_policy(metric: Mapping[str, Any] = NATIVE, arn: str = POLICY_ARN) -> dict[str, Any]:
    """One policy as autoscaling DescribePolicies answers it."""
    return {
        "AutoScalingGroupName": "transcription",
        "PolicyName": "sluice-transcription-AsgTargetTracking-1A2B3C",
        "PolicyARN": arn,
        "PolicyType": "TargetTrackingScaling",
        "StepAdjustments": [],
        "Alarms": ALARMS,
        "EstimatedInstanceWarmup": 180,
        "Enabled": True,
        "TargetTrackingConfiguration": {
            "CustomizedMetricSpecification": dict(metric),
            "TargetValue": 8.0,
            "DisableScaleIn": False,
        },
    }


def service_policy(arn: str = ECS_POLICY_ARN) -> dict[str, Any]:
    """One policy as application-autoscaling DescribeScalingPolicies answers it."""
    return {
        "PolicyARN": arn,
        "PolicyName": "sluice-queue-proc-EcsTargetTracking-4D5E6F",
        "ServiceNamespace": "ecs",
        "ResourceId": "service/workers/queue-proc",
        "ScalableDimension": "ecs:service:DesiredCount",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 10.0,
            "CustomizedMetricSpecification": NATIVE,
            "ScaleOutCooldown": 30,
            "ScaleInCooldown": 120,
            "DisableScaleIn": True,
        },
        "Alarms": ALARMS,
        "CreationTime": 1768478400,
    }


TRACKING = {"PolicyARN": POLICY_ARN, "PolicyType": "TargetTrackingScaling"}
STEPS = [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}]
OTHER_KINDS: list[dict[str, Any]] = [
    {"PolicyType": "StepScaling", "AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS},
    {"PolicyType": "SimpleScaling", "AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1},
    {"PolicyType": "PredictiveScaling"},
    # AWS never responds like this, but a put of it would be nonsense.
    {"PolicyType": "StepScaling", "TargetTrackingConfiguration": {"TargetValue": 8.0}},
]


def describe_group(*policies: Mapping[str, Any]) -> Call:
    return (
        "describe_policies",
        {"AutoScalingGroupName": "transcription"},
        {"ScalingPolicies": list(policies)},
    )


def describe_service(*policies: Mapping[str, Any]) -> Call:
    request = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/workers/queue-proc",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    return ("describe_scaling_policies", request, {"ScalingPolicies": list(policies)})


def no_client() -> Any:
    raise AssertionError("the other kind of fleet's client was asked for")


@pytest.mark.parametrize("metric", [NATIVE, PUBLISHED])
def test_a_groups_policy_keeps_every_field_and_changes_its_target_alone(metric: Mapping[str, Any]) -> None:
    expected = {
        "AutoScalingGroupName": "transcription",
        "PolicyName": "sluice-transcription-AsgTargetTracking-1A2B3C",
        "PolicyType": "TargetTrackingScaling",
        "EstimatedInstanceWarmup": 180,
        "Enabled": True,
        "TargetTrackingConfiguration": {
            "CustomizedMetricSpecification": metric,
            "TargetValue": 12.5,
            "DisableScaleIn": False,
        },
    }
    answer = {"PolicyARN": POLICY_ARN, "Alarms": ALARMS}
    calls = [describe_group(group_policy(metric)), ("put_scaling_policy", expected, answer)]
    with stubbed("autoscaling", *calls) as client:
        policies = TargetTrackingPolicies(lambda: client, no_client, POOL)
        policy = policies.read(workload(), plenty)
        assert policy.target == 8
        policies.put_target(policy, 12.5)


def test_a_services_policy_keeps_every_field_and_changes_its_target_alone() -> None:
    expected = {
        "PolicyName": "sluice-queue-proc-EcsTargetTracking-4D5E6F",
        "ServiceNamespace": "ecs",
        "ResourceId": "service/workers/queue-proc",
        "ScalableDimension": "ecs:service:DesiredCount",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 0.25,
            "CustomizedMetricSpecification": NATIVE,
            "ScaleOutCooldown": 30,
            "ScaleInCooldown": 120,
            "DisableScaleIn": True,
        },
    }
    answer = {"PolicyARN": ECS_POLICY_ARN, "Alarms": ALARMS}
    calls = [describe_service(service_policy()), ("put_scaling_policy", expected, answer)]
    with stubbed("application-autoscaling", *calls) as client:
        policies = TargetTrackingPolicies(no_client, lambda: client, POOL)
        policies.put_target(policies.read(ecs_workload(), plenty), 0.25)


def test_putting_a_target_leaves_the_policy_that_was_read_as_it_was() -> None:
    before = group_policy()
    policy = Policy(fleet=workload().fleet, target=8, definition=deepcopy(before))
    with unchecked("autoscaling", PutScalingPolicy={}) as client:
        TargetTrackingPolicies(lambda: client, no_client, POOL).put_target(policy, 99)
    assert policy.definition == before


def test_the_policy_is_the_one_the_document_names_and_not_the_first() -> None:
    other = group_policy(arn=POLICY_ARN + "-other")
    other["TargetTrackingConfiguration"]["TargetValue"] = 99.0
    with stubbed("autoscaling", describe_group(other, group_policy())) as client:
        assert TargetTrackingPolicies(lambda: client, no_client, POOL).read(workload(), plenty).target == 8


def test_every_page_is_searched() -> None:
    method, request, answer = describe_group(group_policy(arn=POLICY_ARN + "-other"))
    calls = [
        (method, request, {**answer, "NextToken": "more"}),
        (method, {**request, "NextToken": "more"}, {"ScalingPolicies": [group_policy()]}),
    ]
    with stubbed("autoscaling", *calls) as client:
        assert TargetTrackingPolicies(lambda: client, no_client, POOL).read(workload(), plenty).target == 8


@pytest.mark.parametrize("kind", OTHER_KINDS, ids=lambda kind: "-".join(kind))
def test_another_kind_of_policy_under_the_documents_arn_is_reported_with_the_remedy(
    kind: dict[str, Any],
) -> None:
    """An operator has to act: the same call would get the same response every hour."""
    policy = {"AutoScalingGroupName": "transcription", "PolicyARN": POLICY_ARN, **kind}
    with (
        unchecked("autoscaling", DescribePolicies={"ScalingPolicies": [policy]}) as client,
        pytest.raises(ConfigError) as wrong,
    ):
        TargetTrackingPolicies(lambda: client, no_client, POOL).read(workload(), plenty)
    assert str(wrong.value) == (
        f"workload transcription: the scaling policy {POLICY_ARN} of Auto Scaling group transcription "
        f"is of type {kind['PolicyType']}, and only TargetTrackingScaling has a target to retune: "
        "delete that policy and update the workload's stack with any change to create its own again"
    )


def test_another_kind_of_policy_on_a_service_is_reported_with_the_remedy() -> None:
    shared = (
        "PolicyARN",
        "PolicyName",
        "ServiceNamespace",
        "ResourceId",
        "ScalableDimension",
        "CreationTime",
    )
    step = {key: value for key, value in service_policy().items() if key in shared}
    step |= {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": {"StepAdjustments": STEPS}}
    with (
        stubbed("application-autoscaling", describe_service(step)) as client,
        pytest.raises(ConfigError, match="of ECS service workers/queue-proc is of type StepScaling"),
    ):
        TargetTrackingPolicies(no_client, lambda: client, POOL).read(ecs_workload(), plenty)


def test_a_policy_disabled_by_hand_stays_disabled() -> None:
    disabled = group_policy() | {"Enabled": False}
    expected = {
        key: value for key, value in disabled.items() if key not in ("PolicyARN", "Alarms", "StepAdjustments")
    }
    configuration = disabled["TargetTrackingConfiguration"] | {"TargetValue": 9.0}
    expected["TargetTrackingConfiguration"] = configuration
    calls = [describe_group(disabled), ("put_scaling_policy", expected, {"PolicyARN": POLICY_ARN})]
    with stubbed("autoscaling", *calls) as client:
        policies = TargetTrackingPolicies(lambda: client, no_client, POOL)
        policies.put_target(policies.read(workload(), plenty), 9.0)
    assert expected["Enabled"] is False


def test_what_is_described_as_empty_stays_out_however_deep_and_false_0_and_blanks_stay() -> None:
    described = group_policy() | {"Cooldown": 0, "Enabled": False}
    described["TargetTrackingConfiguration"] = {
        "TargetValue": 8.0,
        "DisableScaleIn": False,
        "PredefinedMetricSpecification": None,
        "CustomizedMetricSpecification": {
            "MetricName": "BacklogPerInstance",
            "Namespace": "Sluice",
            "Statistic": "Average",
            "Unit": "",
            "Dimensions": [],
            "Metrics": [{"Id": "m", "MetricStat": {"Metric": {"Dimensions": []}}, "ReturnData": False}, {}],
        },
    }
    sent: list[dict[str, Any]] = []
    with unchecked("autoscaling") as client:
        client._make_api_call = lambda _, parameters: sent.append(parameters)
        TargetTrackingPolicies(lambda: client, no_client, POOL).put_target(
            Policy(fleet=workload().fleet, target=8, definition=described), 9.0
        )
    assert (sent[0]["Cooldown"], sent[0]["Enabled"]) == (0, False)
    assert sent[0]["TargetTrackingConfiguration"] == {
        "TargetValue": 9.0,
        "DisableScaleIn": False,
        "CustomizedMetricSpecification": {
            "MetricName": "BacklogPerInstance",
            "Namespace": "Sluice",
            "Statistic": "Average",
            "Unit": "",
            "Metrics": [{"Id": "m", "ReturnData": False}],
        },
    }


@pytest.mark.parametrize("found", [[], [group_policy(arn=POLICY_ARN + "-other")]])
def test_a_missing_policy_is_reported_with_the_remedy(found: list[dict[str, Any]]) -> None:
    with (
        stubbed("autoscaling", describe_group(*found)) as client,
        pytest.raises(ConfigError) as missing,
    ):
        TargetTrackingPolicies(lambda: client, no_client, POOL).read(workload(), plenty)
    assert str(missing.value) == (
        f"workload transcription: Auto Scaling group transcription has no scaling policy {POLICY_ARN}: "
        "it was deleted by hand; update the workload's stack with any change to create it again"
    )


@pytest.mark.parametrize(
    "policy",
    [
        {"PolicyName": "no ARN"},
        {"PolicyARN": POLICY_ARN},
        {"PolicyARN": POLICY_ARN, "PolicyType": None},
        TRACKING,
        TRACKING | {"TargetTrackingConfiguration": {}},
        TRACKING | {"TargetTrackingConfiguration": {"TargetValue": "high"}},
        TRACKING | {"TargetTrackingConfiguration": {"TargetValue": "nan"}},
        TRACKING | {"TargetTrackingConfiguration": {"TargetValue": 0}},
        TRACKING | {"TargetTrackingConfiguration": {"TargetValue": -3}},
        TRACKING | {"TargetTrackingConfiguration": None},
    ],
)
def test_a_policy_without_a_target_is_an_answer_that_cannot_be_read(policy: dict[str, Any]) -> None:
    with (
        unchecked("autoscaling", DescribePolicies={"ScalingPolicies": [policy]}) as client,
        pytest.raises(TransientError, match="AWS's answer cannot be read"),
    ):
        TargetTrackingPolicies(lambda: client, no_client, POOL).read(workload(), plenty)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ScalingActivityInProgress", TransientError),
        ("LimitExceeded", CapacityError),
        ("AccessDenied", ConfigError),
    ],
)
def test_a_refused_put_raises_and_names_the_fleet(code: str, kind: type[Exception]) -> None:
    policy = Policy(fleet=workload().fleet, target=8, definition=group_policy())
    request = {
        key: value
        for key, value in group_policy().items()
        if key not in ("PolicyARN", "Alarms", "StepAdjustments")
    }
    with (
        stubbed("autoscaling", ("put_scaling_policy", request, refusal(code, "no"))) as client,
        pytest.raises(kind, match=f"PutScalingPolicy of Auto Scaling group transcription: .*{code}: no"),
    ):
        TargetTrackingPolicies(lambda: client, no_client, POOL).put_target(policy, 8.0)


@pytest.mark.parametrize(
    ("of", "service", "described"),
    [
        (workload(), "autoscaling", group_policy()),
        (ecs_workload(), "application-autoscaling", service_policy()),
    ],
)
def test_a_policy_is_not_put_without_its_identifiers(
    of: Workload, service: Literal["autoscaling", "application-autoscaling"], described: dict[str, Any]
) -> None:
    """Our clients do not check requests, and a put under another name would make a second policy."""
    del described["PolicyName"]
    with (
        unchecked(service, PutScalingPolicy={}) as client,
        pytest.raises(TransientError, match=f"{of.fleet}.*was described without PolicyName"),
    ):
        TargetTrackingPolicies(lambda: client, lambda: client, POOL).put_target(
            Policy(fleet=of.fleet, target=8, definition=described), 9.0
        )


def test_a_workload_without_a_policy_has_none_in_aws_either() -> None:
    with (
        stubbed("autoscaling", describe_group(group_policy())) as client,
        pytest.raises(ConfigError, match="has no scaling policy"),
    ):
        TargetTrackingPolicies(lambda: client, no_client, POOL).read(
            replace(workload(), policy_arn=None), plenty
        )


@pytest.mark.parametrize("served", [workload(), ecs_workload()], ids=["group", "service"])
def test_a_policy_that_hangs_is_given_up_in_time(served: Workload) -> None:
    over = threading.Event()
    client = SimpleNamespace(
        get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: iter([over.wait()]))
    )
    policies = TargetTrackingPolicies(lambda: client, lambda: client, ThreadPoolExecutor(1))
    with pytest.raises(TransientError, match=r"Policies of .* not read before the deadline"):
        policies.read(served, lambda: 0.01)
    over.set()


def named(
    policy: Mapping[str, Any],
    arn: str,
    *,
    target: float = 8,
    configuration: str = "TargetTrackingConfiguration",
) -> dict[str, Any]:
    """The policy under this ARN, at this target."""
    return {**policy, "PolicyARN": arn, configuration: {**policy[configuration], "TargetValue": target}}


def arn_of(policy_name: str, fleet: str = "transcription") -> str:
    return POLICY_ARN.replace("autoScalingGroupName/transcription", f"autoScalingGroupName/{fleet}").replace(
        "policyName/sluice", f"policyName/{policy_name}"
    )


class TestTargets:
    """Reads of many workloads at once, as by the tick."""

    def test_they_are_asked_for_by_the_policies_names_once_each(self) -> None:
        """Two fleets may have policies of the same name: only their ARNs differ."""
        workloads = {
            name: replace(workload(name), policy_arn=arn_of("tracking", name)) for name in ("first", "second")
        }
        answer = [named(group_policy(), arn_of("tracking", name), target=9) for name in ("other", "second")]
        answer.append(named(group_policy(), arn_of("tracking", "first"), target=7))
        call = ("describe_policies", {"PolicyNames": ["tracking"]}, {"ScalingPolicies": answer})
        with stubbed("autoscaling", call) as client:
            policies = TargetTrackingPolicies(lambda: client, no_client, POOL)
            assert policies.targets(workloads, plenty) == {"first": 7, "second": 9}

    def test_a_services_target_is_read_only_with_application_auto_scaling(self) -> None:
        request = {"ServiceNamespace": "ecs", "PolicyNames": ["sluice"]}
        call = ("describe_scaling_policies", request, {"ScalingPolicies": [service_policy()]})
        with stubbed("application-autoscaling", call) as client:
            policies = TargetTrackingPolicies(no_client, lambda: client, POOL)
            assert policies.targets({"queue-proc": ecs_workload()}, plenty) == {"queue-proc": 10}

    def test_groups_and_services_are_read_together(self) -> None:
        groups = ("describe_policies", {"PolicyNames": ["sluice"]}, {"ScalingPolicies": [group_policy()]})
        request = {"ServiceNamespace": "ecs", "PolicyNames": ["sluice"]}
        services = ("describe_scaling_policies", request, {"ScalingPolicies": [service_policy()]})
        with stubbed("autoscaling", groups) as one, stubbed("application-autoscaling", services) as other:
            policies = TargetTrackingPolicies(lambda: one, lambda: other, POOL)
            found = policies.targets({"a": workload(), "b": ecs_workload()}, plenty)
        assert found == {"a": 8, "b": 10}

    def test_no_targets_are_read_without_workloads(self) -> None:
        assert TargetTrackingPolicies(no_client, no_client, POOL).targets({}, plenty) == {}

    def test_fifty_one_are_two_calls(self) -> None:
        workloads = {
            name: replace(workload(name), policy_arn=arn_of(name, name))
            for name in (f"w{index:02}" for index in range(51))
        }

        def call(*names: str) -> Call:
            found = [named(group_policy(), arn_of(name, name), target=int(name[1:]) + 1) for name in names]
            return ("describe_policies", {"PolicyNames": list(names)}, {"ScalingPolicies": found})

        *first, last = workloads
        with stubbed("autoscaling", call(*first), call(last)) as client:
            policies = TargetTrackingPolicies(lambda: client, no_client, ThreadPoolExecutor(1))
            found = policies.targets(workloads, plenty)
        assert found == {name: int(name[1:]) + 1 for name in workloads}

    def test_every_page_of_an_answer_is_read(self) -> None:
        """Application Auto Scaling gives ten policies a page."""
        request = {"ServiceNamespace": "ecs", "PolicyNames": ["sluice"]}
        other = named(service_policy(), ECS_POLICY_ARN + "-other", configuration=ECS_CONFIGURATION)
        calls = [
            ("describe_scaling_policies", request, {"ScalingPolicies": [other], "NextToken": "more"}),
            (
                "describe_scaling_policies",
                {**request, "NextToken": "more"},
                {"ScalingPolicies": [service_policy()]},
            ),
        ]
        with stubbed("application-autoscaling", *calls) as client:
            policies = TargetTrackingPolicies(no_client, lambda: client, POOL)
            assert policies.targets({"queue-proc": ecs_workload()}, plenty) == {"queue-proc": 10}

    @pytest.mark.parametrize(
        "bad",
        [
            arn_of("deleted", "bad"),
            "arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:no-name",
            "arn:aws:autoscaling:eu-west-1:123456789012:policyName/",
            arn_of("n" * 256, "bad"),
        ],
        ids=["deleted", "no name", "empty name", "long name"],
    )
    def test_a_missing_or_misnamed_document_is_logged_and_the_others_are_read(self, bad: str) -> None:
        """AWS refuses the whole call if it contains one invalid name."""
        workloads = {"bad": replace(workload("bad"), policy_arn=bad), "transcription": workload()}
        sent: list[dict[str, Any]] = []

        def answer(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
            sent.append(parameters)
            return {"ScalingPolicies": [group_policy()]}

        with unchecked("autoscaling") as client:
            client._make_api_call = answer
            found = TargetTrackingPolicies(lambda: client, no_client, POOL).targets(workloads, plenty)
        assert found["transcription"] == 8
        assert found["bad"] == Unknown(
            reason=f"workload bad: Auto Scaling group bad has no scaling policy {bad}: it was deleted by "
            "hand; update the workload's stack with any change to create it again"
        )
        [parameters] = sent
        assert set(parameters["PolicyNames"]) <= {"deleted", "sluice"}

    def test_without_native_metrics_nothing_is_read(self) -> None:
        """Without names AWS would describe every policy of the account."""
        nameless = replace(workload(), policy_arn="arn:aws:autoscaling:eu-west-1:123456789012:x")
        sent: list[str] = []
        with unchecked("autoscaling") as client:
            client._make_api_call = lambda operation, parameters: sent.append(operation)
            policies = TargetTrackingPolicies(lambda: client, no_client, POOL)
            [found] = policies.targets({"nameless": nameless}, plenty).values()
        assert isinstance(found, Unknown)
        assert sent == []

    def test_another_kind_of_policy_has_no_target(self) -> None:
        step = {"AutoScalingGroupName": "transcription", "PolicyARN": POLICY_ARN, **OTHER_KINDS[0]}
        with unchecked("autoscaling", DescribePolicies={"ScalingPolicies": [step]}) as client:
            policies = TargetTrackingPolicies(lambda: client, no_client, POOL)
            [found] = policies.targets({"transcription": workload()}, plenty).values()
        assert isinstance(found, Unknown)
        assert "is of type StepScaling" in found.reason

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"ScalingPolicies": None},
            {"ScalingPolicies": [{"PolicyName": "no ARN"}]},
            {"ScalingPolicies": [TRACKING | {"TargetTrackingConfiguration": {"TargetValue": math.nan}}]},
            {"ScalingPolicies": [TRACKING | {"TargetTrackingConfiguration": {"TargetValue": math.inf}}]},
            {"ScalingPolicies": [TRACKING | {"TargetTrackingConfiguration": {"TargetValue": -8}}]},
            {"ScalingPolicies": [TRACKING | {"TargetTrackingConfiguration": {"TargetValue": "8"}}]},
        ],
    )
    def test_a_malformed_answer_is_unknown_and_never_a_number(self, answer: Mapping[str, Any]) -> None:
        with unchecked("autoscaling", DescribePolicies=answer) as client:
            policies = TargetTrackingPolicies(lambda: client, no_client, POOL)
            [found] = policies.targets({"transcription": workload()}, plenty).values()
        assert isinstance(found, Unknown)
        assert "AWS's answer cannot be read" in found.reason
        assert found.defect is None

    def test_one_unreadable_policy_does_not_affect_the_others(self) -> None:
        workloads = {name: replace(workload(name), policy_arn=arn_of(name, name)) for name in ("bad", "good")}
        answer = [
            named(group_policy(), arn_of("bad", "bad"), target=-1),
            named(group_policy(), arn_of("good", "good"), target=3),
        ]
        with unchecked("autoscaling", DescribePolicies={"ScalingPolicies": answer}) as client:
            found = TargetTrackingPolicies(lambda: client, no_client, POOL).targets(workloads, plenty)
        assert isinstance(found["bad"], Unknown)
        assert found["good"] == 3

    def test_a_refused_call_is_unknown_for_its_own_workloads_alone(self) -> None:
        groups = ("describe_policies", {"PolicyNames": ["sluice"]}, refusal("Throttling", "slow down"))
        request = {"ServiceNamespace": "ecs", "PolicyNames": ["sluice"]}
        services = ("describe_scaling_policies", request, {"ScalingPolicies": [service_policy()]})
        with stubbed("autoscaling", groups) as one, stubbed("application-autoscaling", services) as other:
            policies = TargetTrackingPolicies(lambda: one, lambda: other, POOL)
            found = policies.targets({"a": workload(), "b": ecs_workload()}, plenty)
        assert found == {
            "a": Unknown(reason="DescribePolicies of 1 workloads: AWS answered Throttling: slow down"),
            "b": 10,
        }

    def test_hanging_groups_do_not_affect_the_services_targets(self) -> None:
        over = threading.Event()
        hanging = SimpleNamespace(
            get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: iter([over.wait()]))
        )
        request = {"ServiceNamespace": "ecs", "PolicyNames": ["sluice"]}
        call = ("describe_scaling_policies", request, {"ScalingPolicies": [service_policy()]})
        with stubbed("application-autoscaling", call) as client, ThreadPoolExecutor(2) as pool:
            policies = TargetTrackingPolicies(lambda: hanging, lambda: client, pool)
            found = policies.targets({"a": workload(), "b": ecs_workload()}, lambda: 2)
            over.set()
        assert found == {
            "a": Unknown(reason="DescribePolicies of 1 workloads: not read before the deadline"),
            "b": 10,
        }
