"""The server against clients that others wrote. Started by scripts/interop.

Each check is a function and prints one line. What is waited for has a
deadline; ports are chosen by the system. Exit status 1 if a check failed.
"""

import collections
import collections.abc
import contextlib
import copy
import datetime
import itertools
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

# What xively-python of 2013 looks for where Python 3.10 no longer has it.
collections.Sequence = collections.abc.Sequence
collections.Mapping = collections.abc.Mapping

import paho.mqtt.client as paho
import requests
import xively
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE = 15
LISTENERS = ("mqtt", "mqtts", "ws", "wss")
MOSQUITTO = ("mqttv31", "mqttv311", "mqttv5")
PAHO = {"3.1.1": paho.MQTTv311, "5": paho.MQTTv5}
PASSWORD = "a long enough password"

BAD_LOGIN, NOT_AUTHORIZED = 134, 135
TAKEN_OVER, ADMINISTRATIVE, SHUTTING_DOWN = 0x8E, 0x98, 0x8B

CHECKS = []


def check(*variants):
    """Registers a check, once for each variant."""

    def register(function):
        for variant in variants:
            CHECKS.append((f"{function.__name__} ({variant})", function, variant))
        return function

    return register


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def same(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r} in place of {wanted!r}")


class Server:
    """`firstwake serve`, its data directory and its command line."""

    def __init__(self, binary, data):
        self.binary, self.data = binary, data
        made = self.command("product", "create", "interop", "--datastreams", "temperature", "--output", "json")
        product = json.loads(made)
        self.product, self.secret = product["product_id"], product["secret"]
        for name in ("watcher", "alice", "bob"):
            self.command("operator", "add", name, "--role", "admin", "--password-stdin", told=PASSWORD)
        certificates = f"{data}/certificates"
        self.command("cert", "dev", "--dir", certificates)
        self.authority = f"{certificates}/ca.pem"
        arguments = [binary, "serve", "--data-dir", data, "--http", "off"]
        arguments += ["--cert", f"{certificates}/server.pem", "--key", f"{certificates}/server.key"]
        for listener in LISTENERS:
            arguments += [f"--{listener}", "127.0.0.1:0"]
        arguments += ["--xively", "127.0.0.1:0"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = Lines(self.process.stdout)
        self.listeners = {}
        for listener in (*LISTENERS, "xively"):
            line = lines.next(f"address of {listener}")
            host, port = line.removeprefix(f"{listener} listening on ").rsplit(":", 1)
            self.listeners[listener] = (host, int(port))
        self.listener = "mqtt"
        self.serials = (f"unit-{number}" for number in itertools.count())

    @property
    def host(self):
        return self.listeners[self.listener][0]

    @property
    def port(self):
        return self.listeners[self.listener][1]

    @property
    def encrypted(self):
        return self.listener in ("mqtts", "wss")

    def through(self, listener):
        """The same server, for clients of this listener."""
        other = copy.copy(self)
        other.listener = listener
        return other

    def command(self, *arguments, told=None):
        done = subprocess.run(
            [self.binary, "--data-dir", self.data, *arguments],
            input=told, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        same(done.returncode, 0, f"firstwake {arguments[0]} {arguments[1]} ({done.stderr.strip()})")
        return done.stdout

    def device(self):
        """A device that nobody has seen yet."""
        serial = next(self.serials)
        self.command("device", "register", self.product, serial)
        code = self.command("code", "--secret", self.secret, "--serial", serial).strip()
        return Device(serial, code)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE)


class Device:
    def __init__(self, serial, code):
        self.serial, self.code = serial, code
        self.key = self.feed = None

    def topic(self, purpose):
        return f"provision/{self.serial}/{purpose}"

    def take(self, payload):
        """Reads an answer: exactly three fields, in their order."""
        answer = json.loads(payload)
        same(list(answer), ["apikey", "feed_id", "datastreams"], "fields of the answer")
        expect(re.fullmatch(r"[A-Za-z0-9_-]{48}", answer["apikey"]), "the key is not 48 characters")
        same(answer["datastreams"], ["temperature"], "datastreams")
        self.key, self.feed = answer["apikey"], answer["feed_id"]

    def data(self):
        return f"feeds/{self.feed}/data/temperature"


class Lines:
    """Lines of a stream, each waited for with a deadline."""

    def __init__(self, stream):
        self.queue = queue.Queue()
        threading.Thread(target=self.read, args=[stream], daemon=True).start()

    def read(self, stream):
        for line in stream:
            self.queue.put(line.rstrip("\n"))
        self.queue.put(None)

    def next(self, what):
        try:
            line = self.queue.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no {what} in {DEADLINE} s") from None
        expect(line is not None, f"the end came before {what}")
        return line


# --- mosquitto's clients -----------------------------------------------------


def mosquitto(server, program, version, username, password, *more):
    login = ["-h", server.host, "-p", str(server.port), "-V", version, "-u", username, "-P", password]
    if server.encrypted:
        login += ["--cafile", server.authority]
    done = subprocess.run(
        [program, *login, "-i", username[:23], *more], capture_output=True, text=True, timeout=DEADLINE
    )
    return done.returncode, done.stdout, done.stderr + done.stdout


def mosquitto_activate(server, version):
    device = server.device()
    more = ["-t", device.topic("response"), "-q", "1", "-C", "1", "-W", str(DEADLINE), "-F", "%t %q %p"]
    status, out, said = mosquitto(server, "mosquitto_sub", version, device.serial, device.code, *more)
    same(status, 0, f"exit status ({said.strip()})")
    topic, quality, payload = out.split(" ", 2)
    same((topic, quality), (device.topic("response"), "1"), "topic and QoS of the answer")
    device.take(payload)
    return device


def mosquitto_publish(server, version, device, payload, quality, *more):
    more = ["-t", device.data(), "-m", payload, "-q", str(quality), *more]
    status, _, said = mosquitto(server, "mosquitto_pub", version, device.serial, device.key, *more)
    return status, said


@contextlib.contextmanager
def mosquitto_watch(server, version, topic, quality):
    """An operator's mosquitto_sub that is subscribed."""
    command = [
        "stdbuf", "-oL", "mosquitto_sub", "-h", server.host, "-p", str(server.port), "-V", version,
        "-u", "watcher", "-P", PASSWORD, "-t", topic, "-q", str(quality), "-d", "-F", "MESSAGE %t %q %p",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = Lines(process.stdout)
        while not lines.next("SUBACK").startswith("Subscribed"):
            pass

        def message():
            while True:
                line = lines.next(f"message on {topic}")
                if line.startswith("MESSAGE "):
                    return line.split(" ", 3)[1:]

        yield message
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE)


@check(*MOSQUITTO)
def mosquitto_answer_arrives(server, version):
    mosquitto_activate(server, version)


@check(*MOSQUITTO)
def mosquitto_over_tls(server, version):
    server = server.through("mqtts")
    device = mosquitto_activate(server, version)
    for _ in range(2):
        status, said = mosquitto_publish(server, version, device, "1", 1)
        same(status, 0, f"mosquitto_pub ({said.strip()})")


@check(*MOSQUITTO)
def mosquitto_trusts_only_its_authority(server, version):
    server = server.through("mqtts")
    server.authority = "/etc/ssl/certs/ca-certificates.crt"
    status, _, said = mosquitto(server, "mosquitto_pub", version, "a", "b", "-t", "t", "-n")
    expect(status != 0, f"it went on with a certificate of nobody's: {said.strip()}")


@check(*MOSQUITTO)
def mosquitto_uplink_at_every_qos(server, version):
    device = mosquitto_activate(server, version)
    with mosquitto_watch(server, version, "feeds/#", 2) as message:
        for quality in (0, 1, 2):
            value = f"2{quality}.5"
            status, said = mosquitto_publish(server, version, device, value, quality)
            same(status, 0, f"mosquitto_pub at QoS {quality} ({said.strip()})")
            same(message(), [device.data(), str(quality), value], "what the operator receives")


@check(*MOSQUITTO)
def mosquitto_commands_wait_for_a_device_that_sleeps(server, version):
    device = mosquitto_activate(server, version)
    feed = str(device.feed)
    lasting = ["-c", "-q", "1", "-t", f"feeds/{feed}/commands/+", "-t", f"feeds/{feed}/config"]
    if version == "mqttv5":
        lasting += ["-x", "3600"]
    sleep = lambda *more: mosquitto(server, "mosquitto_sub", version, device.serial, device.key, *lasting, *more)
    # It subscribes and sleeps.
    status, _, said = sleep("-E")
    same(status, 0, f"exit status ({said.strip()})")
    server.command("feed", "send", feed, "reboot", "--payload", "at night")
    server.command("feed", "send", feed, "blink", "--payload", "twice", "--for", "1h")
    server.command("feed", "config", feed, "--payload", "interval=60")
    status, out, said = sleep("-C", "3", "-W", str(DEADLINE), "-F", "%t %q %p")
    same(status, 0, f"exit status ({said.strip()})")
    wanted = [
        f"feeds/{feed}/commands/reboot 1 at night",
        f"feeds/{feed}/commands/blink 1 twice",
        f"feeds/{feed}/config 1 interval=60",
    ]
    same(out.splitlines()[:3], wanted, "what waited, in its order")


@check(*MOSQUITTO)
def mosquitto_events_for_an_operator(server, version):
    with mosquitto_watch(server, version, "provisioning/events/#", 1) as message:
        device = mosquitto_activate(server, version)
        same(mosquitto_publish(server, version, device, "1", 1)[0], 0, "exit status of mosquitto_pub")
        numbers = []
        for event in ("device_registered", "activation_issued", "activation_confirmed"):
            topic, quality, payload = message()
            wanted = f"provisioning/events/{server.product}/{device.serial}/{event}"
            same((topic, quality), (wanted, "1"), "topic and QoS of the event")
            expect(device.key not in payload, "an event carries a key")
            numbers.append(json.loads(payload)["seq"])
        same(numbers, list(range(numbers[0], numbers[0] + 3)), "numbers of the events")


def mosquitto_refused(version, status, said, reason):
    """What mosquitto's clients make of a refusal: status and words."""
    codes = {BAD_LOGIN: (4, "bad user name or password"), NOT_AUTHORIZED: (5, "not authori[sz]ed")}
    code, words = codes[reason]
    same(status, reason if version == "mqttv5" else code, f"exit status ({said.strip()})")
    expect(re.search(words, said, re.IGNORECASE), f"no refusal in: {said.strip()}")


@check(*MOSQUITTO)
def mosquitto_wrong_code_is_refused(server, version):
    device, other = server.device(), server.device()
    for serial, code in ((device.serial, "0" * 40), (device.serial, other.code), ("nobody", device.code)):
        more = ["-t", f"provision/{serial}/response", "-C", "1", "-W", str(DEADLINE)]
        status, _, said = mosquitto(server, "mosquitto_sub", version, serial, code, *more)
        mosquitto_refused(version, status, said, BAD_LOGIN)


@check(*MOSQUITTO)
def mosquitto_spent_code_is_refused(server, version):
    device = mosquitto_activate(server, version)
    same(mosquitto_publish(server, version, device, "1", 1)[0], 0, "exit status of mosquitto_pub")
    more = ["-t", device.topic("response"), "-C", "1", "-W", str(DEADLINE)]
    status, _, said = mosquitto(server, "mosquitto_sub", version, device.serial, device.code, *more)
    mosquitto_refused(version, status, said, NOT_AUTHORIZED)


@check(*MOSQUITTO)
def mosquitto_revoked_key_is_refused(server, version):
    device = mosquitto_activate(server, version)
    same(mosquitto_publish(server, version, device, "1", 1)[0], 0, "exit status of mosquitto_pub")
    server.command("device", "revoke", device.serial)
    mosquitto_refused(version, *mosquitto_publish(server, version, device, "2", 1), NOT_AUTHORIZED)


# --- paho-mqtt ---------------------------------------------------------------


class Client(paho.Client):
    """Keeps the reason of a DISCONNECT: paho 2.1 reads it only from a packet
    of more than two bytes, and one byte is enough where there are no
    properties (MQTT 5, 3.14.2)."""

    told = None

    def _handle_disconnect(self):
        packet = bytes(self._in_packet["packet"])
        self.told = packet[0] if packet else 0
        super()._handle_disconnect()


class Peer:
    """A paho client; what happens to it is kept in order and waited for."""

    def __init__(self, server, version, username, password, client_id=None, will=None):
        self.v5 = version == "5"
        self.heard, self.queue = [], queue.Queue()
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=username if client_id is None else client_id,
            protocol=PAHO[version],
            reconnect_on_failure=False,
            transport="websockets" if server.listener in ("ws", "wss") else "tcp",
        )
        # paho sends an origin of its own making, as if it were a browser.
        self.client.ws_set_options(headers=without_origin)
        if server.encrypted:
            self.client.tls_set(server.authority)
        self.client.username_pw_set(username, password)
        if will:
            self.client.will_set(*will)
        note = self.queue.put
        self.client.on_connect = lambda _c, _u, flags, reason, properties: note(("connect", (reason, properties)))
        self.client.on_message = lambda _c, _u, message: note(("message", message))
        self.client.on_subscribe = lambda _c, _u, mid, reasons, properties: note(("subscribe", reasons))
        self.client.on_publish = lambda _c, _u, mid, reason, properties: note(("publish", reason))
        self.client.on_disconnect = lambda client, *_: note(("disconnect", client.told))
        self.client.connect(server.host, server.port, keepalive=60)
        self.client.loop_start()
        self.reason, self.properties = self.next("connect")

    def next(self, kind, which=lambda _: True):
        """The next of a kind, leaving others for later."""
        deadline = time.monotonic() + DEADLINE
        for index, (found, what) in enumerate(self.heard):
            if found == kind and which(what):
                del self.heard[index]
                return what
        while True:
            try:
                found, what = self.queue.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} in {DEADLINE} s") from None
            if found == kind and which(what):
                return what
            self.heard.append((found, what))

    def message(self, topic):
        return self.next("message", lambda message: message.topic == topic)

    def subscribe(self, topic, quality=1, **options):
        if self.v5 and options.pop("plain", False) is False:
            properties = options.pop("properties", None)
            self.client.subscribe(topic, options=SubscribeOptions(qos=quality, **options), properties=properties)
        else:
            self.client.subscribe(topic, quality)
        return [reason.value for reason in self.next("subscribe")]

    def publish(self, topic, payload, quality=1, retain=False, properties=None):
        """The reason that the server gives, once the flow is over."""
        self.client.publish(topic, payload, quality, retain, properties=properties)
        return self.next("publish").value

    def vanish(self):
        """Goes without a word."""
        self.client.socket().shutdown(socket.SHUT_RDWR)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def without_origin(headers):
    return {name: value for name, value in headers.items() if name != "Origin"}


