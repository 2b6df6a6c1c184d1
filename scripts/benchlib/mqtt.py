"""As much of MQTT 3.1.1 and 5 as a measured device needs, on plain sockets."""

import hashlib
import hmac
import json
import socket
import struct

ACCEPTED = 0
ADMINISTRATIVE = 0x98


def code(secret, serial):
    """A device's activation code: the secret is bytes, not text."""
    return hmac.new(bytes.fromhex(secret), serial.encode(), hashlib.sha1).hexdigest()


def text(value):
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def packet(kind, body):
    length, rest = b"", len(body)
    while True:
        rest, low = divmod(rest, 128)
        length += bytes([low | (0x80 if rest else 0)])
        if not rest:
            return bytes([kind]) + length + body


class Device:
    """One connection of one device."""

    def __init__(self, address, serial, password, level=4, tls=None):
        host, port = address.rsplit(":", 1)
        self.serial = serial
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.heard = b""
        properties = b"\0" if level == 5 else b""
        # User name, password, clean; no keep-alive: it never has to ping.
        head = text("MQTT") + bytes([level, 0xC2, 0, 0]) + properties
        self.socket.sendall(packet(0x10, head + text(serial) + text(serial) + text(password)))
        kind, body = self.next_packet()
        if kind != 0x20 or body[1] != ACCEPTED:
            raise ConnectionError(f"{serial} was not let in: {body.hex()}")

    def next_packet(self):
        while True:
            cut = self.cut()
            if cut:
                return cut
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError(f"{self.serial} was disconnected")
            self.heard += more

    def cut(self):
        length = shift = 0
        for position in range(1, min(len(self.heard), 5)):
            byte = self.heard[position]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                end = position + 1 + length
                if len(self.heard) < end:
                    return None
                found = self.heard[0], self.heard[position + 1 : end]
                self.heard = self.heard[end:]
                return found
        return None

    def fetch_key(self):
        """Subscribes, as a device that activates; its key."""
        topic = f"provision/{self.serial}/response"
        self.socket.sendall(packet(0x82, b"\0\1" + text(topic) + b"\1"))
        while True:
            kind, body = self.next_packet()
            if kind & 0xF0 == 0x30:
                start = 2 + len(topic) + (2 if kind & 0x06 else 0)
                return json.loads(body[start:])["apikey"]

    def farewell(self):
        """The reason that the server gives for its end (MQTT 5)."""
        kind, body = self.next_packet()
        return body[0] if kind == 0xE0 else None

    def close(self):
        self.socket.close()


def activate(address, secret, serial):
    """A device's first wake, up to its key."""
    device = Device(address, serial, code(secret, serial))
    try:
        return device.fetch_key()
    finally:
        device.close()
