"""The front door's tables of docs/performance.md."""

from statistics import median

from . import handshakes, machine, reconnects, uplink
from .mosquitto import about_mosquitto
from .report import percentile, spread, storm_cells, table, verdict

QOS = {"qos0": "QoS 0", "qos1": "QoS 1"}


def render(about, plan, seen):
    facts = [*about, ("mosquitto", about_mosquitto()), ("load after (1 min)", f"{machine.load():.2f}")]
    parts = [
        table(["machine", ""], facts),
        table(["what", "measured", "target", "limit", "verdict"], design_rows(plan, seen)),
        f"Sessions of {plan.held:,} devices that logged in with their keys and stay, on a server that was started for them:",
        table(["carried by", "before", "held", "after", "a session, grown", "a session, given back"], idle_rows(seen["idle"])),
        f"Reconnect storms of the {plan.rounds} rounds, {plan.held - plan.ended:,} devices, {plan.in_flight} in flight, over TLS with {plan.handshakes:,} devices; medians (least–most), times in ms to the last CONNACK or SUBACK:",
        table(["how", "who", "logins/s", "p50", "p99", "server CPU a login"], reconnect_rows(seen["reconnects"])),
        f"TLS handshakes, {plan.handshakes:,} a run, {plan.in_flight} in flight:",
        table(["how", "who", "handshakes/s", "p50", "p99", "server CPU a handshake"], handshake_rows(seen["handshakes"])),
        f"Uplink, {plan.publishing:,} devices with {plan.messages} messages of 64 bytes each to one operator; times in ms from the "
        "intended sending to the operator:",
        table(["load", "who", "sent/s", "acknowledged/s", "delivered/s", "lost", "p50", "p99"], uplink_rows(plan, seen["uplink"])),
    ]  # fmt: skip
    return "\n\n".join(parts)


def design_rows(plan, seen):
    """What | measured | target | limit | verdict."""
    for transport, name in (("plain", "plain"), ("tls", "TLS")):
        idle = seen["idle"][transport]
        each = grown(idle)
        if transport == "plain":
            judged = ("2 KB", "4 KB", verdict(each, 2000, 4000, False))
        else:
            judged = ("–", "–", "–")
        yield (f"server memory a held session, {name}, grown since the start", f"{each:,.0f} B", *judged)
        took = [one * 1e3 for one in idle["revoke"]]
        slow = percentile(took, 0.99)
        yield (f"revoke to disconnect at {idle['sessions']:,}, {name}, p99 of {len(took)}", f"{slow:.1f} ms", "20 ms", "50 ms", verdict(slow, 20, 50, False))
    for kind, name in reconnects.KINDS.items():
        shares = [reconnects.rate(one["firstwake", kind]) / reconnects.rate(one["floor", kind]) for one in seen["reconnects"]]
        yield share(f"reconnect storm, {name}: share of the floor's rate", shares)
    for kind, name in handshakes.KINDS.items():
        shares = [handshakes.rate(one["firstwake", *kind]) / handshakes.rate(one["rustls", *kind]) for one in seen["handshakes"]]
        yield share(f"handshakes, {name}: share of bare rustls's rate", shares)
    for load, name in QOS.items():
        rivals = [
            uplink.rate(one["firstwake", load]) / max(uplink.rate(one[other, load]) for other in uplink.SETTINGS)
            for one in seen["uplink"]
        ]
        gone = lost([one["firstwake", load] for one in seen["uplink"]])
        void = f": **void**, Firstwake lost {gone:.0%} of the messages" if gone else ""
        yield (f"uplink delivered at {name}, over mosquitto's better one{void}", spread(rivals, "{:.1f}"), "–", "–", "–")


def share(what, shares):
    """As for activations: the floor's client and machine are in both."""
    return (what, spread(shares, "{:.2f}"), "0.8", "0.5", verdict(median(shares), 0.8, 0.5))


def lost(results):
    """The share of what was sent that never arrived."""
    return sum(one["lost"] for one in results) / sum(one["sent"]["messages"] for one in results)


def grown(idle):
    return (idle["held"][0] - idle["before"][0]) / idle["sessions"]


def idle_rows(idle):
    for transport, name in (("plain", "plain"), ("tls", "TLS 1.3")):
        one = idle[transport]
        back = (one["held"][0] - one["after"][0]) / one["sessions"]
        resident = [f"{one[when][0] / 1e6:.1f} MB" for when in ("before", "held", "after")]
        yield (name, *resident, f"{grown(one):,.0f} B", f"{back:,.0f} B")


def reconnect_rows(made):
    for kind, how in reconnects.KINDS.items():
        for who, name in (("floor", "floor"), ("firstwake", "Firstwake")):
            yield storm_row(how, name, [one[who, kind] for one in made], reconnects.rate, "login")


def handshake_rows(made):
    for kind, how in handshakes.KINDS.items():
        for who, name in (("rustls", "bare rustls"), ("firstwake", "Firstwake")):
            yield storm_row(how, name, [one[who, *kind] for one in made], handshakes.rate, "tls")


def storm_row(how, who, results, rate, phase):
    return (how, who, *storm_cells(results, rate, phase))


def uplink_rows(plan, made):
    loads = {
        "qos0": "QoS 0, as fast as it goes",
        "qos1": f"QoS 1, {plan.window} unacknowledged a device",
        "paced": f"QoS 1, {plan.paced:,}/s, half as many",
    }
    names = {"firstwake": "Firstwake", **{one: f"mosquitto, `{settings[1]}`" for one, settings in uplink.SETTINGS.items()}}
    for load, how in loads.items():
        for who, name in names.items():
            results = [one[who, load] for one in made if (who, load) in one]
            if not results:
                continue
            rates = [spread([one[part]["per_second"] for one in results]) for part in ("sent", "acknowledged", "delivered")]
            if load == "qos0":
                rates[1] = "–"
            late = lambda part: spread([one["deliver_us"][part] / 1e3 for one in results], "{:.1f}")  # noqa: E731
            yield (how, name, *rates, spread([one["lost"] for one in results]), late("p50"), late("p99"))
