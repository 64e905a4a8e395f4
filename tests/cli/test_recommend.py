"""`sluice recommend` on the past of an embedded account, and on traces, as a user calls it."""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta

import boto3
import jsonschema
import pytest
from botocore.client import BaseClient
from moto.cloudwatch.models import cloudwatch_backends

from sluice_cli import recommend as command
from sluice_cli import workloads
from sluice_cli.recommend_past import past_of_queue
from sluice_operator.account import open_account
from sluice_operator.price_files import shipped
from sluice_operator.session import AwsSession
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded import account_with_a_past as past_accounts
from sluice_sim.embedded import recorded_days
from sluice_sim.embedded.account_with_a_past import account_with_a_past
from sluice_sim.study import advice, candidates, recommendation
from sluice_sim.study.sweep import parallel_runs
from sluice_sim.template import deployment
from tests.cli.test_status import DOCS, not_authorized

pytestmark = pytest.mark.slow

SCHEMA = json.loads((DOCS / "schemas/recommend.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/recommend.json").read_text(encoding="utf-8"))
NAME = "queue-proc"


@pytest.fixture(autouse=True)
def _few_settings(monkeypatch):
    """Two values of each setting: the search itself is tested in tests/sim/study."""
    monkeypatch.setattr(candidates, "TARGET_FACTORS", (0.7, 1.5))
    monkeypatch.setattr(candidates, "IDLE_MINUTES", (2,))
    monkeypatch.setattr(candidates, "PEAK_FACTORS", (0.8,))
    monkeypatch.setattr(candidates, "DEADLINE_TICKS_S", (30,))
    monkeypatch.setattr(candidates, "TICKS_S", (30,))
    monkeypatch.setattr(candidates, "WARM_POOLS", (1,))
    monkeypatch.setattr(recommendation, "FINALISTS", 1)


@pytest.fixture(autouse=True)
def _no_prices_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def advised():
    """Advice by the settings and the past that it is for; one pool of processes gives all of it."""
    found = {}
    with parallel_runs() as runs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(advice, "parallel_runs", lambda: nullcontext(runs))

        def once(past, *arguments):
            happened = None if past.happened is None else past.happened.share
            minutes = () if past.happened is None else past.happened.minutes.desired.tobytes()
            parameters, (*_, time_zone) = past.experiment.parameters.items(), arguments
            key = (*parameters, past.trace.arrivals.tobytes(), happened, minutes, time_zone)
            if key not in found:
                found[key] = advice.advise(past, *arguments)
            return found[key]

        yield once


@pytest.fixture(autouse=True)
def _advised_once(advised, monkeypatch):
    monkeypatch.setattr(command, "advise", advised)


@pytest.fixture(scope="module")
def recorded():
    return recorded_days.read()


@pytest.fixture(scope="module")
def account(recorded):
    with account_with_a_past(workloads.CHECKOUT, minutes=recorded) as made:
        yield made


@pytest.fixture
def recommend(sluice, account, monkeypatch):
    @contextmanager
    def as_it_stands(_):
        yield account

    monkeypatch.setattr(past_accounts, "account_with_a_past", as_it_stands)
    return lambda *arguments: sluice("recommend", NAME, "--embedded", "--days", 3, *arguments)


@pytest.fixture
def on_another(recommend, account, recorded):
    """`on_another(minutes, parameters, ...)`: the account with this past, registered with these settings."""
    backend = cloudwatch_backends[ACCOUNT_ID][REGION]
    deployed = deployment.environments(workloads.CHECKOUT)[NAME] | recorded_days.PARAMETERS

    def put(minutes, parameters):
        backend.metric_data.clear()
        past_accounts.put(minutes, account.clock.now, deployed)
        account.stacks.deploy("workload.yaml", f"sluice-{NAME}", {**deployed, **parameters})

    def call(minutes, parameters, *arguments):
        put(minutes, parameters)
        return recommend(*arguments)

    yield call
    put(recorded, {})


