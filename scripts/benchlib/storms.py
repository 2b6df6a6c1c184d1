"""Activation storms: the floor, Firstwake and mosquitto in turn, in one run."""

import contextlib
import os

from . import mqtt
from .mosquitto import BACKLOG, mosquitto_server
from .programs import Child, Failed, write

RESPONDER = "responder"


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
            if responder.next_line() != "subscribed":
                raise Failed("the responder is not subscribed")
            return programs.storm(address, secret, serials, in_flight, "--request")


@contextlib.contextmanager
def broker(directory, secret, serials):
    """Mosquitto with a password and an ACL for each device."""
    prefix, count = serials.rsplit(":", 1)
    names = [f"{prefix}{number:06}" for number in range(int(count))]
    own = os.urandom(16).hex()
    write(f"{directory}/responder.password", own)
    service = (RESPONDER, own, ["read provision/+/request", "write provision/+/response"])
    devices = [
        (name, mqtt.code(secret, name), [f"read provision/{name}/response", f"write provision/{name}/request"])
        for name in names
    ]
    with mosquitto_server(directory, [service, *devices]) as address:
        yield address
