"""`sluice cost` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest import mock

import boto3
import jsonschema
import pytest

from sluice_cli import workloads
from sluice_operator.price_files import shipped
from sluice_operator.session import AwsSession
from sluice_sim.embedded.busy_account import busy_account
from tests.cli.test_status import DOCS, NAMES, not_authorized
from tests.test_account_costs import LINE_BYTES

pytestmark = pytest.mark.slow

SCHEMA = json.loads((DOCS / "schemas/cost.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/cost.json").read_text(encoding="utf-8"))
NAME = "transcription"
METRIC_MONTH = 0.3
ALARM_METRIC = 0.1


@pytest.fixture(autouse=True)
def _no_prices_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def busy():
    """One account for all tests: playing it takes seconds."""
    with busy_account(workloads.CHECKOUT) as account:
        yield account


@pytest.fixture
def cost(on_embedded, busy):
    """`cost(...)`: one call of `sluice cost --embedded` on the account as it stands."""
    return on_embedded(busy, "cost")


@pytest.fixture
def read(cost):
    """`read(...)`: the JSON of one call."""

    def as_json(*arguments):
        answer = cost("--json", *arguments)
        assert answer.stdout, answer.stderr
        document = json.loads(answer.stdout)
        jsonschema.validate(document, SCHEMA, format_checker=jsonschema.FormatChecker())
        return document

    return as_json


@pytest.fixture
def answered(monkeypatch):
    """`answered(operation, change)`: AWS answers this operation with a change."""

    return partial(answered_by, monkeypatch)


def answered_by(monkeypatch, operation, change):
    make = AwsSession.client

    def made(session, service, **settings):
        client = make(session, service, **settings)
        event = f"after-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
        client.meta.events.register(event, lambda parsed, **_: change(parsed) and None)
        return client

    monkeypatch.setattr(AwsSession, "client", made)


def busy_now(busy):
    return datetime.fromtimestamp(busy.aws.clock.now, UTC)


def empty_groups(answer):
    for group in answer["AutoScalingGroups"]:
        group["Instances"] = []


def mixed(on_demand_percent):
    distribution = {"OnDemandPercentageAboveBaseCapacity": on_demand_percent}
    return {"MixedInstancesPolicy": {"InstancesDistribution": distribution}}


def by_attributes():
    overrides = [{"InstanceRequirements": {"VCpuCount": {"Min": 2}}}]
    return {"Instances": [], "MixedInstancesPolicy": {"LaunchTemplate": {"Overrides": overrides}}}


def items(bill):
    return {item["what"]: item for item in bill["items"]}


def plane(document):
    return items(document["control_plane"])


def only(document):
    [found] = document["workloads"]
    return found


def billed_metrics(described):
    return [
        each for each in described.get("Metrics", [described]) if "MetricStat" in each or each is described
    ]


@contextmanager
def alarm(name, **changes):
    """One more alarm in the account."""
    client = boto3.client("cloudwatch")
    client.put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": "AWS/SQS",
            "MetricName": "ApproximateNumberOfMessagesVisible",
            "Dimensions": [{"Name": "QueueName", "Value": NAME}],
            "Statistic": "Maximum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        | changes
    )
    yield
    client.delete_alarms(AlarmNames=[name])


class TestTheControlPlane:
    def test_every_item_has_a_quantity_a_price_and_where_it_comes_from(self, cost, read):
        document = read()
        found = plane(document)
        assert cost().exit_code == 0
        assert document["control_plane"]["unknown_items"] == 0
        assert document["workloads"] == []
        for item in found.values():
            assert item["usd_a_month"] == pytest.approx(item["quantity"] * item["usd_each"])
        assert document["control_plane"]["usd_a_month"] == pytest.approx(
            sum(item["usd_a_month"] for item in found.values())
        )
        bases = {what: item["basis"] for what, item in found.items()}
        assert bases["alarms"] == "deployed"
        assert bases["Lambda publish_backlog"] == bases["logs"] == bases["SQS"] == "measured"
        assert bases["PutMetricData"] == bases["schedules"] == "computed"

    def test_its_alarms_are_those_of_its_stack(self, read):
        with alarm("sluice-extra"):
            assert plane(read())["alarms"]["quantity"] == 18

    def test_an_alarm_that_was_deleted_by_hand_is_not_billed_and_said(self, read):
        client = boto3.client("cloudwatch")
        [described] = client.describe_alarms(AlarmNames=["sluice-TicksFailAlarm"])["MetricAlarms"]
        client.delete_alarms(AlarmNames=["sluice-TicksFailAlarm"])
        try:
            found = plane(read())["alarms"]
        finally:
            accepted = client.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
            client.put_metric_alarm(**{key: each for key, each in described.items() if key in accepted})
        assert found["quantity"] == 17
        assert "1 of its stack do not exist any more" in found["because"]

    def test_usage_is_scaled_from_the_window_to_a_month(self, read):
        document = read()
        factor = 730 / document["window"]["hours"]
        invoked = sum(
            sum(boto3_sum("AWS/Lambda", "Invocations", FunctionName=f"sluice-{function}Function"))
            for function in ("PublishBacklog", "DeadlineTick", "RetuneTarget", "Bootstrap", "Shutdown")
        )
        assert plane(document)["Lambda requests"]["quantity"] == pytest.approx(invoked * factor)

    def test_a_line_of_a_decision_is_about_as_long_as_the_docs_table_assumes(self, busy):
        """Four lines of five are those of publish_backlog: one a workload and minute."""
        [logged] = boto3_sum("AWS/Logs", "IncomingBytes", LogGroupName="/aws/lambda/sluice/publish_backlog")
        lines = sum(line.function == "sluice-PublishBacklogFunction" for line in busy.aws.log)
        assert logged / lines == pytest.approx(LINE_BYTES, rel=0.25)

    def test_its_schedules_are_counted_by_their_expressions_and_a_disabled_one_is_not(self, read):
        """Every minute and every hour; that of the test messages is disabled."""
        assert plane(read())["schedules"]["quantity"] == 43_800 + 730

    def test_no_argument_shows_the_total_with_dates_and_the_region_of_the_prices(self, cost):
        shown = " ".join(cost().stdout.split())
        prices = shipped()
        assert f"list prices of us-east-1, {prices.as_of}, without free tiers" in shown
        assert "the account is in eu-west-1: `sluice plan --refresh-prices --region eu-west-1`" in shown
        assert "hours, and scaled to 730" in shown


def boto3_sum(namespace, name, **dimensions):
    answer = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": text} for key, text in dimensions.items()],
        StartTime="2026-01-15T12:00:00Z",
        EndTime="2026-01-15T13:00:00Z",
        Period=3600,
        Statistics=["Sum"],
    )
    return [point["Sum"] for point in answer["Datapoints"]]


class TestAWorkload:
    def test_one_workload_is_its_stack_its_workers_metrics_and_its_fleet(self, read):
        document = read(NAME)
        found = only(document)
        assert document["control_plane"] is None
        stack, workers = items(found["stack"]), items(found["workers_metrics"])
        assert stack["alarms"]["quantity"] == 9, "4 alarms of 7 metrics, and target tracking's two"
        assert stack["custom metrics"]["quantity"] == 2
        assert workers["workers' metrics"]["quantity"] == 2
        fleet = found["fleet"]
        assert fleet["price"] == {"label": "g5.xlarge, on demand", "usd_per_hour": 1.006}
        assert fleet["usd"] == pytest.approx(fleet["instance_hours"] * 1.006)
        assert found["usd"] == pytest.approx(
            found["stack"]["usd_a_month"] + found["workers_metrics"]["usd_a_month"] + fleet["usd"]
        )

    def test_target_trackings_alarms_of_a_service_are_billed(self, read):
        """Their action is the policy's ARN with `:createdBy/` and a UUID."""
        before = items(only(read("queue-proc"))["stack"])["alarms"]["quantity"]
        client, prefix = boto3.client("cloudwatch"), "sluice-queue-proc-"
        own = client.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
        assert before == sum(len(billed_metrics(each)) for each in own) + 2

    def test_a_policy_of_which_no_alarm_is_found_makes_the_alarms_unknown(self, cost, read, answered):
        def without_tracking(answer):
            kept = [
                each for each in answer["MetricAlarms"] if not each["AlarmName"].startswith("TargetTracking-")
            ]
            answer["MetricAlarms"] = kept

        answered("DescribeAlarms", without_tracking)
        for name in ("queue-proc", NAME):
            reason = items(only(read(name))["stack"])["alarms"]["usd_a_month"]["unknown"]
            assert "no alarm TargetTracking-" in reason
            assert cost(name).exit_code == 1

    def test_an_alarm_added_to_the_account_raises_the_sum(self, read):
        before = only(read(NAME))["usd"]
        with alarm(f"sluice-{NAME}-mine"):
            assert only(read(NAME))["usd"] == pytest.approx(before + ALARM_METRIC)
        with alarm(f"sluice-{NAME}-mine", Period=10):
            assert only(read(NAME))["usd"] == pytest.approx(before + 0.3), "high resolution is dearer"
        assert only(read(NAME))["usd"] == pytest.approx(before)

    def test_an_alarm_is_that_of_the_longest_name(self, read):
        with alarm("sluice-transcription-of-calls-age"):
            ssm, path = boto3.client("ssm"), "/sluice/workloads/transcription"
            text = ssm.get_parameter(Name=path)["Parameter"]["Value"]
            other = text.replace('"name": "transcription"', '"name": "transcription-of-calls"')
            assert other != text
            ssm.put_parameter(Name=f"{path}-of-calls", Type="String", Value=other)
            try:
                assert items(only(read(NAME))["stack"])["alarms"]["quantity"] == 9
            finally:
                ssm.delete_parameter(Name=f"{path}-of-calls")

    def test_a_dashboard_is_billed(self, read):
        client = boto3.client("cloudwatch")
        name = f"sluice-{NAME}-eu-west-1"
        client.put_dashboard(DashboardName=name, DashboardBody="{}")
        try:
            assert items(only(read(NAME))["stack"])["dashboards"]["usd_a_month"] == 3.0
        finally:
            client.delete_dashboards(DashboardNames=[name])
        assert "dashboards" not in items(only(read(NAME))["stack"])

    def test_a_price_of_ones_own_comes_before_the_account(self, read):
        fleet = only(read(NAME, "--price", 0.5))["fleet"]
        assert fleet["usd"] == pytest.approx(fleet["instance_hours"] * 0.5)
        fleet = only(read(NAME, "--fleet", "ec2:c7g.large"))["fleet"]
        assert fleet["price"]["usd_per_hour"] == shipped().ec2_hour["c7g.large"]

    def test_tasks_are_priced_by_their_definition(self, read):
        price = only(read("queue-proc"))["fleet"]["price"]
        assert price["label"] == "Fargate tasks, 0.25 vCPU, 0.5 GB, arm64"
        assert price["usd_per_hour"] == pytest.approx(0.25 * 0.03238 + 0.5 * 0.00356)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"launchType": "EC2"}, "the service's tasks run on EC2 instances of its cluster"),
            ({"launchType": "EXTERNAL"}, "the service's tasks run on servers outside AWS (EXTERNAL)"),
            (
                {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]},
                "the service's tasks run on FARGATE_SPOT",
            ),
        ],
    )
    def test_what_the_table_has_no_price_for_gives_hours_and_no_dollars(
        self, cost, read, answered, changes, reason
    ):
        answered("DescribeServices", lambda answer: [each.update(changes) for each in answer["services"]])
        fleet = only(read("queue-proc"))["fleet"]
        assert fleet["instance_hours"] > 0
        assert reason in fleet["usd"]["unknown"]
        assert fleet["usd"]["unknown"].endswith(": give --fleet or --price")
        answer = cost("queue-proc")
        assert f"without dollars: {reason}" in " ".join(answer.stdout.split())
        assert answer.exit_code == 0, "all that can be read was read"

    @pytest.mark.parametrize(
        ("name", "operation", "change", "reason"),
        [
            (
                NAME,
                "DescribeAutoScalingGroups",
                lambda answer: [group.update(mixed(50)) for group in answer["AutoScalingGroups"]],
                "the group's mixed instances policy starts Spot Instances",
            ),
            (
                NAME,
                "DescribeAutoScalingGroups",
                lambda answer: [group.update(by_attributes()) for group in answer["AutoScalingGroups"]],
                "the group chooses its instance types by their attributes, and none runs",
            ),
            (
                NAME,
                "DescribeLaunchTemplateVersions",
                lambda answer: [
                    each["LaunchTemplateData"].update(InstanceMarketOptions={"MarketType": "spot"})
                    for each in answer["LaunchTemplateVersions"]
                ],
                "the group's launch template asks for Spot Instances",
            ),
            (
                "queue-proc",
                "DescribeTaskDefinition",
                lambda answer: answer["taskDefinition"].update(
                    runtimePlatform={"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}
                ),
                "the service's tasks run on WINDOWS_SERVER_2022_CORE",
            ),
        ],
        ids=["mixed with Spot", "by attributes", "Spot by template", "Windows"],
    )
    def test_no_list_price_is_taken_for_spot_and_windows(
        self, cost, read, answered, name, operation, change, reason
    ):
        answered(operation, change)
        fleet = only(read(name))["fleet"]
        assert fleet["instance_hours"] > 0
        assert reason in fleet["usd"]["unknown"]
        assert cost(name).exit_code == 0, "all that can be read was read"

    def test_a_mixed_group_of_on_demand_instances_alone_has_the_list_price(self, read, answered):
        answered(
            "DescribeAutoScalingGroups",
            lambda answer: [group.update(mixed(100)) for group in answer["AutoScalingGroups"]],
        )
        assert only(read(NAME))["fleet"]["price"]["label"] == "g5.xlarge, on demand"

    @pytest.mark.parametrize(
        ("name", "operation"),
        [
            (NAME, "DescribeAutoScalingGroups"),
            (NAME, "DescribeLaunchTemplateVersions"),
            ("queue-proc", "DescribeServices"),
            ("queue-proc", "DescribeTaskDefinition"),
        ],
    )
    def test_what_the_instances_are_is_a_failed_read_if_it_is_denied(self, cost, failing, name, operation):
        failing(not_authorized, operation)
        answer = cost(name)
        shown = " ".join(answer.stdout.split())
        assert answer.exit_code == 1
        assert "without dollars: " in shown
        assert "docs/policies/cost.json is the policy that allows all" in shown
        assert cost(name, "--price", 1).exit_code == 0, "what they are is not asked then"

    def test_a_group_at_zero_is_priced_by_its_launch_template(self, read, answered):
        answered("DescribeAutoScalingGroups", empty_groups)
        assert only(read(NAME))["fleet"]["price"]["label"] == "g5.xlarge, on demand"

    def test_a_stack_that_is_gone_is_said_and_what_is_left_is_billed(self, read, busy):
        whole = only(read(NAME))
        records = busy.aws.stacks.records._stacks
        with mock.patch.dict(records, {}):
            [gone] = [name for name in records if NAME in name]
            del records[gone]
            found = only(read(NAME))
        assert "does not exist any more, but its document is still registered" in found["notes"][0]
        assert items(found["stack"])["alarms"] == items(whole["stack"])["alarms"]

    def test_a_refused_document_is_a_line_with_its_reason(self, cost, read):
        ssm = boto3.client("ssm")
        ssm.put_parameter(Name="/sluice/workloads/broken", Value="{}", Type="String")
        try:
            found = {each["name"]: each for each in read("all")["workloads"]}["broken"]
            answer = cost("all")
        finally:
            ssm.delete_parameter(Name="/sluice/workloads/broken")
        assert found["unknown_items"] == 1
        assert "! broken: " in answer.stdout
        assert answer.exit_code == 1


class TestAYoungStack:
    @pytest.fixture
    def created(self, monkeypatch, busy):
        """`created(name, before)`: the control plane is 40 days old, the workload was created before now."""

        def create(name, before):
            def aged(answer):
                for stack in answer["Stacks"]:
                    young = name in stack["StackName"]
                    stack["CreationTime"] = busy_now(busy) - (before if young else timedelta(days=40))

            answered_by(monkeypatch, "DescribeStacks", aged)

        return create

    def test_one_younger_than_the_windows_end_is_too_young_and_not_without_insights(
        self, cost, read, created, busy
    ):
        created("queue-proc", timedelta(minutes=1))
        found = only(read("queue-proc"))
        at = busy_now(busy) - timedelta(minutes=1)
        reason = f"too young: deployed at {at:%H:%M} UTC, come back in an hour"
        assert found["fleet"]["unknown"] == reason
        assert items(found["stack"])["custom metrics"]["usd_a_month"]["unknown"] == reason
        assert items(found["workers_metrics"])["workers' metrics"]["usd_a_month"]["unknown"] == reason
        assert items(found["stack"])["alarms"]["usd_a_month"] > 0, "what is deployed is billed"
        answer = cost("queue-proc")
        assert answer.exit_code == 1
        assert "Container Insights" not in answer.stdout

    def test_one_of_less_than_an_hour_says_that_a_month_is_inferred_from_minutes(self, read, created, busy):
        now = busy_now(busy)
        created("queue-proc", now - now.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=30))
        [note] = only(read("queue-proc"))["notes"]
        assert note == "measured for 30 minutes alone, since its stack was created, and scaled"

    def test_a_control_plane_of_less_than_an_hour_says_that_it_is_short(self, cost):
        shown = " ".join(cost().stdout.split())
        assert ("So short a time says little of a month" in shown) is (", 0." in shown.split("Measured")[1])


