"""`sam local invoke` of every function with every event, in AWS's own Lambda image, against an embedded AWS.

`python -m tests.e2e.local_invoke` after `make build`. Where no container engine runs it says so in one
sentence and ends with status 0. A function may refuse an event with an error of its own; anything else that
is no answer (an import that fails, a timeout, a defect) ends it with status 1.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from moto.server import ThreadedMotoServer
from samtranslator.yaml_helper import yaml_parse

from sluice_sim.account import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".aws-sam" / "local"
IMAGE = "public.ecr.aws/lambda/python:3.13"
ARCHITECTURE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
LIMIT_S = 300
UNDERSTOOD = ("ConfigError", "TransientError")
"""What our functions answer on purpose: the account is empty, and not every event is for every function."""
SERVED = {"batchItemFailures": []}
"""What a queue is answered."""

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The program's end, with what it printed; status 127 where there is no such program."""
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except FileNotFoundError as missing:
        return subprocess.CompletedProcess(command, 127, "", str(missing))


def unmet(run: Run = run, built: Path = BUILT) -> str | None:
    """Why nothing can be invoked here, or None where it can."""
    if run(["docker", "info"]).returncode != 0:
        return "skipped: no container engine runs here (`docker info` fails); `make e2e` needs none"
    if not (built / "template.yaml").is_file():
        return f"skipped: {built} holds no build; run `make build` first"
    return None


def understood(printed: str) -> bool:
    """Whether the last line is an answer of the function's own."""
    lines = [line for line in printed.splitlines() if line.strip()]
    try:
        answer = json.loads(lines[-1]) if lines else {"errorType": "no answer"}
    except json.JSONDecodeError:
        return False
    return answer is None or answer == SERVED or answer.get("errorType") in UNDERSTOOD


def aimed(template: str, endpoint: str) -> str:
    """The built template, its functions sent to the embedded AWS."""
    body = yaml_parse(template)
    body["Globals"]["Function"]["Environment"]["Variables"]["AWS_ENDPOINT_URL"] = endpoint
    return json.dumps(body)


def functions(template: str) -> list[str]:
    """The logical ids of the functions."""
    resources = yaml_parse(template)["Resources"]
    return [name for name, body in resources.items() if body["Type"] == "AWS::Serverless::Function"]


def invoke_all(template: Path, environment: Mapping[str, str]) -> list[str]:
    """Every function with every event; the failures, a line each."""
    pull = [] if run(["docker", "image", "inspect", IMAGE]).returncode else ["--skip-pull-image"]
    failures = []
    for function in functions(template.read_text()):
        for event in sorted((ROOT / "events").glob("*.json")):
            done = run(
                [
                    *(str(Path(sys.executable).parent / "sam"), "local", "invoke", function),
                    *("--template", str(template), "--event", str(event), *pull),
                    *("--parameter-overrides", f"Architecture={ARCHITECTURE}"),
                ],
                environment,
            )
            fine = done.returncode == 0 and understood(done.stdout)
            print(f"{'ok    ' if fine else 'FAILED'} {function} {event.name}", flush=True)  # noqa: T201
            if not fine:
                failures.append(
                    f"{function} {event.name}: status {done.returncode}\n{done.stdout}{done.stderr}"
                )
    return failures


def main() -> int:
    """The exit status."""
    if reason := unmet():
        print(reason)  # noqa: T201
        return 0
    server = ThreadedMotoServer(ip_address="0.0.0.0", port=0, verbose=False)  # containers come from outside
    server.start()
    copy = BUILT / "local-invoke.json"
    try:
        endpoint = f"http://host.docker.internal:{server.get_host_and_port()[1]}"
        copy.write_text(aimed((BUILT / "template.yaml").read_text(), endpoint))
        failures = invoke_all(copy, {**ENVIRONMENT, "SAM_CLI_TELEMETRY": "0"})
    finally:
        copy.unlink(missing_ok=True)
        server.stop()
    print("\n".join(failures))  # noqa: T201
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