class TestThePast:
    def test_the_simulation_reproduces_what_the_embedded_aws_did(self, recommend):
        answer = recommend("--json")
        found = json.loads(answer.stdout)
        jsonschema.validate(found, SCHEMA)
        assert found["refused"] is None, answer.stderr
        reproduction = found["reproduction"]
        assert abs(reproduction["hours_error"]) < 0.10
        assert abs(reproduction["share_error_points"]) < 5
        assert reproduction["known_minutes"] == 2 * 24 * 60
        assert (found["days"], found["promise_s"]) == (2, 300)
        assert found["recommendation"]["judged_days"] == 1
        assert found["recommendation"]["saving"] > 0.10
        assert answer.exit_code == 1

    def test_a_history_of_other_settings_is_refused_with_its_error(self, on_another, recorded):
        answer = on_another(recorded, {"MinCapacity": "8"})
        assert answer.exit_code == 2
        shown = " ".join(answer.stdout.split())
        assert "instance-hours where" in shown
        assert "happened (+" in shown
        assert "nothing is recommended, because the simulation of the present settings is not what" in (
            answer.stderr
        )
        assert "more than 10%" in answer.stderr
        assert "--fail" not in answer.stdout

    def test_a_refusal_in_json_has_the_error_too(self, on_another, recorded):
        answer = on_another(recorded, {"MinCapacity": "8"}, "--json")
        assert answer.exit_code == 2
        found = json.loads(answer.stdout)
        jsonschema.validate(found, SCHEMA)
        assert found["recommendation"] is None
        assert found["reproduction"]["hours_error"] > 0.10
        assert "more than 10%" in found["refused"]

    def test_a_history_of_less_than_two_days_is_refused(self, on_another, recorded):
        answer = on_another(recorded[-36 * 60 :], {})
        assert answer.exit_code == 2
        assert (
            "CloudWatch has 1.5 days of its queue, and a recommendation takes two at least" in answer.stderr
        )

    def test_a_long_gap_is_told_and_not_read_as_zero(self, on_another, recorded):
        minutes = list(recorded)
        for place in range(400, 460):
            minutes[place] = recorded_days.RecordedMinute(
                sent=None,
                visible=None,
                desired=minutes[place].desired,
                running=minutes[place].running,
                durations=minutes[place].durations,
                waits=minutes[place].waits,
            )
        answer = on_another(minutes, {})
        assert answer.exit_code == 2
        assert "the longest time without a gap (from 01-13 " in answer.stderr

    @pytest.mark.parametrize(
        ("missing", "said"),
        [
            ("sent", "CloudWatch has no message sent to queue queue-proc"),
            ("running", "turn Container Insights on for the cluster"),
            ("durations", "CloudWatch has no MsgProcessingDuration with"),
            ("waits", "start the workers with --publish-wait"),
        ],
    )
    def test_a_metric_that_nobody_publishes_is_a_sentence(self, on_another, recorded, missing, said):
        nothing = type(recorded[0].waits)() if missing in ("durations", "waits") else None
        answer = on_another([replace(minute, **{missing: nothing}) for minute in recorded], {})
        assert answer.exit_code == 2
        assert said in answer.stderr
        assert "Traceback" not in answer.stderr

    def test_a_paused_workload_has_no_past(self, on_another, recorded):
        answer = on_another(recorded, {"Mode": "observe", "CreateScalableTarget": "true"})
        assert answer.exit_code == 2
        assert "is in mode observe: Sluice does not scale it" in answer.stderr

    def test_a_name_that_is_not_registered(self, sluice, recommend):
        del recommend
        answer = sluice("recommend", "queue-prox", "--embedded")
        assert answer.exit_code == 2
        assert "queue-prox: no such workload is registered: did you mean queue-proc?" in answer.stderr


def _of_stack(workload):
    """What CloudFormation has of the workload's stack."""
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=f"sluice-{workload}")["Stacks"]
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}


