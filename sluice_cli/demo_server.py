"""`sluice demo --serve`: the demo's account over HTTP once it is played, until Ctrl-C."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from sluice_cli.terminal import Console
from sluice_sim.account import REGION

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the account is served."""

    host: str
    port: int


class AddressType(click.ParamType):
    """[HOST:]PORT, at which this machine can listen; the loopback interface without a host."""

    name = "[HOST:]PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """The address; fails with the value and the way out."""
        parts = re.fullmatch(r"(?:(?P<host>[^:\s]+):)?(?P<port>[0-9]{1,5})", str(value))
        if parts is None or not 0 < int(parts["port"]) <= MAX_PORT:
            self.fail(f"{value}: must be a port from 1 to {MAX_PORT}, or HOST:PORT", param, ctx)
        address = Address(host=parts["host"] or LOOPBACK, port=int(parts["port"]))
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address.host, address.port))
        except OSError as error:
            self.fail(f"{value}: cannot listen there ({error.strerror}): give another one", param, ctx)
        return address


def serve_until_interrupted(address: Address, console: Console, began_s: float, ended_s: float) -> None:
    """Answer requests for the account of this process, whose clock ran between these epoch seconds."""
    from sluice_sim.embedded.server import http_endpoint

    first, last = (datetime.fromtimestamp(at, UTC) for at in (began_s, ended_s))
    with ExitStack() as serving:
        try:
            url = serving.enter_context(http_endpoint(address.host, address.port))
        except OSError as error:
            raise click.ClickException(
                f"{address.host}:{address.port} was taken while the demo played: give --serve another one"
            ) from error
        serving.enter_context(suppress(KeyboardInterrupt))
        console.print(
            f"\nThe account answers at {url}, in {REGION} with any credentials, until Ctrl-C. Its metrics "
            f"are from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.\n"
        )
        threading.Event().wait()
