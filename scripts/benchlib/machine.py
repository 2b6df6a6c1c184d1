"""The machine, in words: figures mean nothing without it."""

import os
import platform
import time


def describe(directory):
    """Pairs of what and how much; `directory` is where registries will lie."""
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    return [
        ("time", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("CPU", f"{cpu_model()}, {os.cpu_count()} cores"),
        ("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not readable"),
        ("memory", memory()),
        ("system", f"{platform.system()} {platform.release()}"),
        ("registry on", f"{file_system(directory)}; 4 KB and fdatasync: {sync_time(directory)}"),
        ("load before (1, 5, 15 min)", load),
    ]


def load():
    return os.getloadavg()[0]


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def cpu_model():
    for line in (read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return " ".join(line.split(":", 1)[1].split())
    return platform.machine()


def memory():
    kilobytes = int((read("/proc/meminfo") or "MemTotal: 0").split()[1])
    return f"{kilobytes / 1024 / 1024:.0f} GB"


def file_system(directory):
    """The type of the longest mount point above the directory."""
    directory = os.path.realpath(directory)
    found = ("", "unknown")
    for line in (read("/proc/mounts") or "").splitlines():
        _, point, kind = line.split()[:3]
        above = directory == point or directory.startswith(point.rstrip("/") + "/")
        if above and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def sync_time(directory, times=200):
    path = os.path.join(directory, "sync-time")
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    took = []
    for _ in range(times):
        os.write(file, bytes(4096))
        begun = time.perf_counter()
        os.fdatasync(file)
        took.append(time.perf_counter() - begun)
    os.close(file)
    os.unlink(path)
    took.sort()
    return f"{took[times // 2] * 1e3:.2f} ms (median)"
