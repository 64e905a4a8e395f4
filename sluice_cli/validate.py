"""`sluice validate`: whether a workload is valid, and which settings would be in force."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import chain

import click

from sluice.core.model import (
    AutoScalingGroup,
    Color,
    Deadline,
    DynamicTarget,
    Fleet,
    MetricSource,
    TrackedMetric,
    Workload,
)
from sluice.document import parsing
from sluice.document.schedule_lines import written
from sluice.errors import DocumentError
from sluice_cli import schedule_notes
from sluice_cli.usage_errors import (
    UsageError,
    as_usage_errors,
)
from sluice_cli.validation_notes import notes
from sluice_cli.workloads import COMPLETE, config_file, document
from sluice_sim.template.errors import TemplateError


@click.command()
@click.argument("workloads", metavar="WORKLOAD...", nargs=-1, required=True, shell_complete=COMPLETE)
@config_file
@click.option("--json", "as_json", is_flag=True, help="Print the valid documents, as JSON.")
def validate(workloads: tuple[str, ...], as_json: bool) -> None:
    """Check workloads as a deploy and the functions would, and print the settings in force.

    WORKLOAD is an environment of samconfig.toml or a file with a workload document. An environment's
    parameters are checked against the constraints and rules of workload.yaml, then become the document that
    its stack would register (with account 123456789012 and region eu-west-1). Exits with 1 if something is
    wrong, with a sentence for each problem, and with 2 if something cannot be read. A note explains the
    consequence of a valid setting, and does not change the exit status.

    --json prints one document, or a list of several; notes then go to stderr, as problems do.
    """
    documents, status = [], 0
    for name in workloads:
        try:
            with as_usage_errors(except_for=(TemplateError, DocumentError)):
                text = document(name)
                workload = _parsed(text, name)
        except (TemplateError, DocumentError) as error:
            status = max(status, 1)
            for problem in error.problems:
                click.echo(f"{name}: {problem}", err=True)
            continue
        except UsageError as error:  # cannot be read; the other workloads are still checked
            status = error.exit_code
            click.echo(error.message, err=True)
            continue
        documents.append(json.loads(text))
        if not as_json:
            color_is_named = "active" in documents[-1]["fleet"]
            click.echo(f"{name}: OK: {in_force(workload, color_is_named=color_is_named)}")
        for note in chain(notes(workload), schedule_notes.notes(workload, datetime.now(UTC))):
            click.echo(f"{name}: note: {note}", err=as_json)
    if as_json and documents:
        click.echo(json.dumps(documents if len(workloads) > 1 else documents[0], indent=2))
    click.get_current_context().exit(status)


def _parsed(text: str, name: str) -> Workload:
    """The workload; DocumentError also for what only AWS and a database of time zones know."""
    # A blue/green workload's stack makes blue the active color.
    workload = parsing.parse(text, what=name, active=Color.BLUE)
    if refused := list(schedule_notes.problems(workload)):
        raise DocumentError(name, refused)
    return workload


def in_force(workload: Workload, *, color_is_named: bool) -> str:
    """The settings that the functions would use, in one line.

    The document of a blue/green workload seldom names the active color: blue is active at first.
    """
    bounds, size, named = workload.bounds, workload.bootstrap_instances, _named(workload.fleet)
    if workload.idle is not None:
        color, since = workload.idle.color, "" if color_is_named else " at first"
        named += f" ({color.other}, active{since}) and {_named(workload.idle.fleet)} ({color}, idle{since})"
    woken = "as many as the backlog asks for" if size is None else f"{size}"
    if workload.deadline is not None:
        woken = "as many as start the messages in time"
    return (
        f"mode {workload.mode}; queue {workload.queue_name}; {named}, {bounds.min} to {bounds.max} "
        f"instances, bootstrap {woken}; {_scaled(workload)}; "
        f"shutdown after {workload.idle_minutes} empty minutes{_scheduled(workload)}"
    )


def _named(fleet: Fleet) -> str:
    if isinstance(fleet, AutoScalingGroup):
        return f"group {fleet.name}"
    return f"service {fleet.service} in cluster {fleet.cluster}"


def _scheduled(workload: Workload) -> str:
    return "".join(f"; schedule {written(each)}" for each in workload.schedules)


def _scaled(workload: Workload) -> str:
    if workload.deadline is not None:
        return _planned(workload, workload.deadline)
    counted = "" if workload.count_in_flight else ", messages in flight not counted"
    return f"{_target(workload)}{counted}; {_tracked(workload)}"


def _planned(workload: Workload, deadline: Deadline) -> str:
    return (
        f"planned every {deadline.tick_s} s, so that {deadline.promise_percent:g} % of the messages start "
        f"within {deadline.promise_s:g} s of their arrival (margin {deadline.margin_s:g} s; until "
        f"measured, boot {deadline.boot_s:g} s and processing time {workload.planned_processing_s:g} s; "
        f"{workload.target.concurrency_per_instance:g} at a time; busy instances {deadline.busy_instances})"
    )


def _target(workload: Workload) -> str:
    target = workload.target
    if not isinstance(target, DynamicTarget):
        return f"target {target.messages_per_instance:g} messages per instance"
    return (
        f"target {target.acceptable_latency_s:g} s x {target.concurrency_per_instance:g} / "
        f"{target.statistic} {workload.duration_metric.name}, {target.min_messages_per_instance:g} to "
        f"{target.max_messages_per_instance:g} messages per instance "
        f"({target.fallback_messages_per_instance:g} until it is known)"
    )


def _tracked(workload: Workload) -> str:
    tracking = workload.tracking
    if tracking.source is MetricSource.NATIVE:
        counts_arrivals = tracking.metric is TrackedMetric.EFFECTIVE
        numerator = "(visible + sent within the promise)" if counts_arrivals else "visible"
        return f"tracks AWS's own metrics, {numerator} / running"
    if not workload.publishes_effective:
        return "tracks BacklogPerInstance"
    is_dynamic, given_s = isinstance(workload.target, DynamicTarget), tracking.processing_s
    takes = "as measured" if given_s is None else f"{given_s:g} s" + (" until measured" if is_dynamic else "")
    return f"tracks EffectiveBacklogPerInstance (margin {tracking.arrival_margin:g}, processing time {takes})"