def operator(server, version, name, **more):
    peer = Peer(server, version, name, PASSWORD, **more)
    same(peer.reason.value, 0, f"{name}'s CONNACK")
    return peer


def paho_activate(server, version):
    device = server.device()
    with Peer(server, version, device.serial, device.code) as peer:
        same(peer.reason.value, 0, "CONNACK")
        same(peer.subscribe(device.topic("response")), [1], "SUBACK")
        message = peer.message(device.topic("response"))
        same((message.qos, message.retain), (1, False), "QoS and retain of the answer")
        device.take(message.payload)
    return device


def paho_device(server, version):
    """A device's session with its own key."""
    device = paho_activate(server, version)
    peer = Peer(server, version, device.serial, device.key)
    same(peer.reason.value, 0, "CONNACK to the key")
    return device, peer


def of_publish(**values):
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


@check(*PAHO)
def paho_answer_arrives(server, version):
    paho_activate(server, version)


@check(*(f"{version} over {listener}" for version in PAHO for listener in LISTENERS[1:]))
def paho_through_every_listener(server, variant):
    version, listener = variant.split(" over ")
    server = server.through(listener)
    with operator(server, version, "alice") as alice:
        alice.subscribe("feeds/#", 2)
        device, peer = paho_device(server, version)
        with peer:
            for quality, size in ((0, 1), (1, 60_000), (2, 10)):
                peer.publish(device.data(), "7" * size, quality)
                same(len(alice.message(device.data()).payload), size, f"size of the value at QoS {quality}")


