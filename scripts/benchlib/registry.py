"""A registry of so many devices: how fast it fills, how soon it is open again,
what it takes, and whether it is as fast as a small one."""

import json
import pathlib
import random
import subprocess
import time
from dataclasses import dataclass

from . import machine
from .programs import Failed, listening
from .report import spread, table, verdict
from .storms import rate

# Devices that are activated while others are imported, one at a time.
BESIDE = 2_000
# Seconds that an import may take.
LONGEST = 3_000
IN_FLIGHT = 64
# What is activated in the large registry.
LARGE = {"delivery": "a delivery", "scattered": "from all over"}


@dataclass(frozen=True)
class Filled:
    """A registry with one product."""

    data: str
    secret: str
    product: str


def measure(programs, plan, say):
    count = plan.registered
    with programs.directory() as directory:
        devices = write_list(pathlib.Path(directory, "devices.csv"), range(count))
        large = product(programs, f"{directory}/large")
        seen = {"import": imported(programs, large, devices)}
        say(f"registry: {count:,} imported without a server, {seen['import']:,.0f}/s")
        seen["again"] = imported(programs, large, devices)
        say(f"registry: the same list again, {seen['again']:,.0f}/s")
        seen["disk"] = size_of(large.data)
        seen["reopen"] = [reopened(programs, large) for _ in range(plan.rounds)]
        say(f"registry: open again in {spread(seen['reopen'], '{:.2f}')} s")
        seen["rounds"] = storms(programs, plan, large, directory, say)
        seen["killed"] = [reopened(programs, large) for _ in range(plan.rounds)]
        say(f"registry: open again behind a kill in {spread(seen['killed'], '{:.2f}')} s")
        seen["served"] = served(programs, devices, directory, count)
        say(f"registry: {count:,} imported through a server, {seen['served']['rate']:,.0f}/s")
    return seen


def name(number):
    return f"SN-{number:08d}"


def write_list(path, numbers):
    with open(path, "w") as out:
        out.write("serial\n")
        out.writelines(f"{name(number)}\n" for number in numbers)
    return path


def product(programs, data):
    made = programs.product(data)
    return Filled(data, made["secret"], made["product_id"])


def import_of(programs, filled, path):
    return [str(programs.firstwake), "--data-dir", filled.data, "device", "import", str(path), "--output", "json"]


def imported(programs, filled, path):
    """Imports a list; devices a second, the command's start and end included."""
    begun = time.perf_counter()
    done = subprocess.run(import_of(programs, filled, path), capture_output=True, text=True, timeout=LONGEST)
    took = time.perf_counter() - begun
    if done.returncode != 0:
        raise Failed(done.stderr.strip())
    counts = json.loads(done.stdout)
    return (counts["new"] + counts["known"]) / took


def size_of(data):
    return sum(file.stat().st_blocks * 512 for file in pathlib.Path(data).rglob("*") if file.is_file())


def reopened(programs, filled):
    """Seconds from executing the server to where it listens. It is killed then."""
    begun = time.perf_counter()
    with programs.serve(filled.data) as server:
        listening(server)
        took = time.perf_counter() - begun
        server.process.kill()
        server.process.wait()
    return took


def storms(programs, plan, large, directory, say):
    """Activations in the large registry, of a delivery (serials in a row) and
    of devices from all over it, others each round; and of as many in one that
    has no more."""
    chance = random.Random(1)
    delivered = plan.activated * plan.rounds
    first = (plan.registered - delivered) // 2
    others = chance.sample(range(plan.registered - delivered), delivered)
    fleet = [number if number < first else number + delivered for number in others]
    made = []
    for number in range(plan.rounds):
        part = slice(number * plan.activated, (number + 1) * plan.activated)
        scattered, delivery = fleet[part], list(range(first, first + delivered))[part]
        chance.shuffle(delivery)
        small = product(programs, f"{directory}/small-{number}")
        imported(programs, small, write_list(f"{directory}/few.csv", sorted(scattered)))
        one = {
            "few": storm(programs, small, scattered, directory),
            "delivery": storm(programs, large, delivery, directory),
            "scattered": storm(programs, large, scattered, directory),
        }
        rates = ", ".join(f"{what} {rate(result):,.0f}/s" for what, result in one.items())
        say(f"registry, round {number + 1} of {plan.rounds}: {rates}")
        made.append(one)
    return made


