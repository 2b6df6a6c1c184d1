"""The examples against a real server. Started by scripts/examples.

Every story is a function; it is told for each language, over MQTT and over
HTTP, and prints one line. Between device and server there is a `Way`, which can
be blocked, lose an answer, or answer for a server that is busy. What is waited
for has a deadline; ports are chosen by the system. Exit status 1 if a story
went wrong.
"""

import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request

DEADLINE = 30
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where each protocol is spoken: plain, and over TLS.
LISTENERS = {"mqtt": "mqtt", "http": "xively"}
TLS_LISTENERS = {"mqtt": "mqtts", "http": "https"}
SPEAK_TLS = [("python", "mqtt"), ("python", "http"), ("ruby", "mqtt"), ("ruby", "http"), ("shell", "mqtt"),
             ("shell", "http"), ("rust", "http")]  # fmt: skip
KEY = re.compile(r"[A-Za-z0-9_-]{48}")
VALUE = "21.5"

DONE, BROKEN, REFUSED = 0, 1, 3

STORIES = []


def story(where=lambda language, protocol: True):
    """Registers a story, for the languages and protocols where it can happen."""

    def register(function):
        STORIES.append((function, where))
        return function

    return register


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def same(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r} in place of {wanted!r}")


class Server:
    """`firstwake serve`, and its command line."""

    def __init__(self, binary, data):
        self.binary, self.data = binary, data
        product = json.loads(self.command("product", "create", "examples", "--datastreams", "temperature", "--output", "json"))
        self.product, self.secret = product["product_id"], product["secret"]
        certificates = f"{data}/certificates"
        self.command("cert", "dev", "--dir", certificates)
        self.authority = f"{certificates}/ca.pem"
        arguments = [binary, "serve", "--data-dir", data, "--http", "off"]
        arguments += ["--cert", f"{certificates}/server.pem", "--key", f"{certificates}/server.key"]
        listeners = [*LISTENERS.values(), *TLS_LISTENERS.values()]
        for listener in listeners:
            arguments += [f"--{listener}", "127.0.0.1:0"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addresses = {}
        for _ in listeners:
            name, address = self.process.stdout.readline().strip().split(" listening on ")
            host, port = address.rsplit(":", 1)
            self.addresses[name] = (host, int(port))

    def command(self, *arguments, told=None):
        done = subprocess.run(
            [self.binary, "--data-dir", self.data, *arguments],
            input=told, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        same(done.returncode, 0, f"firstwake {arguments[0]} {arguments[1]} ({done.stderr.strip()})")
        return done.stdout

    def value(self, key, feed):
        """What the server has as the current value."""
        host, port = self.addresses["xively"]
        request = urllib.request.Request(f"http://{host}:{port}/v2/feeds/{feed}.json", headers={"X-ApiKey": key})
        with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
            found = json.load(reply)["datastreams"]
        return {one["id"]: one.get("current_value") for one in found}.get("temperature")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=DEADLINE)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Way:
    """A port that leads to the server, and what happens on it."""

    def __init__(self, protocol, server):
        self.protocol, self.server = protocol, server
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"{protocol}://127.0.0.1:{self.socket.getsockname()[1]}"
        # Each takes one connection or one answer, and is gone.
        self.busy = None
        self.when_answered = None
        self.lost = None

    def open(self):
        self.socket.listen()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                device, _ = self.socket.accept()
                threading.Thread(target=self.serve, args=[device], daemon=True).start()

    def serve(self, device):
        with contextlib.suppress(OSError), device:
            if self.busy:
                reply, self.busy = self.busy, None
                return self.refuse(device, reply)
            with socket.create_connection(self.server, timeout=DEADLINE) as server:
                up = threading.Thread(target=self.pump, args=[device, server], daemon=True)
                up.start()
                self.bring(server, device)
                up.join()

    @staticmethod
    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def bring(self, server, device):
        """What the server says; an answer may be lost here."""
        while data := server.recv(65536):
            if self.when_answered and b'"apikey"' in data:
                happen, self.when_answered = self.when_answered, None
                self.lost = json.loads(data[data.index(b"{") :].decode())
                happen()
                for side in (device, server):
                    with contextlib.suppress(OSError):
                        side.shutdown(socket.SHUT_RDWR)
                return
            device.sendall(data)
        with contextlib.suppress(OSError):
            device.shutdown(socket.SHUT_WR)

    @staticmethod
    def refuse(device, reply):
        """As a server that has no room, once it is asked."""
        heard = b""
        while not (found := re.search(rb"MQTT(.)|\r\n\r\n", heard, re.DOTALL)):
            heard += device.recv(65536)
        device.sendall(reply[found[1]])
        device.shutdown(socket.SHUT_WR)
        device.recv(65536)


# What a server without room says, by the version of MQTT that is asked in:
# CONNACK 3 or 0x89. HTTP has none.
BUSY = {
    b"\x04": b"\x20\x02\x00\x03",
    b"\x05": b"\x20\x03\x00\x89\x00",
    None: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}
TOO_MANY = {
    None: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 83\r\nConnection: close\r\n\r\n"
    b'{"title":"Forbidden","errors":"too many requests from this address: wait a minute"}'
}


class Stage:
    """One device of one language, its way to the server, and its place to keep things."""

    serials = itertools.count()

    def __init__(self, server, language, command, protocol, directory):
        self.server, self.language, self.command, self.protocol = server, language, command, protocol
        self.way = Way(protocol, server.addresses[LISTENERS[protocol]])
        # A plus is what topics cannot have as it is.
        self.serial = f"{language}+{protocol}-{next(self.serials)}"
        self.file = pathlib.Path(directory) / "kept" / "device"
        self.code = server.command("code", "--secret", server.secret, "--serial", self.serial).strip()
        self.environment = {"FIRSTWAKE_SECRET": server.secret}

    def over_tls(self):
        self.way.close()
        self.way = Way(self.protocol, self.server.addresses[TLS_LISTENERS[self.protocol]])
        self.way.url = self.way.url.replace("://", "s://")
        self.environment["FIRSTWAKE_CA"] = self.server.authority
        return self

    def register(self):
        self.server.command("device", "register", self.server.product, self.serial)
        return self

    def make_place(self):
        self.file.parent.mkdir()
        return self

    def start(self):
        """The device, awake."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FIRSTWAKE_")}
        return Awake(self, subprocess.Popen(
            [*self.command, self.way.url, self.serial, str(self.file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**environment, **self.environment},
        ))  # fmt: skip

    def start_to_be_killed(self):
        """The device, awake until its answer is on the way."""
        started = threading.Event()

        def kill():
            started.wait(DEADLINE)
            awake.process.kill()

        self.way.when_answered = kill
        self.way.open()
        awake = self.start()
        started.set()
        return awake

    def run(self, status=DONE):
        """From its waking to its end; what it said."""
        said, found = self.start().end()
        same(found, status, f"exit status ({said.strip()})")
        return said

    def kept(self):
        """The key and the feed that it has stored."""
        same(self.file.stat().st_mode & 0o777, 0o600, "mode of the file")
        same([one.name for one in self.file.parent.iterdir()], [self.file.name], "files")
        data = self.file.read_bytes()
        if self.language != "c":
            found = json.loads(data)
            return found["apikey"], found["feed_id"]
        # Two slots: "FW1", count, feed, key.
        slots = [data[at : at + 64] for at in range(0, len(data), 64)]
        newest = max((slot for slot in slots if slot[:3] == b"FW1"), key=lambda slot: struct.unpack_from("<I", slot, 4))
        return newest[12:60].decode(), struct.unpack_from("<I", newest, 8)[0]

    def activated(self):
        """After a device's first time: everything that has to be so."""
        key, feed = self.kept()
        expect(KEY.fullmatch(key), "the key is not 48 characters")
        same(self.server.value(key, feed), VALUE, "the current value")
        return key, feed


class Awake:
    """A device that runs."""

    def __init__(self, stage, process):
        self.stage, self.process, self.said = stage, process, ""

    def until(self, words):
        """Reads on until it has said this."""
        timer = threading.Timer(DEADLINE, self.process.kill)
        timer.start()
        try:
            while line := self.process.stdout.readline():
                self.said += line
                if words in line:
                    return self
        finally:
            timer.cancel()
        raise AssertionError(f"it never said {words!r}: {self.said.strip()}")

    def end(self):
        timer = threading.Timer(DEADLINE, self.process.kill)
        timer.start()
        try:
            self.said += self.process.stdout.read()
            status = self.process.wait()
        finally:
            timer.cancel()
        for secret in (self.stage.code, self.stage.server.secret):
            expect(secret not in self.said, "it prints a secret")
        expect(not KEY.search(self.said), "it prints a key")
        return self.said, status


# --- what may happen to a device ---------------------------------------------


@story()
def the_first_time_and_the_second(stage):
    stage.register().make_place().way.open()
    said = stage.run()
    key, feed = stage.activated()
    same(said.splitlines()[0], f"activated: feed {feed}", "what it says")
    expect("activated" not in stage.run(), "it activated again")
    same(stage.kept(), (key, feed), "what is kept")


@story(lambda *of: of in SPEAK_TLS)
def the_first_time_over_tls(stage):
    stage.register().make_place().over_tls().way.open()
    stage.run()
    stage.activated()
    # A server that nobody vouches for is sent nothing.
    stage.file.unlink()
    stage.environment["FIRSTWAKE_CA"] = "/etc/ssl/certs/ca-certificates.crt"
    awake = stage.start().until("next try")
    awake.process.kill()
    expect(not stage.file.exists(), "it trusts anybody")
    awake.end()


@story()
def with_a_code_that_was_burnt_in(stage):
    stage.environment = {"FIRSTWAKE_CODE": stage.code}
    stage.register().make_place().way.open()
    stage.run()
    stage.activated()


@story()
def the_answer_is_lost(stage):
    stage.way.when_answered = lambda: None
    stage.register().make_place().way.open()
    stage.run()
    key, feed = stage.activated()
    same(feed, stage.way.lost["feed_id"], "the feed")
    expect(key != stage.way.lost["apikey"], "the lost key came again")


@story()
def killed_before_it_could_store(stage):
    stage.register().make_place()
    awake = stage.start_to_be_killed()
    same(awake.end()[1], -signal.SIGKILL, "how it ended")
    expect(not stage.file.exists(), "something is stored")
    stage.run()
    key, feed = stage.activated()
    same(feed, stage.way.lost["feed_id"], "the feed")
    expect(key != stage.way.lost["apikey"], "the lost key came again")


@story()
def nowhere_to_store(stage):
    stage.register().way.open()
    expect("cannot be kept" in stage.run(BROKEN), "it does not say why")
    stage.make_place()
    # The key was not used, so the code is not spent.
    stage.run()
    stage.activated()


@story()
def the_code_is_spent(stage):
    stage.register().make_place().way.open()
    stage.run()
    stage.file.unlink()
    expect("Tell an operator" in stage.run(REFUSED), "it does not say what to do")
    same(list(stage.file.parent.iterdir()), [], "files")


@story()
def suspended_and_then_reset(stage):
    stage.register().make_place().way.open()
    stage.run()
    key, feed = stage.kept()
    stage.server.command("device", "suspend", stage.serial)
    stage.run(REFUSED)
    same(stage.kept(), (key, feed), "what is kept")
    stage.server.command("device", "reset", stage.serial)
    expect("no such key" in stage.run(), "the key that was reset is still good")
    fresh, again = stage.activated()
    same(again, feed, "the feed")
    expect(fresh != key, "the key is the same")


@story()
def away_at_first(stage):
    stage.register().make_place()
    awake = stage.start().until("next try")
    stage.way.open()
    said, status = awake.end()
    same(status, DONE, f"exit status ({said.strip()})")
    stage.activated()


@story()
def busy_at_first(stage):
    stage.way.busy = BUSY
    stage.register().make_place().way.open()
    expect("next try" in stage.run(), "it did not wait")
    stage.activated()


@story(lambda language, protocol: protocol == "http")
def asked_too_often_at_first(stage):
    stage.way.busy = TOO_MANY
    stage.register().make_place().way.open()
    expect("next try" in stage.run(), "it did not wait")
    stage.activated()


@story()
def not_registered_at_first(stage):
    stage.make_place().way.open()
    awake = stage.start().until("no such serial and code")
    stage.register()
    said, status = awake.end()
    same(status, DONE, f"exit status ({said.strip()})")
    stage.activated()


def tell(server, language, command, protocol):
    """All stories of one language over one protocol, one after the other."""
    results = []
    for one in (one for one, where in STORIES if where(language, protocol)):
        name = f"{language} over {protocol}: {one.__name__.replace('_', ' ')}"
        with tempfile.TemporaryDirectory(prefix="firstwake-examples-") as directory:
            stage = Stage(server, language, command, protocol, directory)
            try:
                one(stage)
            except Exception as error:  # It is a line, and the next one is told.
                results.append(False)
                print(f"FAIL {name}: {error or type(error).__name__}", flush=True)
            else:
                results.append(True)
                print(f"ok   {name}", flush=True)
            finally:
                stage.way.close()
    return results


def main():
    binaries, c, *only = sys.argv[1:]
    examples = ROOT / "examples"
    languages = {
        "python": [sys.executable, "-B", str(examples / "python" / "device.py")],
        "ruby": ["ruby", str(examples / "ruby" / "device.rb")],
        "c": [c],
        "shell": [str(examples / "shell" / "device")],
        "rust": [f"{binaries}/example-device"],
    }
    with tempfile.TemporaryDirectory(prefix="firstwake-examples-") as data:
        server = Server(f"{binaries}/firstwake", data)
        try:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                told = [
                    pool.submit(tell, server, name, languages[name], protocol)
                    for name in only or languages
                    for protocol in LISTENERS
                ]
                results = [result for one in told for result in one.result()]
        finally:
            server.stop()
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
