"""What a daemon with nothing to do costs."""

from __future__ import annotations

import os
import time

from ..daemon_process import Daemon
from .table import Row

_SECONDS = 10.0


def processes(daemon: Daemon) -> list[int]:
    """Return keeper, daemon, zygotes."""
    pids = daemon.pids()
    return [pids["keeper"], pids["daemon"], *(zygote["pid"] for zygote in pids["zygotes"])]


def memory(daemon: Daemon) -> list[Row]:
    """Measure RSS of the daemon and PSS of all."""
    with open(f"/proc/{daemon.pids()['daemon']}/status") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
    pss = sum(_pss(pid) for pid in processes(daemon)) / 1024
    return [
        Row("idle daemon, RSS", "MiB", rss, goal="≤ 32"),
        Row("idle keeper + daemon + zygote, PSS", "MiB", pss, goal="≤ 50 (issue Proven)"),
    ]


def _pss(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def cpu(daemon: Daemon) -> Row:
    """Measure the CPU share of all our processes over ten idle seconds."""
    pids = processes(daemon)
    time.sleep(1)  # the answer to the ping above is work, too
    before = sum(map(_ticks, pids))
    time.sleep(_SECONDS)
    share = (sum(map(_ticks, pids)) - before) / os.sysconf("SC_CLK_TCK") / _SECONDS * 100
    return Row("idle CPU of all processes, 10 s", "%", share, goal="< 0.1")


def _ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
