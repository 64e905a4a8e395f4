"""Everything that a release consists of, built from a commit: the same commit makes the same bytes.

Owns the order of the steps, and all that could differ from one build to the next: the time is the commit's,
and names of folders, hash seeds, time zones and the mask of new files have no influence.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from release import checkout as git
from release.archives import write_zip
from release.bills import write_bills
from release.checkout import Commit
from release.templates import packaged
from release.versions import Release, ReleaseError, release_of

ARCHITECTURES = ("arm64", "x86_64")
RUNTIME = (3, 13)
"""The Python of Lambda's runtime, which compiles the layer."""
MOUNT = "/opt"
"""Where Lambda mounts a layer."""
COPIED = ("workload.yaml", "LICENSE", "README.md")
CHECKSUMS, NOTES = "SHA256SUMS", "RELEASE_NOTES.md"
SCRIPTS = Path(sys.executable).parent


def build(checkout: Path, into: Path) -> Release:
    """Write the release that `checkout` has committed to the folder `into`, which must be empty or new.

    The folder appears once the release is complete: one that is broken off leaves nothing to mistake for it.
    """
    if into.exists() and any(into.iterdir()):
        raise ReleaseError(f"{into} is not empty: remove it, or name another folder")
    git.refuse_changes(checkout)
    if sys.version_info[:2] != RUNTIME:
        raise ReleaseError("a release needs Python 3.13: make clean release PYTHON=/path/to/python3.13")
    commit = git.committed(checkout)
    into.parent.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="sluice-release-") as folder,
        TemporaryDirectory(prefix=".release-", dir=into.parent) as beside,
    ):
        source, files = Path(folder) / "source", Path(beside) / into.name
        files.mkdir()
        git.export(checkout, commit, source)
        release = release_of(source)
        _write_files(release, commit, source, files)
        try:
            files.replace(into)
        except OSError as problem:
            raise ReleaseError(
                f"{into} was filled during the build, perhaps by another: {problem.strerror}"
            ) from problem
    return release


def _write_files(release: Release, commit: Commit, source: Path, into: Path) -> None:
    _packages(source, into, commit)
    functions = f"sluice-functions-{release.version}.zip"
    write_zip(into / functions, source / "functions", epoch_s=commit.epoch_s)
    for architecture in ARCHITECTURES:
        layer = f"sluice-layer-{release.version}-{architecture}.zip"
        built = _layer(source, source.parent / architecture, architecture)
        write_zip(into / layer, built, epoch_s=commit.epoch_s)
        template = packaged(
            _text(source / "template.yaml"), architecture=architecture, layer=layer, functions=functions
        )
        _write(into / f"template-{architecture}.yaml", template)
    for name in COPIED:
        _write(into / name, _text(source / name))
    write_bills(source, into, epoch_s=commit.epoch_s)
    _write(into / NOTES, _notes(release, commit))
    _write(into / CHECKSUMS, _checksums(into))


def _packages(source: Path, into: Path, commit: Commit) -> None:
    """The wheel and the source distribution."""
    environment = {"SOURCE_DATE_EPOCH": str(commit.epoch_s)}
    _run([sys.executable, "-m", "hatchling", "build", "--directory", into], source, environment)


def _layer(source: Path, into: Path, architecture: str) -> Path:
    """The layer as `make deploy` builds it: locked wheels of the architecture, and bytecode."""
    # For the other kind of machine sam fetches binary wheels by version alone; this checks the locked hashes.
    locked = {
        "PIP_CONSTRAINT": str(source / "layers/sluice/requirements.txt"),
        "SAM_CLI_TELEMETRY": "0",
    }
    for_it = ("--no-cached", "--parameter-overrides", f"Architecture={architecture}")
    folders = ("--build-dir", into / "build", "--cache-dir", into / "cache")
    _run([SCRIPTS / "sam", "build", "SluiceLayer", *for_it, *folders], source, locked)
    layer = into / "build" / "SluiceLayer"
    # Bytecode names its source file.
    compileall = ("-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "-s", layer, "-p", MOUNT)
    _run([sys.executable, *compileall, layer], source)
    return layer


def _notes(release: Release, commit: Commit) -> str:
    """The changelog's section of this version, and what the files were built from and with."""
    to_come = "" if release.released else "Not released: CHANGELOG.md has no section of this version yet.\n\n"
    return (
        f"# Sluice {release.version}\n\n{to_come}{release.changes}\n\n---\n\n"
        f"Built from commit {commit.id} by `make release`, with Python {platform.python_version()} and zlib "
        f"{zlib.ZLIB_RUNTIME_VERSION}, with which the same commit makes the same files. "
        f"`sha256sum -c {CHECKSUMS}` checks them.\n"
    )


def _checksums(folder: Path) -> str:
    """As `sha256sum` writes and checks them."""
    files = sorted(folder.iterdir())
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def _run(command: list[str | Path], folder: Path, more: Mapping[str, str] | None = None) -> None:
    path = f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}"  # sam looks for python3.13 on it
    # Python's own variables say, among others, what bytecode holds and where it is written.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**inherited, "PATH": path, **(more or {})}
    done = subprocess.run(  # noqa: S603 - fixed arguments
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(
            f"{Path(command[0]).name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
