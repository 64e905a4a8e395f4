"""Where a command writes: refused before hours of work, not after them.

Owns the check that a file or a folder can be written, without leaving anything behind. A disk may still fill
up meanwhile: whoever writes prints its result first.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from sluice_cli.usage_errors import Refused


def require_writable_directory(path: Path) -> None:
    """Refused unless files can be written below `path`, which may have to be made with its parents."""
    _require_possible(path)
    existing = path.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise Refused(f"{path}: cannot be written: {existing} is not a folder; name another one")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Refused(f"{path}: cannot be written: no permission to write to {existing}; name another folder")


def require_writable_file(path: Path) -> None:
    """Refused unless `path` can be written, anew or over what is there."""
    _require_possible(path)
    if path.is_dir():
        raise Refused(f"{path}: cannot be written: it is a folder; name a file")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise Refused(f"{path}: cannot be written: no permission; name another file")
        return
    if not path.absolute().parent.is_dir():
        raise Refused(
            f"{path}: cannot be written: there is no folder {path.parent}; make it, or name another"
        )
    require_writable_directory(path.parent)


def _require_possible(path: Path) -> None:
    """Refused where there can be no such path: a name that is too long, links in a circle."""
    try:
        path.stat()
    except OSError as refused:
        if refused.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            raise Refused(f"{path}: cannot be written: {refused.strerror}; name another one") from refused
