"""Adds to the corpus what reaches new branches: `python -m tests.fuzz.minimise` and the --corpus of a run.

The shortest inputs are tried first, so few and small ones are kept.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import CodeType

from tests.fuzz.play import play
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MAX_BYTES = 2000
TOOL = sys.monitoring.COVERAGE_ID


def main() -> None:
    folder = Path(sys.argv[1])
    for target, (_, package) in TARGETS.items():
        reached: list[tuple[str, int, int]] = []
        _report_branches(package, reached)
        candidates = [*sorted((CORPUS / target).iterdir()), *_shortest(folder / target)]
        for path in candidates:
            reached.clear()
            play(target, path.read_bytes())
            if reached and path.parent != CORPUS / target:
                shutil.copy(path, CORPUS / target / path.name[:12])
        sys.monitoring.free_tool_id(TOOL)


def _shortest(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.glob("*") if path.stat().st_size <= MAX_BYTES),
        key=lambda path: (path.stat().st_size, path.name),
    )


def _report_branches(package: str, reached: list[tuple[str, int, int]]) -> None:
    """Report each branch of the package once, the first time that it is taken."""
    folder = package.replace(".", "/")
    seen: set[tuple[str, int, int]] = set()

    def branch(code: CodeType, start: int, end: int) -> object:
        if folder not in code.co_filename:
            return sys.monitoring.DISABLE
        if (place := (code.co_filename + code.co_qualname, start, end)) not in seen:
            seen.add(place)
            reached.append(place)
        return None

    sys.monitoring.use_tool_id(TOOL, "minimise")
    sys.monitoring.register_callback(TOOL, sys.monitoring.events.BRANCH, branch)
    sys.monitoring.set_events(TOOL, sys.monitoring.events.BRANCH)
    sys.monitoring.restart_events()


if __name__ == "__main__":
    main()
