"""A fleet that is confirmed and stays: its memory, and how soon an end bites."""

import json
import socket
import subprocess
import time

from . import mqtt
from .programs import Failed, wait_until, write


def measure(programs, plan, say):
    """Memory before, held and after; then, while held, revoke to disconnect."""
    serials = plan.serials(plan.held - plan.ended)
    ours = [f"ours-{number:06}" for number in range(plan.ended)]
    with programs.directory() as data:
        secret = programs.prepare(data, "--generate", serials, *ours)
        with programs.server(data) as (server, address):
            idle_files = server.open_files()
            before = settled(server)
            devices = [confirmed(address, secret, serial) for serial in ours]
            secret_file = write(f"{data}-secret", secret)
            storm = [
                programs.device_sim, "storm", "--broker", address, "--secret-file", secret_file,
                "--serials", serials, "--in-flight", str(plan.in_flight), "--confirm", "--hold", str(plan.hold),
            ]  # fmt: skip
            with subprocess.Popen(
                [str(one) for one in storm], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as fleet:
                wait_until("fleet", lambda: all_there(fleet, server, idle_files + plan.held))
                holding = time.monotonic()
                held = settled(server)
                say(f"{plan.held:,} sessions held: {held[0] / 1e6:.1f} MB")
                took = revoke(f"{data}/control.sock", devices)
                if time.monotonic() - holding > plan.hold:
                    raise Failed("the fleet left before all was measured: hold it longer")
                said = fleet.communicate(timeout=plan.hold + 60)[1]
                if fleet.returncode != 0:
                    raise Failed(said.strip())
            wait_until("end of all sessions", lambda: server.open_files() <= idle_files)
            after = settled(server)
    return {"before": before, "held": held, "after": after, "sessions": plan.held, "revoke": took}


def all_there(fleet, server, files):
    if fleet.poll() is not None:
        raise Failed(fleet.stderr.read().strip() or "the fleet left before it was held")
    return server.open_files() >= files


def settled(server, quiet=3.0):
    """Resident and anonymous bytes once they stop to fall: the allocator gives
    memory back within seconds, not at once."""
    least, since = server.memory(), time.monotonic()
    while time.monotonic() - since < quiet:
        time.sleep(0.25)
        now = server.memory()
        if now[0] < least[0] - 64 * 1024:
            since = time.monotonic()
        least = now
    return least


def confirmed(address, secret, serial):
    """A device's session with its own key, in MQTT 5: it is told why it ends."""
    return mqtt.Device(address, serial, mqtt.activate(address, secret, serial), level=5)


def revoke(control, devices):
    """Seconds from the request, as a command sends it, to the device's end."""
    took = []
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(control)
        answers = server.makefile("rb")
        for device in devices:
            request = {"change": {"name": device.serial, "act": "revoke"}}
            begun = time.perf_counter()
            server.sendall(json.dumps(request).encode() + b"\n")
            reason = device.farewell()
            took.append(time.perf_counter() - begun)
            if reason != mqtt.ADMINISTRATIVE:
                raise Failed(f"a revoked device was told {reason}")
            answer = json.loads(answers.readline())
            if "device" not in answer:
                raise Failed(f"revoke: {answer}")
            device.close()
    return took
