"""Serves this process's embedded account over HTTP, for worker processes, Grafana and the AWS CLI.

It listens on the loopback interface, unless another address is named. Besides the AWS API it answers as an
instance metadata service without any interruption or termination notice.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import LISTEN_QUEUE, make_server

HOST = "127.0.0.1"
METADATA = "/latest/"

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class _Silent(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """Do not log: there are hundreds of requests per second."""


@contextmanager
def http_endpoint(host: str = HOST, port: int = 0) -> Iterator[str]:
    """Serve the account of this process, by default at a free port; yields the endpoint's URL.

    Raises OSError if it cannot listen there.
    """
    # make_server would end the process if it could not listen, so it is given a socket that listens.
    with socket.create_server((host, port), backlog=LISTEN_QUEUE) as listening:
        server = make_server(
            host,
            port,
            _with_metadata(DomainDispatcherApplication(create_backend_app)),
            threaded=True,
            request_handler=_Silent,
            fd=listening.fileno(),
        )
    thread = threading.Thread(target=server.serve_forever, name="embedded-aws", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _with_metadata(api: App) -> App:
    """Add the metadata service: it issues tokens, and every notice is 404."""

    def answer(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(METADATA):
            return api(environ, start_response)
        is_token_request = environ["REQUEST_METHOD"] == "PUT"
        start_response("200 OK" if is_token_request else "404 Not Found", [("Content-Type", "text/plain")])
        return [b"token" if is_token_request else b""]

    return answer
