"""A workload's stack of two fleets on one queue: both alike, neither scaled by what the other one does."""

from __future__ import annotations

import json

import pytest

from sluice.core.model import AutoScalingGroup, Color
from sluice.document import parsing
from sluice_sim.aws_rules.alarms import Alarm, State
from sluice_sim.template.errors import TemplateError
from tests.templates.stacks import DIMENSIONS, WORKLOAD_TEMPLATE, template, workload

GREEN = {
    "asg": {"GreenAutoScalingGroupName": "transcription-green"},
    "ecs": {"GreenServiceName": "queue-proc-green"},
}
POLICIES = {
    "asg": ("AsgTargetTracking", "GreenAsgTargetTracking"),
    "ecs": ("EcsTargetTracking", "GreenEcsTargetTracking"),
}
FLEETS = tuple(GREEN)


def pair(fleet, **parameters):
    return workload(fleet, **GREEN[fleet], **parameters)


def registered(stack, active=Color.BLUE):
    return parsing.parse(stack.resources["Registration"].properties["Value"], active=active)


def own_name(fleet):
    return fleet.name if isinstance(fleet, AutoScalingGroup) else fleet.service


def tracking(policy):
    """What a policy tracks and at which target, without the fleet that it is about."""
    (configuration,) = (policy[key] for key in policy if key.startswith("TargetTracking"))
    metric = dict(configuration["CustomizedMetricSpecification"])
    dimensions = metric.pop("Dimensions")
    rest = {
        key: value for key, value in policy.items() if key not in ("AutoScalingGroupName", "ResourceId")
    } | {key: value for key, value in configuration.items() if key != "CustomizedMetricSpecification"}
    rest = {key: value for key, value in rest.items() if not key.startswith("TargetTracking")}
    return {each["Name"]: each["Value"] for each in dimensions}, (rest, metric)


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("settings", [{}, {"ProcessingSeconds": "5"}, {"TargetType": "dynamic"}])
def test_both_colors_have_the_same_policy_each_on_its_own_metric(fleet, settings):
    stack = pair(fleet, **settings)
    blue, green = (tracking(stack.resources[name].properties) for name in POLICIES[fleet])
    assert blue[1] == green[1]
    assert blue[0] == DIMENSIONS[fleet]
    workload_of = registered(stack, Color.GREEN)
    assert green[0] == workload_of.fleet.dimensions
    assert blue[0] == workload_of.idle.fleet.dimensions
    assert blue[0] != green[0]


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_document_names_the_policy_of_each_color(fleet):
    stack = pair(fleet)
    for color in Color:
        scaled = registered(stack, color)
        names = {
            Color.BLUE: list(DIMENSIONS[fleet].values())[-1],
            Color.GREEN: next(iter(GREEN[fleet].values())),
        }
        assert own_name(scaled.fleet) == names[color]
        assert scaled.policy_arn is not None
        assert own_name(scaled.fleet) in scaled.policy_arn


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("mode", ["observe", "paused"])
def test_only_an_active_workload_has_policies_that_aws_acts_on(fleet, mode):
    extra = {"CreateScalableTarget": "not-yet"} if fleet == "ecs" else {}
    stack = pair(fleet, Mode=mode, **extra)
    assert not set(POLICIES[fleet]) & set(stack.resources)
    assert registered(stack).policy_arn is None


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_deadline_engine_scales_the_pair_without_any_policy_of_aws(fleet):
    stack = pair(fleet, Scaling="deadline", ProcessingSeconds="5")
    assert not set(POLICIES[fleet]) & set(stack.resources)


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_workload_of_one_fleet_has_nothing_of_a_second_one(fleet):
    stack = workload(fleet)
    assert not {"FirstColor", "DrainingColor", "GreenEcsScalableTarget", *POLICIES[fleet][1:]} & set(
        stack.resources
    )
    assert "blue_green" not in stack.resources["Registration"].properties["Value"]


@pytest.mark.parametrize("name", ["FirstColor", "DrainingColor"])
def test_no_parameter_but_the_names_changes_a_color_so_no_stack_update_puts_it_back(name):
    """CloudFormation writes the template's value again once any property of the resource changes."""
    body = json.dumps(template(WORKLOAD_TEMPLATE)["Resources"][name], default=str)
    for parameter in template(WORKLOAD_TEMPLATE)["Parameters"]:
        if parameter not in ("Name", "ControlPlaneStack"):
            assert f"${{{parameter}}}" not in body
            assert f'"Ref": "{parameter}"' not in body


@pytest.mark.parametrize(
    ("fleet", "settings", "named"),
    [
        ("asg", {"MetricSource": "native"}, "MetricSource"),
        ("asg", {"Scaling": "deadline", "ProcessingSeconds": "5", "Fallback": "true"}, "Fallback"),
        ("ecs", {"AtMaximumAlarm": "true"}, "AtMaximumAlarm"),
        ("ecs", {"MissingInstancesAlarm": "true"}, "MissingInstancesAlarm"),
        ("asg", {"Dashboard": "true"}, "Dashboard"),
        ("asg", {"Schedule3": "night,SUN-SAT,18:00,UTC,0,5"}, "schedule"),
        ("asg", {"GreenServiceName": "web"}, "GreenServiceName"),
        ("ecs", {"GreenAutoScalingGroupName": "web"}, "GreenAutoScalingGroupName"),
    ],
)
def test_what_would_scale_or_judge_the_idle_color_is_refused_with_the_reason(fleet, settings, named):
    with pytest.raises(TemplateError, match=named):
        pair(fleet, **settings)


@pytest.mark.parametrize("fleet", FLEETS)
class TestAlarms:
    def silence(self, fleet, **published):
        """The state of the silence alarm that was OK, when these colors were published for ten minutes."""
        alarm = Alarm.from_properties("SilenceAlarm", pair(fleet).resources["SilenceAlarm"].properties)
        series = {
            name: {60 * at: published[name] for at in range(10)} if name in published else {}
            for name in ("blue", "green")
        }
        return alarm.next_state(alarm.datapoints(series, 600), State.OK)

    @pytest.mark.parametrize("published", [{"blue": 3.0}, {"green": 0.0}, {"blue": 0.0, "green": 1.0}])
    def test_the_workload_is_not_silent_while_either_color_is_published(self, fleet, published):
        assert self.silence(fleet, **published) is State.OK

    def test_it_is_silent_once_neither_is(self, fleet):
        assert self.silence(fleet) is State.INSUFFICIENT_DATA

    def test_a_bootstrap_does_not_ask_which_group_is_at_zero(self, fleet):
        alarm = Alarm.from_properties("BootstrapAlarm", pair(fleet).resources["BootstrapAlarm"].properties)
        assert [query.id for query in alarm.queries] == ["visible"]
