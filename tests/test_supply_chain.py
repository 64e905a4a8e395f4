"""Installed packages are locked by hash; shipped ones are audited and have a bill of materials."""

from __future__ import annotations

import json
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scan.audit import audit

ROOT = Path(__file__).resolve().parents[1]
INDEX = {"registry": "https://pypi.org/simple"}
VULNERABILITY = {
    "id": "PYSEC-2020-1",
    "summary": "It answers everything.",
    "affected": [{"package": {"name": "jmespath", "ecosystem": "PyPI"}, "ranges": []}],
}


def locked(path: str) -> list[dict[str, Any]]:
    """The packages that a lock installs from the index, without the project itself."""
    packages = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["package"]
    return [package for package in packages if not {"editable", "virtual"} & set(package["source"])]


@pytest.mark.parametrize("lock", ["uv.lock", "scan/uv.lock", "examples/cdk/uv.lock"])
def test_every_file_of_every_locked_package_has_its_hash(lock: str) -> None:
    packages = locked(lock)
    assert packages
    for package in packages:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert package["source"] == INDEX, f"{package['name']} comes from elsewhere"
        assert files, f"{package['name']} has no file"
        assert all(file["hash"].startswith("sha256:") for file in files), package["name"]


# ---- The audit ----


@contextmanager
def service(answers: dict[str, dict[str, Any]], status: int = 200) -> Iterator[str]:
    """The URL of a vulnerability service that has these answers, and none for other packages."""

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(answers.get(question["package"]["name"], {})).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(f"jmespath==1.1.0 --hash=sha256:{'0' * 64}\n")
    return path


def test_an_audit_that_finds_nothing_passes(requirements: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with service({}) as url:
        assert audit(requirements, url) == 0
    assert "No known vulnerabilities found" in capfd.readouterr().err


def test_a_vulnerability_fails_and_is_named(requirements: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with service({"jmespath": {"vulns": [VULNERABILITY]}}) as url:
        assert audit(requirements, url) == 1
    assert "PYSEC-2020-1" in capfd.readouterr().out


def test_an_unreachable_service_is_reported_and_passes(
    requirements: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with service({}) as url:
        pass
    assert audit(requirements, url) == 0
    assert capfd.readouterr().out == f"No package was audited: {url} cannot be reached (ConnectionError).\n"


def test_a_service_error_is_reported_and_passes(
    requirements: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with service({}, status=403) as url:
        assert audit(requirements, url) == 0
    assert capfd.readouterr().out == f"No package was audited: {url} cannot be reached (HTTP status 403).\n"


def test_any_other_error_of_the_audit_fails(requirements: Path) -> None:
    requirements.write_text("jmespath\n")  # neither a version nor a hash
    with service({}) as url:
        assert audit(requirements, url) != 0


# ---- The bills of materials ----


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bills")
    subprocess.run(["make", "sbom", f"BILLS={folder}"], cwd=ROOT, check=True, capture_output=True)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_there_is_a_valid_bill_for_the_layer_and_one_for_the_worker(bills: dict[str, str]) -> None:
    assert set(bills) == {"sluice-layer.cdx.json", "sluice-worker.cdx.json"}
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    assert {name: validator.validate_str(bill) for name, bill in bills.items()} == dict.fromkeys(bills)


def listed(bill: str) -> dict[str, str]:
    return {component["name"]: component["version"] for component in json.loads(bill)["components"]}


def test_the_layers_bill_lists_what_the_layers_requirements_pin(bills: dict[str, str]) -> None:
    text = (ROOT / "layers/sluice/requirements.txt").read_text(encoding="utf-8")
    pins = [line.split()[0].split("==") for line in text.splitlines() if "==" in line]
    assert listed(bills["sluice-layer.cdx.json"]) == dict(pins)


def test_the_workers_bill_lists_what_its_wheel_requires(bills: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requested = {
        requirement.split(">=")[0]
        for requirement in (*project["dependencies"], *project["optional-dependencies"]["worker"])
    }
    bill = listed(bills["sluice-worker.cdx.json"])
    assert requested <= set(bill)
    assert not {"moto", "pytest", "ruff"} & set(bill)


def test_every_component_of_a_bill_has_its_hashes(bills: dict[str, str]) -> None:
    for bill in bills.values():
        for component in json.loads(bill)["components"]:
            assert all(reference["hashes"] for reference in component["externalReferences"]), component[
                "name"
            ]
