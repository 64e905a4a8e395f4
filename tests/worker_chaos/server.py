"""A server process: an empty account whose SQS fails as planned. Its first line of output is its port.

It ends when its stdin closes, so that it does not outlive the process that started it.
"""

from __future__ import annotations

import logging
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.worker_chaos import sqs
from tests.worker_chaos.faults import Faults

HOST = "127.0.0.1"


def serve() -> None:
    """Serve until stdin ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    sqs.install()
    app = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server(HOST, 0, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve()
