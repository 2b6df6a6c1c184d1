"""The programs that are measured: started here, and ended by their process id."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time

PATIENCE = 60
# The longest that one run of device-sim may take.
RUN = 120


class Failed(Exception):
    """Something that the benchmark needs did not happen."""


def wait_until(what, condition, patience=PATIENCE):
    """Polls until the condition gives something, and returns that."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"after {patience} s still no {what}")
        time.sleep(0.02)
    return value


class Child:
    """A process of ours that says on its first line where it is."""

    def __init__(self, arguments, **options):
        self.process = subprocess.Popen(
            [str(one) for one in arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )
        self.pid = self.process.pid

    def next_line(self):
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=PATIENCE).strip()
        except queue.Empty:
            raise Failed(f"{self.process.args[0]} says nothing") from None
        if not line:
            raise Failed(f"{' '.join(self.process.args)} ended before it began")
        return line

    def memory(self):
        """Resident and anonymous bytes."""
        fields = {}
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                name, _, rest = line.partition(":")
                if name in ("VmRSS", "RssAnon"):
                    fields[name] = int(rest.split()[0]) * 1024
        return fields["VmRSS"], fields["RssAnon"]

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Programs:
    """Where the two binaries are, and what they are asked."""

    def __init__(self, directory, scratch):
        self.firstwake = directory / "firstwake"
        self.device_sim = directory / "device-sim"
        self.admissions = directory / "examples" / "admissions"
        self.scratch = scratch

    @contextlib.contextmanager
    def directory(self):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=self.scratch) as path:
            yield path

    def ask(self, data, *arguments):
        """A command of the server's, to its end."""
        done = subprocess.run(
            [str(self.firstwake), "--data-dir", data, *arguments], capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode != 0:
            raise Failed(f"firstwake {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def prepare(self, data, *devices):
        """A registry with one product and its devices; returns its secret."""
        made = self.product(data)
        self.ask(data, "device", "register", made["product_id"], *devices)
        return made["secret"]

    def product(self, data):
        """A registry with one product; returns what is told of it once."""
        return json.loads(self.ask(data, "product", "create", "bench", "--datastreams", "temperature", "--output", "json"))

    def serve(self, data, *more):
        quiet = {**os.environ, "FIRSTWAKE_LOG": "warn"}
        listeners = ["--mqtt", "127.0.0.1:0", "--http", "off"]
        return Child([self.firstwake, "serve", "--data-dir", data, *listeners, *more], env=quiet)

    @contextlib.contextmanager
    def server(self, data):
        """A server that listens, and its address."""
        with self.serve(data) as child:
            yield child, listening(child)

    @contextlib.contextmanager
    def tls_server(self, data, certificates):
        """The same with TLS; both addresses."""
        identity = ["--cert", certificates / "server.pem", "--key", certificates / "server.key"]
        with self.serve(data, "--mqtts", "127.0.0.1:0", *identity) as child:
            addresses = dict(child.next_line().split(" listening on ") for _ in range(2))
            yield child, addresses["mqtt"], addresses["mqtts"]

    def simulate(self, *arguments):
        """A run of device-sim, to its end; returns its report."""
        result, complaint = self.attempt(*arguments)
        if complaint:
            raise Failed(complaint)
        return result

    def attempt(self, *arguments):
        """The same, for a run that may fall short: its report, and in what."""
        with self.directory() as directory:
            report = f"{directory}/report.json"
            arguments = [str(one) for one in (self.device_sim, *arguments, "--json", report)]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=RUN)
            if not os.path.exists(report):
                raise Failed(done.stderr.strip() or f"{' '.join(arguments)} left no report")
            with open(report) as file:
                return json.load(file)["result"], done.stderr.strip()

    def storm(self, address, secret, serials, in_flight, *more):
        with self.directory() as directory:
            secret_file = write(f"{directory}/secret", secret)
            return self.simulate(
                "storm", "--broker", address, "--secret-file", secret_file,
                "--serials", serials, "--in-flight", str(in_flight), *more,
            )  # fmt: skip

    def floor(self, serials, in_flight, *more):
        return self.simulate("floor", "--serials", serials, "--in-flight", str(in_flight), *more)


def listening(child):
    return child.next_line().removeprefix("mqtt listening on ")


def write(path, text):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as out:
        out.write(text)
    return path


def free_port():
    """A port that was free a moment ago, for servers that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