class TestAllOfThem:
    def test_the_control_plane_and_every_workload_have_a_line(self, cost, read):
        document = read("all")
        assert [each["name"] for each in document["workloads"]] == NAMES
        lines = [line.split() for line in cost("all").stdout.splitlines() if line.strip()]
        assert [line[0] for line in lines if line[0] in ("control", *NAMES)] == ["control", *NAMES]

    def test_a_workload_costs_the_same_as_when_it_is_asked_for_alone(self, read):
        together = {each["name"]: each for each in read("all")["workloads"]}
        for name in NAMES:
            assert together[name] == only(read(name))

    @pytest.mark.parametrize("columns", [60, 80, 120])
    @pytest.mark.parametrize("arguments", [(), ("all",), (NAME,)], ids=["plane", "all", "one"])
    def test_no_line_is_wider_than_the_terminal_and_no_sum_is_cut(
        self, cost, monkeypatch, columns, arguments
    ):
        monkeypatch.setattr("sluice_cli.cost.WIDTH", columns)
        shown = cost(*arguments).stdout
        assert max(map(len, shown.splitlines())) <= columns
        assert "…" not in shown

    def test_the_calls_are_batched(self, read, monkeypatch):
        """Their number does not grow with the workloads, but for what AWS has no batch for."""
        calls = []
        make = AwsSession.client

        def made(session, service, **settings):
            client = make(session, service, **settings)
            client.meta.events.register("before-parameter-build", lambda model, **_: calls.append(model.name))
            return client

        monkeypatch.setattr(AwsSession, "client", made)
        read("all")
        assert calls.count("DescribeAlarms") == 3, "the plane's, the workloads', and target tracking's"
        assert calls.count("DescribeStacks") == 3, "to find the plane, when it was created, and the others"
        assert calls.count("GetMetricData") == 1
        assert calls.count("ListMetrics") == 2
        assert calls.count("DescribeAutoScalingGroups") == 1


