"""The Serverless Application Repository: `sam package` and `sam publish` of a released template.

The repository is a stand-in on this machine that checks each request against botocore's model of its API.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import unquote

import botocore.session
import pytest
from botocore.model import OperationModel
from botocore.validate import ParamValidator

from release.templates import packaged
from release.versions import release_of
from sluice_sim import template
from sluice_sim.account import REGION
from tests.deploy.build import ROOT, sam
from tests.deploy.server import Server, served

BUCKET = "sluice-artifacts"
LAYER, FUNCTIONS = "sluice-layer.zip", "sluice-functions.zip"
APPLICATION = f"arn:aws:serverlessrepo:{REGION}:123456789012:applications/sluice"
MODEL = botocore.session.get_session().get_service_model("serverlessrepo")
# As the page "AWS SAM template Metadata section properties" limits them.
LIMITS = {
    "Name": r"[a-zA-Z0-9\-]{1,140}",
    "Description": r"(?s).{1,256}",
    "Author": r"(?=.{1,127}$)[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?",
    "SpdxLicenseId": "Apache-2.0",
    "SemanticVersion": r"\d+\.\d+\.\d+",
}
LABEL, MAX_LABELS = r"[a-zA-Z0-9+\-_:/@]{1,127}", 10
# The types of template.yaml that AWS's list of supported resources names (its last public source, of 2021).
SUPPORTED = {
    "AWS::CloudWatch::Alarm",
    "AWS::DynamoDB::Table",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Role",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::SQS::Queue",
    "AWS::Serverless::Function",
    "AWS::Serverless::LayerVersion",
    "AWS::Serverless::StateMachine",
}


@dataclass(slots=True)
class Repository:
    """What was asked of the repository: operation and parameters, in order."""

    endpoint: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    exists: bool = False


@contextmanager
def repository() -> Iterator[Repository]:
    """A repository with at most one application, on a free port."""
    found = Repository()

    class Answering(BaseHTTPRequestHandler):
        operations: ClassVar[list[OperationModel]] = [
            MODEL.operation_model(name) for name in MODEL.operation_names
        ]

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            operation, parameters = request(self.operations, self.command, self.path, body)
            report = ParamValidator().validate(parameters, operation.input_shape)
            assert not report.has_errors(), report.generate_report()
            found.calls.append((operation.name, parameters))
            status, answer = self.result(operation.name)
            content = json.dumps(answer).encode()
            self.send_response(status)
            if status >= 400:
                self.send_header("x-amzn-ErrorType", "ConflictException")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def result(self, operation: str) -> tuple[int, dict[str, Any]]:
            if operation == "CreateApplication" and found.exists:
                return 409, {
                    "message": f"Application with id {APPLICATION} already exists",
                    "errorCode": "409",
                }
            found.exists = True
            return 201, {"applicationId": APPLICATION}

        do_POST = do_PUT = do_PATCH = do_GET = answer  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        found.endpoint = f"http://localhost:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def request(
    operations: list[OperationModel], method: str, path: str, body: Mapping[str, Any]
) -> tuple[OperationModel, dict[str, Any]]:
    """The operation that a request is for, and its parameters by the names of the API."""
    for operation in operations:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"]))
        matched = re.fullmatch(pattern, path)
        if operation.http["method"] == method and matched:
            given = {**body, **{name: unquote(value) for name, value in matched.groupdict().items()}}
            members = operation.input_shape.members
            names = {shape.serialization.get("name", name): name for name, shape in members.items()}
            assert given.keys() <= names.keys(), f"{operation.name} has no {given.keys() - names.keys()}"
            return operation, {names[key]: value for key, value in given.items()}
    raise AssertionError(f"the repository has no {method} {path}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        place = {"LocationConstraint": REGION}
        server.aws("s3", "CreateBucket", Bucket=BUCKET, CreateBucketConfiguration=place)
        yield server


@pytest.fixture(scope="module")
def uploaded(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that `sam package` wrote, next to what it was made from."""
    folder = tmp_path_factory.mktemp("release")
    for archive in (LAYER, FUNCTIONS):
        with zipfile.ZipFile(folder / archive, "w") as written:
            written.writestr("any.py", f"# of {archive}\n")
    for name in ("LICENSE", "README.md"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    text = packaged(text, architecture="arm64", layer=LAYER, functions=FUNCTIONS)
    (folder / "template.yaml").write_text(text, encoding="utf-8")
    sam(
        *("package", "--template-file", folder / "template.yaml", "--s3-bucket", BUCKET),
        *("--output-template-file", folder / "packaged.yaml"),
        folder=folder,
        endpoint=server.endpoint,
    )
    return folder / "packaged.yaml"


@pytest.fixture(scope="module")
def published(server: Server, uploaded: Path) -> list[tuple[str, dict[str, Any]]]:
    """The repository's calls of two `sam publish`."""
    with repository() as repo, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SERVERLESSAPPLICATIONREPOSITORY", repo.endpoint)
        for _ in range(2):
            sam("publish", "--template", uploaded, folder=uploaded.parent, endpoint=server.endpoint)
    return repo.calls


def content(server: Server, url: str) -> bytes:
    """The object of an s3:// URL."""
    bucket, key = url.removeprefix("s3://").split("/", 1)
    body: bytes = server.aws("s3", "GetObject", Bucket=bucket, Key=key)["Body"].read()
    return body


def test_sam_package_uploads_the_archives_as_they_are(server: Server, uploaded: Path) -> None:
    resources = template.load(uploaded)["Resources"]
    folder = uploaded.parent
    layer = resources["SluiceLayer"]["Properties"]["ContentUri"]
    assert content(server, layer) == (folder / LAYER).read_bytes()
    functions = {
        each["Properties"]["CodeUri"]
        for each in resources.values()
        if each["Type"] == "AWS::Serverless::Function"
    }
    assert [content(server, url) for url in functions] == [(folder / FUNCTIONS).read_bytes()]


def test_the_first_publication_creates_the_application_with_our_metadata(
    published: list[tuple[str, dict[str, Any]]], server: Server
) -> None:
    operation, sent = published[0]
    about = template.load(ROOT / "template.yaml")["Metadata"]["AWS::ServerlessRepo::Application"]
    assert operation == "CreateApplication"
    assert {name: sent[name] for name in about} == about
    assert sent["SemanticVersion"] == release_of(ROOT).version
    assert content(server, sent["LicenseUrl"]) == (ROOT / "LICENSE").read_bytes()
    assert content(server, sent["ReadmeUrl"]) == (ROOT / "README.md").read_bytes()
    assert "AWS::ServerlessRepo::Application" not in sent["TemplateBody"]


def test_the_next_one_updates_it_and_creates_a_version(published: list[tuple[str, dict[str, Any]]]) -> None:
    assert [operation for operation, _ in published] == [
        *("CreateApplication", "CreateApplication", "UpdateApplication", "CreateApplicationVersion"),
    ]
    version = published[-1][1]
    assert (version["ApplicationId"], version["SemanticVersion"]) == (APPLICATION, release_of(ROOT).version)


def test_the_metadata_keep_to_the_repositorys_limits() -> None:
    about = template.load(ROOT / "template.yaml")["Metadata"]["AWS::ServerlessRepo::Application"]
    assert {name for name, pattern in LIMITS.items() if not re.fullmatch(pattern, about[name])} == set()
    assert len(about["Labels"]) <= MAX_LABELS
    assert [label for label in about["Labels"] if not re.fullmatch(LABEL, label)] == []


def test_the_documentation_names_the_types_that_the_repository_may_refuse() -> None:
    types = {each["Type"] for each in template.load(ROOT / "template.yaml")["Resources"].values()}
    page = (ROOT / "docs" / "ways-in.md").read_text(encoding="utf-8")
    assert types > SUPPORTED
    assert {each for each in types - SUPPORTED if f"`{each}`" not in page} == set()
