"""Splits the registry into the slices of a tick's shards: contiguous parts of the sorted names.

Owns the boundaries between slices. Refuses to leave a name out, however large its document is.
"""

from __future__ import annotations

from collections.abc import Mapping


def slices(size_bytes: Mapping[str, int], *, max_names: int, max_bytes: int) -> list[tuple[str, ...]]:
    """The sorted names, in slices within both limits; a name larger than `max_bytes` is a slice by itself."""
    parts: list[tuple[str, ...]] = []
    part: list[str] = []
    filled_bytes = 0
    for name in sorted(size_bytes):
        if part and (len(part) == max_names or filled_bytes + size_bytes[name] > max_bytes):
            parts.append(tuple(part))
            part, filled_bytes = [], 0
        part.append(name)
        filled_bytes += size_bytes[name]
    return [*parts, tuple(part)] if part else parts
