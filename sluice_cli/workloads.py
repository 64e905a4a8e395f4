"""What WORKLOAD names on the command line: an environment of samconfig.toml, or a file with a document."""

from __future__ import annotations

from pathlib import Path

from sluice import config
from sluice.core.model import Workload
from sluice_cli.refusals import Refused
from sluice_sim.simulation import setting

CHECKOUT = Path(__file__).resolve().parent.parent


def parameters(name: str) -> dict[str, str]:
    """The parameters of `workload.yaml` that the workload is deployed with."""
    environments = _environments()
    if name in environments:
        return environments[name]
    return setting.document_parameters(_document(name), what=name)


def registered(name: str) -> Workload:
    """The workload with the metrics it has in AWS: those of its document, or of its environment's."""
    environments = _environments()
    if name in environments:
        return setting.deployed(CHECKOUT, environments[name]).workload
    return config.parse(_document(name), what=name)


def _environments() -> dict[str, dict[str, str]]:
    if not (CHECKOUT / "workload.yaml").is_file():
        raise Refused(f"{CHECKOUT} holds no workload.yaml: run this from a clone of the project")
    return setting.environments(CHECKOUT)


def _document(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        known = ", ".join(_environments())
        raise Refused(
            f"{name}: neither an environment of samconfig.toml ({known}) nor a file with a workload document"
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as refused:
        raise Refused(f"{name}: cannot be read: {refused}") from refused
