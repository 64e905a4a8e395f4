"""The options of every command that reads an AWS account, and the account that they choose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from threading import Thread
from typing import Any

import click

from sluice.document.versions import RELEASE
from sluice.errors import SluiceError
from sluice_cli import completion
from sluice_cli.progress import ProgressBar
from sluice_cli.usage_errors import UsageError
from sluice_cli.workloads import CHECKOUT
from sluice_operator.account import Account, open_account
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.session import AwsSession

EMBEDDED_PAUSE_S = 2.0
"""Seconds between two views of the embedded account, for each of which a minute is played."""
COMPLETE_WITHIN_S = 3.0
"""A shell waits for its completions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """What the user has chosen."""

    profile: str | None
    region: str | None
    endpoint_url: str | None
    stack: str
    embedded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedAccount:
    """The account to read, and how to let time pass between two reads of it."""

    account: Account
    wait: Callable[[float], None]


Embedded = Callable[[Path], AbstractContextManager[object]]
"""Makes an embedded account from the folder of the templates; within its context boto3 reaches it alone."""


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as one argument `account`."""

    @click.option("--profile", help="Of your AWS configuration. [default: AWS_PROFILE]")
    @click.option("--region", help="Of the control plane. [default: that of your AWS configuration]")
    @click.option("--endpoint-url", metavar="URL", help="Another endpoint than AWS's, for every service.")
    @click.option("--stack", default="sluice", show_default=True, help="The control plane's stack.")
    @click.option(
        "--embedded",
        is_flag=True,
        help="Read an embedded AWS in the middle of a burst instead: no account is needed.",
    )
    @wraps(command)
    def with_account(
        profile: str | None,
        region: str | None,
        endpoint_url: str | None,
        stack: str,
        *,
        embedded: bool,
        **rest: Any,
    ) -> Any:
        if embedded and (profile or region or endpoint_url):
            raise UsageError(
                "--embedded reads no account of yours: leave --profile, --region and --endpoint-url out"
            )
        options = AccountOptions(
            profile=profile, region=region, endpoint_url=endpoint_url, stack=stack, embedded=embedded
        )
        return command(account=options, **rest)

    return with_account


def registered(ctx: click.Context) -> list[str]:
    """The registered workloads of the account that the options choose; none if they are not read in time."""
    if ctx.params.get("embedded"):
        from sluice_sim.embedded.busy_account import BLUE_GREEN, SCENARIOS

        blue_green = [BLUE_GREEN] if ctx.command.name == "switch" else []
        return [scenario.name for scenario in (*SCENARIOS, *blue_green)]
    found: list[str] = []
    reader = Thread(target=_read_names, args=(ctx.params, found), daemon=True)
    reader.start()
    reader.join(COMPLETE_WITHIN_S)
    return sorted(found)


def _read_names(chosen: Mapping[str, Any], found: list[str]) -> None:
    with suppress(Exception):  # completion never fails
        session = AwsSession(
            profile=chosen.get("profile"),
            region=chosen.get("region"),
            endpoint_url=chosen.get("endpoint_url"),
        )
        registry = open_account(session, chosen.get("stack") or "sluice").ports.registry
        read = registry.all(lambda: COMPLETE_WITHIN_S)
        found += [*(workload.name for workload in read.workloads), *read.refused]


COMPLETE = completion.names(registered)
"""Shell completion of WORKLOAD, a registered one."""


def of_another_release(plane: str | None) -> str | None:
    """What to know if the control plane's release is not this command's; None if it is."""
    if plane == RELEASE:
        return None
    of_plane = f"of release {plane}" if plane else "older, and names no release"
    return (
        f"Note: this command is of release {RELEASE}, the control plane is {of_plane}. Documents are judged "
        "here as the command's own release would; docs/operations.md, Upgrading, has the order of updates."
    )


@contextmanager
def opened(
    options: AccountOptions,
    command: str,
    bar: ProgressBar,
    *,
    embedded: Embedded | None = None,
    blue_green: bool = False,
) -> Iterator[OpenedAccount]:
    """The chosen account; failures of AWS within the context become usage errors with a way out.

    `embedded` and `blue_green` are those of `reached`.
    """
    with reached(options, command, bar, embedded=embedded, blue_green=blue_green) as wait:
        session = AwsSession(
            profile=options.profile, region=options.region, endpoint_url=options.endpoint_url
        )
        account = open_account(session, options.stack)
        if note := of_another_release(account.plane.release):
            click.echo(note, err=True)
        yield OpenedAccount(account=account, wait=wait)


@contextmanager
def reached(
    options: AccountOptions,
    command: str,
    bar: ProgressBar,
    *,
    embedded: Embedded | None = None,
    blue_green: bool = False,
) -> Iterator[Callable[[float], None]]:
    """Sessions of boto3 reach the chosen AWS within the context, whose failures become usage errors.

    Yields how to let time pass between two reads, in seconds. `embedded` makes the embedded account, for a
    command to which one in the middle of a burst says nothing; `blue_green` adds a workload of two colors to
    the one in the middle of a burst.
    """
    try:
        if not options.embedded:
            yield time.sleep
            return
        if embedded is not None:
            with embedded(CHECKOUT):
                yield time.sleep
            return
        # It takes a second or two to import.
        from sluice_sim.embedded.busy_account import BLUE_GREEN, SCENARIOS, busy_account

        scenarios = (*SCENARIOS, BLUE_GREEN) if blue_green else SCENARIOS

        def played(minute: int, minutes: int) -> None:
            bar.show("playing a burst on the embedded AWS", minute / minutes)

        with busy_account(CHECKOUT, scenarios=scenarios, on_minute=played) as busy:

            def wait(_: float) -> None:
                time.sleep(EMBEDDED_PAUSE_S)
                busy.play_minute()

            yield wait
    except SluiceError as failure:
        raise UsageError(with_way_out(str(failure), command)) from failure
