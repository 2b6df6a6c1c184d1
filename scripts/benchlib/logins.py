"""What a device proves itself with, and what that costs: codes, API keys and
signed logins, end to end over MQTT and on one core without a network."""

import json
import subprocess
from dataclasses import dataclass

from . import machine
from .programs import RUN, Failed, write
from .report import spread, storm_cells, table

PROOFS = {
    "code": "activation code",
    "key": "API key",
    "hs256": "signed, HS256",
    "eddsa": "signed, EdDSA",
}


@dataclass(frozen=True)
class Fleet:
    """A registry whose devices can log in each way."""

    data: str
    secret_file: str
    product: str
    # Lines as `device-sim storm --save-credentials` writes them.
    keys: str


def serials(proof, plan):
    return f"{proof}-:{plan.devices}"


def measure(programs, plan, say):
    with programs.directory() as directory:
        fleet = prepare(programs, plan, directory)
        say(f"logins: {plan.devices:,} devices for each way to log in are ready")
        made = [one_round(programs, plan, fleet, number, say) for number in range(plan.rounds)]
    return {"rounds": made, "admissions": [admissions(programs) for _ in range(plan.rounds)]}


def prepare(programs, plan, directory):
    data, keys = f"{directory}/data", f"{directory}/keys"
    product = programs.product(data)
    secret, product_id = product["secret"], product["product_id"]
    for proof in PROOFS:
        programs.ask(data, "device", "register", product_id, "--generate", serials(proof, plan))
    secret_file = write(f"{directory}/secret", secret)
    fleet = Fleet(data, secret_file, product_id, keys)
    with programs.server(data) as (_, address):
        programs.storm(address, secret, serials("key", plan), plan.in_flight, "--confirm", "--save-credentials", keys)
        signing = ["--secret-file", secret_file, "--product", product_id, "--in-flight", plan.in_flight]
        programs.simulate("enrol", "--broker", address, "--serials", serials("eddsa", plan), *signing)
        # The first signed login confirms: what is measured is every one after it.
        for proof in ("hs256", "eddsa"):
            programs.simulate("reconnect", "--broker", address, *how(plan, fleet, proof))
    return fleet


def one_round(programs, plan, fleet, number, say):
    """Floor and Firstwake once for each proof; each has a fresh server."""
    one = {}
    for proof in PROOFS:
        one["floor", proof] = programs.simulate("reconnect", "--floor", *how(plan, fleet, proof))
        with programs.server(fleet.data) as (server, address):
            before = server.cpu_seconds()
            result = programs.simulate("reconnect", "--broker", address, *how(plan, fleet, proof))
            result["server_cpu_us"] = (server.cpu_seconds() - before) / result["logged_in"] * 1e6
            one["firstwake", proof] = result
    rates = ", ".join(f"{who} {proof} {rate(result):,.0f}/s" for (who, proof), result in one.items())
    say(f"logins, round {number + 1} of {plan.rounds}: {rates}")
    return one


def how(plan, fleet, proof):
    more = ["--login", proof, "--in-flight", plan.in_flight]
    if proof == "key":
        return [*more, "--credentials", fleet.keys]
    more += ["--secret-file", fleet.secret_file, "--serials", serials(proof, plan)]
    return more if proof == "code" else [*more, "--product", fleet.product]


def admissions(programs):
    """Microseconds a login of each kind on one core."""
    done = subprocess.run([str(programs.admissions)], capture_output=True, text=True, timeout=RUN)
    if done.returncode != 0:
        raise Failed(done.stderr.strip())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["proof"]: line["elapsed_us"] / line["logins"] for line in lines}


def rate(result):
    return result["logins_per_second"]


def render(about, plan, seen):
    parts = [
        table(["machine", ""], [*about, ("load after (1 min)", f"{machine.load():.2f}")]),
        f"Logins of the {plan.rounds} rounds, {plan.devices:,} devices, {plan.in_flight} in flight; medians (least–most), times in ms from the TCP connection to the CONNACK:",
        table(["what is shown", "who", "logins/s", "p50", "p99", "server CPU a login"], storm_rows(seen["rounds"])),
        "The same on one core, without network and disk: from the password to the admission, over the registry in memory:",
        table(["what is shown", "a login", "logins/s a core"], admission_rows(seen["admissions"])),
    ]  # fmt: skip
    return "\n\n".join(parts)


def storm_rows(made):
    for proof, name in PROOFS.items():
        for who, called in (("floor", "floor"), ("firstwake", "Firstwake")):
            results = [one[who, proof] for one in made]
            yield (name, called, *storm_cells(results, rate, "login"))


def admission_rows(made):
    for proof, name in PROOFS.items():
        took = [one[proof] for one in made]
        yield (name, f"{spread(took, '{:.1f}')} µs", spread([1e6 / one for one in took]))
