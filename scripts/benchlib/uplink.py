"""Uplink of a fleet to one operator: Firstwake and mosquitto on the same load."""

import json

from .mosquitto import mosquitto_server
from .programs import write

# Nothing is dropped for want of room in a queue; what may be under way to the
# operator unacknowledged is as much as it likes, or a thousand.
SETTINGS = {
    "mosquitto": ["max_queued_messages 0", "max_inflight_messages 0"],
    "mosquitto_1000": ["max_queued_messages 0", "max_inflight_messages 1000"],
}


def rounds(programs, plan, fleet, say):
    """Every round has each contender once at each load."""
    made = []
    with programs.directory() as directory:
        keys = f"{directory}/keys"
        with open(fleet.keys) as file:
            lines = file.readlines()[: plan.publishing]
        write(keys, "".join(lines))
        for number in range(plan.rounds):
            one = {}
            for load in loads(plan):
                with programs.server(fleet.data) as (_, address):
                    one["firstwake", load] = publish(programs, plan, fleet, keys, address, load)
            for name, settings in SETTINGS.items():
                for load in loads(plan):
                    # Which of the two is better, the others tell.
                    if load == "paced" and name != "mosquitto":
                        continue
                    with programs.directory() as home, rival(home, fleet, lines, settings) as address:
                        one[name, load] = publish(programs, plan, fleet, keys, address, load)
            rates = ", ".join(f"{who} {load} {rate(result):,.0f}/s" for (who, load), result in one.items())
            say(f"uplink, round {number + 1} of {plan.rounds}: {rates}")
            made.append(one)
    return made


def rate(result):
    """What counts is what arrives."""
    return result["delivered"]["per_second"]


def loads(plan):
    """QoS and pace, by name."""
    return {
        "qos0": ["--qos", "0", "--messages", plan.messages],
        "qos1": ["--qos", "1", "--messages", plan.messages, "--window", plan.window],
        "paced": ["--qos", "1", "--messages", plan.messages // 2, "--rate", plan.paced],
    }


def publish(programs, plan, fleet, keys, address, load):
    """A run that loses messages is a result, too: the table says so."""
    return programs.attempt(
        "uplink", "--broker", address, "--credentials", keys, "--operator", fleet.operator,
        "--password-file", fleet.password_file, "--in-flight", plan.in_flight,
        *loads(plan)[load],
    )[0]  # fmt: skip


def rival(directory, fleet, lines, settings):
    """Mosquitto with the same devices, keys for passwords, and operator."""
    with open(fleet.password_file) as file:
        operator = (fleet.operator, file.read(), ["read feeds/#"])
    known = [json.loads(line) for line in lines]
    devices = [(one["serial"], one["apikey"], [f"write feeds/{one['feed_id']}/data/#"]) for one in known]
    return mosquitto_server(directory, [operator, *devices], *settings)