@check(*PAHO)
def paho_request_with_details_and_nonce(server, version):
    device = server.device()
    with Peer(server, version, device.serial, device.code) as peer:
        # Before the subscription: it waits for it.
        same(peer.publish(device.topic("request"), '{"details":true,"nonce":"n-1"}'), 0, "PUBACK")
        peer.subscribe(device.topic("response"))
        full = json.loads(peer.message(device.topic("response")).payload)
        same(full["nonce"], "n-1", "nonce")
        same((full["serial"], full["product_id"]), (device.serial, server.product), "details")
        expect({"status", "server_time"} <= set(full), f"details are missing: {sorted(full)}")
        peer.publish(device.topic("request"), "")
        device.take(peer.message(device.topic("response")).payload)
        same(device.key, full["apikey"], "the key of the second answer")
        peer.publish(device.topic("request"), "no JSON")
        error = json.loads(peer.message(device.topic("response")).payload)
        expect("code" in error["error"], "no error for what is no request")


@check("5")
def paho_correlation_data_is_echoed(server, version):
    device = server.device()
    with Peer(server, version, device.serial, device.code) as peer:
        same(peer.subscribe(device.topic("response")), [1], "SUBACK")
        peer.message(device.topic("response"))
        asked = of_publish(CorrelationData=b"\0\xffwhich", ResponseTopic=device.topic("response"))
        same(peer.publish(device.topic("request"), "", properties=asked), 0, "PUBACK")
        answer = peer.message(device.topic("response"))
        same(answer.properties.CorrelationData, b"\0\xffwhich", "correlation data")
        elsewhere = of_publish(ResponseTopic="provision/another/response")
        same(peer.publish(device.topic("request"), "", properties=elsewhere), 0x87, "PUBACK to another's topic")


