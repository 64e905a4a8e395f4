"""Asks a vulnerability service about the packages of a file: `python scan/audit.py REQUIREMENTS`.

Owns the difference between a service that cannot be asked, which is told and passes, and an audit that was
made, whose status is pip-audit's own: a vulnerability fails, and so does whatever else it stumbles over.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import requests

SERVICE = "https://api.osv.dev/v1/query"
ANSWER_LIMIT_S = 15


@click.command()
@click.argument("requirements", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(requirements: Path) -> None:
    """Audit the packages of REQUIREMENTS, which carries hashes."""
    sys.exit(audit(requirements, SERVICE))


def audit(requirements: Path, service: str) -> int:
    """pip-audit's exit status, or 0 with a sentence where the service cannot be asked."""
    if hindrance := hindrance_to_ask(service):
        click.echo(f"No package was audited: {service} cannot be asked ({hindrance}).")
        return 0
    options = ["--strict", "--disable-pip", "--progress-spinner", "off", "--desc", "off"]
    source = ["--vulnerability-service", "osv", "--osv-url", service, "--requirement", str(requirements)]
    return subprocess.run(  # noqa: S603 - the words are ours
        [sys.executable, "-m", "pip_audit", *options, *source], check=False
    ).returncode


def hindrance_to_ask(service: str) -> str | None:
    """Why the service answers no question; None where it does."""
    question = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "1.0"}
    try:
        answer = requests.post(service, json=question, timeout=ANSWER_LIMIT_S)
        answer.raise_for_status()
        answer.json()
    except requests.HTTPError:
        return f"HTTP status {answer.status_code}"
    except requests.RequestException as error:
        return type(error).__name__
    return None


if __name__ == "__main__":
    main()
