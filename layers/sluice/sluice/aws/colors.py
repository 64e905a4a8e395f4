"""The two parameters of a blue/green workload: its active color, and the color that receives no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sluice.aws.errors import aws_errors
from sluice.aws.responses import field
from sluice.core.model import Color
from sluice.document.active_color import NONE_DRAINS

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


class SsmColors:
    """Implements `ports.Colors` with parameters that the workload's stack has made."""

    def __init__(self, client: Callable[[], SSMClient], prefix: str) -> None:
        self._client, self._prefix = client, prefix

    def set_active(self, workload: str, color: Color) -> None:
        """PutParameter of `<prefix>/<workload>/active-color`."""
        self._put(f"{self._prefix}/{workload}/active-color", color)

    def set_draining(self, workload: str, color: Color | None) -> bool:
        """PutParameter of `<prefix>/<workload>/draining-color`."""
        return self._put(f"{self._prefix}/{workload}/draining-color", color or NONE_DRAINS)

    def _put(self, path: str, value: str) -> bool:
        """A parameter that has the value already gets no new version; one that is missing is not made."""
        with aws_errors(f"GetParameter of {path}"):
            present = field(field(self._client().get_parameter(Name=path), "Parameter"), "Value")
        if present == value:
            return False
        with aws_errors(f"PutParameter of {path}"):
            self._client().put_parameter(Name=path, Value=value, Overwrite=True)
        return True
