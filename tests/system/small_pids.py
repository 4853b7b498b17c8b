"""Run in a PID namespace of its own, as process 1: a sidecar, jobs that end in every way, and bystanders.

There are about 120 numbers, which wrap many times in a second; the bystanders live for a moment each, on numbers that
just were a job's. Each must end by itself. Prints what was counted, as JSON. The argument is the zygote's module.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from sidecar.client import Options, connect
from tests.mutant import Mutant
from tests.waiting import eventually

from . import jobs

FIRST, LAST = 300, 420
CROWD = 30  # bystanders at a time
ROUNDS = 12


class Bystanders(threading.Thread):
    """Strangers to sidecar: children of ours that sleep for 30 ms, and should end with status 0."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = threading.Event()
        self.ended = self.wraps = 0
        self.signalled: list[int] = []
        self.error = ""
        self._before = 0

    def run(self) -> None:
        alive: set[int] = set()
        try:
            while not self.enough.is_set():
                while len(alive) < CROWD:
                    alive.add(self._one_more())
                time.sleep(0.002)
                alive -= {pid for pid in alive if self._reap(pid, os.WNOHANG)}
            for pid in alive:
                self._reap(pid, 0)
        except BaseException as error:
            self.error = repr(error)
            raise

    def _one_more(self) -> int:
        pid = os.posix_spawn("/bin/sleep", ["sleep", "0.03"], {})
        self.wraps += pid < self._before
        self._before = pid
        if pid > LAST:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(FIRST))
        return pid

    def _reap(self, pid: int, flags: int) -> bool:
        done, status = os.waitpid(pid, flags)
        if done:
            self.ended += 1
            if status:
                self.signalled.append(status)
        return bool(done)


def one_of_each(client: Options, folder: Path, number: int) -> None:
    """Run jobs that end in all the ways in which something is signalled."""
    strays = "for n in 1 2 3; do setsid sh -c 'sleep 60 & sleep 60' & done; exit 0"
    handles = [client.submit(["sh", "-c", strays]) for _ in range(6)]
    handles += [client.submit(jobs.square, str(folder / "ran"), n) for n in range(6)]
    handles += [client.options(timeout=0.05, grace=0.05).submit(["sh", "-c", "trap '' TERM; sleep 60 & wait"])]
    cancelled = client.options(grace=0.05).submit(["sleep", "60"])
    eventually(lambda: cancelled.status().state != "queued", 20)
    cancelled.cancel()
    if number % 4 == 3:
        handles.append(client.submit(jobs.kill_parent, str(folder / "killed")))
    for handle in [*handles, cancelled]:
        handle.wait(timeout=60)


def main() -> None:
    bystanders = Bystanders()
    daemon = Mutant({"zygote_module": sys.argv[1]}).start()
    bystanders.start()
    try:
        client = connect(str(daemon.runtime))
        for number in range(ROUNDS):
            one_of_each(client, daemon.folder, number)
            if number % 4 == 1:
                os.kill(daemon.pids()["daemon"], signal.SIGKILL)
            if number % 4 == 2:
                os.kill(daemon.pids()["zygotes"][0]["pid"], signal.SIGKILL)
        running = client.options(grace=0.1).submit(jobs.stubborn, str(daemon.folder / "pid"))
        eventually(lambda: running.status().state == "running", 20)
        daemon.kill()
        eventually(lambda: not daemon.family(), 10)
        daemon.start()
        eventually(lambda: running.status().state == "running", 20)
        running.cancel()
    finally:
        daemon.close()
        bystanders.enough.set()
        bystanders.join()
    told = {name: getattr(bystanders, name) for name in ("ended", "wraps", "signalled", "error")}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