@check(*PAHO)
def paho_uplink_at_every_qos(server, version):
    with operator(server, version, "watcher") as watcher:
        same(watcher.subscribe("feeds/#", 2), [2], "SUBACK")
        device, peer = paho_device(server, version)
        with peer:
            for quality in (0, 1, 2):
                same(peer.publish(device.data(), f"2{quality}.5", quality), 0, f"reason at QoS {quality}")
                message = watcher.message(device.data())
                same((message.payload, message.qos), (f"2{quality}.5".encode(), quality), "what the operator receives")


@check(*PAHO)
def paho_events_for_an_operator(server, version):
    with operator(server, version, "watcher") as watcher:
        same(watcher.subscribe("provisioning/events/#"), [1], "SUBACK")
        device, peer = paho_device(server, version)
        peer.close()
        numbers = []
        for event in ("device_registered", "activation_issued", "activation_confirmed"):
            message = watcher.message(f"provisioning/events/{server.product}/{device.serial}/{event}")
            same(message.qos, 1, "QoS of the event")
            numbers.append(json.loads(message.payload)["seq"])
        same(numbers, list(range(numbers[0], numbers[0] + 3)), "numbers of the events")


@check(*PAHO)
def paho_no_operator_sees_an_answer(server, version):
    with operator(server, version, "watcher") as watcher, operator(server, version, "alice") as alice:
        same(watcher.subscribe("#"), [1], "SUBACK")
        refused = [0x87] if version == "5" else [0x80]
        same(watcher.subscribe("provision/+/response"), refused, "SUBACK to the answers' topics")
        device = paho_activate(server, version)
        alice.publish("app/fence", "passed")
        watcher.message("app/fence")
        topics = [what.topic for kind, what in watcher.heard if kind == "message"]
        expect(not any(topic.startswith("provision/") for topic in topics), f"an answer was seen: {topics}")
        seen = b"".join(what.payload for kind, what in watcher.heard if kind == "message")
        expect(device.key.encode() not in seen, "a key was seen")


