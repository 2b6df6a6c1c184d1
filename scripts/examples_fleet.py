"""The fleet's pair of examples/python against a real server. Started by
scripts/examples.

An application on a device, the maker's own API server, and `firstwake serve`,
which is asked over TLS. Every story is a function with a device of its own, and
prints one line. Exit status 1 if a story went wrong.
"""

import concurrent.futures
import contextlib
import hashlib
import hmac
import http.client
import http.server
import itertools
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

import jwt
import requests

from examples import DEADLINE, DONE, REFUSED, ROOT, Server, expect, same

PYTHON = ROOT / "examples" / "python"
sys.path.insert(0, str(PYTHON))

import fleet_app
import licence_check
import this_device

BOARD = "10000000abcdef01"
# The name that the maker's server has for itself.
AUDIENCE = "https://fleet.example"
STORIES = []


def story(function):
    STORIES.append(function)
    return function


class Maker:
    """fleet_server.py, as a process of its own."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(PYTHON / "fleet_server.py"), "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "FIRSTWAKE_AUDIENCE": AUDIENCE, **environment},
        )  # fmt: skip
        self.url = "http://" + self.process.stdout.readline().strip().removeprefix("listening on ")

    def stop(self):
        self.process.kill()
        self.process.wait()


class Reply:
    """What came back."""

    def __init__(self, status, body):
        self.status_code, self.body = status, body

    def json(self):
        return json.loads(self.body)


class Stage:
    """One device, and the two servers that it has to do with."""

    serials = itertools.count()

    def __init__(self, server, maker, directory):
        self.server, self.maker, self.directory = server, maker, directory
        host, port = server.addresses["https"]
        self.url = f"https://{host}:{port}"
        # A colon is what HTTP's Basic has for itself.
        self.serial = f"fleet:{next(self.serials)}"
        server.command("device", "register", server.product, self.serial)
        self.code = server.command("code", "--secret", server.secret, "--serial", self.serial).strip()
        message = b"firstwake device key v1\0" + self.serial.encode()
        self.device_key = hmac.new(bytes.fromhex(server.secret), message, hashlib.sha256).hexdigest()

    def app(self, status=DONE, **environment):
        """The application, from its start to its end; what it said."""
        done = subprocess.run(
            [sys.executable, "-B", str(PYTHON / "fleet_app.py"), self.url, self.maker.url, self.server.product,
             self.serial, str(self.directory / "app")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE,
            env={**os.environ, "FIRSTWAKE_CA": self.server.authority, "FIRSTWAKE_AUDIENCE": AUDIENCE, **environment},
        )  # fmt: skip
        same(done.returncode, status, f"exit status ({done.stdout.strip()})")
        for secret in (self.code, self.device_key, self.server.secret):
            expect(secret not in done.stdout, "it prints a secret")
        expect("eyJ" not in done.stdout, "it prints a token")
        return done.stdout

    def device(self, code=None):
        """This device in this process, known to the server."""
        key = None if code else self.device_key
        device = this_device.Device(str(self.directory / "device"), self.server.product, self.serial, key, AUDIENCE)
        firstwake = fleet_app.Firstwake(self.url, device)
        firstwake.wake(code)
        return device, fleet_app.Fleet(self.maker.url, device, firstwake)

    def send(self, token, method="GET", target="/work?unit=C", body=b"", maker=None):
        """A request with this token, whatever the token was made for; to the
        letter as it is written here."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        address = (maker or self.maker).url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=DEADLINE)) as connection:
            connection.request(method, target, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read())

    def refusals(self):
        """What an operator sees."""
        return self.server.command("device", "explain", self.serial)


# --- the whole pair ----------------------------------------------------------


@story
def a_key_pair_made_at_first_boot(stage):
    said = stage.app(FIRSTWAKE_CODE=stage.code)
    expect(f"reported: 1 by {stage.serial}" in said, said)
    # From then on it needs no code, and has its numbers after the earlier ones.
    expect(f"reported: 2 by {stage.serial}" in stage.app(), "it is another device the second time")
    expect("wrong" not in stage.refusals(), stage.refusals())


@story
def a_device_key_that_was_burnt_in(stage):
    for count in (1, 2):
        said = stage.app(FIRSTWAKE_DEVICE_KEY=stage.device_key)
        expect(f"reported: {count} by {stage.serial}" in said, said)


