"""The regions that an account can use."""

from __future__ import annotations

from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import field, list_field


def enabled(client: Any) -> list[str]:
    """The sorted names of the regions that are enabled in the client's account; raises SluiceError."""
    with aws_errors("DescribeRegions"):
        # Without AllRegions=True these are the enabled ones.
        regions = list_field(client.describe_regions(), "Regions")
        return sorted(field(region, "RegionName") for region in regions)