class TestWhatCannotBeRead:
    def test_a_failed_read_of_metrics_is_unknown_and_never_zero(self, cost, read, failing):
        failing("InternalServiceFault", "GetMetricData")
        bill = read()["control_plane"]
        unknown = {item["what"] for item in bill["items"] if isinstance(item["usd_a_month"], dict)}
        assert unknown >= {"Lambda publish_backlog", "logs", "custom metrics", "SQS", "DynamoDB reads"}
        assert bill["unknown_items"] == len(unknown)
        answer = cost()
        assert answer.exit_code == 1
        assert "$" in answer.stdout
        assert " + ?" in answer.stdout
        assert "GetMetricData" in answer.stdout

    def test_a_denied_list_of_alarms_is_unknown_with_the_policy_that_allows_it(self, cost, failing):
        failing(not_authorized, "DescribeAlarms")
        answer = cost(NAME)
        assert answer.exit_code == 1
        shown = " ".join(answer.stdout.split())
        assert "? transcription: alarms: DescribeAlarms of sluice-transcription-...: AWS answered" in shown
        assert "docs/policies/cost.json is the policy that allows all" in shown

    def test_functions_that_should_have_run_and_have_no_values_are_unknown(self, read, busy, monkeypatch):
        del busy
        without(monkeypatch, "Invocations", "sluice-PublishBacklogFunction")
        found = plane(read())
        reason = found["Lambda publish_backlog"]["usd_a_month"]["unknown"]
        assert "no Invocations of sluice-PublishBacklogFunction, although its schedule is enabled" in reason
        assert "unknown" in found["Lambda requests"]["usd_a_month"]

    def test_queues_that_lambda_polls_and_have_no_values_are_unknown(self, read, monkeypatch):
        without(monkeypatch, "", "sluice-TickQueue")
        assert "which Lambda polls all the time" in plane(read())["SQS"]["usd_a_month"]["unknown"]

    def test_a_fleet_without_metrics_is_unknown_with_what_to_turn_on(self, cost, read, monkeypatch):
        without(monkeypatch, "GroupInServiceInstances", NAME)
        found = only(read(NAME))
        assert "turn the group's metrics on" in found["fleet"]["unknown"]
        assert found["unknown_items"] == 2, "and how often its workers have published"
        assert cost(NAME).exit_code == 1

    def test_hours_without_the_fleets_size_are_marked_in_every_sum(self, cost, read, monkeypatch):
        thinned(monkeypatch, "GroupInServiceInstances", NAME)
        found = only(read(NAME))
        missing_h = found["fleet"]["window_hours"] - found["fleet"]["known_hours"]
        assert found["missing_fleet_hours"] == pytest.approx(missing_h)
        assert found["unknown_items"] == 1
        answer = cost(NAME)
        assert answer.exit_code == 1
        assert re.search(
            r"with its fleet: \$[0-9.]+ \+ \?, without [0-9.]+ hours of its fleet", answer.stdout
        )
        answer = cost("all")
        assert answer.exit_code == 1
        [row] = [line for line in answer.stdout.splitlines() if line.strip().startswith(NAME)]
        [footer] = [line for line in answer.stdout.splitlines() if line.strip().startswith("together")]
        assert row.count("+ ?") == 2, "the fleet's own and the workload's sum"
        assert "+ ?" in footer
        assert f"? {NAME}: fleet: CloudWatch has no size of it for" in answer.stdout

    def test_a_backlog_that_is_not_published_is_unknown(self, read, monkeypatch):
        without(monkeypatch, "BacklogPerInstance", NAME)
        without(monkeypatch, "EffectiveBacklogPerInstance", NAME)
        found = items(only(read(NAME))["stack"])["custom metrics"]
        assert "CloudWatch lists no BacklogPerInstance" in found["usd_a_month"]["unknown"]


