"""A device's application: fetches its work and reports, and proves each time
that it is this very device.

    python fleet_app.py FIRSTWAKE SERVER PRODUCT SERIAL DIRECTORY

FIRSTWAKE and SERVER are addresses (https://HOST), the second that of
fleet_server.py. DIRECTORY keeps key and counter. The environment variable
FIRSTWAKE_CODE holds the activation code, for the first time; or
FIRSTWAKE_DEVICE_KEY the device key that was burnt in, for devices that sign
with HS256. FIRSTWAKE_AUDIENCE is the name that SERVER has for itself, where that
is not its address. Exit status: 0 the report has arrived, 1 something here is broken,
2 wrong usage, 3 a person has to act, 4 a server is away: try again later.
"""

import contextlib
import os
import sys

import requests

from this_device import Device

PATIENCE = 30  # Seconds that a server has for one answer.


class Later(Exception):
    """A server is away or busy."""


class Refused(Exception):
    """It will not be otherwise the next time."""


class Http:
    """One server. Redirections are not followed: they were not signed."""

    def __init__(self, base):
        self.base, self.session = base.rstrip("/"), requests.Session()
        self.session.verify = os.environ.get("FIRSTWAKE_CA", True)
        self.session.trust_env = False

    def ask(self, method, path, **more):
        try:
            reply = self.session.request(method, self.base + path, timeout=PATIENCE, allow_redirects=False, **more)
        except requests.RequestException as error:
            raise Later(f"{self.base} does not answer ({type(error).__name__})") from None
        if reply.status_code == 429 or reply.status_code >= 500:
            raise Later(f"{self.base} is busy (status {reply.status_code})")
        return reply


def why(reply):
    """The word for what is wrong, if the server gives one."""
    with contextlib.suppress(ValueError, AttributeError):
        return reply.json().get("code")
    return None


class Bearer(requests.auth.AuthBase):
    """A fresh login for each request: it holds once."""

    def __init__(self, device):
        self.device = device

    def __call__(self, prepared):
        prepared.headers["Authorization"] = f"Bearer {self.device.login()}"
        return prepared


class Firstwake:
    """Where the device is known."""

    def __init__(self, base, device):
        self.http, self.device = Http(base), device

    def set_clock(self):
        """Takes the server's time for this device's."""
        self.device.clock.set(self.http.ask("GET", "/api/v1/time").json()["unix"] / 1000)

    def identity(self):
        """Logs in, which confirms the key the first time; `None` if the server
        does not know it yet."""
        reply = self.http.ask("POST", "/api/v1/provision", auth=Bearer(self.device), json={"ask": "identity"})
        if why(reply) == "token_expired":
            self.set_clock()
            reply = self.http.ask("POST", "/api/v1/provision", auth=Bearer(self.device), json={"ask": "identity"})
        if reply.status_code == 401:
            return None
        if reply.status_code != 200:
            raise Refused(reply.text)
        return reply.json()

    def enrol(self, code):
        """Gives the server the public half of this device's key."""
        challenge = self.prove(code, {"ask": "challenge"})
        # Facts are sent under the product's pepper, so that comes first.
        self.device.keep(pepper=challenge["pepper"])
        self.prove(code, self.device.enrolment(challenge["challenge"]))

    def prove(self, code, body):
        name = (f"{self.device.product}/{self.device.serial}", code)
        reply = self.http.ask("POST", "/api/v1/provision", auth=name, json=body)
        if reply.status_code != 200:
            raise Refused(reply.text)
        return reply.json()

    def wake(self, code):
        """Whatever state the device is in, afterwards it is known."""
        known = self.identity()
        if known is None and code and self.device.algorithm == "EdDSA":
            self.enrol(code)
            known = self.identity()
        if known is None:
            raise Refused("the server knows no such device and key: check product, serial, and code or device key")
        if self.device.kept.get("pepper") != known["pepper"]:
            self.device.keep(pepper=known["pepper"])
            # Once more, and with the hardware.
            self.identity()
        return known["feed_id"]


class Fleet:
    """The maker's own server."""

    def __init__(self, base, device, firstwake):
        self.http, self.device, self.firstwake = Http(base), device, firstwake

    def ask(self, method, path, **more):
        reply = self.http.ask(method, path, auth=self.device, **more)
        if why(reply) == "token_expired":
            # The clock is off. Signed anew, with another number.
            self.firstwake.set_clock()
            reply = self.http.ask(method, path, auth=self.device, **more)
        if reply.status_code != 200:
            raise Refused(reply.text)
        return reply.json()


def live(firstwake_url, server_url, product, serial, directory):
    device = Device(
        directory, product, serial, os.environ.get("FIRSTWAKE_DEVICE_KEY"), os.environ.get("FIRSTWAKE_AUDIENCE")
    )
    firstwake = Firstwake(firstwake_url, device)
    print(f"known: feed {firstwake.wake(os.environ.get('FIRSTWAKE_CODE'))}", flush=True)
    fleet = Fleet(server_url, device, firstwake)
    work = fleet.ask("GET", "/work?kind=measure&unit=%C2%B0C")
    print(f"work: {work['measure']}", flush=True)
    done = fleet.ask("POST", "/reports", json={"measure": work["measure"], "value": 21.5})
    print(f"reported: {done['reports']} by {done['device']}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        live(*sys.argv[1:])
    except Later as error:
        print(f"{error}; try again later", file=sys.stderr)
        sys.exit(4)
    except Refused as error:
        print(f"refused, and asking again will not help: {error}", file=sys.stderr)
        sys.exit(3)
