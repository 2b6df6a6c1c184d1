"""TLS handshakes: bare rustls with an accept loop, and Firstwake, in turn."""

KINDS = {
    ("1.3", "full"): "TLS 1.3, full",
    ("1.3", "resumed"): "TLS 1.3, resumed",
    ("1.2", "full"): "TLS 1.2, full",
    ("1.2", "resumed"): "TLS 1.2, resumed",
}


def rounds(programs, plan, fleet, say):
    """Every round has bare rustls and Firstwake once for each kind."""
    made = []
    files = fleet.certificates
    identity = ["--cert", files / "server.pem", "--key", files / "server.key"]
    for number in range(plan.rounds):
        one = {}
        for version, kind in KINDS:
            ask = [
                "--count", plan.handshakes, "--in-flight", plan.in_flight,
                "--tls-ca", files / "ca.pem", "--tls-version", version,
                *(["--tls-resume"] if kind == "resumed" else []),
            ]  # fmt: skip
            one["rustls", version, kind] = programs.simulate("handshakes", "--floor", *identity, *ask)
            with programs.tls_server(fleet.data, files) as (server, _, secure):
                before = server.cpu_seconds()
                result = programs.simulate("handshakes", "--broker", secure, *ask)
                result["server_cpu_us"] = (server.cpu_seconds() - before) / plan.handshakes * 1e6
                one["firstwake", version, kind] = result
        rates = ", ".join(f"{' '.join(name)} {rate(result):,.0f}/s" for name, result in one.items())
        say(f"handshakes, round {number + 1} of {plan.rounds}: {rates}")
        made.append(one)
    return made


def rate(result):
    return result["handshakes_per_second"]