def storm(programs, filled, chosen, directory):
    serials = pathlib.Path(directory, "chosen")
    serials.write_text("".join(f"{name(number)}\n" for number in chosen))
    with programs.server(filled.data) as (server, address):
        result = programs.storm(address, filled.secret, str(serials), IN_FLIGHT)
        return {**result, "memory": server.memory()}


def served(programs, devices, directory, count):
    """The same list into a server that activates devices meanwhile, each alone."""
    filled = product(programs, f"{directory}/served")
    beside = f"beside-:{BESIDE}"
    programs.ask(filled.data, "device", "register", filled.product, "--generate", beside)
    with programs.server(filled.data) as (server, address):
        begun = time.perf_counter()
        importing = subprocess.Popen(import_of(programs, filled, devices), stdout=subprocess.PIPE, text=True)
        result = programs.storm(address, filled.secret, beside, 1)
        meanwhile = importing.poll() is None
        importing.communicate(timeout=LONGEST)
        took = time.perf_counter() - begun
        if importing.returncode != 0:
            raise Failed("the import through the server failed")
        return {"rate": count / took, "beside": result, "meanwhile": meanwhile, "memory": server.memory()}


def render(about, plan, seen):
    made, served = seen["rounds"], seen["served"]
    activations = served["beside"]["phases_us"]["activation"]
    more = "" if served["meanwhile"] else " (and for a moment behind it)"
    waits = f"p50 {activations['p50'] / 1e3:.1f} ms, p99 {activations['p99'] / 1e3:.1f} ms"
    figures = [
        f"A registry of {plan.registered:,} devices; in each of {plan.rounds} rounds a delivery of {plan.activated:,} with serials in a row is activated in it, in any order, and {plan.activated:,} from all over it, {IN_FLIGHT} in flight; beside them as many in a registry that has no more; medians (least–most):",
        table(["what", "measured", "target", "verdict"], rows(plan, seen)),
        f"While a server imported them, devices were activated one at a time{more}: {waits} from the TCP connection to the answer.",
        f"Activations: {spread([rate(one['few']) for one in made])}/s in the small registry; in the large one {spread([rate(one['delivery']) for one in made])}/s of a delivery, {spread([rate(one['scattered']) for one in made])}/s from all over.",
    ]  # fmt: skip
    return "\n\n".join([table(["machine", ""], [*about, ("load after (1 min)", f"{machine.load():.2f}")]), *figures])


def rows(plan, seen):
    """What | measured | target | verdict."""
    made, served = seen["rounds"], seen["served"]
    memory = max(*(one[what]["memory"][0] for one in made for what in LARGE), served["memory"][0])
    ratios = {what: [rate(one[what]) / rate(one["few"]) for one in made] for what in LARGE}
    fast = lambda value: verdict(value, 100_000, 100_000)  # noqa: E731
    soon = lambda times: verdict(max(times), 5, 5, False)  # noqa: E731
    seconds = lambda times: f"{spread(times, '{:.2f}')} s"  # noqa: E731
    return [
        ("import, no server", f"{seen['import']:,.0f}/s", "100,000/s", fast(seen["import"])),
        ("import through a server", f"{served['rate']:,.0f}/s", "100,000/s", fast(served["rate"])),
        ("the same list again", f"{seen['again']:,.0f}/s", "–", "–"),
        ("start to listening, closed in order", seconds(seen["reopen"]), "5 s", soon(seen["reopen"])),
        ("start to listening, behind a kill", seconds(seen["killed"]), "5 s", soon(seen["killed"])),
        ("resident memory of the server, most seen", f"{memory / 1e6:,.0f} MB", "1 GB", verdict(memory, 1e9, 1e9, False)),
        ("on disk", f"{seen['disk'] / 1e9:.2f} GB, {seen['disk'] / plan.registered:,.0f} B a device", "–", "–"),
        *((f"activation rate over that at {plan.activated:,}, {LARGE[what]}", spread(each, "{:.2f}"), "0.8", verdict(min(each), 0.8, 0.8)) for what, each in ratios.items()),
    ]  # fmt: skip
