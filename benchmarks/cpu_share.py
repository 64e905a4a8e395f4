"""Limit a process to a share of a core, as Lambda does according to memory.

Uses a control group of either version, with a quota per 20 ms. Raises NoControlGroupError if the kernel or
the user's rights do not allow it.
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
    """The share of a core cannot be limited on this machine."""


def share_of(memory_mb: float) -> float:
    """The share of a core that a function with this memory gets."""
    return memory_mb / MB_PER_CORE


@contextmanager
def limited_to(share: float, *pids: int) -> Iterator[None]:
    """Limit each process, with all its threads, to this share of a core; 1 is no limit."""
    with ExitStack() as stack:
        for pid in pids if share < 1 else ():
            stack.enter_context(_limited(share, pid))
        yield


@contextmanager
def _limited(share: float, pid: int) -> Iterator[None]:
    quota_us = round(share * PERIOD_US)
    cgroup_v1 = GROUPS / "cpu"
    root = cgroup_v1 if cgroup_v1.is_dir() else GROUPS
    group = root / f"sluice-benchmark-{pid}"
    try:
        group.mkdir()
        if root is cgroup_v1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (root / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        _move(pid, group)
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        raise NoControlGroupError(f"no share of a core can be set on this machine: {error}") from error
    try:
        yield
    finally:
        _move(pid, root)
        group.rmdir()


def _move(pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid))
