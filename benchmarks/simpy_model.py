"""The same queue and workers as a plain SimPy model, without any scaling, to compare the simulator with."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from sluice_sim.simulator.queue_kernel import Floats


def simulate(arrival_s: Floats, service_s: Floats, workers: int) -> Floats:
    """When each message starts, in seconds."""
    environment = simpy.Environment()
    queue = simpy.Store(environment)
    started_s = np.zeros(arrival_s.size)
    arrivals, services = arrival_s.tolist(), service_s.tolist()

    def send_messages() -> Generator[Any, Any, None]:
        for message, moment_s in enumerate(arrivals):
            yield environment.timeout(moment_s - environment.now)
            yield queue.put(message)

    def process_messages() -> Generator[Any, Any, None]:
        while True:
            message = yield queue.get()
            started_s[message] = environment.now
            yield environment.timeout(services[message])

    for _ in range(workers):
        environment.process(process_messages())
    environment.process(send_messages())
    environment.run()
    return started_s
