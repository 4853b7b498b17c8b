"""What running a job costs: through the store, in a process of its own."""

from __future__ import annotations

import os
import tempfile
import time

from sidecar.client import options

from ..daemon_process import Daemon
from ..waiting import eventually
from .table import Row, percentile, timed

_JOBS = 3000
_SINGLES = 150


def throughput(daemon: Daemon) -> Row:
    """Run isolated no-op calls of a module that the zygote has imported; every one stored and its ending recorded."""
    noop = options(ack="sent", timeout=60)
    first = noop.submit("time:time")
    first.wait(timeout=30)
    before, done = time.perf_counter(), daemon.call("stats")["counters"]["ended"]
    for _ in range(_JOBS):
        noop.submit("time:time")
    eventually(lambda: daemon.call("stats")["counters"]["ended"] - done >= _JOBS, 120)
    rate = _JOBS / (time.perf_counter() - before)
    return Row("isolated no-op Python calls, stored, 4 slots", "jobs/s", rate, None, "bare fork loop, 2 at a time", bare_forks(), "≥ 1,200")


def bare_forks(count: int = 1500) -> float:
    """Return forks and reaps per second of this small process, two at a time: the limit of the machine."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        before = time.perf_counter()
        for number in range(count):
            if os.fork() == 0:
                os._exit(0)
            if number >= 1:
                os.wait()
        os.wait()
        os.write(writing, str(count / (time.perf_counter() - before)).encode())
        os._exit(0)
    rate = float(os.read(reading, 64))
    os.wait()
    os.close(reading)
    os.close(writing)
    return rate


def latency(daemon: Daemon) -> Row:
    """Measure submit → first line of the job on an idle machine, module imported before the fork."""
    folder = tempfile.mkdtemp(prefix="sc-")
    times = []
    target = options(timeout=60)
    for number in range(_SINGLES):
        path = os.path.join(folder, str(number))
        before = time.time()
        handle = target.submit("os:mkdir", path)
        handle.wait(timeout=30)
        times.append(os.stat(path).st_ctime_ns / 1e9 - before)
        os.rmdir(path)
    os.rmdir(folder)
    bare = 2 / bare_forks(300)
    return timed("submit → first line of the job, idle", "ms", times[10:], 1e3, peer="bare fork + exit + wait", peer_p50=bare * 1e3, goal="≤ 2")