@check(*PAHO)
def paho_refusals(server, version):
    def refused(username, password, reason):
        with Peer(server, version, username, password) as peer:
            same(peer.reason.value, reason, "reason of the CONNACK")
            words = getattr(peer.properties, "ReasonString", None) if version == "5" else None
            if version == "5":
                same(words is not None, reason == NOT_AUTHORIZED, f"whether a reason string is there ({words!r})")
            return words

    device, other = server.device(), server.device()
    refused(device.serial, "0" * 40, BAD_LOGIN)
    refused(device.serial, other.code, BAD_LOGIN)
    refused("nobody", device.code, BAD_LOGIN)
    refused("watcher", "not the password", BAD_LOGIN)
    active, peer = paho_device(server, version)
    peer.close()
    words = refused(active.serial, active.code, NOT_AUTHORIZED)
    expect(words is None or "active" in words, f"the reason of a spent code: {words!r}")
    refused(other.serial, active.key, BAD_LOGIN)
    server.command("device", "revoke", active.serial)
    refused(active.serial, active.key, NOT_AUTHORIZED)


@check(*PAHO)
def paho_device_is_kept_to_its_own(server, version):
    device, peer = paho_device(server, version)
    with operator(server, version, "watcher") as watcher, peer:
        watcher.subscribe("#")
        # 3.1.1 has no negative acknowledgement: it is acknowledged and dropped.
        no = 0x87 if version == "5" else 0
        same(peer.publish(f"feeds/{device.feed + 1}/data/temperature", "9"), no, "PUBACK to another's feed")
        same(peer.publish("provision/unit-0/response", "{}"), no, "PUBACK to another's answer")
        expect(peer.subscribe("#")[0] >= 0x80, "a device may subscribe everything")
        expect(peer.subscribe(f"feeds/{device.feed + 1}/#")[0] >= 0x80, "a device may read another's feed")
        same(peer.publish(device.data(), "fence"), 0, "PUBACK to its own")
        watcher.message(device.data())
        topics = {what.topic for kind, what in watcher.heard if kind == "message"}
        topics = {topic for topic in topics if not topic.startswith("provisioning/")}
        same(topics, set(), "what came through beside its own")


