"""The CycloneDX bills of materials, from the lock: `python -m release.bills FOLDER`.

uv gives each a random serial number and the time of day. Here the number is derived from the contents and
the time is the commit's, so that one lock makes one bill.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from release.checkout import committed
from release.versions import ReleaseError

CHECKOUT = Path(__file__).resolve().parents[1]
# The format is a preview of uv's, whose version is locked.
EXPORT = (
    "export",
    "--frozen",
    "--no-dev",
    "--quiet",
    "--format",
    "cyclonedx1.5",
    "--preview-features",
    "sbom-export",
)
CONTENTS = {"layer": ("--only-group", "layer"), "worker": ("--extra", "worker")}
"""Of which part -> uv's options for it."""
UV = Path(sys.executable).parent / "uv"


def write_bills(checkout: Path, into: Path, *, epoch_s: int) -> None:
    """Write `sluice-PART.cdx.json` for each part; `epoch_s` is the time that it states."""
    for part, options in CONTENTS.items():
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [UV, *EXPORT, *options], cwd=checkout, check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise ReleaseError(f"uv cannot list what {part} has: {done.stderr.strip()}")
        bill = _reproducible(json.loads(done.stdout), epoch_s)
        (into / f"sluice-{part}.cdx.json").write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")


def _reproducible(bill: dict[str, Any], epoch_s: int) -> dict[str, Any]:
    bill["metadata"]["timestamp"] = datetime.fromtimestamp(epoch_s, UTC).isoformat()
    del bill["serialNumber"]
    contents = json.dumps(bill, sort_keys=True)
    return {
        "bomFormat": bill["bomFormat"],
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, contents).urn,
    } | bill


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        write_bills(CHECKOUT, folder, epoch_s=committed(CHECKOUT).epoch_s)
    except ReleaseError as problem:
        sys.exit(f"No bills of materials: {problem}")
    print(*sorted(folder.glob("*.cdx.json")), sep="\n")  # noqa: T201 - the command's output
