"""Check that an output can be written before hours of work, not after them.

The checks leave nothing behind. A disk may still fill up meanwhile, so commands print their result before
they write it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from sluice_cli.usage_errors import UsageError


def require_writable_directory(path: Path) -> None:
    """Raise UsageError unless files can be written below `path`, which may not exist yet."""
    _require_possible(path)
    existing = path.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"{path}: cannot be written: {existing} is not a folder; name another one")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(
            f"{path}: cannot be written: no permission to write to {existing}; name another folder"
        )


def require_writable_file(path: Path) -> None:
    """Raise UsageError unless `path` can be created or overwritten."""
    _require_possible(path)
    if path.is_dir():
        raise UsageError(f"{path}: cannot be written: it is a folder; name a file")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise UsageError(f"{path}: cannot be written: no permission; name another file")
        return
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"{path}: cannot be written: there is no folder {path.parent}; make it, or name another"
        )
    require_writable_directory(path.parent)


def _require_possible(path: Path) -> None:
    """Raise UsageError if no such path can exist: its name is too long, or symlinks form a loop."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            raise UsageError(f"{path}: cannot be written: {error.strerror}; name another one") from error
