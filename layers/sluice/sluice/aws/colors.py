"""The parameters of a blue/green workload: its active color, and the color that receives no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sluice.aws.errors import aws_errors
from sluice.aws.registry import ACTIVE, DRAINING
from sluice.aws.responses import field
from sluice.core.model import Color
from sluice.document.active_color import NONE_DRAINS

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


class SsmColors:
    """Implements `ports.Colors`.

    CloudFormation writes the value of a parameter again with any update of it, such as another tag of the
    stack, so the active color is no parameter of the stack: the first switch makes it. One that has the value
    already gets no new version.
    """

    def __init__(self, client: Callable[[], SSMClient], prefix: str) -> None:
        self._client, self._prefix = client, prefix

    def set_active(self, workload: str, color: Color) -> None:
        """PutParameter of `<prefix>/<workload>/active-color`, which may not be there yet."""
        client, path = self._client(), f"{self._prefix}/{workload}/{ACTIVE}"
        with aws_errors(f"GetParameter of {path}"):
            try:
                present = self._value(path)
            except client.exceptions.ParameterNotFound:
                present = None
        if present != color:
            self._put(path, color)

    def set_draining(self, workload: str, color: Color | None) -> bool:
        """PutParameter of `<prefix>/<workload>/draining-color`; one that is missing is not made."""
        path, value = f"{self._prefix}/{workload}/{DRAINING}", color or NONE_DRAINS
        with aws_errors(f"GetParameter of {path}"):
            present = self._value(path)
        if present != value:
            self._put(path, value)
        return present != value

    def _value(self, path: str) -> object:
        return field(field(self._client().get_parameter(Name=path), "Parameter"), "Value")

    def _put(self, path: str, value: str) -> None:
        with aws_errors(f"PutParameter of {path}"):
            self._client().put_parameter(Name=path, Value=value, Type="String", Overwrite=True)