def without(monkeypatch, metric, whose):
    """CloudWatch has no values of this metric, or of any, of what bears this name in a dimension."""
    from moto.cloudwatch.models import CloudWatchBackend

    every = CloudWatchBackend.get_all_metrics

    def filtered(backend):
        return [
            datum
            for datum in every(backend)
            if not (
                (not metric or datum.name == metric)
                and any(dimension.value == whose for dimension in datum.dimensions)
            )
        ]

    monkeypatch.setattr(CloudWatchBackend, "get_all_metrics", filtered)


def thinned(monkeypatch, metric, whose):
    """CloudWatch has one in five of the values of this metric."""
    from moto.cloudwatch.models import CloudWatchBackend

    every = CloudWatchBackend.get_all_metrics

    def filtered(backend):
        return [
            datum
            for datum in every(backend)
            if datum.name != metric
            or all(dimension.value != whose for dimension in datum.dimensions)
            or datum.timestamp.minute % 5 == 0
        ]

    monkeypatch.setattr(CloudWatchBackend, "get_all_metrics", filtered)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (
                ("transcribtion",),
                "transcribtion: no such workload is registered: did you mean transcription?",
            ),
            ((NAME, "--price", "-1"), "--price -1: give a number above 0"),
            ((NAME, "--price", "nan"), "--price nan: give a number above 0"),
            ((NAME, "--price", "500ms"), "--price 500ms: give a number above 0"),
            ((NAME, "--fleet", "c7g.large"), "--fleet c7g.large: write it as ec2:c7g.large"),
            ((NAME, "--fleet", "ec2:z9.huge"), "--fleet ec2:z9.huge: the list prices of us-east-1"),
            (("all", "--price", "1"), "--price is of one workload's instances: name the workload"),
            (("--fleet", "ec2:c7g.large"), "--fleet is of one workload's instances: name the workload"),
            ((NAME, "--stack", "nowhere"), "no control plane: CloudFormation finds no stack nowhere"),
        ],
    )
    def test_it_is_one_sentence_and_exit_status_2(self, cost, arguments, problem):
        answer = cost(*arguments)
        assert answer.exit_code == 2
        assert problem in answer.stderr
        assert answer.stderr.count("\n") == 1
        assert answer.stdout == ""

    @pytest.mark.parametrize("operation", ["DescribeStacks", "GetParametersByPath"])
    def test_without_the_stack_or_the_registry_nothing_is_shown(self, cost, failing, operation):
        failing(not_authorized, operation)
        answer = cost("all")
        assert answer.exit_code == 2
        assert "docs/policies/cost.json is the policy that allows all" in answer.stderr


class TestItsPolicy:
    def test_it_allows_exactly_the_calls(self, read, answered, allows_exactly):
        with allows_exactly(POLICY):
            answered("DescribeAutoScalingGroups", empty_groups)
            read("all")
            read(NAME)
            read()
