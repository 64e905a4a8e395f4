"""Every function with every event in AWS's own Lambda image, run by SAM against the embedded AWS.

`python -m tests.deploy.local_invoke` after `make build`. Both stacks are deployed first; each invocation is
then checked against the table that `make e2e` uses: response, requests and the account afterwards. Without a
container engine it says so in one sentence and exits with status 0.
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
    Outcome,
    run_case,
)
from tests.deploy.server import (
    listening_at,
    served,
)
from tests.deploy.shared_deployment import SharedDeployment

BUILT = ROOT / ".aws-sam" / "local"


def failures(
    account: Account, gate: Gate, invoke: Invoke, cases: Mapping[tuple[str, str], Outcome] = CASES
) -> Iterator[str]:
    """A sentence for each invocation without the expected outcome; prints a line for each invocation."""
    for (function, event), expected_outcome in cases.items():
        account.reset()
        actual = run_case(function, event, account, gate, partial(invoke, function))
        print(f"{'ok    ' if actual == expected_outcome else 'FAILED'} {function} {event}", flush=True)  # noqa: T201
        if actual != expected_outcome:
            yield f"{function} {event}:\n  expected {expected_outcome}\n  actual   {actual}"


def environments(deployed: SharedDeployment, endpoint: str) -> dict[str, dict[str, str]]:
    """Logical id -> its deployed variables, a session of its role, and the endpoint of AWS."""
    found = {}
    for logical_id in FUNCTIONS:
        function = deployed.function(logical_id)
        session = deployed.deployment.credentials(function.role_arn)
        found[logical_id] = {**function.environment, **session, "AWS_ENDPOINT_URL": endpoint}
    return found


def main() -> int:
    """Run every case; returns the exit status."""
    if reason := unmet(BUILT):
        print(reason)  # noqa: T201
        return 0
    with TemporaryDirectory(prefix="sluice-local-invoke-") as temporary, served() as server:
        folder = Path(temporary)
        deployed = SharedDeployment(
            deployment=Deployment(server=server, built=BUILT, folder=folder)
        ).current()
        with listening_at(host_address()) as port:
            variables = environments(deployed, f"http://{HOST_NAME}:{port}")
            with containers(BUILT, variables, folder) as invoke:
                found = list(failures(deployed.account, server.gate, invoke))
                log = (folder / "sam-local.log").read_text() if found else ""
    print("\n".join([*found, log] if found else [f"{len(CASES)} invocations, each as the table says"]))  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
