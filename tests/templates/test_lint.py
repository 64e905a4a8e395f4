"""cfn-lint finds nothing in any template."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.templates.stacks import ROOT

LINT = "import sys; from cfnlint.runner import main; sys.exit(main())"  # the package has no __main__


@pytest.mark.slow
def test_every_template_is_clean_to_cfn_lint() -> None:
    templates = [
        ROOT / "template.yaml",
        ROOT / "workload.yaml",
        *sorted((ROOT / "examples").glob("fleet-*.yaml")),
        ROOT / "examples/event-listener.yaml",
        ROOT / "examples/pipeline.yaml",
        ROOT / "examples/stackset.yaml",
        ROOT / "examples/stackset/code-bucket.yaml",
        *sorted((ROOT / "examples").glob("*/template.yaml")),
    ]
    command = [sys.executable, "-c", LINT, "--regions", "eu-west-1", "--", *map(str, templates)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stdout + finished.stderr == ""
    assert finished.returncode == 0
