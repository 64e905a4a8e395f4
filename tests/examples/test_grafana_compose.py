"""examples/grafana: what compose starts, and what Grafana finds there.

Grafana itself cannot be had without its image; tests/scenarios/test_dashboard.py asks the embedded AWS over
HTTP for what the dashboards ask.
"""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from sluice_cli.demo import demo
from sluice_cli.demo_server import AddressType
from sluice_sim.account import REGION

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/grafana"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
GRAFANA, AWS = COMPOSE["services"]["grafana"], COMPOSE["services"]["aws"]
DASHBOARDS = sorted((ROOT / "examples").glob("grafana-*.json"))


def provisioned(name: str) -> dict[str, Any]:
    [entry] = yaml.safe_load((FOLDER / "provisioning" / name).read_text(encoding="utf-8"))[
        Path(name).parent.name.replace("dashboards", "providers")
    ]
    return entry


def mounts() -> dict[str, Path]:
    """Path in the container -> the file or folder of the project; each is read-only."""
    found = {}
    for volume in GRAFANA["volumes"]:
        source, target, mode = volume.split(":")
        assert mode == "ro", volume
        found[target] = (FOLDER / source).resolve()
    return found


def test_the_compose_file_is_valid() -> None:
    [schema] = [file for file in files("check-jsonschema") or () if file.name == "compose-spec.json"]
    jsonschema.validate(COMPOSE, json.loads(schema.read_text(encoding="utf-8")))


def test_the_account_is_served_by_a_command_that_exists_where_the_data_source_looks_for_it() -> None:
    served = urlsplit(provisioned("datasources/cloudwatch.yaml")["jsonData"]["endpoint"])
    subcommand, option, address = AWS["command"]
    assert subcommand == demo.name
    [serve] = [each for each in demo.params if option in each.opts]
    assert isinstance(serve.type, AddressType)
    assert served.hostname in COMPOSE["services"]
    assert address == f"0.0.0.0:{served.port}"
    assert f"localhost:{served.port}/" in " ".join(AWS["healthcheck"]["test"])


def test_the_data_source_is_that_of_cloudwatch_in_the_region_of_the_account() -> None:
    source = provisioned("datasources/cloudwatch.yaml")
    assert (source["type"], source["jsonData"]["defaultRegion"]) == ("cloudwatch", REGION)
    assert source["isDefault"] is True  # the dashboards' variable takes the default one


def test_every_dashboard_is_in_the_folder_that_grafana_reads() -> None:
    folder = provisioned("dashboards/sluice.yaml")["options"]["path"]
    shown = [path for target, path in mounts().items() if target.startswith(f"{folder}/")]
    assert sorted(shown) == DASHBOARDS
    assert len(DASHBOARDS) == 4
    assert mounts()["/etc/grafana/provisioning"] == FOLDER / "provisioning"


@pytest.mark.parametrize("field", ["uid", "title"])
def test_grafana_can_tell_the_dashboards_apart(field: str) -> None:
    values = {json.loads(path.read_text(encoding="utf-8"))[field] for path in DASHBOARDS}
    assert len(values) == len(DASHBOARDS)


def test_only_this_machine_reaches_grafana_and_nobody_the_account() -> None:
    assert all(port.startswith("127.0.0.1:") for port in GRAFANA["ports"])
    assert "ports" not in AWS
    assert GRAFANA["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_the_image_gets_what_the_demo_reads() -> None:
    kept = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for needed in (
        "template.yaml",
        "workload.yaml",
        "samconfig.toml",
        "functions",
        "layers/sluice",
        "uv.lock",
    ):
        assert f"!{needed}" in kept
        assert (ROOT / needed).exists()


class TestServe:
    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ("0", "0: must be a port from 1 to 65535, or HOST:PORT"),
            ("65536", "65536: must be a port from 1 to 65535, or HOST:PORT"),
            ("localhost", "localhost: must be a port from 1 to 65535, or HOST:PORT"),
            ("http://127.0.0.1:5000", "must be a port from 1 to 65535, or HOST:PORT"),
            ("192.0.2.1:5000", "192.0.2.1:5000: cannot listen there"),
            ("no such host:5000", "must be a port"),
            ("nowhere.invalid:5000", "nowhere.invalid:5000: cannot listen there"),
        ],
    )
    def test_an_address_that_cannot_be_served_is_refused_before_anything_runs(
        self, given: str, sentence: str
    ) -> None:
        refused = CliRunner().invoke(demo, ["--serve", given])
        assert refused.exit_code == 2
        assert sentence in " ".join(refused.output.split())

    def test_real_workers_leave_no_account_to_serve(self) -> None:
        refused = CliRunner().invoke(demo, ["--real-workers", "--serve", "5055"])
        assert refused.exit_code == 2
        assert "the account of --real-workers ends with them" in refused.output
