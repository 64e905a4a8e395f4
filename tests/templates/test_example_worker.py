"""The worker settings of both example fleets, and how they fit the queue, the supervisor and the workload."""

from __future__ import annotations

import pytest

from sluice.core.model import DynamicTarget
from sluice.document import parsing
from sluice_worker import command
from tests.templates import fleet_workers, stacks
from tests.templates.fleet_workers import understood, variables

LEAVING_S = 20
"""What a worker may need beyond its grace: a last report, the end of its lifecycle action."""
SPOT_NOTICE_S = 120


def supervisor_waits_s(fleet: str) -> int:
    """Seconds between SIGTERM and the kill."""
    stack = stacks.example_fleet(fleet)
    if fleet == "ecs":
        return int(fleet_workers.container(stack)["StopTimeout"])
    return int(fleet_workers.unit(stack)["Service.TimeoutStopSec"][0])


def test_the_worker_knows_every_variable_that_it_is_given(fleet: str) -> None:
    known = {option.envvar for option in command.main.params}
    names = {name for name in variables(fleet) if name.startswith(command.PREFIX)}
    assert names <= known


def test_the_worker_accepts_the_variables_that_it_is_given(fleet: str) -> None:
    settings, handler = understood(variables(fleet, MetricNamespace="Team/Workers"))
    assert handler == "sleeper:handle"
    assert settings.namespace == "Team/Workers"
    assert [queue.url for queue in settings.queues] == [
        f"https://sqs.{stacks.REGION}.amazonaws.com/{stacks.ACCOUNT}/{stacks.WORKLOADS[fleet]['QueueName']}"
    ]
    assert settings.protect


def test_the_worker_publishes_under_the_workloads_own_dimensions(fleet: str) -> None:
    settings, _ = understood(variables(fleet))
    assert settings.fleet is not None
    workload = parsing.parse(stacks.workload(fleet).resources["Registration"].properties["Value"])
    assert settings.fleet.dimensions == workload.duration_metric.dimensions == stacks.DIMENSIONS[fleet]


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_the_worker_works_on_as_many_messages_as_the_workloads_target_counts_with(
    fleet: str, concurrency: str
) -> None:
    settings, _ = understood(variables(fleet, ConcurrencyPerInstance=concurrency))
    stack = stacks.workload(fleet, TargetType="dynamic", ConcurrencyPerInstance=concurrency)
    target = parsing.parse(stack.resources["Registration"].properties["Value"]).target
    assert isinstance(target, DynamicTarget)
    assert settings.max_concurrency == target.concurrency_per_instance == int(concurrency)


def test_by_default_fleet_and_workload_agree_on_one_message_at_a_time(fleet: str) -> None:
    bodies = [stacks.template(path) for path in (stacks.EXAMPLES[fleet], stacks.WORKLOAD_TEMPLATE)]
    defaults = [str(body["Parameters"]["ConcurrencyPerInstance"]["Default"]) for body in bodies]
    assert defaults == ["1", "1"]


def test_the_worker_reports_its_waits_against_the_workloads_promise(fleet: str) -> None:
    environment = {"asg": "photo-import", "ecs": "report-export"}[fleet]
    promise_s = stacks.workload_environments()[environment]["AcceptableLatencySeconds"]
    settings, _ = understood(variables(fleet, PromiseSeconds=promise_s))
    assert settings.promise_s == float(promise_s)
    assert settings.publish_wait


def test_the_worker_publishes_no_waits_without_a_promise(fleet: str) -> None:
    settings, _ = understood(variables(fleet))
    assert settings.promise_s is None
    assert not settings.publish_wait


@pytest.mark.parametrize("environment", ["photo-import", "report-export"])
def test_samconfig_names_the_promise_that_an_example_fleet_of_the_deadline_engine_needs(
    environment: str,
) -> None:
    """A fleet's stack cannot read the workload's parameters."""
    parameters = stacks.workload_environments()[environment]
    comment = (stacks.ROOT / "samconfig.toml").read_text().partition(f"[{environment}.deploy")[0][-900:]
    assert f"PromiseSeconds={parameters['AcceptableLatencySeconds']}" in comment.replace("\n# ", " ")


PARAMETER = "/sluice/workloads/builds/draining-color"


@pytest.mark.parametrize("color", ["blue", "green"])
def test_the_worker_of_a_color_is_told_which_one_and_where_its_drain_is_said(fleet: str, color: str) -> None:
    settings, _ = understood(variables(fleet, Color=color, DrainingColorParameter=PARAMETER))
    assert (settings.color, settings.draining_color_parameter) == (color, PARAMETER)


def test_the_worker_of_a_fleet_without_a_color_reads_no_parameter(fleet: str) -> None:
    settings, _ = understood(variables(fleet))
    assert (settings.color, settings.draining_color_parameter) == (None, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Color": "blue"}, "Color is given and DrainingColorParameter is empty"),
        ({"DrainingColorParameter": PARAMETER}, "DrainingColorParameter is given and Color is empty"),
        ({"Color": "red", "DrainingColorParameter": PARAMETER}, "Color"),
        ({"Color": "blue", "DrainingColorParameter": "draining-color"}, "DrainingColorParameter"),
    ],
)
def test_half_a_color_is_refused(fleet: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stacks.example_fleet(fleet, **given)


def test_the_worker_exits_before_it_would_be_killed(fleet: str) -> None:
    settings, _ = understood(variables(fleet))
    assert settings.grace_s + LEAVING_S <= supervisor_waits_s(fleet)


def test_the_worker_exits_before_the_spot_instance_ends(fleet: str) -> None:
    settings, _ = understood(variables(fleet))
    assert settings.grace_s + LEAVING_S <= SPOT_NOTICE_S


def test_any_consumer_of_the_queue_hides_a_message_as_long_as_the_worker_does(fleet: str) -> None:
    queue = stacks.example_fleet(fleet).resources["Queue"].properties
    settings, _ = understood(variables(fleet))
    assert int(queue["VisibilityTimeout"]) == settings.visibility_s


def test_a_tasks_messages_return_after_the_templates_visibility_timeout() -> None:
    queue = stacks.example_fleet("ecs", VisibilitySeconds="30").resources["Queue"].properties
    settings, _ = understood(variables("ecs", VisibilitySeconds="30"))
    assert int(queue["VisibilityTimeout"]) == settings.visibility_s == 30


def test_the_workers_signal_reaches_it() -> None:
    unit = fleet_workers.unit(stacks.example_fleet())
    assert unit["Service.KillSignal"] == ["SIGTERM"]
    assert unit["Service.KillMode"] == ["mixed"]  # its own processes hear of it from the worker
    assert ("STOPSIGNAL", "SIGTERM") in fleet_workers.dockerfile()
