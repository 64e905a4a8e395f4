"""Archives whose bytes depend on their contents alone: sorted entries, one time, one mode, one system."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

READABLE_FILE = 0o100644
"""Lambda needs read access for everybody, and executes nothing of a layer or a function as a program."""
UNIX = 3
SMALLEST = 9


def write_zip(archive: Path, folder: Path, *, epoch_s: int) -> None:
    """Write every file below `folder`, each with the time `epoch_s` in UTC; zip has steps of two seconds."""
    moment = max(time.gmtime(epoch_s)[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(archive, "w") as written:
        for name in sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        ):
            entry = zipfile.ZipInfo(name, moment)
            entry.create_system = UNIX
            entry.external_attr = READABLE_FILE << 16
            written.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED, SMALLEST)