@check(*PAHO)
def paho_retained_message(server, version):
    topic = f"app/{version}/state"
    with operator(server, version, "alice") as alice:
        same(alice.publish(topic, "on", 1, retain=True), 0, "PUBACK")
        with operator(server, version, "bob") as bob:
            bob.subscribe(topic)
            message = bob.message(topic)
            same((message.payload, message.retain), (b"on", True), "what is retained")
            alice.publish(topic, "off", 1, retain=True)
            message = bob.message(topic)
            same((message.payload, message.retain), (b"off", False), "what is published while subscribed")
        alice.publish(topic, "", 1, retain=True)
        with operator(server, version, "bob") as bob:
            bob.subscribe(topic)
            alice.publish(topic, "fence")
            same(bob.message(topic).payload, b"fence", "the first message after it was cleared")


@check(*PAHO)
def paho_will(server, version):
    topic = f"app/{version}/will"
    with operator(server, version, "bob") as bob:
        bob.subscribe(topic, 1)
        alice = operator(server, version, "alice", will=(topic, "gone", 1, False))
        alice.vanish()
        message = bob.message(topic)
        same((message.payload, message.qos), (b"gone", 1), "the will")
        alice.close()
        # Who says goodbye leaves none.
        operator(server, version, "alice", will=(topic, "never", 1, False)).close()
        with operator(server, version, "alice") as alice:
            alice.publish(topic, "fence")
        same(bob.message(topic).payload, b"fence", "the message after a goodbye")


@check(*PAHO)
def paho_topics_in_any_script(server, version):
    with operator(server, version, "alice") as alice, operator(server, version, "bob") as bob:
        for topic in ("é/x", "温度", "\ufeffbom"):
            same(bob.subscribe(topic), [1], "SUBACK")
            same(alice.publish(topic, topic.encode()), 0, "PUBACK")
            same(bob.message(topic).payload, topic.encode(), "payload")


@check(*PAHO)
def paho_commands_and_configuration(server, version):
    device, peer = paho_device(server, version)
    with operator(server, version, "alice") as alice:
        config, command = f"feeds/{device.feed}/config", f"feeds/{device.feed}/commands/x"
        same(alice.publish(config, "v1"), 0, "PUBACK of a configuration")
        same(peer.subscribe(f"feeds/{device.feed}/#"), [1], "SUBACK")
        message = peer.message(config)
        same((message.payload, message.retain), (b"v1", True), "what is kept")
        for quality in (0, 1, 2):
            alice.publish(command, f"at {quality}", quality)
            message = peer.message(command)
            same((message.payload, message.qos), (b"at %d" % quality, min(quality, 1)), "the command")
        peer.close()
        nobody = 0x10 if version == "5" else 0
        # Until its goodbye has arrived, the device is there.
        deadline = time.monotonic() + DEADLINE
        while (told := alice.publish(command, "late")) != nobody:
            expect(time.monotonic() < deadline, f"PUBACK where nobody waits: {told}")


@check("5")
def paho_shared_subscription(server, version):
    with operator(server, version, "alice") as alice, operator(server, version, "bob") as bob, operator(
        server, version, "bob", client_id="bob's other"
    ) as other:
        for member in (bob, other):
            same(member.subscribe("$share/g/app/work"), [1], "SUBACK")
        for n in range(10):
            alice.publish("app/work", str(n))
        heard = [int(member.message("app/work").payload) for member in (bob, other) for _ in range(5)]
        same(sorted(heard), list(range(10)), "each message, once")


