"""The scaling policies, one per file: a module here with a class `Policy` is found by its name.

Adding a policy takes one file. The first line of the class's docstring describes it in the report.
"""

from __future__ import annotations

import importlib
import pkgutil

from sluice_sim.simulator.context import Policy


def names() -> list[str]:
    """The names of all policies, derived from their files; `sluice` first."""
    found = [module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)]
    return sorted(found, key=lambda name: (name != "sluice", name))


def named(name: str) -> Policy:
    """A new policy of this name; KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    policy: Policy = module.Policy()
    return policy
