"""A device in Python: wakes for the first time, keeps its key, sends a value.

    python device.py mqtts://HOST SERIAL FILE      or https://HOST, mqtt://, http://

FILE keeps the credentials. The environment variable FIRSTWAKE_CODE holds the
activation code, or FIRSTWAKE_SECRET the product secret to compute it from.
Exit status: 0 the value has arrived, 1 something here is broken, 2 wrong
usage, 3 a person has to act. Nothing here prints the code or the key.
"""

import contextlib
import hashlib
import hmac
import json
import os
import queue
import random
import sys
import time
import urllib.parse

import paho.mqtt.client as paho
import requests
from paho.mqtt.enums import CallbackAPIVersion

DATASTREAM, VALUE = "temperature", "21.5"
PATIENCE = 30  # Seconds that the server has for one answer.
LONGEST_WAIT = 60  # Seconds.


class Later(Exception):
    """The server is away or busy, or its answer was lost."""


class Unknown(Exception):
    """The server knows no such serial and code, or no such key."""


class Stop(Exception):
    """The right code or key, and yet no: only a person can change that."""


def activation_code(secret_hex, serial):
    """The key is the secret's 20 bytes. Its 40 characters, as they are, give
    another code, and everybody tries that first: unhex it."""
    return hmac.new(bytes.fromhex(secret_hex), serial.encode(), hashlib.sha1).hexdigest()


# --- what is kept ------------------------------------------------------------


def credentials(answer):
    """The key and the feed id in the server's answer."""
    found = json.loads(answer)
    key, feed = found["apikey"], found["feed_id"]
    if not (isinstance(key, str) and isinstance(feed, int)):
        raise ValueError("no key and feed id")
    return key, feed


def load(path):
    try:
        with open(path, encoding="ascii") as file:
            return credentials(file.read())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # A person should look: it may be the only copy of a key that works.
        raise SystemExit(f"{path} is damaged: restore it, or move it away and have the device reset") from None


