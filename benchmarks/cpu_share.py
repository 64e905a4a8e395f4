"""Less than a core for a process, as Lambda gives it by memory.

Owns the control group, of either version, in which the process has its share of each 20 ms. Refuses where the
kernel or the user's rights do not allow it, with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

MB_PER_CORE = 1769
"""The memory at which a function has one whole virtual CPU (documented)."""
PERIOD_US = 20_000
GROUPS = Path("/sys/fs/cgroup")


class NoControlGroupError(Exception):
    """No share can be set here."""


def share_of(memory_mb: float) -> float:
    """Of a core, at so much memory."""
    return memory_mb / MB_PER_CORE


@contextmanager
def held_to(share: float, *pids: int) -> Iterator[None]:
    """Each of the processes has this share of a core, with all its threads; of 1 it has what there is."""
    with ExitStack() as stack:
        for pid in pids if share < 1 else ():
            stack.enter_context(_limited(share, pid))
        yield


@contextmanager
def _limited(share: float, pid: int) -> Iterator[None]:
    quota_us = round(share * PERIOD_US)
    first_version = GROUPS / "cpu"
    root = first_version if first_version.is_dir() else GROUPS
    group = root / f"sluice-benchmark-{pid}"
    try:
        group.mkdir()
        if root is first_version:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (root / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        _move(pid, group)
    except OSError as refused:
        if group.is_dir():
            group.rmdir()
        raise NoControlGroupError(f"no share of a core can be set on this machine: {refused}") from refused
    try:
        yield
    finally:
        _move(pid, root)
        group.rmdir()


def _move(pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid))
