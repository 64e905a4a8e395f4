"""From a workload's past to advice: reproduce what happened, refuse where that fails, then search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sluice_sim.promise import KEPT_SHARE
from sluice_sim.study import reproduction
from sluice_sim.study.candidates import applied
from sluice_sim.study.experiment import Experiment, expected_service_s
from sluice_sim.study.judging import Figures, joined
from sluice_sim.study.recommendation import Recommendation, halves, recommend, run_parts
from sluice_sim.study.reproduction import Minutes, Reproduction
from sluice_sim.study.sweep import OnStep, parallel_runs
from sluice_sim.workloads.traces import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What really happened: the fleet minute by minute, and the share of messages that started in time."""

    minutes: Minutes
    share: float

    def compared(self, simulated: Figures) -> Reproduction:
        """The errors of a simulation of the same time."""
        return reproduction.compare(self.minutes, self.share, simulated.minutes, simulated.attainment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A workload's settings, and what arrived in whole days."""

    experiment: Experiment
    """The present settings on `trace`, whose file the experiment names."""
    trace: Trace
    happened: Happened | None
    """None where only arrivals are known."""
    notes: tuple[str, ...] = ()
    """What was assumed, filled or left out, as sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The reproduction of the past, and the recommendation, or why there is none."""

    present: Experiment
    whole: Figures
    """The present settings over the whole trace, whose halves were simulated side by side."""
    keep_share: float
    """Share of the messages for which the promise is to be kept."""
    reproduction: Reproduction | None
    recommendation: Recommendation | None
    refused: str | None


def advise(
    past: Past, folder: Path, on_step: OnStep = lambda _, __: None, time_zone: str | None = "UTC"
) -> Advice:
    """Simulate the present settings, and search others unless the simulation is wrong.

    Schedules are proposed in the time zone, a name of the IANA database; none for None. Parts of the trace
    are written to `folder`.
    """
    present = applied(past.experiment, {})
    present = replace(present, promise_s=present.promise(expected_service_s(present.load_settings)))
    deadline = present.deployed().workload.deadline
    keep_share = KEPT_SHARE if deadline is None else deadline.promise_percent / 100
    parts = halves(past.trace, folder)
    with parallel_runs() as runs:
        tuned, judged = run_parts(
            runs, "the present settings", [(present, parts.tuned), (present, parts.judged)], on_step
        )
        whole = joined(tuned, judged)
        compared = None if past.happened is None else past.happened.compared(whole)
        found, refused = None, None
        if compared is not None and (problems := list(compared.problems())):
            refused = _refusal(problems)
        else:
            found = recommend(
                present,
                past.trace,
                parts,
                (tuned, judged),
                folder,
                runs,
                keep_share=keep_share,
                time_zone=time_zone,
                on_step=on_step,
            )
    return Advice(
        present=present,
        whole=whole,
        keep_share=keep_share,
        reproduction=compared,
        recommendation=found,
        refused=refused,
    )


def _refusal(problems: list[str]) -> str:
    return (
        f"nothing is recommended, because the simulation of the present settings is not what happened: "
        f"{' and '.join(problems)}. Were the settings or the workers changed within these days? Then give "
        "--days so that it begins after the change. Otherwise compare what the simulation assumes: the boot "
        "time, the messages that a worker takes at a time, and paused or failed instances"
    )