def store(path, answer):
    """Before the key is used: whatever moment the power fails at, there is
    either the old file or the new one, whole."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.remove(new)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(answer)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# --- MQTT --------------------------------------------------------------------


class Mqtt:
    WRONG, SPENT, BANNED = 0x86, 0x87, 0x8A

    def __init__(self, url, serial):
        self.tls = url.scheme == "mqtts"
        self.host, self.port = url.hostname, url.port or (8883 if self.tls else 1883)
        self.serial = serial
        # In a topic, a + would be a wildcard.
        self.topic = f"provision/{serial.replace('+', '%2B')}/response"

    def activate(self, code):
        with self.session(code) as (client, next_of):
            client.subscribe(self.topic, qos=1)
            answer = next_of("message").decode()
        error = json.loads(answer).get("error")
        if error is None:
            return answer
        if error["code"] in ("overloaded", "unavailable"):
            raise Later(error["message"])
        raise Stop(error["message"])

    def send(self, key, feed):
        with self.session(key) as (client, next_of):
            client.publish(f"feeds/{feed}/data/{DATASTREAM}", VALUE, qos=1)
            if (reason := next_of("puback")) >= 0x80:
                raise Stop(f"the server does not take the value (reason {reason:#x})")

    @contextlib.contextmanager
    def session(self, password):
        """A session that the server has let in."""
        happened = queue.Queue()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self.serial, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.username_pw_set(self.serial, password)
        if self.tls:
            client.tls_set(os.environ.get("FIRSTWAKE_CA"))
        client.on_connect = lambda _c, _u, _f, reason, properties: happened.put(("connack", (reason.value, properties)))
        client.on_message = lambda _c, _u, message: happened.put(("message", message.payload))
        client.on_publish = lambda _c, _u, _m, reason, _p: happened.put(("puback", reason.value))
        client.on_disconnect = lambda *_: happened.put(("end", None))

        def next_of(kind):
            try:
                found, what = happened.get(timeout=PATIENCE)
            except queue.Empty:
                raise Later("the server does not answer") from None
            if found != kind:
                raise Later("the connection broke")
            return what

        try:
            client.connect(self.host, self.port, keepalive=60)
        except OSError as error:
            raise Later(f"no connection: {error}") from None
        client.loop_start()
        try:
            reason, properties = next_of("connack")
            if reason == self.WRONG:
                raise Unknown
            if reason in (self.SPENT, self.BANNED):
                raise Stop(getattr(properties, "ReasonString", "not authorized"))
            if reason:
                raise Later(f"the server is busy (reason {reason:#x})")
            yield client, next_of
        finally:
            client.disconnect()
            client.loop_stop()


# --- HTTP --------------------------------------------------------------------


class Http:
    def __init__(self, url, _serial):
        self.base = f"{url.scheme}://{url.netloc}"
        self.verify = os.environ.get("FIRSTWAKE_CA", True)

    def activate(self, code):
        # Without Accept and suffix, the answer is JSON.
        return self.ask("GET", f"/v2/devices/{code}/activate").text

    def send(self, key, feed):
        body = {"version": "1.0.0", "datastreams": [{"id": DATASTREAM, "current_value": VALUE}]}
        self.ask("PUT", f"/v2/feeds/{feed}.json", json=body, headers={"X-ApiKey": key})

    def ask(self, method, path, **more):
        try:
            reply = requests.request(method, self.base + path, timeout=PATIENCE, verify=self.verify, **more)
        except requests.RequestException as error:
            # Its text has the address in it, and so the code: name its kind only.
            raise Later(f"no answer ({type(error).__name__})") from None
        if reply.status_code == 200:
            return reply
        if reply.status_code in (401, 404):
            raise Unknown
        # Of a 403, the words say which of two it is.
        if reply.status_code == 429 or reply.status_code >= 500 or "too many requests" in reply.text:
            raise Later(f"the server is busy (status {reply.status_code})")
        raise Stop(f"status {reply.status_code}: {reply.text}")


# --- a device's life ---------------------------------------------------------


def first_time(server, code, path):
    answer = server.activate(code)
    try:
        found = credentials(answer)
    except (ValueError, KeyError, TypeError):
        raise Later("the answer makes no sense") from None
    try:
        store(path, answer)
    except OSError as error:
        # The key is not used, so the code is not spent.
        raise SystemExit(f"the credentials cannot be kept: {error}") from None
    print(f"activated: feed {found[1]}", flush=True)
    return found


def live(server, code, path):
    known, failures = load(path), 0
    while True:
        try:
            known = known or first_time(server, code, path)
            server.send(*known)
            print(f"sent: {DATASTREAM} {VALUE} to feed {known[1]}")
            return
        except Later as why:
            complaint = str(why)
        except Unknown:
            complaint = "the server knows no such serial and code: are both right, and was the code made from the secret's bytes?"
            if known:
                # Where an operator has reset the device, its code works again.
                # The file stays until there is another answer.
                complaint, known = "the server knows no such key", None
        # Full jitter: a fleet that lost its server must not come back in step.
        wait = random.uniform(0, min(LONGEST_WAIT, 2 ** min(failures, 16)))
        failures += 1
        print(f"{complaint}; next try in {wait:.1f} s", file=sys.stderr, flush=True)
        time.sleep(wait)


def arguments():
    address, serial, path = sys.argv[1:]
    url = urllib.parse.urlsplit(address)
    server = {"mqtt": Mqtt, "mqtts": Mqtt, "http": Http, "https": Http}[url.scheme](url, serial)
    return server, os.environ.get("FIRSTWAKE_CODE") or activation_code(os.environ["FIRSTWAKE_SECRET"], serial), path


if __name__ == "__main__":
    try:
        life = arguments()
    except (KeyError, ValueError):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        live(*life)
    except Stop as why:
        print(f"refused, and asking again will not help: {why}. Tell an operator.", file=sys.stderr)
        sys.exit(3)
