"""This very device: its key, its counter, its hardware, and what it signs.

An application makes one `Device` and gives it to `requests` as `auth`: every
request then carries a token of its own, which holds for this server, this
method, this target and this body, once. The key never leaves the device's directory, and
nothing here prints it. One process at a time may hold a directory.
"""

import base64
import contextlib
import fcntl
import glob
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import urllib.parse

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SPAN = 60  # Seconds that a token holds; the server takes at most 300.


def url_safe(data):
    """Base64url without padding, as all of JWT has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def request_digest(method, target, body):
    """What a token says of its request: `target` is path and query as they are
    sent, byte for byte."""
    text = f"{method}\n{target}\n{hashlib.sha256(body).hexdigest()}"
    return url_safe(hashlib.sha256(text.encode()).digest())


def origin(url):
    """The name that a server has unless it says otherwise: `https://HOST`."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


# --- the hardware ------------------------------------------------------------


def read(pattern):
    """What is in the files that are there."""
    for path in sorted(glob.glob(pattern)):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            yield file.read().strip(" \t\r\n\0")


def permanent_macs():
    """Of real interfaces, and none that was made up for privacy."""
    for address in glob.glob("/sys/class/net/*/address"):
        card = os.path.dirname(address)
        if os.path.exists(f"{card}/device") and list(read(f"{card}/addr_assign_type")) == ["0"]:
            yield from read(address)


def facts():
    """What a Raspberry Pi says of itself. Others: `firstwake-device identity`."""
    found = {
        "cpu_serial": read("/proc/device-tree/serial-number"),
        "mac": permanent_macs(),
        "sd_card": read("/sys/block/mmcblk*/device/cid"),
    }
    found = {fact: [value for value in values if value] for fact, values in found.items()}
    return {fact: values for fact, values in found.items() if values}


def fact_hash(pepper, fact, value):
    """A fact as it is sent: who does not have the pepper cannot look it up."""
    value = value.strip().strip("\0").lower()
    message = b"firstwake fact v1\0" + fact.encode() + b"\0" + value.encode()
    return hmac.new(bytes.fromhex(pepper), message, hashlib.sha256).hexdigest()[:32]


# --- what is kept ------------------------------------------------------------


def store(path, text):
    """Whatever moment the power fails at, there is the old file or the new."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.remove(new)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Clock:
    """This machine's clock, until a server has told a better time. A board
    without a battery wakes up in the past."""

    def __init__(self):
        self.origin = None

    def now(self):
        """Seconds since 1970."""
        return time.time() if self.origin is None else self.origin + time.monotonic()

    def set(self, now):
        self.origin = now - time.monotonic()


class Counter:
    """Numbers of which none ever comes twice, also after a power cut: a run of
    them is taken from the file before the first one is used."""

    RUN = 1000

    def __init__(self, path, clock):
        self.path, self.clock, self.lock = path, clock, threading.Lock()
        self.next = self.end = None

    def take(self):
        with self.lock:
            if self.next == self.end:
                self.next = self.begin() if self.end is None else self.end
                self.end = self.next + self.RUN
                store(self.path, str(self.end))
            self.next += 1
            return self.next - 1

    def begin(self):
        try:
            with open(self.path, encoding="ascii") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            # Where the file was lost, milliseconds are ahead of all that were
            # ever used: no device asks a thousand times a second.
            return max(1, int(self.clock.now() * 1000))


class Device(requests.auth.AuthBase):
    """Who this is, and what proves it."""

    def __init__(self, directory, product, serial, device_key=None, audience=None):
        """`device_key` is what the factory burnt in (64 hex characters), for
        HS256; without it, a key pair is made here at first boot. `audience` is
        the name that the server which is asked has for itself; without it, its
        address (`https://HOST`)."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.held = os.open(directory, os.O_RDONLY)
        fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.product, self.serial, self.audience = product, serial, audience
        self.path = os.path.join(directory, "identity.json")
        self.clock = Clock()
        self.counter = Counter(os.path.join(directory, "counter"), self.clock)
        self.kept = self.load()
        if device_key:
            self.algorithm, self.key = "HS256", bytes.fromhex(device_key)
        else:
            self.algorithm, self.key = "EdDSA", self.own_key()

    def close(self):
        os.close(self.held)

    def load(self):
        with contextlib.suppress(FileNotFoundError), open(self.path, encoding="ascii") as file:
            return json.load(file)
        return {}

    def keep(self, **more):
        """Writes down what was learnt, before it is used."""
        self.kept |= more
        store(self.path, json.dumps(self.kept))

    def own_key(self):
        """The private half, which is on disk before anybody hears of it."""
        if "private_key" not in self.kept:
            self.keep(private_key=Ed25519PrivateKey.generate().private_bytes_raw().hex())
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.kept["private_key"]))

    def enrolment(self, challenge):
        """Public half, and the proof that the private one is here: what a
        server that has checked the activation code is told."""
        parts = ["firstwake enrolment v1", self.product, self.serial, challenge]
        return {
            "public_key": url_safe(self.key.public_key().public_bytes_raw()),
            "challenge": challenge,
            "signature": url_safe(self.key.sign("\0".join(parts).encode())),
            "hardware": self.hardware(),
        }

    def hardware(self):
        """The hardware claim; empty until the product's pepper is known."""
        if "pepper" not in self.kept:
            return {}
        hashed = {
            fact: [fact_hash(self.kept["pepper"], fact, value) for value in values] for fact, values in facts().items()
        }
        return {fact: hashes[0] if len(hashes) == 1 else hashes[:8] for fact, hashes in hashed.items()}

    def claims(self, audience, **more):
        now = round(self.clock.now(), 3)
        claims = {
            "sub": self.serial,
            "aud": audience,
            "iat": now,
            "exp": now + SPAN,
            "jti": secrets.token_urlsafe(12),
        }
        return claims | more | ({"hw": hardware} if (hardware := self.hardware()) else {})

    def login(self):
        """A token that logs this device in, once."""
        return jwt.encode(self.claims(self.product), self.key, self.algorithm)

    def token(self, audience, method, target, body):
        """A token for one request to the server of this name."""
        asked = request_digest(method, target, body)
        claims = self.claims(audience, product_id=self.product, ctr=self.counter.take(), req=asked)
        return jwt.encode(claims, self.key, self.algorithm)

    def __call__(self, prepared):
        """Signs what `requests` is about to send."""
        body = prepared.body or b""
        body = body.encode() if isinstance(body, str) else body
        audience = self.audience or origin(prepared.url)
        token = self.token(audience, prepared.method, prepared.path_url, body)
        prepared.headers["Authorization"] = f"Bearer {token}"
        return prepared
