"""Fresh inputs for every target, two at a time: `python -m tests.fuzz [TARGET ...] [--inputs 1000000]`.

An input that breaks something is kept beside the report, and its target ends there. To keep the inputs that
reach new branches, give a folder with --corpus; tests/fuzz/corpus has the smallest set of the last long run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MAX_BYTES = 300_000
MAX_MIB = 1024
PROGRESS = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+)")


def played(target: str, inputs: int, seconds: int, seed: int, kept: Path, found: Path) -> tuple[str, bool]:
    """One target's line of the report, and whether nothing broke."""
    options = [
        f"-runs={inputs}", f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MAX_BYTES}",
        f"-rss_limit_mb={MAX_MIB}",
        f"-artifact_prefix={found}/{target}-", "-len_control=0", "-timeout=20", "-print_final_stats=1",
    ]  # fmt: skip
    folders = [str(kept), str(CORPUS / target)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", target, *options, *folders],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    progress = PROGRESS.findall(done.stdout)
    count, _, edges, features = progress[-1] if progress else ("0", "", "0", "0")
    if done.returncode == 0:
        return f"{target:18} {int(count):9,} inputs, {edges} edges, {features} features", True
    (found / f"{target}.log").write_text(done.stdout)
    reason = done.stdout.partition("Uncaught Python exception")[2][:4000] or done.stdout[-3000:]
    return f"{target:18} BROKEN after {int(count):,} inputs, the input is in {found}:\n{reason}", False


def main() -> None:
    parser = argparse.ArgumentParser(description="Fresh inputs for everything that reads what others wrote.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seconds", type=int, default=0, help="of each target at most; 0: without a limit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="keep the inputs that reach new branches here")
    given = parser.parse_args()
    targets = given.targets or list(TARGETS)
    if unknown := sorted(set(targets) - set(TARGETS)):
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    found = Path(tempfile.mkdtemp(prefix="sluice-fuzz-"))
    kept = given.corpus or found / "corpus"
    each = -(-given.inputs // len(targets))

    def run(target: str) -> bool:
        folder = kept / target
        folder.mkdir(parents=True, exist_ok=True)
        line, is_whole = played(target, each, given.seconds, given.seed, folder, found)
        print(line, flush=True)  # noqa: T201 - the report
        return is_whole

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        whole = list(pool.map(run, targets))
    sys.exit(not all(whole))


if __name__ == "__main__":
    main()
