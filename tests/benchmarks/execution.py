"""What running a job costs: through the store, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time

from sidecar.client import connect, options

from ..daemon_process import Daemon
from ..waiting import eventually
from .table import Row, timed

_JOBS = 3000
_COMMANDS = 1500
_SINGLES = 150
_IDLE = 0.005  # seconds
_FORKS = """
import os, sys, time
count, before = int(sys.argv[1]), time.perf_counter()
for _ in range(count):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
print((time.perf_counter() - before) / count)
"""


def throughputs(daemon: Daemon, slots: int) -> list[Row]:
    """Measure the daemon's own number of slots, and twice as many: endings that come together cost less."""
    row = throughput(daemon, slots, "≥ 1,200")
    other = Daemon(slots=2 * slots).start()
    try:
        return [row, throughput(other, 2 * slots, "≥ 1,200, towards 2,000")]
    finally:
        other.close()


def throughput(daemon: Daemon, slots: int, goal: str) -> Row:
    """Run isolated no-op calls of a module that the zygote has imported; every one stored and its ending recorded."""
    noop = connect(str(daemon.runtime)).options(ack="sent", timeout=60)
    first = noop.submit("time:time")
    first.wait(timeout=30)
    before = bare_fork()
    ended = daemon.call("stats")["counters"]["ended"]
    start = time.perf_counter()
    for _ in range(_JOBS - 1):
        noop.submit("time:time")
    noop.submit("time:time").wait(timeout=120)  # asks once; who polls measures his polling
    eventually(lambda: daemon.call("stats")["counters"]["ended"] - ended >= _JOBS, 60)
    rate = _JOBS / (time.perf_counter() - start)
    bare = 2 / (before + bare_fork())  # this machine's speed changes within a run: the mean of before and after
    return Row(
        f"isolated no-op Python calls, stored, {slots} slots", "jobs/s", rate, None,
        "bare fork + exit + wait loop", bare, goal,
    )  # fmt: skip


_EXECS = """
import os, sys, time
count, width, before = int(sys.argv[1]), int(sys.argv[2]), time.perf_counter()
for number in range(count + width):
    if number >= width:
        os.wait()
    if number < count and os.fork() == 0:
        os.execv("/bin/true", ["true"])
print((time.perf_counter() - before) / count)
"""


def commands(daemon: Daemon, slots: int) -> Row:
    """Run a command that does nothing, beside a loop that forks and executes as many at a time."""
    true = options(ack="sent", timeout=60)
    true.submit(["/bin/true"]).wait(timeout=30)
    before = _bare_exec(slots)
    start = time.perf_counter()
    for _ in range(_COMMANDS - 1):
        true.submit(["/bin/true"])
    true.submit(["/bin/true"]).wait(timeout=120)
    rate = _COMMANDS / (time.perf_counter() - start)
    bare = 2 / (before + _bare_exec(slots))
    return Row(
        f"commands (/bin/true), {slots} slots", "jobs/s", rate, None,
        f"bare fork + exec loop, {slots} wide", bare, "ratio ≥ 0.70",
    )  # fmt: skip


def _bare_exec(width: int, count: int = 600) -> float:
    command = [sys.executable, "-I", "-S", "-c", _EXECS, str(count), str(width)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def bare_fork(count: int = 1000) -> float:
    """Return the seconds that fork + exit + wait of a minimal Python process takes: the limit of the machine."""
    run = subprocess.run([sys.executable, "-I", "-S", "-c", _FORKS, str(count)], capture_output=True, check=True)
    return float(run.stdout)


def latency(daemon: Daemon) -> Row:
    """Measure submit → first line of the job on an idle machine, module imported before the fork.

    The job returns the monotonic clock, which all processes share.
    """
    target = options(timeout=60)
    times = []
    for _ in range(_SINGLES):
        time.sleep(_IDLE)  # what the machine does between two requests of a site that is not busy: nothing
        before = time.monotonic()
        handle = target.submit("time:monotonic")
        times.append(handle.result(timeout=30) - before)
    bare = bare_fork(300)
    return timed(
        "submit → first line of the job, idle", "ms", times[10:], 1e3,
        peer="bare fork + exit + wait", peer_p50=bare * 1e3, goal="≤ 0.8",
    )  # fmt: skip
