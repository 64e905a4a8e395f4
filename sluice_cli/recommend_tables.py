"""How `sluice recommend` prints its advice: what it rests on, the changes, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sluice_operator.core.monthly_cost import FleetPrice
from sluice_operator.core.prices import HOURS_A_MONTH, Prices
from sluice_report.quantities import UNKNOWN, count, duration, number, share
from sluice_sim.study.advice import Advice, Past
from sluice_sim.study.candidates import SCHEDULES, present_value
from sluice_sim.study.judging import Figures, Range
from sluice_sim.study.recommendation import Recommendation
from sluice_sim.study.reproduction import Reproduction

PADDING = (0, 1)
HOURS_A_DAY = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """The advice with what the user wants to see of it."""

    workload: str
    past: Past
    advice: Advice
    fleet: FleetPrice | None
    """What an instance costs; None if the user did not say what it is."""
    prices: Prices | None
    """Where that is from; None at a price of the user's own."""
    fail_above_percent: float

    @property
    def saves(self) -> bool:
        """Whether the saving is one that the user wants to fail on."""
        found = self.advice.recommendation
        return found is not None and found.changes != {} and 100 * found.saving >= self.fail_above_percent

    @property
    def breaks(self) -> bool:
        """Whether the present settings break the promise on the days held out."""
        found = self.advice.recommendation
        return found is not None and found.present.attainment < self.advice.keep_share


def shown(presented: Presented) -> Group:
    """All of it."""
    advice, past = presented.advice, presented.past
    parts: list[Text | Table] = [Text(_heading(presented), style="bold")]
    parts += [Text(note, style="dim") for note in past.notes]
    if advice.reproduction is not None:
        parts.append(Text(reproduced(advice.reproduction)))
    found = advice.recommendation
    if found is None:
        return Group(*parts)
    parts.append(Text(_searched(found), style="dim"))
    if found.changes:
        parts.append(_changes(presented, found))
    parts.append(_figures(presented, found))
    parts += [Text(sentence, style=style) for sentence, style in _verdict(presented, found)]
    parts.append(Text(_priced(presented), style="dim"))
    return Group(*parts)


def reproduced(found: Reproduction) -> str:
    """The errors of the simulation, in a sentence."""
    return (
        f"The simulation of the present settings: {number(found.simulated_instance_hours)} instance-hours "
        f"where {number(found.happened_instance_hours)} happened ({found.hours_error:+.1%}); "
        f"{share(found.simulated_share)} of the messages in time where {share(found.happened_share)} were "
        f"({found.share_error_points:+.1f} points); per minute, desired is off by "
        f"{found.desired_error:.2g} instances and running by {found.running_error:.2g} on average."
    )


def _heading(presented: Presented) -> str:
    trace, whole = presented.past.trace, presented.advice.whole
    return (
        f"{presented.workload}: {count(trace.total, 'message')} in {count(len(whole.days), 'day')}, "
        f"{share(presented.advice.keep_share)} of which are to start within {duration(whole.promise_s)}"
    )


def _searched(found: Recommendation) -> str:
    where = f"the busiest {count(found.probe_days, 'day')} of " if found.probe_days < found.tuned_days else ""
    return (
        f"{found.tried} settings were tried on {where}the first {count(found.tuned_days, 'day')}; the "
        f"figures are of the {count(found.judged_days, 'day')} after, by which no setting was chosen."
    )


def _changes(presented: Presented, found: Recommendation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=PADDING)
    table.add_column("setting")
    table.add_column("present", justify="right")
    table.add_column("recommended", justify="right", style="bold")
    for name, text in found.changes.items():
        table.add_row(name, present_value(presented.advice.present, name) or UNKNOWN, text or UNKNOWN)
    return table


def _figures(presented: Presented, found: Recommendation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=PADDING)
    table.add_column("on the days held out (range of the days)")
    table.add_column("present", justify="right")
    if found.changes:
        table.add_column("recommended", justify="right", style="bold")
    for name, shown_of in _rows(presented):
        judged = [found.present, found.recommended] if found.changes else [found.present]
        table.add_row(name, *(shown_of(figures) for figures in judged))
    return table


def _rows(presented: Presented) -> Iterator[tuple[str, Callable[[Figures], str]]]:
    promised = duration(presented.advice.whole.promise_s)
    yield f"started within {promised}", lambda figures: _ranged(figures.share, share)
    yield "instance-hours a day", lambda figures: _ranged(figures.instance_hours, number)
    if (fleet := presented.fleet) is not None:
        source = "your own price" if presented.prices is None else f"prices of {presented.prices.as_of}"
        yield (
            f"$ a month, {source}",
            lambda figures: _ranged(monthly(figures.instance_hours, fleet), _dollars),
        )
    yield "most instances", lambda figures: number(figures.peak_instances)


def _priced(presented: Presented) -> str:
    if (fleet := presented.fleet) is None:
        return "--fleet or --price adds the dollars a month."
    source = "your own price" if presented.prices is None else f"{fleet.label}, {presented.prices}"
    return f"An instance at ${fleet.usd_per_hour:.4g} an hour: {source}."


def monthly(hours_a_day: Range, fleet: FleetPrice) -> Range:
    """Dollars a month."""
    factor = HOURS_A_MONTH / HOURS_A_DAY * fleet.usd_per_hour
    return Range(mean=hours_a_day.mean * factor, min=hours_a_day.min * factor, max=hours_a_day.max * factor)


def _verdict(presented: Presented, found: Recommendation) -> Iterator[tuple[str, str]]:
    keep_share = presented.advice.keep_share
    if presented.breaks:
        broken = (
            f"The present settings break the promise: {share(found.present.attainment)} of the messages "
            f"start in time, and {share(keep_share)} should."
        )
        yield broken, "bold red"
    if found.changes.get("Scaling") == "deadline":
        needs = (
            "Scaling=deadline takes workers that protect their instance while they work (docs/workload.md); "
            "what the control plane itself costs is in docs/costs.md, and not in these figures."
        )
        yield needs, "yellow"
    if floors := [name for name, line in found.changes.items() if name in SCHEDULES and line]:
        yield _predicts(floors), "yellow"
    if not found.changes:
        yield "No setting that was tried is better than the present ones.", ""
    elif found.recommended.attainment < keep_share:
        neither = (
            "The recommended settings do not keep the promise on the days held out either: they are the best "
            "that was found."
        )
        yield neither, "bold red"
    elif found.saving > 0:
        yield f"The recommended settings take {found.saving:.1%} fewer instance-hours.", "bold green"
    else:
        yield f"The recommended settings take {-found.saving:.1%} more instance-hours.", "bold"


def _predicts(floors: Sequence[str]) -> str:
    """What a schedule is, and whose."""
    return (
        f"{' and '.join(floors)} predict: AWS holds these bounds from these times on, whatever arrives, and "
        "Sluice never changes them. They are yours to review; an empty value switches them off "
        "(docs/recommend.md)."
    )


def _ranged(value: Range | None, written: Callable[[float], str]) -> str:
    if value is None:
        return UNKNOWN
    if written(value.min) == written(value.max):
        return written(value.mean)
    return f"{written(value.mean)} ({written(value.min)} to {written(value.max)})"


def _dollars(value: float) -> str:
    return f"${value:,.0f}" if value >= 100 else f"${value:,.2f}"
