"""Reconnect storms: a fleet logs in with its keys, at the floor and at Firstwake."""

KINDS = {
    "plain": "plain",
    "subscribe": "plain, with its two subscriptions",
    "tls": "TLS 1.3, full handshakes",
    "resumed": "TLS 1.3, resumed",
}
# Handshakes take long: for these, fewer devices.
OVER_TLS = ("tls", "resumed")


def rounds(programs, plan, fleet, say):
    """Every round has floor and Firstwake once for each kind."""
    made = []
    for number in range(plan.rounds):
        one = {}
        for kind in KINDS:
            one["floor", kind] = programs.simulate("reconnect", "--floor", *how(plan, fleet, kind), *identity(fleet, kind))
            with programs.tls_server(fleet.data, fleet.certificates) as (server, plain, secure):
                address = secure if kind in OVER_TLS else plain
                before = server.cpu_seconds()
                result = programs.simulate("reconnect", "--broker", address, *how(plan, fleet, kind))
                result["server_cpu_us"] = (server.cpu_seconds() - before) / result["logged_in"] * 1e6
                one["firstwake", kind] = result
        rates = ", ".join(f"{who} {kind} {rate(result):,.0f}/s" for (who, kind), result in one.items())
        say(f"reconnects, round {number + 1} of {plan.rounds}: {rates}")
        made.append(one)
    return made


def rate(result):
    return result["logins_per_second"]


def how(plan, fleet, kind):
    trusted = ["--tls-ca", fleet.certificates / "ca.pem"]
    more = {"plain": [], "subscribe": ["--subscribe"], "tls": trusted, "resumed": [*trusted, "--tls-resume"]}[kind]
    keys = fleet.few_keys if kind in OVER_TLS else fleet.keys
    return ["--credentials", keys, "--in-flight", plan.in_flight, *more]


def identity(fleet, kind):
    if kind not in OVER_TLS:
        return []
    return ["--cert", fleet.certificates / "server.pem", "--key", fleet.certificates / "server.key"]
