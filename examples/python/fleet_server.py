"""An API server of one's own, which serves nobody but this very device.

    python fleet_server.py HOST:PORT

It asks Firstwake about every request. The environment variable FIRSTWAKE_URL
is where (https://HOST), FIRSTWAKE_TOKEN a token of an operator of the role
verifier (`firstwake token create`), FIRSTWAKE_AUDIENCE the name of this server,
which its devices sign for, such as https://api.example.com. Where Firstwake does not answer, nobody is
served. Behind a proxy, what the device signed must arrive as it was sent:
method, path, query and body.
"""

import functools
import hashlib
import os
import sys
import threading

import requests
import waitress
from flask import Flask, abort, g, make_response, request

PATIENCE = 5  # Seconds that Firstwake has for one answer.
LARGEST = 1024 * 1024  # Bytes of a body: read whole before it is trusted.

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = LARGEST
sessions = threading.local()
reports = {}


def no(status, code, detail):
    """Ends the request here."""
    reply = make_response({"code": code, "detail": detail}, status)
    reply.headers["Cache-Control"] = "no-store"
    if status == 401:
        reply.headers["WWW-Authenticate"] = "Bearer"
    abort(reply)


def firstwake():
    """A connection of this thread's own."""
    if not hasattr(sessions, "one"):
        sessions.one = requests.Session()
        sessions.one.headers["Authorization"] = f"Bearer {os.environ['FIRSTWAKE_TOKEN']}"
        sessions.one.verify = os.environ.get("FIRSTWAKE_CA", True)
        sessions.one.trust_env = False
    return sessions.one


def ask(question):
    """What Firstwake says of a request. It may have counted it also where its
    answer is lost: so nothing is asked twice."""
    try:
        reply = firstwake().post(
            f"{os.environ['FIRSTWAKE_URL']}/api/v1/verify", json=question, timeout=PATIENCE, allow_redirects=False
        )
        reply.raise_for_status()
        found = reply.json()
        if found["verified"] is True:
            return found
        found["refusal"], found["meaning"], found["proved"]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        app.logger.error("Firstwake did not decide: %s", type(error).__name__)
        no(503, "unavailable", "try again later")
    else:
        app.logger.warning("refused: %s", found["refusal"])
        # Who showed no right key learns nothing.
        if found["proved"] is not True:
            no(401, "unauthenticated", "this request is nobody's")
        no(401, found["refusal"], found["meaning"])


def from_device(view):
    """Only a device gets to what this stands on; `g.device` says which."""

    @functools.wraps(view)
    def checked(*args, **kwargs):
        shown = request.authorization
        if shown is None or shown.type != "bearer" or not shown.token:
            no(401, "unauthenticated", "send a signed token (Authorization: Bearer)")
        g.device = ask({
            "token": shown.token,
            "audience": os.environ["FIRSTWAKE_AUDIENCE"],
            "method": request.method,
            # As it was sent: Flask's own path is decoded. Without it, nobody.
            "target": request.environ["REQUEST_URI"],
            "body_sha256": hashlib.sha256(request.get_data()).hexdigest(),
            "source": request.remote_addr,
        })  # fmt: skip
        return view(*args, **kwargs)

    return checked


@app.get("/work")
@from_device
def work():
    return {"measure": f"temperature in {request.args['unit']}"}


@app.post("/reports")
@from_device
def report():
    device = g.device["serial"]
    reports[device] = reports.get(device, 0) + 1
    return {"reports": reports[device], "device": device}


if __name__ == "__main__":
    try:
        host, port = sys.argv[1].rsplit(":", 1)
        server = waitress.create_server(app, host=host, port=int(port), threads=8, connection_limit=1000)
        os.environ["FIRSTWAKE_URL"], os.environ["FIRSTWAKE_TOKEN"], os.environ["FIRSTWAKE_AUDIENCE"]
    except (IndexError, KeyError, ValueError):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    print(f"listening on {server.effective_host}:{server.effective_port}", flush=True)
    server.run()
