"""examples/ecs-lifecycle-hook: what ECS is answered, over tasks of which some are protected."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.ecs.responses import EC2ContainerServiceResponse
from samtranslator.translator.transform import transform

from sluice_sim.aws_rules.iam_policies import Request
from sluice_sim.embedded.operations import Parameters, answered
from sluice_sim.template import ResolvedStack
from tests.privileges.proof import Use, refused, surplus
from tests.privileges.roles import roles
from tests.sluice.aws import account
from tests.templates import stacks
from tests.templates.stacks import ROOT, arn, of_type

FOLDER = ROOT / "examples/ecs-lifecycle-hook"
PARAMETER = "/sluice/lifecycle-hooks/queue-proc/draining-color"
SERVICE = arn("ecs", "service/workers/queue-proc")
DEPLOYMENT = arn("ecs", "service-deployment/workers/queue-proc/EZe5RNVLH6PPzHXINuP28")
OLD, NEW = (arn("ecs", f"service-revision/workers/queue-proc/{number}") for number in (19204984, 93134235))
CLUSTER = {"ecs:cluster": arn("ecs", "cluster/workers")}
NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def loaded() -> ModuleType:
    path = FOLDER / "drain_old_revision/app.py"
    spec = spec_from_file_location("drain_old_revision", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up the module of their annotations
    spec.loader.exec_module(module)
    return module


hook = loaded()


@dataclass
class Service:
    """The service in an account: its revisions, its tasks, and what a deployment asks the hook."""

    colors: dict[str, str | None] = field(default_factory=lambda: {OLD: "blue", NEW: "green"})
    sources: list[str] = field(default_factory=lambda: [OLD])
    protected: dict[str, bool] = field(default_factory=dict)
    """Task ID -> whether it is protected; a task of the old revision begins with `old`."""
    unknown: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    calls: list[tuple[str, Parameters]] = field(default_factory=list)
    now: datetime = NOON
    kept: Mapping[str, Any] | None = None

    # ---- ECS asks, and keeps what it is given -------------------------------------------------------------

    def ask(self, stage: str, weights: Mapping[str, int]) -> dict[str, Any]:
        event = {
            "executionId": "f4fcae0f-9bec-41c6-ba87-0eaa0cef8af5",
            "lifecycleStage": stage,
            "resourceArn": DEPLOYMENT,
            "executionDetails": {
                "serviceArn": SERVICE,
                "targetServiceRevisionArn": NEW,
                "testTrafficWeights": {},
                "productionTrafficWeights": dict(weights),
            },
        } | ({"hookDetails": self.kept} if self.kept is not None else {})
        answer = hook.answered(event, account.client("ecs"), account.client("ssm"), PARAMETER, self.now)
        assert json.loads(json.dumps(answer)) == answer
        if answer["hookStatus"] == "IN_PROGRESS":
            self.kept = {**(self.kept or {}), **answer["hookDetails"]}
            self.now += timedelta(seconds=answer["callBackDelay"])
        return dict(answer)

    def starts(self) -> str:
        return str(self.ask("PRE_SCALE_UP", {})["hookStatus"])

    def shifts(self, weights: Mapping[str, int] | None = None) -> str:
        weights = {NEW: 100, OLD: 0} if weights is None else weights
        return str(self.ask("PRODUCTION_TRAFFIC_SHIFT", weights)["hookStatus"])

    def rolls_back(self) -> str:
        return self.shifts({NEW: 0, OLD: 100})

    def until_succeeded(self) -> float:
        """Seconds until the shift succeeds."""
        began = self.now
        while self.shifts() == "IN_PROGRESS":
            assert self.now < began + timedelta(hours=1)
        return (self.now - began).total_seconds()

    @property
    def draining(self) -> str:
        return str(account.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"])

    # ---- what ECS answers ---------------------------------------------------------------------------------

    def operations(self) -> dict[str, Any]:
        named = (
            *("describe_service_deployments", "describe_service_revisions", "describe_task_definition"),
            *("list_tasks", "describe_tasks", "get_task_protection"),
        )
        return {name: self._answering(name) for name in named}

    def _answering(self, name: str) -> Any:
        def answer(asked: Parameters) -> object:
            self.calls.append((name, asked))
            return getattr(self, f"_{name}")(asked)

        return answer

    def _describe_service_deployments(self, asked: Parameters) -> object:
        assert asked["serviceDeploymentArns"] == [DEPLOYMENT]
        sources = [{"arn": source} for source in self.sources]
        return {
            "serviceDeployments": [{"serviceDeploymentArn": DEPLOYMENT, "sourceServiceRevisions": sources}]
        }

    def _describe_service_revisions(self, asked: Parameters) -> object:
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": one, "taskDefinition": self._definition(one)}
                for one in asked["serviceRevisionArns"]
            ]
        }

    def _definition(self, revision: str) -> str:
        return arn("ecs", f"task-definition/queue-proc:{1 if revision == OLD else 2}")

    def _describe_task_definition(self, asked: Parameters) -> object:
        (revision,) = [one for one in self.colors if self._definition(one) == asked["taskDefinition"]]
        variables = [{"name": "SLUICE_WORKER_QUEUE", "value": "queue-proc"}]
        if color := self.colors[revision]:
            variables.append({"name": "SLUICE_WORKER_COLOR", "value": color})
        return {"taskDefinition": {"containerDefinitions": [{"name": "worker", "environment": variables}]}}

    def _list_tasks(self, asked: Parameters) -> object:
        assert (asked["cluster"], asked["serviceName"]) == ("workers", "queue-proc")
        return {"taskArns": [self._arn(task) for task in self.protected]}

    def _describe_tasks(self, asked: Parameters) -> object:
        tasks = [task for task in self.protected if task not in self.ended and task not in self.unknown]
        return {
            "tasks": [
                {
                    "taskArn": self._arn(task),
                    "taskDefinitionArn": self._definition(OLD if task.startswith("old") else NEW),
                }
                for task in tasks
                if self._arn(task) in asked["tasks"]
            ],
            "failures": [
                *({"arn": self._arn(task), "reason": "MISSING"} for task in self.ended),
                *({"arn": self._arn(task), "reason": "UNKNOWN"} for task in self.unknown),
            ],
        }

    def _get_task_protection(self, asked: Parameters) -> object:
        return {
            "protectedTasks": [
                {"taskArn": self._arn(task), "protectionEnabled": is_protected}
                for task, is_protected in self.protected.items()
                if self._arn(task) in asked["tasks"]
            ],
            "failures": [],
        }

    def _arn(self, task: str) -> str:
        return arn("ecs", f"task/workers/{task}")


@contextmanager
def failing(operation: str, code: str = "ServerException") -> Iterator[None]:
    """Within the context, AWS answers the operation with this error."""
    service = "ssm" if "Parameter" in operation else "ecs"
    events, event = account.client(service).meta.events, f"before-call.{service}.{operation}"

    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "not now"}}, operation)

    events.register(event, fail)
    try:
        yield
    finally:
        events.unregister(event, fail)


@pytest.fixture
def service() -> Iterator[Service]:
    """Blue runs two tasks, one of them busy; green has started two."""
    made = Service(protected={"old-1": True, "old-2": False, "new-1": True, "new-2": False})
    with account.account(), answered(EC2ContainerServiceResponse, **made.operations()):
        account.client("ssm").put_parameter(Name=PARAMETER, Value="none", Type="String")
        yield made


# ---- a deployment ------------------------------------------------------------------------------------------


def test_the_tasks_of_the_target_wait_until_the_shift(service: Service) -> None:
    assert service.starts() == "SUCCEEDED"
    assert service.draining == "green"
    assert service.shifts() == "IN_PROGRESS"
    assert service.draining == "blue"


def test_the_shift_succeeds_once_no_old_task_is_protected_at_two_readings(service: Service) -> None:
    service.starts()
    for _ in range(20):
        assert service.shifts() == "IN_PROGRESS"
    service.protected["old-1"] = False
    assert service.shifts() == "IN_PROGRESS"
    assert service.shifts() == "SUCCEEDED"
    assert service.draining == "blue"


def test_two_readings_at_one_moment_are_one(service: Service) -> None:
    service.starts()
    service.protected["old-1"] = False
    while not (service.kept or {}).get("quietAt"):
        service.shifts()
    service.now -= timedelta(seconds=10)
    assert service.shifts() == "IN_PROGRESS"
    assert service.shifts() == "SUCCEEDED"


def test_an_idle_revision_is_given_a_minute_to_learn_that_it_receives_no_more(service: Service) -> None:
    service.starts()
    service.protected["old-1"] = False
    assert 60 <= service.until_succeeded() <= 90


def test_a_task_that_takes_a_message_between_two_readings_begins_the_proof_anew(service: Service) -> None:
    service.starts()
    service.protected["old-1"] = False
    while not (service.kept or {}).get("quietAt"):
        service.shifts()
    service.protected["old-2"] = True
    assert service.shifts() == "IN_PROGRESS"
    assert (service.kept or {})["quietAt"] is None
    service.protected["old-2"] = False
    assert service.shifts() == "IN_PROGRESS"
    assert service.shifts() == "SUCCEEDED"


def test_a_revision_without_tasks_is_drained_at_once(service: Service) -> None:
    service.starts()
    service.protected = {"new-1": True}
    assert service.shifts() == "SUCCEEDED"
    assert service.draining == "blue"


def test_a_task_that_has_ended_is_not_waited_for(service: Service) -> None:
    service.starts()
    service.ended = {"old-1", "old-2"}
    assert service.shifts() == "SUCCEEDED"


def test_the_first_deployment_of_a_service_receives_from_the_start(service: Service) -> None:
    service.sources, service.protected = [], {"new-1": True}
    assert service.starts() == "SUCCEEDED"
    assert service.draining == "none"
    assert service.shifts({NEW: 100}) == "SUCCEEDED"
    assert service.draining == "none"


def test_a_parameter_that_was_changed_in_between_is_put_back_and_the_workers_told_anew(
    service: Service,
) -> None:
    service.starts()
    service.protected["old-1"] = False
    while not (service.kept or {}).get("quietAt"):
        service.shifts()
    account.client("ssm").put_parameter(Name=PARAMETER, Value="none", Overwrite=True)
    assert service.until_succeeded() >= 60
    assert service.draining == "blue"


# ---- a rollback --------------------------------------------------------------------------------------------


def test_a_rollback_lets_the_old_revision_receive_and_drains_the_new_one(service: Service) -> None:
    service.starts()
    service.shifts()
    assert service.rolls_back() == "IN_PROGRESS"
    assert service.draining == "green"
    service.protected["new-1"] = False
    began = service.now
    while service.rolls_back() == "IN_PROGRESS":
        assert service.now < began + timedelta(minutes=5)
    # What was known of the shift before is no proof for the way back.
    assert service.now >= began + timedelta(seconds=50)


def test_a_rollback_whose_first_reading_fails_gives_the_new_tasks_their_minute_too(service: Service) -> None:
    service.starts()
    service.protected = dict.fromkeys(service.protected, False)
    while not (service.kept or {}).get("quietAt"):
        service.shifts()
    with failing("ListTasks"):
        assert service.rolls_back() == "IN_PROGRESS"
    began = service.now
    while service.rolls_back() == "IN_PROGRESS":
        assert service.now < began + timedelta(minutes=5)
    assert service.now >= began + timedelta(seconds=60)


def test_a_rollback_never_fails(service: Service) -> None:
    service.starts()
    with failing("DescribeServiceRevisions", "AccessDeniedException"):
        assert service.shifts() == "FAILED"
        assert service.rolls_back() == "IN_PROGRESS"
    assert service.rolls_back() == "IN_PROGRESS"
    assert service.draining == "green"


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colors", "said"),
    [
        ({OLD: "blue", NEW: "blue"}, "are both blue"),
        ({OLD: None, NEW: "green"}, "has nothing for SLUICE_WORKER_COLOR"),
        ({OLD: "blue", NEW: None}, "has nothing for SLUICE_WORKER_COLOR"),
        ({OLD: "blue", NEW: "red"}, "has ['red'] for SLUICE_WORKER_COLOR"),
    ],
)
def test_a_target_that_cannot_be_told_from_its_predecessor_fails_before_anything_starts(
    service: Service, colors: dict[str, str | None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.logger.registered_handler.stream = sys.stdout
    service.colors = colors
    assert service.starts() == "FAILED"
    assert service.draining == "none"
    printed = capsys.readouterr().out
    assert said in printed
    assert "alternate between Color=blue and Color=green" in printed


def test_shares_of_the_traffic_are_refused(service: Service) -> None:
    service.starts()
    assert service.shifts({NEW: 10, OLD: 90}) == "FAILED"
    assert service.draining == "green"


def test_a_shift_without_weights_waits(service: Service) -> None:
    service.starts()
    assert service.shifts({}) == "IN_PROGRESS"
    assert service.draining == "green"


# ---- unknown is not zero -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ServerException", "ThrottlingException"])
@pytest.mark.parametrize(
    "operation",
    [
        *("GetParameter", "DescribeServiceRevisions", "DescribeTaskDefinition"),
        *("ListTasks", "DescribeTasks", "GetTaskProtection"),
    ],
)
def test_a_failed_call_proves_nothing_and_begins_the_proof_anew(
    service: Service, operation: str, code: str
) -> None:
    service.starts()
    service.protected["old-1"] = False
    while not (service.kept or {}).get("quietAt"):
        service.shifts()
    with failing(operation, code):
        for _ in range(3):
            assert service.shifts() == "IN_PROGRESS"
    assert (service.kept or {})["quietAt"] is None
    assert service.shifts() == "IN_PROGRESS"
    assert service.shifts() == "SUCCEEDED"


@pytest.mark.parametrize(
    "operation",
    ["DescribeServiceDeployments", "DescribeServiceRevisions", "DescribeTaskDefinition", "PutParameter"],
)
def test_a_call_that_fails_before_anything_starts_lets_nothing_start(
    service: Service, operation: str
) -> None:
    with failing(operation):
        assert service.starts() == "IN_PROGRESS"
        assert service.draining == "none"
    assert service.starts() == "SUCCEEDED"


@pytest.mark.parametrize(
    "operation", ["ListTasks", "DescribeTasks", "GetTaskProtection", "PutParameter", "DescribeTaskDefinition"]
)
def test_what_the_function_may_not_do_fails_the_deployment(service: Service, operation: str) -> None:
    service.starts()
    with failing(operation, "AccessDeniedException"):
        assert service.shifts() == "FAILED"


def test_a_task_whose_revision_is_not_told_counts_as_old(service: Service) -> None:
    service.starts()
    service.protected = {"old-1": False, "new-1": True}
    service.unknown = {"new-1"}
    for _ in range(10):
        assert service.shifts() == "IN_PROGRESS"
    service.unknown = set()
    assert service.shifts() == "IN_PROGRESS"
    assert service.shifts() == "SUCCEEDED"


# ---- the template ------------------------------------------------------------------------------------------


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def stack() -> ResolvedStack:
    body = copy.deepcopy(stacks.template(str(FOLDER.relative_to(ROOT) / "template.yaml")))
    for resource in body["Resources"].values():
        for source in ("CodeUri", "ContentUri"):
            if source in resource["Properties"]:
                resource["Properties"][source] = "s3://artifacts/code"
    return stacks.resolved(transform(body, {}, _NoManagedPolicies()), {}, stack_name="hook")


def test_every_call_is_allowed_and_every_grant_is_used(service: Service) -> None:
    service.starts()
    service.shifts()
    tasks = [arn("ecs", f"task/workers/{task}") for task in service.protected]
    resources = {
        "describe_service_deployments": [DEPLOYMENT, SERVICE],
        "describe_service_revisions": [OLD, NEW, SERVICE],
        "describe_task_definition": ["*"],
        "list_tasks": [arn("ecs", "container-instance/workers/any")],
        "describe_tasks": tasks,
        "get_task_protection": tasks,
    }
    assert {name for name, _ in service.calls} == resources.keys()
    asked = [
        Request(action=f"ecs:{_camel(name)}", resource=one, context=CLUSTER)
        for name, some in resources.items()
        for one in some
    ]
    stream = arn("logs", "log-group:/aws/lambda/hook/drain_old_revision:*:log-stream:2026/01/15/[1]0d5a")
    parameter = arn("ssm", f"parameter{PARAMETER}")
    asked += [Request(action=f"ssm:{name}Parameter", resource=parameter) for name in ("Get", "Put")]
    asked += [Request(action=f"logs:{name}", resource=stream) for name in ("CreateLogStream", "PutLogEvents")]
    own = {"FunctionRole": roles(stack())["FunctionRole"]}
    used = [Use(role="FunctionRole", request=each) for each in asked]
    assert refused(own, used) == []
    assert [str(grant) for grant in surplus(own, used)] == []


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ssm:PutParameter", arn("ssm", "parameter/sluice/workloads/queue-proc/active-color")),
        ("ecs:DescribeServiceRevisions", arn("ecs", "service-revision/workers/other/1")),
        ("ecs:GetTaskProtection", arn("ecs", "task/others/0d5a")),
        ("ecs:ListTasks", arn("ecs", "container-instance/others/any")),
    ],
)
def test_the_function_may_do_nothing_to_another_service_or_parameter(action: str, resource: str) -> None:
    others = {"ecs:cluster": arn("ecs", "cluster/others")}
    use = Use(role="FunctionRole", request=Request(action=action, resource=resource, context=others))
    assert refused({"FunctionRole": roles(stack())["FunctionRole"]}, [use]) == [use]


def test_ecs_alone_may_invoke_the_function_and_nothing_else() -> None:
    role = stack().resources["InvokeRole"].properties
    (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "ecs.amazonaws.com"}
    (statement,) = roles(stack())["InvokeRole"]
    assert (statement.actions, statement.resources) == (
        ("lambda:InvokeFunction",),
        (arn("lambda", "function:DrainOldRevisionFunction"),),
    )


def test_the_function_knows_the_parameter_of_its_stack() -> None:
    function = of_type(stack(), "AWS::Lambda::Function")["DrainOldRevisionFunction"]
    assert function["Environment"]["Variables"][hook.PARAMETER] == PARAMETER
    assert of_type(stack(), "AWS::SSM::Parameter")["DrainingColor"]["Value"] == hook.NEITHER


def test_the_service_of_the_example_asks_the_hook_at_the_stages_that_it_knows() -> None:
    hooked = {
        "Color": "blue",
        "DrainingColorParameter": PARAMETER,
        "DrainHookArn": arn("lambda", "function:drain"),
        "DrainHookRoleArn": "arn:aws:iam::123456789012:role/invoke",
    }
    [service] = of_type(stacks.example_fleet("ecs", **hooked), "AWS::ECS::Service").values()
    configured = service["DeploymentConfiguration"]
    assert configured["Strategy"] == "BLUE_GREEN"
    [asked] = configured["LifecycleHooks"]
    assert asked["LifecycleStages"] == [hook.BEFORE, hook.SHIFT]
    assert (asked["HookTargetArn"], asked["RoleArn"]) == (hooked["DrainHookArn"], hooked["DrainHookRoleArn"])


def test_a_service_without_the_hook_is_deployed_as_ever() -> None:
    [service] = of_type(stacks.example_fleet("ecs"), "AWS::ECS::Service").values()
    assert service["DeploymentConfiguration"]["Strategy"] == "ROLLING"
    assert "LifecycleHooks" not in service["DeploymentConfiguration"]


@pytest.mark.parametrize(
    ("lacks", "said"), [("DrainHookRoleArn", "DrainHookRoleArn is empty"), ("Color", "Color is empty")]
)
def test_a_hook_without_its_role_or_a_color_is_refused(lacks: str, said: str) -> None:
    given = {
        "Color": "blue",
        "DrainingColorParameter": PARAMETER,
        "DrainHookArn": arn("lambda", "function:drain"),
        "DrainHookRoleArn": "arn:aws:iam::123456789012:role/invoke",
    }
    del given[lacks]
    with pytest.raises(ValueError, match=said):
        stacks.example_fleet("ecs", **given)


def test_the_page_says_what_it_answers_at_each_stage() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in (hook.BEFORE, hook.SHIFT, "FAILED", "IN_PROGRESS", "SUCCEEDED"):
        assert f"`{word}`" in page
    assert Path(FOLDER / "template.yaml").is_file()
