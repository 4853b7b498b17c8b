"""What a job of a Django project costs, ORM and a dozen apps: cold, and forked from a process that has it imported.

The peer is the least that a process for each job can cost: the same project in one process that forks, does the work
in the child and waits, as many at once as there are slots; no store, no deadline, no output, no result.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.client import Options, options

from ..daemon_process import Daemon
from ..waiting import eventually
from .table import Row, timed

_APP = Path(__file__).parent.parent / "system" / "web" / "apps" / "django"
_COLD, _SINGLES, _JOBS = 7, 150, 1500
_SETTINGS = "bookshop.large"
_FORKS = """
import gc, os, sys, time
import django
django.setup()
from orders import jobs
function, count, width = getattr(jobs, sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
gc.collect(); gc.freeze()
running, before = 0, time.perf_counter()
for number in range(count):
    if running == width:
        os.wait()
        running -= 1
    if os.fork() == 0:
        function()
        os._exit(0)
    running += 1
while running:
    os.wait()
    running -= 1
print((time.perf_counter() - before) / count)
"""


def rows(daemon: Daemon, slots: int) -> Iterator[Row]:
    """Measure the rows; none where Django is not installed."""
    if importlib.util.find_spec("django") is None:
        print("Django is not installed: no rows about warming", file=sys.stderr)
        return
    with _project() as folder:
        runtime = {
            "kind": "python", "interpreter": sys.executable, "path": [folder], "cwd": folder, "setup": "django:setup",
            "env": {"DJANGO_SETTINGS_MODULE": _SETTINGS},
        }  # fmt: skip
        target = options(runtime=runtime, timeout=60)
        yield _first(target, folder)
        _warm_up(daemon, target)
        yield _latency(target, folder)
        for name, what in (("nothing", "no-op"), ("count", "one ORM query")):
            yield _throughput(daemon, target, folder, name, what, slots)


@contextmanager
def _project() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sc-") as scratch:
        folder = shutil.copytree(_APP, f"{scratch}/django", ignore=shutil.ignore_patterns("__pycache__"))
        _python(folder, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
        yield folder


def _python(folder: str, *words: str) -> str:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": _SETTINGS, "PYTHONPATH": folder}
    run = subprocess.run([sys.executable, *words], cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return run.stdout


def _took(target: Options) -> float:
    found: dict[str, float] = target.submit("orders.jobs:where", time.monotonic()).result(timeout=60)
    return found["took"]


def _first(target: Options, folder: str) -> Row:
    """Measure jobs that import the project themselves: a variable of their own keeps them cold."""
    cold = target.options(env={"COLD": "yes"})
    times = [_took(cold) for _ in range(_COLD)]
    before = time.perf_counter()
    _python(folder, "-c", "import django; django.setup(); import orders.jobs")
    return timed(
        "Django, 12 apps: submit → first line, first job", "ms", times, 1e3,
        peer="python, django.setup(), import", peer_p50=(time.perf_counter() - before) * 1e3,
    )  # fmt: skip


def _warm_up(daemon: Daemon, target: Options) -> None:
    for _ in range(2):
        _took(target)
    eventually(lambda: any(each["state"] == "warm" for each in daemon.call("stats")["modules"]), 60, "Django is warm")


def _latency(target: Options, folder: str) -> Row:
    times = []
    for _ in range(_SINGLES):
        times.append(_took(target))
        time.sleep(0.055)  # so that each has to look at the project's files anew
    return timed(
        "the same from the third job on, idle", "ms", times[10:], 1e3,
        peer="bare fork + exit + wait of that process", peer_p50=_bare(folder, "nothing", 1) * 1e3, goal="≤ 4",
    )  # fmt: skip


def _bare(folder: str, name: str, width: int, count: int = 600) -> float:
    return float(_python(folder, "-c", _FORKS, name, str(count), str(width)))


def _throughput(daemon: Daemon, target: Options, folder: str, name: str, what: str, slots: int) -> Row:
    call = f"orders.jobs:{name}"
    before = _bare(folder, name, slots)
    target.submit(call).result(timeout=60)
    ended = daemon.call("stats")["counters"]["ended"]
    start = time.perf_counter()
    for _ in range(_JOBS - 1):
        target.submit(call)
    target.submit(call).wait(timeout=120)
    eventually(lambda: daemon.call("stats")["counters"]["ended"] - ended >= _JOBS, 60)
    rate = _JOBS / (time.perf_counter() - start)
    bare = 2 / (before + _bare(folder, name, slots))  # this machine's speed changes within a run
    return Row(
        f"Django, {what}, stored, {slots} slots", "jobs/s", rate, None,
        f"bare fork loop of that process, {slots} at once", bare, "ratio ≥ 0.70",
    )  # fmt: skip
