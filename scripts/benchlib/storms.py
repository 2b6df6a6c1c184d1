"""Activation storms: the floor, Firstwake and mosquitto in turn, in one run."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from . import mqtt
from .programs import Child, Failed, free_port, wait_until, write

RESPONDER = "responder"
# Mosquitto lets the kernel hold so many connections that it has not accepted.
# More in flight may lose a SYN, which is sent again a second later.
BACKLOG = 100


def rounds(programs, plan, say):
    """Every round has each contender once, each with a fresh server."""
    made = []
    for number in range(plan.rounds):
        one = {
            "floor": programs.floor(plan.serials(plan.devices), plan.in_flight),
            "storm": firstwake(programs, plan, plan.devices),
            "few": firstwake(programs, plan, plan.few),
            "request": firstwake(programs, plan, plan.devices, "--request"),
            "mosquitto": mosquitto(programs, plan, plan.in_flight),
            "mosquitto_calm": mosquitto(programs, plan, min(BACKLOG, plan.in_flight)),
        }
        rates = ", ".join(f"{name} {rate(result):,.0f}/s" for name, result in one.items())
        say(f"round {number + 1} of {plan.rounds}: {rates}")
        made.append(one)
    return made


def rate(result):
    return result["activations_per_second"]


def firstwake(programs, plan, devices, *more):
    serials = plan.serials(devices)
    with programs.directory() as data:
        secret = programs.prepare(data, "--generate", serials)
        with programs.server(data) as (server, address):
            before = server.cpu_seconds()
            result = programs.storm(address, secret, serials, plan.in_flight, *more)
            result["server_cpu_us"] = (server.cpu_seconds() - before) / devices * 1e6
            return result


def mosquitto(programs, plan, in_flight):
    secret = os.urandom(20).hex()
    serials = plan.serials(plan.devices)
    with programs.directory() as directory, broker(directory, secret, serials) as address:
        password = f"{directory}/responder.password"
        arguments = ["--broker", address, "--username", RESPONDER, "--password-file", password]
        with Child([programs.device_sim, "responder", *arguments]) as responder:
            if responder.first_line() != "subscribed":
                raise Failed("the responder is not subscribed")
            return programs.storm(address, secret, serials, in_flight, "--request")


@contextlib.contextmanager
def broker(directory, secret, serials):
    """Mosquitto with a password and an ACL for each device, and no disk."""
    prefix, count = serials.rsplit(":", 1)
    names = [f"{prefix}{number:06}" for number in range(int(count))]
    own = os.urandom(16).hex()
    write(f"{directory}/responder.password", own)
    passwords = [f"{name}:{mqtt.code(secret, name)}" for name in names]
    write(f"{directory}/passwords", "\n".join([*passwords, f"{RESPONDER}:{own}", ""]))
    subprocess.run(["mosquitto_passwd", "-U", f"{directory}/passwords"], check=True, capture_output=True)
    rights = [
        f"user {name}\ntopic read provision/{name}/response\ntopic write provision/{name}/request" for name in names
    ]
    all_of_them = f"user {RESPONDER}\ntopic read provision/+/request\ntopic write provision/+/response"
    write(f"{directory}/rights", "\n".join([*rights, all_of_them, ""]))
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous false",
        f"password_file {directory}/passwords",
        f"acl_file {directory}/rights",
        "persistence false",
        "log_dest none",
        "set_tcp_nodelay true",
    ]
    if os.geteuid() == 0:
        lines.append("user root")
    write(f"{directory}/mosquitto.conf", "\n".join([*lines, ""]))
    with Child([find_mosquitto(), "-c", f"{directory}/mosquitto.conf"], stderr=subprocess.DEVNULL) as child:

        def ready():
            if child.process.poll() is not None:
                raise Failed("mosquitto did not start")
            with contextlib.suppress(OSError):
                mqtt.Device(f"127.0.0.1:{port}", RESPONDER, own).close()
                return True

        wait_until("mosquitto", ready)
        yield f"127.0.0.1:{port}"


def find_mosquitto():
    """Debian keeps it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def about_mosquitto():
    """Its version, and what checking a password costs it."""
    said = subprocess.run([find_mosquitto(), "-h"], capture_output=True, text=True).stdout
    version = said.split("\n")[0].removeprefix("mosquitto version ")
    with tempfile.TemporaryDirectory() as directory:
        path = write(f"{directory}/passwords", "name:password\n")
        subprocess.run(["mosquitto_passwd", "-U", path], check=True, capture_output=True)
        with open(path) as file:
            _, kind, cost, *_ = file.read().split("$")
    how = f"PBKDF2 with SHA-512, {cost} iterations" if kind == "7" else f"hash kind {kind}"
    return f"{version}; passwords: {how}"