class TestTheWorkloadsStack:
    """The document does not hold everything that the simulation depends on."""

    def read(self, account, folder):
        del account
        return past_of_queue(open_account(AwsSession(), "sluice"), NAME, 3, folder, lambda _: None)

    @pytest.fixture
    def redeployed(self, account):
        """`redeployed(ScaleInCooldownSeconds=...)`: the stack with other parameters."""
        known = _of_stack(NAME)

        def call(**changes):
            account.stacks.deploy("workload.yaml", f"sluice-{NAME}", {**known, **changes})

        yield call
        call()

    def test_cooldowns_and_warm_ups_are_those_of_the_stack(self, account, redeployed, tmp_path):
        redeployed(ScaleInCooldownSeconds="77", ScaleOutCooldownSeconds="11")
        found = self.read(account, tmp_path)
        policy = found.experiment.deployed().stack.resources["EcsTargetTracking"].properties
        cooldowns = policy["TargetTrackingScalingPolicyConfiguration"]
        assert (int(cooldowns["ScaleInCooldown"]), int(cooldowns["ScaleOutCooldown"])) == (77, 11)
        assert found.experiment.parameters == {**_of_stack(NAME), "Mode": "active"}
        assert not any("defaults" in note for note in found.notes)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (not_authorized, "not authorized"),
            (lambda *_: {"Stacks": [{"StackStatus": "DELETE_COMPLETE", "Parameters": []}]}, "was deleted"),
            (
                lambda *_: {
                    "Stacks": [
                        {
                            "StackStatus": "CREATE_COMPLETE",
                            "Parameters": [{"ParameterKey": "MaxCapacity", "ParameterValue": "77"}],
                        }
                    ]
                },
                "has no parameter Name=queue-proc",
            ),
        ],
    )
    def test_a_stack_that_is_not_readable_is_told_and_leaves_the_defaults(
        self, account, monkeypatch, tmp_path, answer, reason
    ):
        call = BaseClient._make_api_call

        def made(client, operation, arguments):
            if operation == "DescribeStacks" and NAME in arguments["StackName"]:
                if isinstance(answered := answer(operation), Exception):
                    raise answered
                return answered
            return call(client, operation, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", made)
        found = self.read(account, tmp_path)
        [note] = [note for note in found.notes if "template's defaults" in note]
        assert reason in note
        assert "ScaleInCooldownSeconds" not in found.experiment.parameters
        assert found.experiment.parameters["MaxCapacity"] == "30"


class TestPermissions:
    def test_its_policy_allows_exactly_its_calls(self, recommend, allows_exactly):
        with allows_exactly(POLICY):
            answer = recommend("--json", "--fail-above-saving", 100)
        assert answer.exit_code == 0, "the promise is kept, and no saving is enough"

    @pytest.mark.parametrize("operation", ["DescribeStacks", "GetParametersByPath", "GetMetricData"])
    def test_a_refused_call_names_the_policy(self, recommend, failing, operation):
        failing(not_authorized, operation)
        answer = recommend()
        assert answer.exit_code == 2
        assert "docs/policies/recommend.json is the policy that allows all" in answer.stderr


@pytest.fixture(scope="module")
def past(account, tmp_path_factory):
    del account
    opened = open_account(AwsSession(), "sluice")
    return past_of_queue(opened, NAME, 3, tmp_path_factory.mktemp("past"), lambda _: None)


@pytest.fixture
def known_past(past, monkeypatch):
    """The past is not read again."""
    monkeypatch.setattr(command, "past_of_queue", lambda *_: past)


@pytest.mark.usefixtures("known_past")
class TestPrices:
    def test_the_table_prices_the_fleet_and_its_date_stands_beside_the_sum(self, recommend):
        shown = " ".join(recommend("--fleet", "ec2:c7g.large").stdout.split())
        assert f"$ a month, prices of {shipped().as_of} $" in shown
        assert f"an hour: c7g.large, {shipped()}." in shown
        found = json.loads(recommend("--fleet", "ec2:c7g.large", "--json").stdout)
        jsonschema.validate(found, SCHEMA)
        an_hour = shipped().ec2_hour["c7g.large"]
        assert found["price"] == {
            "of": "c7g.large",
            "usd_per_hour": an_hour,
            "list_prices": {"region": shipped().region, "as_of": shipped().as_of.isoformat()},
        }
        for judged in ("present", "recommended"):
            figures = found["recommendation"][judged]
            hours_a_month = figures["instance_hours_a_day"]["mean"] * 365 / 12
            assert figures["dollars_a_month"]["mean"] == pytest.approx(hours_a_month * an_hour)

    def test_a_price_of_ones_own_comes_before_the_table(self, recommend):
        found = json.loads(recommend("--fleet", "ec2:c7g.large", "--price", 0.5, "--json").stdout)
        jsonschema.validate(found, SCHEMA)
        assert found["price"] == {"of": "c7g.large", "usd_per_hour": 0.5, "list_prices": None}
        shown = " ".join(recommend("--price", 0.5).stdout.split())
        assert "$ a month, your own price $" in shown
        assert "An instance at $0.5 an hour: your own price." in shown
        assert "list prices" not in shown

    def test_without_either_no_sum_is_guessed(self, recommend):
        found = json.loads(recommend("--json").stdout)
        assert found["price"] is found["recommendation"]["present"]["dollars_a_month"] is None
        shown = recommend().stdout
        assert "$" not in shown
        assert "--fleet or --price adds the dollars a month" in shown


@pytest.mark.usefixtures("known_past")
class TestTheExitStatus:
    def test_it_is_1_from_the_saving_that_is_asked_for(self, recommend):
        percent = 100 * json.loads(recommend("--json").stdout)["recommendation"]["saving"]
        assert recommend("--fail-above-saving", percent - 0.1).exit_code == 1
        assert recommend("--fail-above-saving", percent + 0.1).exit_code == 0

    def test_it_is_1_for_a_promise_that_the_present_settings_break(self, recommend, advised, monkeypatch):
        def breaking(*arguments):
            found = advised(*arguments)
            return replace(found, keep_share=found.recommendation.present.attainment + 1e-6)

        monkeypatch.setattr(command, "advise", breaking)
        answer = recommend("--fail-above-saving", 100)
        assert answer.exit_code == 1
        assert "The present settings break the promise" in answer.stdout


class TestATrace:
    TRACE = ("--trace", "diurnal:days=2:per-day=500", "--duration-s", 20)

    def test_what_happened_is_said_to_be_unknown(self, sluice):
        answer = sluice("recommend", "transcription", *self.TRACE, "--json")
        found = json.loads(answer.stdout)
        jsonschema.validate(found, SCHEMA)
        assert found["reproduction"] is None
        assert found["notes"] == [
            "What really happened is not known of a trace: the simulation is not checked against it."
        ]

    def test_the_table_fits_a_narrow_terminal_and_the_report_shows_the_worst_day(
        self, sluice, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(command, "WIDTH", 80)
        answer = sluice(
            "recommend", "transcription", *self.TRACE, "--price", 0.5, "--report", tmp_path / "report"
        )
        assert max(map(len, answer.stdout.splitlines())) <= 80
        shown = " ".join(answer.stdout.split())
        for said in (
            "settings were tried",
            "instance-hours a day",
            "$ a month, your own price",
            "started within",
        ):
            assert said in shown
        assert "\x1b" not in answer.stdout
        written = {path.name for path in (tmp_path / "report").iterdir()}
        assert {"report.html", "present.png"} <= written
        assert ("days.png" in written) == ("recommended.png" in written)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--trace", "diurnal:days=1"), "it lasts 1.0 days, and a recommendation takes two at least"),
            (("--days", "1"), "1 is not in the range 2<=x<=15"),
            (("--price", "nan", "--embedded"), "--price nan: give a number above 0"),
            (("--price", "0", "--embedded"), "--price 0: give a number above 0"),
            (("--fleet", "c7g.large", "--embedded"), "--fleet c7g.large: write it as ec2:c7g.large"),
            (("--fleet", "ec2:z9.huge", *TRACE), "have no such type: give --price, its dollars an hour"),
            (
                ("--fleet", "fargate:1vcpu,2gb", *TRACE),
                "photo-import runs on Auto Scaling group photo-import, which starts EC2 instances: give ec2:",
            ),
            (("--fail-above-saving", "-1"), "-1.0 is not in the range 0<=x<=100"),
            (("--duration-s", "3", "--embedded"), "--duration-s describes the load of --trace"),
            (("--trace", "diurnal:days=2", "--embedded"), "--trace reads no account"),
        ],
    )
    def test_bad_input_is_a_sentence(self, sluice, arguments, said):
        answer = sluice("recommend", "photo-import", *arguments)
        assert answer.exit_code == 2
        assert said in answer.stderr


def test_a_recorded_minute_is_read_as_it_was_written(tmp_path, recorded):
    recorded_days.write(recorded[:200], tmp_path / "days.csv")
    assert recorded_days.read(tmp_path / "days.csv") == recorded[:200]
    assert len(recorded) >= timedelta(days=2) / timedelta(minutes=1)
