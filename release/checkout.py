"""The commit that is released, from git: its files, its time, and that nothing is left to commit."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from release.versions import ReleaseError

AS_COMMITTED = ("-c", "core.autocrlf=false", "-c", "core.attributesFile=/dev/null")
"""Git's own settings that would give an archive other bytes, such as Windows' line ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit and when it was made, in seconds since the epoch."""

    id: str
    epoch_s: int


def committed(checkout: Path) -> Commit:
    """The commit of HEAD."""
    commit_id, epoch_s = _git(checkout, "log", "-1", "--format=%H %ct").decode().split()
    return Commit(id=commit_id, epoch_s=int(epoch_s))


def refuse_changes(checkout: Path) -> None:
    """Raise ReleaseError if a file is changed or new: what is released has to be a commit."""
    if changed := _git(checkout, "status", "--porcelain").decode().splitlines():
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ReleaseError(f"{changed[0][3:]}{more} differs from the last commit: commit it, or put it back")


def export(checkout: Path, commit: Commit, into: Path) -> None:
    """Write the files of the commit, without what lies beside them in the checkout."""
    archive = _git(checkout, *AS_COMMITTED, "archive", "--format=tar", commit.id)
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(into, filter="data")


def _git(checkout: Path, *arguments: str) -> bytes:
    if shutil.which("git") is None:
        raise ReleaseError("git is not installed, and a release is built from a commit: install it")
    done = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, check=False)  # noqa: S603, S607
    if done.returncode != 0:
        said = done.stderr.decode().strip()
        raise ReleaseError(f"{checkout} is no clone with a commit, which a release is built from: {said}")
    return done.stdout
