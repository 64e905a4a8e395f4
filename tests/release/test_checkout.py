"""A release is built from what is committed, and from nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from release.build import build
from release.checkout import committed, export, refuse_changes
from release.versions import Release, ReleaseError
from tests.deploy.build import ROOT


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one commit, and a file beside it that git ignores."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "kept.py").write_text("one\n")
    (folder / ".gitignore").write_text("ignored\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Begin", "--date", "2027-01-15T08:00:00Z")
    (folder / "ignored").write_text("not of the release\n")
    return folder


def test_the_files_of_the_commit_are_exported_and_nothing_beside_them(clone: Path, tmp_path: Path) -> None:
    export(clone, committed(clone), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".gitignore", "kept.py"]


def test_the_line_ends_of_the_commit_are_exported_whatever_git_is_set_to(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "attributes").write_text("*.py export-ignore\n")
    git(clone, "config", "core.autocrlf", "true")
    git(clone, "config", "core.attributesFile", str(tmp_path / "attributes"))
    export(clone, committed(clone), tmp_path / "out")
    assert (tmp_path / "out" / "kept.py").read_bytes() == b"one\n"


def test_a_changed_file_is_refused_by_its_name(clone: Path) -> None:
    refuse_changes(clone)
    (clone / "kept.py").write_text("two\n")
    with pytest.raises(
        ReleaseError, match=r"^kept\.py differs from the last commit: commit it, or put it back$"
    ):
        refuse_changes(clone)


def test_new_files_are_refused_too(clone: Path, tmp_path: Path) -> None:
    (clone / "a.py").write_text("")
    (clone / "b.py").write_text("")
    with pytest.raises(ReleaseError, match=r"^a\.py and 1 more differs"):
        build(clone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_clone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="is no clone with a commit"):
        committed(tmp_path)


def test_a_folder_with_files_is_never_written_to(clone: Path) -> None:
    with pytest.raises(ReleaseError, match="is not empty: remove it, or name another folder"):
        build(clone, clone)


def test_a_release_that_is_broken_off_leaves_no_folder_that_could_pass_for_one(
    clone: Path, tmp_path: Path
) -> None:
    files = ["pyproject.toml", "CHANGELOG.md", "uv.lock", "template.yaml", "workload.yaml"]
    for name in [*files, "layers/sluice/sluice/document/versions.py"]:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((ROOT / name).read_bytes())
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "Add what names the version, and nothing to build")
    with pytest.raises(ReleaseError, match=r"^python\S* ended with "):
        build(clone, tmp_path / "out" / "files")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_another_build_filled_in_the_meantime_is_left_as_it_is(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other build ends while this one reads the version."""
    into, version = tmp_path / "out", Release(version="1.2.3", changes="", released=True)

    def meanwhile(_: Path) -> Release:
        into.mkdir()
        (into / "SHA256SUMS").write_text("of the other\n")
        return version

    monkeypatch.setattr("release.build.release_of", meanwhile)
    monkeypatch.setattr("release.build._write_files", lambda *_: None)
    with pytest.raises(ReleaseError, match="out was filled during the build, perhaps by another"):
        build(clone, into)
    assert (into / "SHA256SUMS").read_text() == "of the other\n"


def test_a_machine_without_git_is_told(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ReleaseError, match=r"^git is not installed"):
        committed(clone)
