"""The ways of scaling, one a file: a module here with a class `Policy` is found by its name.

Adding one takes one file. The first line of the class's docstring is what `--policy` says about it.
"""

from __future__ import annotations

import importlib
import pkgutil

from sluice_sim.simulator.context import Policy


def names() -> list[str]:
    """Every policy's name, as files name them."""
    found = [module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)]
    return sorted(found, key=lambda name: (name != "sluice", name))


def named(name: str) -> Policy:
    """A new policy of this name; KeyError where there is none."""
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    policy: Policy = module.Policy()
    return policy
