"""See `sluice_sim.account`."""

from sluice_sim.account import ACCOUNT_ID, ENVIRONMENT, REGION, arn

__all__ = ["ACCOUNT_ID", "ENVIRONMENT", "REGION", "arn"]
