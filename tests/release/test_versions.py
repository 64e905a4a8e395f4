"""A release has one version: the files that name it agree, and the changelog says what changes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from release.versions import CHANGELOG, PLACES, PYPROJECT, ReleaseError, release_of

ROOT = Path(__file__).resolve().parents[2]
HEAD = "# Changelog\n\nFor operators.\n\n"
TO_COME = "## [Unreleased]\n\n### Added\n\n- A way.\n\n"
FIRST = "## [{version}] - 2027-01-15\n\n### Added\n\n- All of it.\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of this checkout that name the version."""
    for name in (PYPROJECT, CHANGELOG, *(place for place, _ in PLACES)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def version(checkout: Path) -> str:
    return release_of(checkout).version


def refused(checkout: Path) -> str:
    with pytest.raises(ReleaseError) as refusal:
        release_of(checkout)
    return str(refusal.value)


def test_every_file_of_this_checkout_names_the_same_version(checkout: Path) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", version(checkout))


@pytest.mark.parametrize(("place", "pattern"), PLACES, ids=lambda value: value[:40])
def test_another_version_in_one_place_is_refused_and_both_files_are_named(
    checkout: Path, place: str, pattern: str
) -> None:
    was, path = version(checkout), checkout / place
    text = path.read_text(encoding="utf-8")
    [line] = [found.group() for found in re.finditer(pattern, text, re.MULTILINE)]
    path.write_text(text.replace(line, line.replace(was, "9.8.7")), encoding="utf-8")
    assert refused(checkout).startswith(f"pyproject.toml says {was}, but {place} says 9.8.7: ")


def test_a_file_that_names_no_version_is_refused(checkout: Path) -> None:
    path = checkout / "template.yaml"
    path.write_text(
        re.sub(r"\n +SemanticVersion: .*", "", path.read_text(encoding="utf-8")), encoding="utf-8"
    )
    assert "template.yaml says no version" in refused(checkout)


def test_the_section_of_the_version_is_what_changes(checkout: Path) -> None:
    older = "\n## [0.0.9] - 2026-12-01\n\n- Less of it.\n"
    changelog = HEAD + "## [Unreleased]\n\n" + FIRST.format(version=version(checkout)) + older
    (checkout / CHANGELOG).write_text(changelog, encoding="utf-8")
    release = release_of(checkout)
    assert (release.changes, release.released) == ("### Added\n\n- All of it.", True)


def test_what_is_unreleased_is_what_changes_as_long_as_the_version_has_no_section(checkout: Path) -> None:
    (checkout / CHANGELOG).write_text(HEAD + TO_COME + FIRST.format(version="0.0.9"), encoding="utf-8")
    release = release_of(checkout)
    assert (release.changes, release.released) == ("### Added\n\n- A way.", False)


def test_a_version_of_which_the_changelog_says_nothing_is_refused(checkout: Path) -> None:
    was = version(checkout)
    (checkout / CHANGELOG).write_text(
        HEAD + "## [Unreleased]\n\n" + FIRST.format(version="0.0.9"), encoding="utf-8"
    )
    assert refused(checkout).startswith(
        f"pyproject.toml says {was}, but CHANGELOG.md says nothing of it, nor of what is Unreleased: "
    )


def test_a_version_older_than_the_changelogs_newest_is_refused(checkout: Path) -> None:
    was = version(checkout)
    sections = FIRST.format(version="9.8.7") + "\n" + FIRST.format(version=was)
    (checkout / CHANGELOG).write_text(HEAD + sections, encoding="utf-8")
    assert refused(checkout).startswith(f"pyproject.toml says {was}, but CHANGELOG.md says 9.8.7: ")


def test_a_change_after_the_release_needs_another_version(checkout: Path) -> None:
    was = version(checkout)
    (checkout / CHANGELOG).write_text(HEAD + TO_COME + FIRST.format(version=was), encoding="utf-8")
    assert "is released, with more under Unreleased: raise the version" in refused(checkout)
