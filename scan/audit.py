"""Check the packages of a requirements file for known vulnerabilities: `python scan/audit.py REQUIREMENTS`.

If the vulnerability service cannot be reached, this says so and passes. Otherwise the exit status is
pip-audit's own: a vulnerability fails, and so does any other error.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import requests

SERVICE = "https://api.osv.dev/v1/query"
TIMEOUT_S = 15


@click.command()
@click.argument("requirements", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(requirements: Path) -> None:
    """Audit the packages of REQUIREMENTS, which must have hashes."""
    sys.exit(audit(requirements, SERVICE))


def audit(requirements: Path, service: str) -> int:
    """pip-audit's exit status; 0 with a message if the service cannot be reached."""
    if problem := service_problem(service):
        click.echo(f"No package was audited: {service} cannot be reached ({problem}).")
        return 0
    options = ["--strict", "--disable-pip", "--progress-spinner", "off", "--desc", "off"]
    source = ["--vulnerability-service", "osv", "--osv-url", service, "--requirement", str(requirements)]
    return subprocess.run(  # noqa: S603 - fixed arguments
        [sys.executable, "-m", "pip_audit", *options, *source], check=False
    ).returncode


def service_problem(service: str) -> str | None:
    """Why the service does not answer a query; None if it does."""
    query = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "1.0"}
    try:
        answer = requests.post(service, json=query, timeout=TIMEOUT_S)
        answer.raise_for_status()
        answer.json()
    except requests.HTTPError:
        return f"HTTP status {answer.status_code}"
    except requests.RequestException as error:
        return type(error).__name__
    return None


if __name__ == "__main__":
    main()