@check(*PAHO)
def paho_takeover(server, version):
    device, first = paho_device(server, version)
    with Peer(server, version, device.serial, device.key, client_id="another") as second:
        same(second.reason.value, 0, "CONNACK of the second session")
        same(first.next("disconnect"), TAKEN_OVER if version == "5" else None, "why the first one ended")
        same(second.publish(device.data(), "1"), 0, "PUBACK of the second session")
    first.close()


@check(*PAHO)
def paho_revoke_ends_the_session(server, version):
    device, peer = paho_device(server, version)
    server.command("device", "revoke", device.serial)
    same(peer.next("disconnect"), ADMINISTRATIVE if version == "5" else None, "why the session ended")
    peer.close()


@check("5")
def paho_subscription_identifiers(server, version):
    with operator(server, version, "alice") as alice, operator(server, version, "bob") as bob:
        for identifier, topic in ((7, "app/ids/#"), (268_435_455, "app/ids/one")):
            properties = Properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = identifier
            same(bob.subscribe(topic, properties=properties), [1], "SUBACK")
        alice.publish("app/ids/one", "1")
        found = bob.message("app/ids/one").properties.SubscriptionIdentifier
        same(sorted(found), [7, 268_435_455], "subscription identifiers")
        alice.publish("app/ids/two", "2")
        same(bob.message("app/ids/two").properties.SubscriptionIdentifier, [7], "subscription identifiers")


@check("5")
def paho_properties_are_carried(server, version):
    with operator(server, version, "alice") as alice, operator(server, version, "bob") as bob:
        bob.subscribe("app/properties")
        pairs = [("a", "1"), ("a", "2"), ("é", "温度")]
        sent = of_publish(
            UserProperty=pairs, ContentType="text/plain", PayloadFormatIndicator=1, ResponseTopic="app/answers",
            CorrelationData=b"c", MessageExpiryInterval=1000,
        )  # fmt: skip
        alice.publish("app/properties", "x", properties=sent)
        got = bob.message("app/properties").properties
        same(got.UserProperty, pairs, "user properties, in their order")
        same((got.ContentType, got.PayloadFormatIndicator), ("text/plain", 1), "content")
        same((got.ResponseTopic, got.CorrelationData), ("app/answers", b"c"), "how to answer")
        expect(990 <= got.MessageExpiryInterval <= 1000, f"expiry: {got.MessageExpiryInterval}")


@check("5")
def paho_user_properties_of_a_device(server, version):
    with operator(server, version, "watcher") as watcher:
        watcher.subscribe("feeds/#")
        device, peer = paho_device(server, version)
        with peer:
            peer.publish(device.data(), "1", properties=of_publish(UserProperty=[("unit", "°C")]))
            got = watcher.message(device.data()).properties
            same(got.UserProperty, [("unit", "°C")], "user properties")


@check("5")
def paho_no_local_and_retain_as_published(server, version):
    with operator(server, version, "alice") as alice, operator(server, version, "bob") as bob:
        alice.subscribe("app/local", noLocal=True)
        bob.subscribe("app/local", retainAsPublished=True)
        alice.publish("app/local", "mine", retain=True)
        same(bob.message("app/local").retain, True, "retain as published")
        bob.publish("app/local", "yours")
        same(alice.message("app/local").payload, b"yours", "the first message that is not one's own")
        alice.publish("app/local", "", retain=True)


@check("5")
def paho_assigned_client_id(server, version):
    device = paho_activate(server, version)
    with Peer(server, version, device.serial, device.key, client_id="") as peer:
        same(peer.reason.value, 0, "CONNACK")
        expect(peer.properties.AssignedClientIdentifier, "no client id was assigned")


# --- xively-python, an app's library -----------------------------------------


def xively_device(server):
    """A device that was activated over HTTP, and the library with its key."""
    device = server.device()
    host, port = server.listeners["xively"]
    answer = requests.get(f"http://{host}:{port}/v2/devices/{device.code}/activate", timeout=DEADLINE)
    same(answer.status_code, 200, f"status ({answer.text})")
    device.take(answer.content)
    xively.client.Client.BASE_URL = f"//{host}:{port}"
    return device, xively.XivelyAPIClient(device.key)


