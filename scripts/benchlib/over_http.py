"""Activation over HTTP: a bare handler of axum and Firstwake in turn."""

from statistics import median

from . import machine
from .report import spread, storm_cells, table, verdict
from .storms import rate

NAMES = {"floor": "bare axum handler", "http": "Firstwake over HTTP", "mqtt": "Firstwake over MQTT"}
# What the task of the HTTP face asks for.
TARGET = 0.5


def rounds(programs, plan, say):
    """Every round has each contender once, each with a fresh server."""
    made = []
    serials = plan.serials(plan.devices)
    for number in range(plan.rounds):
        one = {
            "floor": programs.floor(serials, plan.in_flight, "--http"),
            "http": firstwake(programs, plan, serials, "xively", "--http"),
            "mqtt": firstwake(programs, plan, serials, "mqtt"),
        }
        rates = ", ".join(f"{NAMES[name]} {rate(result):,.0f}/s" for name, result in one.items())
        say(f"round {number + 1} of {plan.rounds}: {rates}")
        made.append(one)
    return made


def firstwake(programs, plan, serials, listener, *more):
    with programs.directory() as data:
        secret = programs.prepare(data, "--generate", serials)
        with programs.serve(data, "--xively", "127.0.0.1:0") as server:
            addresses = dict(server.next_line().split(" listening on ") for _ in range(2))
            before = server.cpu_seconds()
            result = programs.storm(addresses[listener], secret, serials, plan.in_flight, *more)
            result["server_cpu_us"] = (server.cpu_seconds() - before) / plan.devices * 1e6
            return result


def render(about, plan, made):
    shares = [rate(one["http"]) / rate(one["floor"]) for one in made]
    judged = ("rate as a share of the bare handler's", spread(shares, "{:.2f}"), f"{TARGET}", f"{TARGET}", verdict(median(shares), TARGET, TARGET))
    parts = [
        table(["machine", ""], [*about, ("load after (1 min)", f"{machine.load():.2f}")]),
        table(["what", "measured", "target", "limit", "verdict"], [judged]),
        f"The storms of the {plan.rounds} rounds, {plan.devices:,} devices, {plan.in_flight} in flight; medians (least–most), times in ms, CPU for each activation:",
        table(["who", "activations/s", "p50", "p99", "server CPU"], rows(made)),
    ]  # fmt: skip
    return "\n\n".join(parts)


def rows(made):
    for key, name in NAMES.items():
        yield (name, *storm_cells([one[key] for one in made]))
