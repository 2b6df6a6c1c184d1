"""The front door's own figures: a fleet that has its keys, plain and over TLS."""

import os
import pathlib
import ssl
import subprocess
import time
from dataclasses import dataclass

from . import handshakes, mqtt, reconnects, uplink
from .held import all_there, revoke, settled
from .programs import Failed, wait_until, write

OPERATOR = "bench-watcher"


@dataclass(frozen=True)
class Fleet:
    """What is known of a fleet that was confirmed."""

    data: str
    # Lines as `device-sim storm --save-credentials` writes them.
    keys: str
    # The same of fewer devices.
    few_keys: str
    # Serial and key of those whom the script itself plays.
    ours: list
    # Where ca.pem, server.pem and server.key are.
    certificates: pathlib.Path
    operator: str
    password_file: str


def measure(programs, plan, say):
    """Everything, over one registry; each contender has a fresh server."""
    with programs.directory() as directory:
        fleet = confirm(programs, plan, pathlib.Path(directory))
        say(f"{plan.held:,} devices have their keys")
        idle = {}
        for transport in ("plain", "tls"):
            idle[transport] = hold(programs, plan, fleet, transport)
            say(f"{plan.held:,} sessions held, {transport}: {idle[transport]['held'][0] / 1e6:.1f} MB")
        return {
            "idle": idle,
            "reconnects": reconnects.rounds(programs, plan, fleet, say),
            "handshakes": handshakes.rounds(programs, plan, fleet, say),
            "uplink": uplink.rounds(programs, plan, fleet, say),
        }


def confirm(programs, plan, directory):
    """A registry whose devices all have confirmed keys, and those keys."""
    data, certificates = str(directory / "data"), directory / "certificates"
    storming = plan.serials(plan.held - plan.ended)
    ours = [f"ours-{number:06}" for number in range(2 * plan.ended)]
    secret = programs.prepare(data, "--generate", storming, *ours)
    programs.ask(data, "cert", "dev", "--dir", str(certificates))
    password = os.urandom(16).hex() + "-bench"
    password_file = write(f"{directory}/operator.password", password)
    add = [programs.firstwake, "--data-dir", data, "operator", "add", OPERATOR, "--role", "viewer", "--password-stdin"]
    subprocess.run([str(one) for one in add], input=password, text=True, check=True, capture_output=True, timeout=60)
    keys = f"{directory}/keys"
    with programs.server(data) as (_, address):
        programs.storm(address, secret, storming, plan.in_flight, "--confirm", "--save-credentials", keys)
        known = [(serial, mqtt.activate(address, secret, serial)) for serial in ours]
        for serial, key in known:
            mqtt.Device(address, serial, key).close()
    few_keys = first_lines(keys, f"{directory}/few-keys", plan.handshakes)
    return Fleet(data, keys, few_keys, known, certificates, OPERATOR, password_file)


def first_lines(path, copy, count):
    with open(path) as file:
        return write(copy, "".join(file.readlines()[:count]))


def hold(programs, plan, fleet, transport):
    """Memory before, held and after; and, while held, revoke to disconnect."""
    trusted = fleet.certificates / "ca.pem"
    with programs.tls_server(fleet.data, fleet.certificates) as (server, plain, secure):
        address, more, context, ours = {
            "plain": (plain, [], None, fleet.ours[: plan.ended]),
            "tls": (secure, ["--tls-ca", trusted], ssl.create_default_context(cafile=trusted), fleet.ours[plan.ended :]),
        }[transport]
        idle_files = server.open_files()
        before = settled(server)
        devices = [mqtt.Device(address, serial, key, level=5, tls=context) for serial, key in ours]
        arguments = [
            programs.device_sim, "reconnect", "--broker", address, "--credentials", fleet.keys,
            "--in-flight", plan.in_flight, "--hold", plan.hold, *more,
        ]  # fmt: skip
        with subprocess.Popen(
            [str(one) for one in arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as sim:
            try:
                wait_until("fleet", lambda: all_there(sim, server, idle_files + plan.held))
                holding = time.monotonic()
                held = settled(server)
                took = revoke(f"{fleet.data}/control.sock", devices)
                if time.monotonic() - holding > plan.hold:
                    raise Failed("the fleet left before all was measured: hold it longer")
                said = sim.communicate(timeout=plan.hold + 60)[1]
                if sim.returncode != 0:
                    raise Failed(said.strip())
            finally:
                if sim.poll() is None:
                    sim.kill()
        wait_until("end of all sessions", lambda: server.open_files() <= idle_files)
        after = settled(server)
    return {"before": before, "held": held, "after": after, "sessions": plan.held, "revoke": took}
