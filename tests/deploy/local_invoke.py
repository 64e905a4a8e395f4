"""Every function with every event in AWS's own Lambda image, run by SAM against the embedded AWS.

`python -m tests.deploy.local_invoke` after `make build`. Both stacks are deployed first; each invocation is
then judged by the table that `make e2e` uses: answer, requests and the account afterwards. Where no container
engine runs it says so in one sentence and ends with status 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.deploy.account import Account
from tests.deploy.authorization import Gate
from tests.deploy.build import ROOT
from tests.deploy.containers import (
    HOST_NAME,
    Invoke,
    containers,
    host_address,
    unmet,
)
from tests.deploy.deployment import (
    FUNCTIONS,
    Deployment,
)
from tests.deploy.every_event import (
    CASES,
    Seen,
    outcome,
)
from tests.deploy.server import (
    door,
    served,
)
from tests.deploy.standing import Standing

BUILT = ROOT / ".aws-sam" / "local"


def failures(
    account: Account, gate: Gate, invoke: Invoke, cases: Mapping[tuple[str, str], Seen] = CASES
) -> Iterator[str]:
    """A sentence for each invocation that did not lead to what the table says; prints a line for each."""
    for (function, event), awaited in cases.items():
        account.calm()
        seen = outcome(function, event, account, gate, partial(invoke, function))
        print(f"{'ok    ' if seen == awaited else 'FAILED'} {function} {event}", flush=True)  # noqa: T201
        if seen != awaited:
            yield f"{function} {event}:\n  awaited {awaited}\n  seen    {seen}"


def environments(standing: Standing, endpoint: str) -> dict[str, dict[str, str]]:
    """Logical id -> what its deployed configuration says, a session of its role, and where AWS is."""
    found = {}
    for logical_id in FUNCTIONS:
        function = standing.function(logical_id)
        session = standing.deployment.credentials(function.role_arn)
        found[logical_id] = {**function.environment, **session, "AWS_ENDPOINT_URL": endpoint}
    return found


def main() -> int:
    """The exit status."""
    if reason := unmet(BUILT):
        print(reason)  # noqa: T201
        return 0
    with TemporaryDirectory(prefix="sluice-local-invoke-") as temporary, served() as server:
        folder = Path(temporary)
        standing = Standing(deployment=Deployment(server=server, built=BUILT, folder=folder)).current()
        with door(host_address()) as port:
            given = environments(standing, f"http://{HOST_NAME}:{port}")
            with containers(BUILT, given, folder) as invoke:
                found = list(failures(standing.account, server.gate, invoke))
                log = (folder / "sam-local.log").read_text() if found else ""
    print("\n".join([*found, log] if found else [f"{len(CASES)} invocations, each as the table says"]))  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
