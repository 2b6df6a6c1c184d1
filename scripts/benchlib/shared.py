"""A registry in PostgreSQL: what one server on it takes, and two, beside one
with a registry of its own; and how soon the end of a device at one server ends
its session at the other."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from . import held, machine, mqtt
from .programs import Child, Failed, listening
from .report import percentile, storm_cells, table, verdict
from .storms import rate

WITH_POSTGRES = pathlib.Path(__file__).resolve().parent.parent / "with-postgres"
# Over all servers.
IN_FLIGHT = 64
NAMES = {"embedded": "one server, embedded registry", "one": "one server, PostgreSQL", "two": "two servers, PostgreSQL"}


def measure(programs, plan, say):
    made = []
    with postgres() as database:
        for number in range(plan.rounds):
            one = {
                "embedded": embedded(programs, plan),
                "one": shared(programs, plan, database(f"one_{number}"), 1),
                "two": shared(programs, plan, database(f"two_{number}"), 2),
            }
            rates = ", ".join(f"{NAMES[name]} {rate(result):,.0f}/s" for name, result in one.items())
            say(f"shared registry, round {number + 1} of {plan.rounds}: {rates}")
            made.append(one)
        ended = revoked(programs, plan, database("revoked"))
    return made, ended


@contextlib.contextmanager
def postgres():
    """A PostgreSQL server; makes a database of a name, and gives its address."""
    tell = 'echo "$FIRSTWAKE_TEST_POSTGRES"; exec cat'
    with Child([WITH_POSTGRES, "sh", "-c", tell]) as server:
        address = server.next_line()

        def database(name):
            command = ["psql", "--quiet", "--dbname", address, "--command", f"CREATE DATABASE {name}"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise Failed(done.stderr.strip())
            return f"{address.rsplit('/', 1)[0]}/{name}"

        yield database


@contextlib.contextmanager
def servers(programs, database, count):
    """So many on one database: their data directories and addresses."""
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            data = stack.enter_context(programs.directory())
            if number > 0:
                # They share the registry's key, too.
                shutil.copy2(os.path.join(found[0][0], "sealing.key"), data)
            server = stack.enter_context(programs.serve(data, "--postgres", database))
            found.append((data, listening(server)))
        yield found


def shared(programs, plan, database, count):
    """A storm at all servers at once, each with its share of the devices."""
    share = plan.activated // count
    fleets = [f"share{number}-:{share}" for number in range(count)]
    with servers(programs, database, count) as found:
        product = programs.product(found[0][0])
        for fleet in fleets:
            programs.ask(found[0][0], "device", "register", product["product_id"], "--generate", fleet)
        storm = lambda at, fleet: programs.storm(at[1], product["secret"], fleet, IN_FLIGHT // count)  # noqa: E731
        with ThreadPoolExecutor(count) as pool:
            results = list(pool.map(storm, found, fleets))
    waits = [result["phases_us"]["activation"] for result in results]
    return {
        "activations_per_second": share * count / max(result["elapsed_us"] for result in results) * 1e6,
        # Of the slower server.
        "phases_us": {"activation": {part: max(wait[part] for wait in waits) for part in ("p50", "p99")}},
    }


def embedded(programs, plan):
    fleet = f"own-:{plan.activated}"
    with programs.directory() as data:
        secret = programs.prepare(data, "--generate", fleet)
        with programs.server(data) as (_, address):
            return programs.storm(address, secret, fleet, IN_FLIGHT)


def revoked(programs, plan, database):
    """Seconds from the request at one server to the device's end at the other."""
    serials = [f"ours-{number:06}" for number in range(plan.ended)]
    with servers(programs, database, 2) as ((data, _), (_, other)):
        product = programs.product(data)
        programs.ask(data, "device", "register", product["product_id"], *serials)
        secret = product["secret"]
        devices = [mqtt.Device(other, serial, mqtt.activate(other, secret, serial), level=5) for serial in serials]
        return held.revoke(f"{data}/control.sock", devices)


def render(about, plan, seen):
    made, ended = seen
    ended = [one * 1e3 for one in ended]
    last = percentile(ended, 0.99)
    judged = (f"revoke at one server to disconnect at the other, p99 of {len(ended)}", f"{last:.1f} ms", "1 s", verdict(last, 1000, 1000, False))
    parts = [
        table(["machine", ""], [*about, ("load after (1 min)", f"{machine.load():.2f}")]),
        table(["what", "measured", "target", "verdict"], [judged]),
        f"The storms of the {plan.rounds} rounds, {plan.activated:,} devices, {IN_FLIGHT} in flight over all servers; medians (least–most), times in ms (of the slower of two):",
        table(["who", "activations/s", "p50", "p99"], rows(made)),
    ]  # fmt: skip
    return "\n\n".join(parts)


def rows(made):
    for key, name in NAMES.items():
        made_by, p50, p99, _ = storm_cells([one[key] for one in made])
        yield (name, made_by, p50, p99)
