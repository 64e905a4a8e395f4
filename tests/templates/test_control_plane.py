"""The control plane after the SAM transform: functions, triggers, queue, logs, exports, its own alarms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluice.aws.slice_queue import BYTES_PER_SEND
from sluice.usecases import deadline_ticks, shards
from sluice.usecases.queue_ticks import AHEAD
from sluice.usecases.serve_workloads import STALE_AFTER
from sluice_sim.template import ResolvedStack
from tests.templates import stacks
from tests.templates.stacks import TOPIC, arn, dimensions, of_type

FUNCTIONS = {
    "PublishBacklogFunction": "publish_backlog",
    "DeadlineTickFunction": "deadline_tick",
    "RetuneTargetFunction": "retune_target",
    "BootstrapFunction": "bootstrap",
    "ShutdownFunction": "shutdown",
    "SurgeFunction": "surge",
    "SwitchFunction": "switch",
    "SendTestMessagesFunction": "send_test_messages",
}
TIMEOUTS_S = {
    "PublishBacklogFunction": 50,
    "DeadlineTickFunction": 30,
    "RetuneTargetFunction": 300,
    "BootstrapFunction": 60,
    "ShutdownFunction": 60,
    "SurgeFunction": 60,
    "SwitchFunction": 60,
    "SendTestMessagesFunction": 50,
}
# (attempts after the first, seconds an event may be old) of asynchronous invocations; only a queue invokes
# deadline_tick, and the state machine waits for switch
RETRIES = {
    "PublishBacklogFunction": (0, 60),
    "RetuneTargetFunction": (0, 3600),
    "BootstrapFunction": (2, 900),
    "ShutdownFunction": (2, 900),
    "SurgeFunction": (2, 900),
    "SendTestMessagesFunction": (0, 60),
}
OTHER_BUS = "arn:aws:events:us-east-1:210987654321:event-bus/chat/decisions.v1"
"""A bus of another account and region."""
SCHEDULED_TIME = {"scheduled_time": "<aws.scheduler.scheduled-time>"}


def functions(stack: ResolvedStack) -> dict[str, dict[str, Any]]:
    return of_type(stack, "AWS::Lambda::Function")


def url(queue: str) -> str:
    return f"https://sqs.{stacks.REGION}.amazonaws.com/{stacks.ACCOUNT}/{queue}"


def event_source(stack: ResolvedStack, function: str) -> dict[str, Any]:
    sources = of_type(stack, "AWS::Lambda::EventSourceMapping").values()
    [found] = [properties for properties in sources if properties["FunctionName"] == function]
    return found


def schedule(stack: ResolvedStack, function: str) -> dict[str, Any]:
    target = arn("lambda", f"function:{function}")
    schedules = of_type(stack, "AWS::Scheduler::Schedule").values()
    [found] = [properties for properties in schedules if properties["Target"]["Arn"] == target]
    return found


def test_each_trigger_has_its_function_and_folder(plane: ResolvedStack) -> None:
    assert set(functions(plane)) == set(FUNCTIONS)
    raw = stacks.template("template.yaml")["Resources"]
    assert {name: raw[name]["Properties"]["CodeUri"] for name in FUNCTIONS} == {
        name: f"functions/{folder}/" for name, folder in FUNCTIONS.items()
    }
    assert raw["SluiceLayer"]["Properties"]["ContentUri"] == "layers/sluice"


@pytest.mark.parametrize(("function", "folder"), FUNCTIONS.items())
def test_a_function_gets_the_variables_it_needs_and_no_others(
    plane: ResolvedStack, function: str, folder: str
) -> None:
    properties = functions(plane)[function]
    own = {
        "publish_backlog": {
            "SLUICE_SHARD_QUEUE_URL": url("ShardQueue"),
            "SLUICE_TICK_QUEUE_URL": url("TickQueue"),
            "SLUICE_STATE_TABLE": "EngineStateTable",
        },
        "deadline_tick": {
            "SLUICE_TICK_QUEUE_URL": url("TickQueue"),
            "SLUICE_STATE_TABLE": "EngineStateTable",
        },
        "retune_target": {"SLUICE_STATE_TABLE": "EngineStateTable"},
        "bootstrap": {"SLUICE_STATE_TABLE": "EngineStateTable"},
        "shutdown": {"SLUICE_STATE_TABLE": "EngineStateTable"},
        "surge": {"SLUICE_STATE_TABLE": "EngineStateTable"},
        "switch": {"SLUICE_STATE_TABLE": "EngineStateTable"},
    }
    assert (properties["Handler"], properties["Runtime"]) == ("app.handler", "python3.13")
    assert properties["Environment"]["Variables"] == {
        "SLUICE_REGISTRY_PREFIX": "/sluice/workloads",
        "SLUICE_METRIC_NAMESPACE": "Sluice",
        "POWERTOOLS_METRICS_NAMESPACE": "Sluice/ControlPlane",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_SERVICE_NAME": folder,
        **own.get(folder, {}),
    }
    [layer] = properties["Layers"]
    assert layer.startswith("SluiceLayer")


@pytest.mark.parametrize("bus", ["", stacks.EVENT_BUS, OTHER_BUS])
def test_the_functions_that_decide_know_the_bus_for_their_events_if_there_is_one(bus: str) -> None:
    knowing = {
        name: properties["Environment"]["Variables"]["SLUICE_EVENT_BUS_ARN"]
        for name, properties in functions(stacks.plane(EventBusArn=bus)).items()
        if "SLUICE_EVENT_BUS_ARN" in properties["Environment"]["Variables"]
    }
    assert knowing == (dict.fromkeys(FUNCTIONS.keys() - {"SendTestMessagesFunction"}, bus) if bus else {})


@pytest.mark.parametrize("bus", ["decisions", "arn:aws:sns:eu-west-1:123456789012:decisions", "default"])
def test_a_bus_that_is_no_arn_of_a_bus_is_refused(bus: str) -> None:
    with pytest.raises(ValueError, match="must be empty or the ARN of an EventBridge event bus"):
        stacks.plane(EventBusArn=bus)


@pytest.mark.parametrize(("function", "timeout_s"), TIMEOUTS_S.items())
def test_a_function_ends_in_time(plane: ResolvedStack, function: str, timeout_s: int) -> None:
    assert functions(plane)[function]["Timeout"] == timeout_s


@pytest.mark.parametrize(("function", "retries"), RETRIES.items())
def test_a_failed_event_is_retried_only_if_nothing_else_repairs_it(
    plane: ResolvedStack, function: str, retries: tuple[int, int]
) -> None:
    configs = of_type(plane, "AWS::Lambda::EventInvokeConfig").values()
    [config] = [properties for properties in configs if properties["FunctionName"] == function]
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == retries
    assert config["DestinationConfig"] == {"OnFailure": {"Destination": arn("sqs", "FailureQueue")}}


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_the_architecture_reaches_functions_layer_and_build(architecture: str) -> None:
    stack = stacks.plane(Architecture=architecture)
    [layer] = of_type(stack, "AWS::Lambda::LayerVersion").values()
    assert layer["CompatibleArchitectures"] == [architecture]
    assert [f["Architectures"] for f in functions(stack).values()] == [[architecture]] * len(FUNCTIONS)
    # `sam build` reads the raw template and resolves the Ref with its own --parameter-overrides.
    raw = stacks.template("template.yaml")
    built = raw["Resources"]["SluiceLayer"]["Metadata"]
    assert built == {"BuildMethod": "python3.13", "BuildArchitecture": {"Ref": "Architecture"}}


def test_graviton_is_the_default(plane: ResolvedStack) -> None:
    assert plane.parameters["Architecture"] == "arm64"


def test_concurrency_is_reserved_only_when_asked_for() -> None:
    reserved = stacks.plane(ReservedConcurrency="3")
    assert all("ReservedConcurrentExecutions" not in f for f in functions(stacks.plane()).values())
    assert {int(f["ReservedConcurrentExecutions"]) for f in functions(reserved).values()} == {3}


@pytest.mark.parametrize(
    ("function", "expression", "retry"),
    [
        ("PublishBacklogFunction", "cron(* * * * ? *)", (0, 60)),
        ("RetuneTargetFunction", "cron(0 * * * ? *)", (2, 900)),
        ("SendTestMessagesFunction", "cron(* * * * ? *)", (0, 60)),
    ],
)
def test_a_schedule_without_delay_passes_its_scheduled_time(
    plane: ResolvedStack, function: str, expression: str, retry: tuple[int, int]
) -> None:
    properties = schedule(plane, function)
    assert properties["ScheduleExpression"] == expression
    assert properties["FlexibleTimeWindow"] == {"Mode": "OFF"}
    policy = properties["Target"]["RetryPolicy"]
    assert (policy["MaximumRetryAttempts"], policy["MaximumEventAgeInSeconds"]) == retry
    assert json.loads(properties["Target"]["Input"]).items() >= SCHEDULED_TIME.items()


def test_only_the_test_message_schedule_is_off_by_default(plane: ResolvedStack) -> None:
    scheduled = ("PublishBacklogFunction", "RetuneTargetFunction", "SendTestMessagesFunction")
    states = {name: schedule(plane, name).get("State", "ENABLED") for name in scheduled}
    assert states == {
        "PublishBacklogFunction": "ENABLED",
        "RetuneTargetFunction": "ENABLED",
        "SendTestMessagesFunction": "DISABLED",
    }


def test_the_test_messages_are_what_the_parameters_say() -> None:
    stack = stacks.plane(TestWorkload="resize", TestMessages="7", TestDurationSeconds="0.5")
    sent = json.loads(schedule(stack, "SendTestMessagesFunction")["Target"]["Input"])
    assert sent == {**SCHEDULED_TIME, "workload": "resize", "messages": 7, "duration_s": 0.5}


def rule_of(stack: ResolvedStack, source: str) -> dict[str, Any]:
    rules = of_type(stack, "AWS::Events::Rule").values()
    [found] = [rule for rule in rules if rule["EventPattern"]["source"] == [source]]
    return found


def test_a_switch_that_ends_in_the_middle_starts_one_that_restores_it(plane: ResolvedStack) -> None:
    rule = rule_of(plane, "aws.states")
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": [arn("states", "stateMachine:sluice-switch")],
            "status": ["ABORTED", "TIMED_OUT", "FAILED"],
            # The input of one that restores is such an event: its failure must not start others for ever.
            "input": [{"anything-but": {"prefix": '{"version"'}}],
        },
    }
    [target] = rule["Targets"]
    assert target["Arn"] == arn("states", "stateMachine:sluice-switch")
    assert "Input" not in target


def test_a_switch_has_a_hook_only_if_asked_for(plane: ResolvedStack) -> None:
    own = arn("lambda", "function:SwitchFunction")
    hook = arn("lambda", "function:smoke")

    def invoked(stack: ResolvedStack) -> list[str]:
        [policy] = stack.resources["SwitchStateMachineRole"].properties["Policies"]
        return list(policy["PolicyDocument"]["Statement"][0]["Resource"])

    assert invoked(plane) == [own]
    hooked = stacks.plane(SwitchHookArn=hook)
    assert invoked(hooked) == [own, hook]
    [machine] = of_type(hooked, "AWS::StepFunctions::StateMachine").values()
    assert machine["DefinitionSubstitutions"]["HookArn"] == hook


def test_a_changed_stack_starts_a_retune(plane: ResolvedStack) -> None:
    rule = rule_of(plane, "aws.cloudformation")
    assert rule["EventPattern"] == {
        "source": ["aws.cloudformation"],
        "detail-type": ["CloudFormation Stack Status Change"],
        "detail": {
            "status-details": {
                "status": [
                    "CREATE_COMPLETE",
                    "UPDATE_COMPLETE",
                    "UPDATE_ROLLBACK_COMPLETE",
                    "IMPORT_COMPLETE",
                ]
            }
        },
    }
    assert [target["Arn"] for target in rule["Targets"]] == [arn("lambda", "function:RetuneTargetFunction")]


def test_only_sluice_alarms_of_this_account_may_start_the_alarm_functions(plane: ResolvedStack) -> None:
    permissions = of_type(plane, "AWS::Lambda::Permission").values()
    by_alarm = [p for p in permissions if p["Principal"] == "lambda.alarms.cloudwatch.amazonaws.com"]
    started = ["BootstrapFunction", "ShutdownFunction", "SurgeFunction"]
    assert sorted(p["FunctionName"] for p in by_alarm) == started
    for permission in by_alarm:
        assert permission["SourceAccount"] == stacks.ACCOUNT
        assert permission["SourceArn"] == arn("cloudwatch", "alarm:sluice-*")


def test_nothing_is_public(plane: ResolvedStack) -> None:
    for permission in of_type(plane, "AWS::Lambda::Permission").values():
        assert permission["Principal"].endswith(".amazonaws.com")
        assert permission["SourceArn"]  # a service acts for somebody: never for anybody
    exposed = {"AWS::Lambda::Url", "AWS::SQS::QueuePolicy", "AWS::ApiGateway::RestApi"}
    assert not exposed & {resource.type for resource in plane.resources.values()}
    assert not [name for name, properties in functions(plane).items() if "FunctionUrlConfig" in properties]


def test_queues_are_encrypted_failures_kept_for_14_days_and_shards_and_ticks_until_they_are_stale(
    plane: ResolvedStack,
) -> None:
    assert of_type(plane, "AWS::SQS::Queue") == {
        "FailureQueue": {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 14 * 24 * 3600},
        "ShardQueue": {
            "SqsManagedSseEnabled": True,
            "MessageRetentionPeriod": STALE_AFTER.seconds,
            "VisibilityTimeout": TIMEOUTS_S["PublishBacklogFunction"],
        },
        "TickQueue": {
            "SqsManagedSseEnabled": True,
            # Retention counts from the sending, so it includes the delay.
            "MessageRetentionPeriod": (AHEAD + deadline_ticks.STALE_AFTER).seconds,
            "VisibilityTimeout": TIMEOUTS_S["DeadlineTickFunction"],
        },
    }


def test_a_ticks_shards_come_back_to_its_function_in_batches_of_one_invocations_load(
    plane: ResolvedStack,
) -> None:
    source = event_source(plane, "PublishBacklogFunction")
    assert source == {
        "FunctionName": "PublishBacklogFunction",
        "EventSourceArn": arn("sqs", "ShardQueue"),
        "BatchSize": 4,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 10},
    }
    assert source["BatchSize"] * shards.WORKLOADS_PER_SHARD <= shards.MAX_WORKLOADS_PER_INVOCATION
    assert shards.BYTES_PER_SHARD < BYTES_PER_SEND


def test_a_tick_below_a_minute_waits_for_no_batch(plane: ResolvedStack) -> None:
    """A batching window would delay each tick; of a failed one the next does the work."""
    assert event_source(plane, "DeadlineTickFunction") == {
        "FunctionName": "DeadlineTickFunction",
        "EventSourceArn": arn("sqs", "TickQueue"),
        "BatchSize": 3,
        "ScalingConfig": {"MaximumConcurrency": "10"},
    }
    more = event_source(stacks.plane(TickConcurrency="34"), "DeadlineTickFunction")
    assert more["ScalingConfig"] == {"MaximumConcurrency": "34"}


def test_the_table_of_states_is_paid_by_use_forgets_and_goes_with_its_stack(plane: ResolvedStack) -> None:
    assert of_type(plane, "AWS::DynamoDB::Table") == {
        "EngineStateTable": {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "workload", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "workload", "KeyType": "HASH"}],
            "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
        }
    }
    table = stacks.template("template.yaml")["Resources"]["EngineStateTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Delete", "Delete")


@pytest.mark.parametrize("days", ["7", "30"])
def test_every_function_has_its_own_log_group_with_a_retention(days: str) -> None:
    stack = stacks.plane(LogRetentionDays=days)
    groups = {
        properties["LogGroupName"]: int(properties["RetentionInDays"])
        for properties in of_type(stack, "AWS::Logs::LogGroup").values()
    }
    used = {name: properties["LoggingConfig"]["LogGroup"] for name, properties in functions(stack).items()}
    assert used == {name: f"/aws/lambda/sluice/{folder}" for name, folder in FUNCTIONS.items()}
    machine = "/aws/vendedlogs/states/sluice-switch"
    assert groups == dict.fromkeys([*used.values(), machine], int(days))


def test_two_planes_share_no_name() -> None:
    naming = {
        "AlarmName",
        "FunctionName",
        "GroupName",
        "LayerName",
        "LogGroupName",
        "ManagedPolicyName",
        "Name",
        "QueueName",
        "RoleName",
        "StateMachineName",
    }
    # FunctionName is no name of theirs.
    refer = {
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Permission",
    }
    first, second = (
        {
            value
            for resource in stacks.plane(stack_name=name).resources.values()
            if resource.type not in refer
            for key, value in resource.properties.items()
            if key in naming
        }
        for name in ("sluice", "sluice-staging")
    )
    # Nine log groups, four saved queries, the layer, two groups of schedules, and a state machine, whose rule
    # refers to it; AWS names everything else.
    assert len(first) == len(second) == 17
    assert not first & second


def test_what_the_workloads_import_is_exported(plane: ResolvedStack) -> None:
    assert plane.exports == {
        "sluice-MetricNamespace": "Sluice",
        "sluice-RegistryPrefix": "/sluice/workloads",
        "sluice-BootstrapFunctionArn": arn("lambda", "function:BootstrapFunction"),
        "sluice-ShutdownFunctionArn": arn("lambda", "function:ShutdownFunction"),
        "sluice-SurgeFunctionArn": arn("lambda", "function:SurgeFunction"),
    }
    assert set(plane.exports) == {name for name in stacks.EXPORTS if "e2e" not in name}


@pytest.mark.parametrize("path", ["template.yaml", "workload.yaml", *stacks.EXAMPLES.values()])
def test_every_parameter_and_output_is_described(path: str) -> None:
    template = stacks.template(path)
    described = {**template["Parameters"], **template["Outputs"]}
    assert [name for name, body in described.items() if not body.get("Description", "").endswith(".")] == []


def test_every_parameter_of_the_plane_has_a_default() -> None:
    parameters = stacks.template("template.yaml")["Parameters"]
    assert [name for name, body in parameters.items() if "Default" not in body] == []


ERRORS_NOW = (300, 1, 1, "GreaterThanThreshold", 0, "notBreaching")
SERVICE = {"service": "publish_backlog"}
PLANE_ALARMS: dict[str, tuple[Any, ...]] = {
    # logical id: namespace, metric, dimensions, statistic, period, N, M, comparison, threshold, missing data
    "TicksFailAlarm": (
        *("AWS/Lambda", "Errors", {"FunctionName": "PublishBacklogFunction"}, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "TicksMissingAlarm": (
        *("AWS/Lambda", "Invocations", {"FunctionName": "PublishBacklogFunction"}, "Sum"),
        *(60, 5, 5, "LessThanThreshold", 1, "breaching"),
    ),
    "StaleTicksAlarm": (
        *("Sluice/ControlPlane", "StaleTick", SERVICE, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "RetuneErrorsAlarm": (
        *("AWS/Lambda", "Errors", {"FunctionName": "RetuneTargetFunction"}, "Sum"),
        *ERRORS_NOW,
    ),
    "BootstrapErrorsAlarm": (
        *("AWS/Lambda", "Errors", {"FunctionName": "BootstrapFunction"}, "Sum"),
        *ERRORS_NOW,
    ),
    "ShutdownErrorsAlarm": (
        *("AWS/Lambda", "Errors", {"FunctionName": "ShutdownFunction"}, "Sum"),
        *ERRORS_NOW,
    ),
    "SurgeErrorsAlarm": (
        *("AWS/Lambda", "Errors", {"FunctionName": "SurgeFunction"}, "Sum"),
        *ERRORS_NOW,
    ),
    "SwitchFailedAlarm": (
        *(
            "AWS/States",
            "ExecutionsFailed",
            {"StateMachineArn": arn("states", "stateMachine:sluice-switch")},
            "Sum",
        ),
        *ERRORS_NOW,
    ),
    "SwitchTimedOutAlarm": (
        *(
            "AWS/States",
            "ExecutionsTimedOut",
            {"StateMachineArn": arn("states", "stateMachine:sluice-switch")},
            "Sum",
        ),
        *ERRORS_NOW,
    ),
    "FailureQueueAlarm": (
        *("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "FailureQueue"}, "Maximum"),
        *ERRORS_NOW,
    ),
    "RepairsFailAlarm": (
        *("Sluice/ControlPlane", "ActionFailed", SERVICE, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "DeploymentStuckAlarm": (
        *("Sluice/ControlPlane", "DeploymentStuck", SERVICE, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "ShardsFailAlarm": (
        *("Sluice/ControlPlane", "ShardFailed", SERVICE, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "DeadlineTickErrorsAlarm": (
        *("AWS/Lambda", "Errors", {"FunctionName": "DeadlineTickFunction"}, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "DeadlineTicksFailAlarm": (
        *("Sluice/ControlPlane", "TickFailed", {"service": "deadline_tick"}, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "DeadlineResizesFailAlarm": (
        *("Sluice/ControlPlane", "ActionFailed", {"service": "deadline_tick"}, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "RegistryStaleAlarm": (
        *("Sluice/ControlPlane", "RegistryStale", SERVICE, "Sum"),
        *(60, 5, 3, "GreaterThanThreshold", 0, "notBreaching"),
    ),
    "DocumentInvalidAlarm": ("Sluice/ControlPlane", "DocumentInvalid", SERVICE, "Sum", *ERRORS_NOW),
}


def test_the_planes_own_alarms_have_the_listed_metrics_and_thresholds(plane: ResolvedStack) -> None:
    assert {
        name: (
            properties["Namespace"],
            properties["MetricName"],
            dimensions(properties["Dimensions"]),
            properties["Statistic"],
            properties["Period"],
            properties["EvaluationPeriods"],
            properties["DatapointsToAlarm"],
            properties["ComparisonOperator"],
            properties["Threshold"],
            properties["TreatMissingData"],
        )
        for name, properties in of_type(plane, "AWS::CloudWatch::Alarm").items()
    } == PLANE_ALARMS


def test_the_planes_own_alarms_notify_the_topic_of_problems_and_their_end(plane: ResolvedStack) -> None:
    for properties in of_type(plane, "AWS::CloudWatch::Alarm").values():
        assert properties["AlarmActions"] == properties["OKActions"] == [TOPIC]


def test_the_planes_own_alarms_exist_without_a_topic() -> None:
    alarms = of_type(stacks.plane(), "AWS::CloudWatch::Alarm")
    assert set(alarms) == set(PLANE_ALARMS)
    assert not [name for name, p in alarms.items() if {"AlarmActions", "OKActions"} & set(p)]
