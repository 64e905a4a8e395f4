"""The layer ships exactly what the lock says it imports."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _locked() -> dict[str, dict]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package for package in lock["package"]}


def test_the_layers_requirements_are_the_locks_versions_with_everything_they_need() -> None:
    locked = _locked()
    wanted, open_names = (
        {},
        [dependency["name"] for dependency in locked["sluice"]["dev-dependencies"]["layer"]],
    )
    while open_names:
        name = open_names.pop()
        if name not in wanted:
            wanted[name] = locked[name]["version"]
            open_names += [
                dependency["name"]
                for dependency in locked[name].get("dependencies", [])
                if "extra" not in dependency
            ]
    text = (ROOT / "layers/sluice/requirements.txt").read_text(encoding="utf-8")
    pinned = dict(line.split("==") for line in text.split())
    assert pinned == wanted, "layers/sluice/requirements.txt is stale: run make lock"


def test_boto3_is_left_to_the_lambda_runtime() -> None:
    text = (ROOT / "layers/sluice/requirements.txt").read_text(encoding="utf-8")
    assert "boto" not in text
