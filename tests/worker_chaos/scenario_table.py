"""The scenarios of the long run with their message counts, and the defects that they have to detect."""

from __future__ import annotations

from collections.abc import Callable

from tests.worker_chaos.run import Verdict
from tests.worker_chaos.scenario_environment import Environment
from tests.worker_chaos.scenarios import (
    colors,
    drains_alone,
    drains_and_faults,
    groups,
    kills_and_faults,
    misbehaviour,
    poison,
    priorities,
)

Scenario = Callable[[Environment, int], Verdict]

SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "kills-and-faults": (kills_and_faults, 10_000),
    "drains-alone": (drains_alone, 10_000),
    "drains-and-faults": (drains_and_faults, 10_000),
    "groups": (groups, 2_000),
    "colors": (colors, 600),
    "poison": (poison, 400),
    "misbehaviour": (misbehaviour, 400),
    "priorities": (priorities, 1_200),
}
"""Name -> the scenario and its number of messages."""

DETECTED_BY = {
    "no-heartbeat": ("drains-alone", 400, "started again without a reason"),
    "deletes-dropped": ("drains-alone", 400, "started again without a reason"),
    "deleted-on-receipt": ("kills-and-faults", 400, "never processed"),
    "drain-in-haste": ("drains-alone", 400, "started again without a reason"),
    "groups-ignored": ("groups", 200, "the order of a group was broken"),
    "successor-too-early": ("groups", 400, "the order of a group was broken"),
    "failures-kept": ("poison", 120, "poisoned messages"),
    "priorities-ignored": ("priorities", 480, "was of high priority"),
}
"""Defect -> the scenario that detects it, its number of messages, and the sentence of the violation."""
