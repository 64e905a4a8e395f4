"""Make the SVG of a long run small enough for a phone, without changing what it shows."""

from __future__ import annotations

import re
from collections.abc import Sequence


def compact(svg: str) -> str:
    """The same drawing in fewer bytes: tenths of a point, steps as H and V, no points within a line."""
    return re.sub(r' d="([^"]*)"', lambda found: f' d="{_compact_path(found[1])}"', svg)


def _compact_path(path: str) -> str:
    """Shorten a path of straight lines; a path with curves is returned unchanged."""
    steps = re.findall(r"([A-Za-z])([^A-Za-z]*)", path)
    if any(command not in "MLz" for command, _ in steps):
        return path
    written: list[str] = []
    corners: list[tuple[float, float]] = []
    for command, rest in steps:
        if command == "z":
            written.append(_polyline(corners) + "z")
            corners = []
            continue
        if command == "M" and corners:
            written.append(_polyline(corners))
            corners = []
        x, y = (round(float(value), 1) for value in rest.split())
        corners.append((x, y))
    return "".join(written) + _polyline(corners)


def _polyline(corners: Sequence[tuple[float, float]]) -> str:
    if not corners:
        return ""
    kept: list[tuple[float, float]] = []
    for corner in corners:
        while len(kept) > 1 and _between(kept[-2], kept[-1], corner):
            kept.pop()
        if not kept or kept[-1] != corner:
            kept.append(corner)
    (x, y), *others = kept
    parts = [f"M{x:g} {y:g}"]
    for nx, ny in others:
        parts.append(f"H{nx:g}" if ny == y else f"V{ny:g}" if nx == x else f"L{nx:g} {ny:g}")
        x, y = nx, ny
    return "".join(parts)


def _between(before: tuple[float, float], middle: tuple[float, float], after: tuple[float, float]) -> bool:
    """Whether the middle of three points lies on a horizontal or vertical line that keeps its direction."""
    for along, across in ((0, 1), (1, 0)):
        if before[across] == middle[across] == after[across]:
            return (before[along] - middle[along]) * (middle[along] - after[along]) >= 0
    return False