def xively_values(api, feed):
    streams = api.feeds.get(feed).datastreams
    return {stream.id: stream.current_value for stream in streams if stream.current_value is not None}


@check("xively-python")
def xively_feed_is_written_and_read(server, _):
    device, api = xively_device(server)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    feed = api.feeds.get(device.feed)
    same(feed.title, "interop", "title")
    same([stream.id for stream in feed.datastreams], ["temperature"], "datastreams")
    feed.datastreams = [
        xively.Datastream(id="temperature", current_value=21.5, at=now),
        xively.Datastream(id="door", current_value="open"),
    ]
    feed.update()
    same(xively_values(api, device.feed), {"temperature": "21.5", "door": "open"}, "values")
    # What was read is changed and sent back.
    feed = api.feeds.get(device.feed)
    feed.datastreams[1].current_value = "shut"
    feed.datastreams[1].at = now + datetime.timedelta(seconds=60)
    feed.update(fields=["version", "datastreams"])
    same(xively_values(api, device.feed)["door"], "shut", "value that was sent back")


@check("xively-python")
def xively_datastreams_one_by_one(server, _):
    device, api = xively_device(server)
    feed = api.feeds.get(device.feed)
    feed.datastreams.create("level", current_value="1")
    stream = api.feeds.get(device.feed).datastreams.get("level")
    same(stream.current_value, "1", "value of a new datastream")
    stream.current_value = "2"
    stream.update(fields=["current_value"])
    same(xively_values(api, device.feed), {"level": "2"}, "value")
    later = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(seconds=60)
    stream.datapoints.create("3", at=later)
    same(xively_values(api, device.feed), {"level": "3"}, "value of the newest datapoint")


@check("xively-python")
def xively_errors_are_exceptions(server, _):
    device, api = xively_device(server)
    other, _ = xively_device(server)
    for feed, wanted in ((other.feed, 403), (device.feed, 422)):
        try:
            api.feeds.update(feed, title="nothing to keep")
        except requests.HTTPError as error:
            same(error.response.status_code, wanted, "status")
            same(list(error.response.json()), ["title", "errors"], "fields of the error")
        else:
            raise AssertionError("no error")


@check(*MOSQUITTO)
def xively_bridge_reads_a_device_its_feed(server, version):
    device, api = xively_device(server)
    api.feeds.update(device.feed, datastreams=[{"id": "temperature", "current_value": "21.5"}])
    topic = f"/v2/feeds/{device.feed}/datastreams/temperature.csv"
    more = ["-t", topic, "-C", "1", "-W", str(DEADLINE), "-F", "%t %p"]
    status, out, said = mosquitto(server, "mosquitto_sub", version, device.key, "ignored", *more)
    same(status, 0, f"mosquitto_sub ({said.strip()})")
    expect(re.fullmatch(rf"{topic} [0-9T:.-]+Z,21\.5\n", out), f"what it is read: {out!r}")


@check("xively-python")
def xively_values_of_mqtt_are_read_over_http(server, _):
    device, api = xively_device(server)
    status, said = mosquitto_publish(server, "mqttv311", device, "22.5", 1)
    same(status, 0, f"mosquitto_pub ({said.strip()})")
    same(xively_values(api, device.feed), {"temperature": "22.5"}, "value")


@check("5")
def paho_is_told_that_the_server_stops(server, version):
    """The last check: there is no server after it."""
    with operator(server, version, "alice") as alice:
        same(server.stop(), 0, "exit status of the server")
        same(alice.next("disconnect"), SHUTTING_DOWN, "why the session ended")


def run(server):
    passed = failed = 0
    for name, function, variant in CHECKS:
        try:
            function(server, variant)
        except Exception as error:  # A failed check is a line, and the next one runs.
            failed += 1
            print(f"FAIL {name}: {error or type(error).__name__}", flush=True)
            if not isinstance(error, AssertionError):
                traceback.print_exc()
        else:
            passed += 1
            print(f"ok   {name}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


def main():
    with tempfile.TemporaryDirectory(prefix="firstwake-interop-") as data:
        server = Server(sys.argv[1], data)
        try:
            return run(server)
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()


if __name__ == "__main__":
    sys.exit(main())
