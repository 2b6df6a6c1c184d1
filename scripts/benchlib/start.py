"""From nothing running to the first device that has its key."""

import time

from . import mqtt
from .programs import listening

SERIAL = "first-000000"


def measure(programs, plan):
    """Seconds from executing the server to the answer, on an empty registry."""
    took = []
    for _ in range(plan.starts):
        with programs.directory() as data:
            secret = programs.prepare(data, SERIAL)
            begun = time.perf_counter()
            with programs.serve(data) as server:
                mqtt.activate(listening(server), secret, SERIAL)
                took.append(time.perf_counter() - begun)
    return took
