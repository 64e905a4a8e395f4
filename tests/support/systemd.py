"""systemd's own check of a unit, which the Debian package `systemd` brings."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MISSING = "systemd-analyze is not installed here: apt-get install systemd"


def complaints(unit: str, folder: Path) -> list[str]:
    """What `systemd-analyze verify` says of a unit whose program is not on this machine."""
    [command] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    path = _written(unit.replace(command, "ExecStart=/bin/sh"), folder)
    verified = _analyze("verify", "--man=no", path)
    return [line for line in verified.stderr.splitlines() if path.name in line]


def exposure(unit: str, folder: Path) -> float:
    """What `systemd-analyze security` gives a unit: from 0, confined in every way, to 10."""
    judged = _analyze("security", "--offline=true", "--no-pager", "--json=off", _written(unit, folder))
    [verdict] = [line for line in judged.stdout.splitlines() if "Overall exposure level" in line]
    return float(verdict.split(":")[1].split()[0])


def _written(unit: str, folder: Path) -> Path:
    path = folder / "worker.service"
    path.write_text(unit)
    return path


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must check the units: {MISSING}", pytrace=False)
        pytest.skip(MISSING)
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
