"""An archive's bytes depend on what it contains, and on nothing of how that was written."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from release.archives import write_zip

FILES = {"b.txt": b"second", "a/deep.py": b"import os\n", "a.so": bytes(range(256)), "ä.txt": b"last"}
EPOCH_S = 1_800_000_001
"""15 January 2027, 08:00:01 UTC."""


def archive(
    folder: Path, names: list[str], *, mode: int = 0o644, written_s: int = 0, epoch_s: int = EPOCH_S
) -> Path:
    """Of a folder whose files are written in this order, with this mode and time."""
    folder.mkdir()
    for name in names:
        path = folder / "content" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
        path.chmod(mode)
        os.utime(path, (written_s, written_s))
    write_zip(folder / "archive.zip", folder / "content", epoch_s=epoch_s)
    return folder / "archive.zip"


def test_order_modes_and_times_of_the_files_have_no_influence(tmp_path: Path) -> None:
    one = archive(tmp_path / "one", sorted(FILES))
    other = archive(tmp_path / "other", sorted(FILES, reverse=True), mode=0o700, written_s=1_234_567_890)
    assert one.read_bytes() == other.read_bytes()


def test_the_files_are_sorted_readable_and_as_old_as_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path / "one", list(FILES))) as written:
        entries = written.infolist()
        assert {entry.filename: written.read(entry) for entry in entries} == FILES
    assert [entry.filename for entry in entries] == sorted(FILES)
    assert {oct(entry.external_attr >> 16) for entry in entries} == {"0o100644"}
    assert {entry.date_time for entry in entries} == {(2027, 1, 15, 8, 0, 0)}


def test_a_time_before_those_of_zip_is_its_first(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path / "one", ["b.txt"], epoch_s=0)) as written:
        assert written.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)
