"""The server against its own page of the API. Started by scripts/schema.

A server is filled with something to find, and schemathesis asks it everything
that the page tells of. Exit status 1 if an answer was an error of the
server's, or one that the page does not know.
"""

import base64
import json
import signal
import subprocess
import sys
import tempfile
import urllib.request

DEADLINE = 15
# Seconds that the whole of the asking may take.
LONGEST = 420
NAME, PASSWORD = "schema-runner", "a long enough password"
# Whoever asks these may end the asking: schemathesis takes names from answers.
LAST = ["remove_operator", "put_operator", "remove_token"]
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
]


class Server:
    """`firstwake serve` with an operator, a product and some devices."""

    def __init__(self, binary, data):
        self.binary, self.data = binary, data
        made = self.command("product", "create", "lamp", "--datastreams", "temperature", "--output", "json")
        self.product = json.loads(made)["product_id"]
        self.command("device", "register", self.product, "--generate", "unit-:40")
        self.command("device", "suspend", "unit-000001")
        self.command("device", "revoke", "unit-000002")
        self.command("operator", "add", NAME, "--role", "admin", "--password-stdin", told=PASSWORD)
        self.log = open(f"{data}/log", "w+")
        # Whoever fails so often would be answered late.
        config = f"{data}/firstwake.toml"
        with open(config, "w") as file:
            file.write("[limits]\nfailures_per_minute = 0\n")
        arguments = [binary, "serve", "--data-dir", data, "--config", config, "--mqtt", "off", "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.address = self.process.stdout.readline().strip().removeprefix("http listening on ")
        self.token = self.make_token()

    def command(self, *arguments, told=None):
        done = subprocess.run(
            [self.binary, "--data-dir", self.data, *arguments],
            input=told, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"firstwake {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, method, path, authorization, body=None):
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        body = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)

    def make_token(self):
        basic = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
        return self.ask("POST", "/api/v1/tokens", f"Basic {basic}", {"label": "schema"})["secret"]

    def complaints(self):
        """What its log has that none of this may cause."""
        self.log.seek(0)
        return [line.strip() for line in self.log if "panicked" in line or "ERROR" in line]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE)


def configuration(server, examples, seed):
    """Schemathesis's own file. Where a path names something, it is more often
    than not something that is there: a name made up finds only that it is not."""
    known = {
        "product_id": [server.product],
        "serial": [f"unit-{number:06}" for number in range(40)],
        "feed_id": list(range(1, 41)),
    }
    lines = [
        f"seed = {seed}",
        "continue-on-failure = true",
        'suppress-health-check = ["all"]',
        f"request-timeout = {DEADLINE}",
        "max-stream-events = 1",
        f"headers = {{ Authorization = \"Bearer {server.token}\" }}",
        "[generation]",
        f"max-examples = {examples}",
        'database = "none"',
        # It would show credentials of its own making in place of ours.
        "with-security-parameters = false",
        "[phases]",
        "stateful.enabled = false",
        "[parameters]",
        *(f'"path.{name}" = {{ dictionary = "{name}", probability = 0.7 }}' for name in known),
    ]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    return "\n".join(lines) + "\n"


def main():
    binary, schemathesis, examples, seed = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="firstwake-schema-") as data:
        server = Server(binary, data)
        try:
            with open(f"{data}/schemathesis.toml", "w") as file:
                file.write(configuration(server, examples, seed))
            page = f"http://{server.address}/api/v1/openapi.json"
            run = [schemathesis, "run", page, "--checks", ",".join(CHECKS), "--warnings", "off"]
            chosen = lambda how: [word for name in LAST for word in (f"--{how}-operation-id", name)]  # noqa: E731
            status = subprocess.run([*run, *chosen("exclude")], cwd=data, timeout=LONGEST).returncode
            # Who asked may still ask: a run of refusals would find nothing.
            server.ask("GET", "/api/v1/tokens", f"Bearer {server.token}")
            status |= subprocess.run([*run, *chosen("include")], cwd=data, timeout=LONGEST).returncode
            server.ask("GET", "/readyz", f"Bearer {server.token}")
            stopped = server.stop()
            complaints = server.complaints()
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
    for line in complaints:
        print(f"the server's log: {line}")
    if stopped != 0:
        print(f"the server stopped with status {stopped}")
    return 1 if status or stopped or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
