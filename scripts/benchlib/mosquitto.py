"""Mosquitto as it is measured: a password and an ACL an account, and no disk."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from . import mqtt
from .programs import Child, Failed, free_port, wait_until, write

# Mosquitto lets the kernel hold so many connections that it has not accepted.
# More in flight may lose a SYN, which is sent again a second later.
BACKLOG = 100


@contextlib.contextmanager
def mosquitto_server(directory, accounts, *settings):
    """Accounts are a name, a password and what the name may do; the first is a
    service's, which tells when mosquitto is there. Its address."""
    passwords = [f"{name}:{password}" for name, password, _ in accounts]
    write(f"{directory}/passwords", "\n".join([*passwords, ""]))
    subprocess.run(["mosquitto_passwd", "-U", f"{directory}/passwords"], check=True, capture_output=True)
    rights = ["\n".join([f"user {name}", *(f"topic {one}" for one in may)]) for name, _, may in accounts]
    write(f"{directory}/rights", "\n".join([*rights, ""]))
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous false",
        f"password_file {directory}/passwords",
        f"acl_file {directory}/rights",
        "persistence false",
        "log_dest none",
        "set_tcp_nodelay true",
        *settings,
    ]
    if os.geteuid() == 0:
        lines.append("user root")
    write(f"{directory}/mosquitto.conf", "\n".join([*lines, ""]))
    with Child([find_mosquitto(), "-c", f"{directory}/mosquitto.conf"], stderr=subprocess.DEVNULL) as child:
        name, password, _ = accounts[0]

        def ready():
            if child.process.poll() is not None:
                raise Failed("mosquitto did not start")
            with contextlib.suppress(OSError):
                mqtt.Device(f"127.0.0.1:{port}", name, password).close()
                return True

        wait_until("mosquitto", ready)
        yield f"127.0.0.1:{port}"


def find_mosquitto():
    """Debian keeps it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def about_mosquitto():
    """Its version, and what checking a password costs it."""
    said = subprocess.run([find_mosquitto(), "-h"], capture_output=True, text=True).stdout
    version = said.split("\n")[0].removeprefix("mosquitto version ")
    with tempfile.TemporaryDirectory() as directory:
        path = write(f"{directory}/passwords", "name:password\n")
        subprocess.run(["mosquitto_passwd", "-U", path], check=True, capture_output=True)
        with open(path) as file:
            _, kind, cost, *_ = file.read().split("$")
    how = f"PBKDF2 with SHA-512, {cost} iterations" if kind == "7" else f"hash kind {kind}"
    return f"{version}; passwords: {how}"