@story
def nobody_knows_it(stage):
    stage.app(REFUSED, FIRSTWAKE_CODE="0" * 40)
    stage.app(REFUSED, FIRSTWAKE_DEVICE_KEY="0" * 64)


@story
def suspended_and_resumed(stage):
    _, fleet = stage.device()
    fleet.ask("GET", "/work?unit=C")
    stage.server.command("device", "suspend", stage.serial)
    try:
        fleet.ask("GET", "/work?unit=C")
    except fleet_app.Refused as why:
        expect("suspended" in str(why), why)
    else:
        raise AssertionError("a suspended device is served")
    stage.server.command("device", "resume", stage.serial)
    fleet.ask("GET", "/work?unit=C")


# --- what may come to a server -----------------------------------------------


@story
def out_of_order_and_each_once(stage):
    device, _ = stage.device(stage.code)
    tokens = [device.token(AUDIENCE, "GET", "/work?unit=C", b"") for _ in range(100)]
    random.Random(7).shuffle(tokens)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda token: stage.send(token).status_code, tokens))
        again = list(pool.map(lambda token: stage.send(token), tokens))
    same(first, [200] * 100, "the first time")
    same({reply.status_code for reply in again}, {401}, "the second time")
    same({reply.json()["code"] for reply in again}, {"token_replayed"}, "why")
    expect("token_replayed" in stage.refusals(), "the operator does not see why")


@story
def older_than_the_window(stage):
    device, _ = stage.device()
    old, edge, *_, new = [device.token(AUDIENCE, "GET", "/work?unit=C", b"") for _ in range(129)]
    same(stage.send(new).status_code, 200, "the newest")
    same(stage.send(old).json().get("code"), "token_replayed", "128 behind it")
    same(stage.send(edge).status_code, 200, "127 behind it")


@story
def sent_at_the_same_time_twice(stage):
    device, _ = stage.device()
    for _ in range(10):
        token = device.token(AUDIENCE, "GET", "/work?unit=C", b"")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(lambda _: stage.send(token).status_code, range(8)))
        same(statuses, [200] + [401] * 7, "of eight")


@story
def altered_on_the_way(stage):
    device, _ = stage.device()
    body = b'{"value":21.5}'
    for change in (
        {"body": b'{"value":99.9}'},
        {"body": b""},
        {"target": "/reports?value=99"},
        {"target": "/%72eports"},
        {"method": "PUT"},
        {"method": "GET", "target": "/work?unit=C", "body": b""},
    ):
        token = device.token(AUDIENCE, "POST", "/reports", body)
        asked = {"method": "POST", "target": "/reports", "body": body}
        reply = stage.send(token, **{**asked, **change})
        # What is not offered, nobody asks about.
        expect(reply.status_code in (401, 405), f"{change}: {reply.status_code}")
        if reply.status_code == 401:
            same(reply.json()["code"], "request_altered", str(change))
        # It was not used up.
        same(stage.send(token, **asked).status_code, 200, "as it was signed")
    expect("request_altered" in stage.refusals(), "the operator does not see why")


@story
def of_somebody_else(stage):
    device, _ = stage.device()
    ask = ("GET", "/work?unit=C", b"")
    claims = jwt.decode(device.token(AUDIENCE, *ask), options={"verify_signature": False})
    foreign = [
        jwt.encode(claims, b"x" * 32, "HS256"),
        jwt.encode(claims, this_device.Ed25519PrivateKey.generate(), "EdDSA"),
        jwt.encode(claims, device.key * 2, "HS512"),
        jwt.encode(claims, None, "none"),
        jwt.encode({**claims, "product_id": "a" * 20}, device.key, "HS256"),
        jwt.encode({**claims, "sub": "nobody"}, device.key, "HS256"),
        device.login(),
        "no.token.at-all",
        "x" * 5000,
    ]
    for token in foreign:
        reply = stage.send(token)
        same(reply.status_code, 401, "status")
        same(reply.json()["code"], "unauthenticated", "what a stranger is told")
    same(requests.get(f"{stage.maker.url}/work", timeout=DEADLINE).status_code, 401, "without a token")
    expect("token_invalid" in stage.refusals(), "the operator does not see why")
    same(stage.send(jwt.encode(claims, device.key, "HS256")).status_code, 200, "its own")


