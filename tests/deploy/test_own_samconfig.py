"""Workloads in a samconfig of the user's own, outside the clone, as docs/workload.md shows."""

from __future__ import annotations

import json
from pathlib import Path

from tests.deploy.build import ROOT
from tests.deploy.deployment import PLANE
from tests.deploy.shared_deployment import SharedDeployment


def of_the_page() -> str:
    """The page's file, for the plane that the tests deploy."""
    page = (ROOT / "docs/workload.md").read_text(encoding="utf-8")
    shown = page.partition("# A workload\n")[2].partition("```toml\n")[2].partition("```")[0]
    assert "parameter_overrides = [\n" in shown
    return shown.replace(
        "parameter_overrides = [\n", f'parameter_overrides = [\n    "ControlPlaneStack={PLANE}",\n'
    )


def test_a_workload_of_a_file_outside_the_clone_is_deployed_from_the_clone(
    deployed: SharedDeployment, tmp_path: Path
) -> None:
    own = tmp_path / "samconfig.toml"
    own.write_text(of_the_page(), encoding="utf-8")
    deployed.deployment.deploy_workload_of(own, "thumbnails")
    try:
        aws = deployed.deployment.server.aws
        registered = aws("ssm", "GetParameter", Name="/sluice/workloads/thumbnails")["Parameter"]["Value"]
        document = json.loads(registered)
        assert document["queue_url"].endswith("/uploads")
        assert document["capacity"] == {"min": 0, "max": 12, "bootstrap": "backlog"}
        assert (document["target"]["type"], document["target"]["messages_per_instance"]) == ("static", 4)
        assert document["tracking"]["metric"] == "effective"
    finally:
        deployed.deployment.delete("sluice-thumbnails")
