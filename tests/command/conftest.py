"""The command, as a person calls it."""

from tests.simulation.conftest import sluice

__all__ = ["sluice"]
