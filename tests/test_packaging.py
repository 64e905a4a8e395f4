"""The layer ships exactly the locked packages that it imports."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _locked() -> dict[str, dict]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package for package in lock["package"]}


def _pinned() -> dict[str, tuple[str, set[str]]]:
    """Name -> version and hashes in the layer's requirements."""
    text = (ROOT / "layers/sluice/requirements.txt").read_text(encoding="utf-8")
    found = {}
    for line in text.replace("\\\n", "").splitlines():
        pin, *hashes = line.split()
        name, version = pin.split("==")
        found[name] = (version, {word.removeprefix("--hash=") for word in hashes})
    return found


def test_the_layers_requirements_are_the_locked_versions_with_all_dependencies() -> None:
    locked = _locked()
    expected, open_names = (
        {},
        [dependency["name"] for dependency in locked["sluice"]["dev-dependencies"]["layer"]],
    )
    while open_names:
        name = open_names.pop()
        if name not in expected:
            expected[name] = locked[name]["version"]
            open_names += [
                dependency["name"]
                for dependency in locked[name].get("dependencies", [])
                if "extra" not in dependency
            ]
    pinned = {name: version for name, (version, _) in _pinned().items()}
    assert pinned == expected, "layers/sluice/requirements.txt is stale: run make lock"


def test_the_layers_requirements_have_the_hash_of_every_locked_file() -> None:
    """With the hashes pip, and so `sam build`, rejects any file other than the locked one."""
    locked = _locked()
    for name, (_, hashes) in _pinned().items():
        files = [*locked[name]["wheels"], locked[name]["sdist"]]
        assert hashes == {file["hash"] for file in files}, f"{name} is stale: run make lock"


def test_boto3_is_left_to_the_lambda_runtime() -> None:
    text = (ROOT / "layers/sluice/requirements.txt").read_text(encoding="utf-8")
    assert "boto" not in text