@story
def a_clock_two_hours_off(stage):
    device, fleet = stage.device()
    for hours in (-2, 2):
        device.clock.set(time.time() + hours * 3600)
        reply = stage.send(device.token(AUDIENCE, "GET", "/work?unit=C", b""))
        same(reply.json()["code"], "token_expired", f"{hours} hours")
        fleet.ask("GET", "/work?unit=C")
        expect(abs(device.clock.now() - time.time()) < 30, "the clock is still wrong")
    expect("token_expired" in stage.refusals(), "the operator does not see why")


@story
def firstwake_is_away_or_odd(stage):
    device, _ = stage.device()

    class Odd(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"verified":"true","serial":"x"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    odd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=odd.serve_forever, daemon=True).start()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for where in (
            {"FIRSTWAKE_URL": f"http://127.0.0.1:{closed.getsockname()[1]}", "FIRSTWAKE_TOKEN": "x"},
            {"FIRSTWAKE_URL": f"http://127.0.0.1:{odd.server_port}", "FIRSTWAKE_TOKEN": "x"},
            {"FIRSTWAKE_URL": stage.url, "FIRSTWAKE_CA": stage.server.authority, "FIRSTWAKE_TOKEN": "x"},
            {"FIRSTWAKE_URL": stage.url, "FIRSTWAKE_TOKEN": "x"},
        ):
            maker = Maker(where)
            try:
                reply = stage.send(device.token(AUDIENCE, "GET", "/work?unit=C", b""), maker=maker)
                same(reply.status_code, 503, "status")
            finally:
                maker.stop()
    odd.shutdown()


# --- licences ----------------------------------------------------------------


@story
def a_licence_is_for_one_board(stage):
    stage.server.command("product", "set", stage.server.product, "--lease", "30d")
    with contextlib.ExitStack() as end:
        facts, this_device.facts = this_device.facts, lambda: {"cpu_serial": [BOARD]}
        end.callback(setattr, this_device, "facts", facts)
        device, fleet = stage.device(stage.code)
        ask = {"auth": fleet_app.Bearer(device), "json": {"ask": "licence"}}
        told = fleet.firstwake.http.ask("POST", "/api/v1/provision", **ask).json()
    key = jwt.PyJWK(fleet.firstwake.http.ask("GET", "/api/v1/licence-key").json()).key
    product, pepper = stage.server.product, device.kept["pepper"]
    board, other = stage.directory / "board", stage.directory / "other"
    board.write_text(BOARD.upper() + "\0")
    other.write_text("20000000abcdef02\0")

    def check(product=product, pepper=pepper, token=told["licence"], where=board):
        return licence_check.licensed(product, pepper, key, token, where)

    same(check(), stage.serial, "whom it is for")
    for wrong in ({"where": other}, {"product": "a" * 20}, {"pepper": "00" * 32}, {"token": device.login()}):
        try:
            check(**wrong)
        except (jwt.InvalidTokenError, PermissionError):
            continue
        raise AssertionError(f"licensed in spite of {wrong.keys()}")


def main():
    binaries = sys.argv[1]
    results = []
    with tempfile.TemporaryDirectory(prefix="firstwake-examples-") as data, contextlib.ExitStack() as end:
        server = Server(f"{binaries}/firstwake", data)
        end.callback(server.stop)
        # What the maker's server shows. Its rights: the least there are.
        server.command("operator", "add", "shop", "--role", "verifier", "--password-stdin", told="a long enough one")
        token = json.loads(server.command("token", "create", "shop", "--output", "json"))["token"]
        host, port = server.addresses["https"]
        os.environ["FIRSTWAKE_CA"] = server.authority
        maker = Maker({"FIRSTWAKE_URL": f"https://{host}:{port}", "FIRSTWAKE_TOKEN": token})
        end.callback(maker.stop)
        for number, one in enumerate(STORIES):
            name = f"python, a fleet: {one.__name__.replace('_', ' ')}"
            directory = pathlib.Path(data) / f"story-{number}"
            directory.mkdir()
            try:
                one(Stage(server, maker, directory))
            except Exception as error:  # It is a line, and the next one is told.
                results.append(False)
                print(f"FAIL {name}: {error or type(error).__name__}", flush=True)
            else:
                results.append(True)
                print(f"ok   {name}", flush=True)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
