"""examples/kubernetes: Kubernetes and KEDA accept the manifests, which fit each other and the worker."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from sluice.core.model import BACKLOG_PER_INSTANCE
from sluice.document import parsing
from sluice_sim.policies import keda
from sluice_worker import Settings, command
from tests.templates import fleet_workers, stacks
from tests.templates.fleet_workers import understood
from tests.templates.test_example_worker import LEAVING_S

FOLDER = stacks.ROOT / "examples/kubernetes"
MANIFESTS = [
    "worker.yaml",
    "hpa/hpa.yaml",
    "keda/authentication.yaml",
    "keda/overflow.yaml",
    "keda/alone.yaml",
]
SCALERS = ["keda/overflow.yaml", "keda/alone.yaml", "hpa/hpa.yaml"]
KEDA_SCHEMA = json.loads(Path(__file__).with_name("keda.schema.json").read_text())
OLDEST, NEWEST = "1.31", "1.35"
"""Kubernetes versions; `unhealthyPodEvictionPolicy` is stable from the first on."""

Manifest = dict[str, Any]


def documents(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def one(name: str, kind: str) -> Manifest:
    [found] = [document for document in documents(name) if document["kind"] == kind]
    return found


def check(manifest: Manifest) -> None:
    """Refuse what Kubernetes or KEDA would refuse, and fields that they do not know."""
    if manifest["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(manifest, KEDA_SCHEMA)
    else:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.fixture
def deployment() -> Manifest:
    return one("worker.yaml", "Deployment")


@pytest.fixture
def pod(deployment: Manifest) -> Manifest:
    return deployment["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: Manifest) -> Manifest:
    [container] = pod["containers"]
    return container


@pytest.fixture
def settings(container: Manifest) -> Settings:
    variables = {each["name"]: each.get("value", "pod-1") for each in container["env"]}
    return understood({**fleet_workers.image_variables(), **variables})[0]


def trigger(name: str) -> Manifest:
    [trigger] = one(name, "ScaledObject")["spec"]["triggers"]
    return trigger


# ---- The schemas -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_is_valid_and_has_no_unknown_field(name: str) -> None:
    for document in documents(name):
        check(document)


def test_every_manifest_is_checked() -> None:
    others = {"hpa/exporter.yaml", "hpa/adapter-rules.yaml"}  # configurations of other programs
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")} == {*MANIFESTS, *others}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every mapping whose keys the schema names."""
    if isinstance(value, dict):
        if not {"matchLabels", "labels", "annotations", "requests", "limits"} & set(path[-1:]):
            yield path
        for key, below in value.items():
            yield from places(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from places(below, (*path, index))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_wrong_field_is_found_wherever_it_stands(name: str) -> None:
    for document in documents(name):
        for path in places(document):
            wrong = copy.deepcopy(document)
            place = wrong
            for step in path:
                place = place[step]
            place["mispelled"] = "1"
            with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
                check(wrong)


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_manifest_names_a_namespace(name: str) -> None:
    assert not [document for document in documents(name) if "namespace" in document["metadata"]]


# ---- The worker in its pod ---------------------------------------------------------------------------------


def test_the_deployment_and_the_budget_select_the_pods(deployment: Manifest, pod: Manifest) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    budget = one("worker.yaml", "PodDisruptionBudget")
    [spread] = pod["topologySpreadConstraints"]
    network = one("worker.yaml", "NetworkPolicy")
    selectors = (
        deployment["spec"]["selector"],
        budget["spec"]["selector"],
        spread["labelSelector"],
        network["spec"]["podSelector"],
    )
    for selector in selectors:
        assert selector == {"matchLabels": labels}


def test_the_pods_have_the_role_of_the_service_account(pod: Manifest) -> None:
    account = one("worker.yaml", "ServiceAccount")
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert "eks.amazonaws.com/role-arn" in account["metadata"]["annotations"]


def test_no_deployment_resets_what_the_autoscaler_has_decided(deployment: Manifest) -> None:
    assert "replicas" not in deployment["spec"]


def test_the_worker_knows_every_variable_of_its_pod(container: Manifest) -> None:
    """It only warns of others, because container engines add some."""
    known = {option.envvar for option in command.main.params}
    given = {each["name"] for each in container["env"]}
    assert {name for name in given if name.startswith(command.PREFIX)} <= known


def test_kubernetes_waits_for_the_drain(pod: Manifest, settings: Settings) -> None:
    assert pod["terminationGracePeriodSeconds"] >= settings.grace_s + LEAVING_S


def test_the_pods_publish_no_metric_of_the_fleet(settings: Settings) -> None:
    """Sluice takes what is published under the fleet's dimensions for the fleet's own."""
    assert settings.fleet is None


def test_the_pods_read_the_queue_of_the_fleet_that_they_help(settings: Settings) -> None:
    fleet, _ = understood(fleet_workers.variables("ecs"))
    assert settings.queues == fleet.queues


def test_the_worker_runs_without_any_right_in_its_container(pod: Manifest, container: Manifest) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    [user] = [rest for instruction, rest in fleet_workers.dockerfile() if instruction == "USER"]
    given = pod["securityContext"]
    assert f"{given['runAsUser']}:{given['runAsGroup']}" == user
    assert not pod["automountServiceAccountToken"]


def test_the_heartbeat_lies_where_the_pod_may_write(
    pod: Manifest, container: Manifest, settings: Settings
) -> None:
    assert settings.heartbeat_file is not None
    [mount] = [
        each for each in container["volumeMounts"] if each["mountPath"] == str(settings.heartbeat_file.parent)
    ]
    [volume] = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    assert "emptyDir" in volume
    assert not mount.get("readOnly")


def test_the_user_of_the_pod_may_read_the_token_of_its_role(pod: Manifest, container: Manifest) -> None:
    """Kubernetes gives it to the group of the pod's volumes. Without it the node's role must not step in."""
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"} in container["env"]


def test_a_pod_reaches_aws_names_and_pod_identity_and_nothing_reaches_a_pod() -> None:
    spec = one("worker.yaml", "NetworkPolicy")["spec"]
    assert (spec["policyTypes"], spec["ingress"]) == (["Ingress", "Egress"], [])
    everywhere, identity = spec["egress"]
    ports = {(each["protocol"], each["port"]) for each in everywhere["ports"]}
    assert (everywhere.keys(), ports) == ({"ports"}, {("TCP", 443), ("UDP", 53), ("TCP", 53)})
    assert identity == {
        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }


def test_a_node_can_be_drained_and_takes_a_quarter_of_the_pods_at_a_time() -> None:
    assert one("worker.yaml", "PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


def test_the_kubelet_kills_only_what_several_slow_probes_have_found_hanging(container: Manifest) -> None:
    """A handler may take the container's whole CPU from a probe, and the first import a minute and more."""
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 90
    assert liveness["failureThreshold"] >= 3
    assert min(startup["timeoutSeconds"], liveness["timeoutSeconds"]) >= 5


def probed(probe: Manifest, settings: Settings, beside: Path) -> int:
    """The exit status of the probe's command over a file on this machine."""
    program, *arguments = [
        text.replace(str(settings.heartbeat_file), str(beside)) for text in probe["exec"]["command"]
    ]
    assert program == fleet_workers.entry_point()[0]
    return subprocess.run([sys.executable, *arguments], stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.parametrize("name", ["startupProbe", "livenessProbe"])
def test_a_probe_fails_once_the_file_is_old_or_missing(
    name: str, container: Manifest, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "heartbeat"
    probe = container[name]
    assert probed(probe, settings, path) != 0
    path.touch()
    assert probed(probe, settings, path) == 0
    then = time.time() - 90
    os.utime(path, (then, then))
    assert probed(probe, settings, path) != 0


def test_the_role_of_the_pods_is_that_of_a_task_for_the_same_queue() -> None:
    stack = stacks.example_fleet("ecs")
    [policy] = stack.resources["TaskRole"].properties["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    [queue] = [each for each in statements if "sqs:ReceiveMessage" in each["Action"]]
    [own] = json.loads((FOLDER / "iam/worker.json").read_text())["Statement"]
    assert sorted(own["Action"]) == sorted(queue["Action"])
    assert own["Resource"] == queue["Resource"]


# ---- What scales the pods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCALERS)
def test_every_autoscaler_scales_the_deployment(name: str, deployment: Manifest) -> None:
    [scaler] = documents(name)
    target = scaler["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]
    assert target.get("kind", "Deployment") == deployment["kind"]
    assert target.get("apiVersion", "apps/v1") == deployment["apiVersion"]


@pytest.mark.parametrize("name", ["keda/overflow.yaml", "keda/alone.yaml"])
def test_keda_calls_aws_as_its_authentication_says(name: str) -> None:
    authentication = one("keda/authentication.yaml", "TriggerAuthentication")
    assert trigger(name)["authenticationRef"] == {"name": authentication["metadata"]["name"]}


@pytest.mark.parametrize("name", ["keda/overflow.yaml", "keda/alone.yaml"])
def test_while_a_read_fails_keda_leaves_the_pods_alone(name: str) -> None:
    """A fallback would set a number, or 0."""
    assert "fallback" not in one(name, "ScaledObject")["spec"]
    assert trigger(name)["metadata"].get("ignoreNullValues", "false") == "false"


def read_by_keda() -> tuple[str, str, dict[str, str]]:
    said = trigger("keda/overflow.yaml")["metadata"]
    names, values = (said[key].split(";") for key in ("dimensionName", "dimensionValue"))
    return said["namespace"], said["metricName"], dict(zip(names, values, strict=True))


def read_by_the_exporter() -> tuple[str, str, dict[str, str]]:
    [job] = yaml.safe_load((FOLDER / "hpa/exporter.yaml").read_text())["static"]
    [metric] = job["metrics"]
    return job["namespace"], metric["name"], {each["name"]: each["value"] for each in job["dimensions"]}


@pytest.mark.parametrize("read", [read_by_keda, read_by_the_exporter])
def test_the_metric_is_the_one_that_sluice_publishes(read: Any) -> None:
    workload = parsing.parse(stacks.workload("ecs").resources["Registration"].properties["Value"])
    namespace = stacks.template("template.yaml")["Parameters"]["MetricNamespace"]["Default"]
    assert read() == (namespace, BACKLOG_PER_INSTANCE, dict(workload.fleet.dimensions))


def test_the_pods_come_above_the_fleets_own_target_and_are_all_there_at_what_both_can_start_in_time() -> None:
    parameters = stacks.workload_environments()["queue-proc"]
    target, fleet_max = float(parameters["MaxMessagesPerInstance"]), int(parameters["MaxCapacity"])
    spec = one("keda/overflow.yaml", "ScaledObject")["spec"]
    said = trigger("keda/overflow.yaml")
    assert float(said["metadata"]["activationTargetMetricValue"]) == 2 * target
    assert said["metricType"] == "AverageValue"
    per_pod = target * (1 / spec["maxReplicaCount"] + 1 / fleet_max)
    assert float(said["metadata"]["targetMetricValue"]) == pytest.approx(per_pod)
    [metric] = one("hpa/hpa.yaml", "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": f"{per_pod:g}"}


def test_a_value_counts_for_as_long_as_a_point_may_be_late_and_in_whole_periods() -> None:
    said = trigger("keda/overflow.yaml")["metadata"]
    period_s, window_s = int(said["metricStatPeriod"]), int(said["metricCollectionTime"])
    assert period_s == 60
    assert window_s % period_s == 0
    assert window_s >= 3 * period_s


def test_pods_alone_read_their_own_queue_and_count_what_is_at_work(settings: Settings) -> None:
    said = trigger("keda/alone.yaml")["metadata"]
    assert [said["queueURL"]] == [queue.url for queue in settings.queues]
    assert (said["scaleOnInFlight"], said["scaleOnDelayed"]) == ("true", "false")


def test_pods_alone_are_sized_by_the_promise_and_the_processing_time_that_the_manifest_names(
    settings: Settings,
) -> None:
    said = re.search(r"(\d+) s x (\d+) / (\d+) s\.", (FOLDER / "keda/alone.yaml").read_text())
    assert said is not None
    promise_s, concurrency, processing_s = map(int, said.groups())
    assert concurrency == settings.max_concurrency
    assert float(trigger("keda/alone.yaml")["metadata"]["queueLength"]) == promise_s / processing_s


@pytest.mark.parametrize("name", ["keda/overflow.yaml", "keda/alone.yaml"])
def test_the_last_pod_stays_for_as_long_as_in_the_simulator(name: str) -> None:
    assert one(name, "ScaledObject")["spec"]["cooldownPeriod"] == keda.COOLDOWN_S == 300


def test_the_exporter_asks_for_as_many_minutes_as_keda_and_invents_no_zero() -> None:
    [job] = yaml.safe_load((FOLDER / "hpa/exporter.yaml").read_text())["static"]
    [metric] = job["metrics"]
    said = trigger("keda/overflow.yaml")["metadata"]
    assert metric["nilToZero"] is False
    assert (metric["period"], metric["length"]) == (
        int(said["metricStatPeriod"]),
        int(said["metricCollectionTime"]),
    )


def test_the_autoscaler_asks_the_adapter_for_what_the_exporter_shows() -> None:
    namespace, metric, dimensions = read_by_the_exporter()
    [rule] = yaml.safe_load((FOLDER / "hpa/adapter-rules.yaml").read_text())["externalRules"]
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in metric)
    assert rule["seriesQuery"] == f"aws_{namespace.lower()}{words}_average"
    series = "<<.Series>>{<<.LabelMatchers>>}"
    threshold = trigger("keda/overflow.yaml")["metadata"]["activationTargetMetricValue"]
    # NaN, the exporter's word for no value, is no 0; nor does a fleet that keeps up get pods.
    assert rule["metricsQuery"] == f"max(({series} >= 0) * ({series} >= bool {threshold}))"
    [asked] = one("hpa/hpa.yaml", "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert asked["external"]["metric"]["name"] == rule["name"]["as"]
    assert asked["external"]["metric"]["selector"]["matchLabels"] == {
        f"dimension_{name}": value for name, value in dimensions.items()
    }


def test_without_keda_there_is_never_no_pod() -> None:
    """0 needs the feature gate HPAScaleToZero."""
    assert one("hpa/hpa.yaml", "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 1


def test_keda_may_read_what_its_triggers_read_and_nothing_else(settings: Settings) -> None:
    statements = json.loads((FOLDER / "iam/keda.json").read_text())["Statement"]
    [queue] = settings.queues
    assert {each["Action"]: each["Resource"] for each in statements} == {
        "cloudwatch:GetMetricData": "*",  # which knows no resource
        "sqs:GetQueueAttributes": f"arn:aws:sqs:{stacks.REGION}:{stacks.ACCOUNT}:{queue.name}",
    }
