"""Modules that are slow to import are imported once for all their jobs, and nobody can tell but by the time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.client import JobFailed, Options, connect
from sidecar.daemon.warming import MOST, SETTLED
from tests.daemon_process import Daemon
from tests.waiting import eventually

from .checks import alive, write_whole

WORK = "import time\nbegan = time.monotonic()\nwhile time.monotonic() - began < 0.02: pass\n"  # as slow as an ORM, say
TELL = (
    "import os\nPID = os.getpid()\ndef tell(): return {'imported': PID, 'own': os.getpid(), 'parent': os.getppid()}\n"
)
IN_JOB = "import os\nIN_JOB = 'SIDECAR_JOB_ID' in os.environ\n"

App = Callable[..., Options]


@pytest.fixture
def app(daemon: Daemon, tmp_path: Path) -> App:
    """Give a function that writes modules, and returns the options that find them: `app(jobs=source)`."""

    def write(**modules: str) -> Options:
        for name, source in modules.items():
            write_whole(tmp_path / f"{name}.py", source)
        runtime = {"kind": "python", "interpreter": sys.executable, "path": [str(tmp_path)], "cwd": str(tmp_path)}
        return connect(str(daemon.runtime)).options(runtime=runtime, timeout=60)

    return write


def modules(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Return what the daemon knows of modules."""
    return {each["module"]: each for each in daemon.call("stats")["modules"]}


def until_warm(daemon: Daemon, name: str = "jobs") -> None:
    eventually(lambda: modules(daemon).get(name, {}).get("state") == "warm", 20, f"{name} is warm")


def reason(daemon: Daemon, name: str = "jobs") -> str:
    """Wait for the reason why a module stays cold."""
    return str(eventually(lambda: modules(daemon).get(name, {}).get("reason"), 30, f"{name} has a reason"))


def tell(client: Options, target: str = "jobs:tell") -> dict[str, int]:
    told: dict[str, int] = client.submit(target).result(timeout=30)
    return told


def warm_up(daemon: Daemon, client: Options, target: str = "jobs:tell") -> None:
    for _ in range(2):
        client.submit(target).result(timeout=30)
    until_warm(daemon, target.partition(":")[0])


def zygotes(daemon: Daemon, mark: str = "+") -> list[int]:
    return [each["pid"] for each in daemon.pids()["zygotes"] if mark in each["key"]]


def test_the_third_job_finds_a_slow_module_imported(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + TELL)
    first, second = tell(client), tell(client)
    assert [each["imported"] == each["own"] for each in (first, second)] == [True, True]
    until_warm(daemon)
    third = tell(client)
    assert third["imported"] == third["parent"] != third["own"]
    assert zygotes(daemon) == [third["parent"]]
    assert modules(daemon)["jobs"]["import"] >= 0.02


def test_a_module_that_is_quick_to_import_gets_no_process(daemon: Daemon, app: App) -> None:
    """Negative control: it is the time that decides. Slow is told apart from a slow machine by asking often."""
    client = app(jobs=TELL, slow=WORK + TELL)
    told = [tell(client) for _ in range(5)]
    if "jobs" not in modules(daemon):  # no import took over 5 ms here
        assert all(each["imported"] == each["own"] for each in told)
    warm_up(daemon, client, "slow:tell")
    assert len(zygotes(daemon, "+slow")) == 1


def part_of(value: int) -> str:
    """Return source that differs in size: Python itself goes by size and whole second when it has compiled a file."""
    return f"VALUE = {value}  {'#' * value}"


def test_code_that_was_edited_is_what_the_next_job_runs(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + "import part\ndef tell(): return part.VALUE", part="VALUE = 0")
    warm_up(daemon, client)
    for value in range(1, 6):
        app(part=part_of(value))
        time.sleep(0.06)  # so long a look is good
        assert tell(client) == value
        until_warm(daemon)
        assert tell(client) == value
    assert client.submit("jobs:tell").wait(timeout=30).interruptions == 0


def test_edits_under_load_are_never_run_late(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + "import part\ndef tell(): return part.VALUE", part="VALUE = 0")
    warm_up(daemon, client)
    for value in range(1, 11):
        running = [client.submit("jobs:tell") for _ in range(10)]
        app(part=part_of(value))
        time.sleep(0.06)  # so long a look is good
        after = [client.submit("jobs:tell") for _ in range(10)]
        assert [each.result(timeout=30) for each in after] == [value] * 10
        assert {each.result(timeout=30) for each in running} <= {value - 1, value}
    counts = daemon.call("stats")
    assert counts["outcomes"]["succeeded"] == 2 + 200
    assert counts["counters"]["interrupted"] == 0


UNSAFE = {
    "thread": ("import threading\nif not IN_JOB: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
               "starts threads (1)"),
    "socket": ("import socket\nS = socket.socket()", "leaves open: socket:"),
    "fork": ("if not IN_JOB and os.fork() == 0: time.sleep(600)", "starts a process"),
    "raise": ("if not IN_JOB: raise ValueError('not today')", "ValueError: not today"),
    "sys.exit": ("if not IN_JOB: raise SystemExit(3)", "SystemExit: 3"),
    "exit": ("if not IN_JOB: os._exit(3)", "ended before it was ready"),
    "crash": ("import signal\nif not IN_JOB: os.kill(os.getpid(), signal.SIGSEGV)", "ended before it was ready"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_what_cannot_be_warmed_stays_cold_and_hurts_nobody(daemon: Daemon, app: App, name: str) -> None:
    source, words = UNSAFE[name]
    client = app(jobs=IN_JOB + WORK + source + "\n" + TELL, other=WORK + TELL)
    waits = client.submit("time:sleep", 1)
    for _ in range(2):
        tell(client)
    assert words in reason(daemon)
    last = client.submit("jobs:tell")
    told = last.result(timeout=30)
    assert told["imported"] == told["own"]
    assert words in (last.status().cold or "")
    assert modules(daemon)["jobs"]["state"] == "cold"
    warm_up(daemon, client, "other:tell")
    assert waits.wait(timeout=30).interruptions == 0
    eventually(lambda: len(zygotes(daemon)) == 1, 20, "only the other module's warm zygote is left")
    counters = daemon.call("stats")
    assert (counters["outcomes"]["failed"], counters["counters"]["interrupted"]) == (0, 0)


def test_the_reason_is_shown_by_doctor_stats_and_status(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + "import socket\nS = socket.socket()\n" + TELL)
    handles = [client.submit("jobs:tell") for _ in range(3)]
    for handle in handles:
        handle.result(timeout=30)
    words = reason(daemon)

    def shown(*verb: str) -> str:
        command = [sys.executable, "-m", "sidecar", *verb]
        return subprocess.run(command, env=daemon.env, capture_output=True, text=True, timeout=60).stdout

    assert f"ok    warm modules: none; jobs stays cold: {words}" in shown("doctor")
    assert words in shown("stats")
    assert words in shown("status", handles[0].id)
    assert json.loads(shown("status", "--json", handles[0].id))["cold"] == words


def test_a_module_that_never_imports_fails_its_jobs_and_nothing_else(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + "raise ValueError('broken')")
    for _ in range(4):
        with pytest.raises(JobFailed, match="broken"):
            client.submit("jobs:tell").result(timeout=30)
    assert zygotes(daemon) == []


@pytest.mark.slow
@pytest.mark.parametrize("line", ["time.sleep(600)", "os.register_at_fork(before=lambda: time.sleep(600))"])
def test_an_import_or_a_fork_that_hangs_is_given_up(daemon: Daemon, app: App, line: str) -> None:
    client = app(jobs=IN_JOB + WORK + f"if not IN_JOB: {line}\n" + TELL)
    for _ in range(2):
        tell(client)
    eventually(lambda: zygotes(daemon), 20)
    (hanging,) = zygotes(daemon)
    assert tell(client)["imported"] != hanging  # it is not waited for
    assert "not come up within" in reason(daemon)
    eventually(lambda: not alive(hanging), 20)
    assert tell(client)["imported"] > 0


def test_a_warm_zygote_that_dies_is_not_made_again_at_once(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + TELL + "def kill():\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n")
    warm_up(daemon, client)
    status = client.submit("jobs:kill").wait(timeout=60)
    assert (status.outcome, len(status.attempts)) == ("lost", 3)
    assert "died under its jobs" in reason(daemon)
    told = tell(client)
    assert told["imported"] == told["own"]
    assert zygotes(daemon) == []


def test_jobs_of_a_warm_zygote_that_dies_run_again_alone(daemon: Daemon, app: App, tmp_path: Path) -> None:
    client = app(jobs=WORK + TELL + (
        "def wait(go):\n    print(PID, os.getpid(), flush=True)\n"
        "    while not os.path.exists(go): time.sleep(0.005)\n    return 'went on'\n"
    ))  # fmt: skip
    warm_up(daemon, client)
    handle = client.submit("jobs:wait", str(tmp_path / "go"))
    imported, own = map(int, eventually(lambda: handle.output().split(), 20))
    assert imported != own and zygotes(daemon) == [imported]
    os.kill(imported, signal.SIGKILL)
    eventually(lambda: len(handle.status().attempts) == 2 and handle.output().split(), 20)
    imported, own = map(int, eventually(lambda: handle.output().split(), 20))
    assert imported == own
    (tmp_path / "go").touch()
    assert handle.result(timeout=20) == "went on"


def test_the_next_daemon_goes_on_with_a_warm_zygote(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + TELL)
    warm_up(daemon, client)
    before = daemon.pids()["daemon"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: daemon.pids()["daemon"] != before, 20)
    until_warm(daemon)
    assert tell(client)["imported"] in zygotes(daemon)
    assert len(zygotes(daemon)) == 1


def test_a_reload_begins_anew(daemon: Daemon, app: App) -> None:
    client = app(jobs=WORK + TELL)
    warm_up(daemon, client)
    (old,) = zygotes(daemon)
    before = daemon.pids()["daemon"]
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.pids()["daemon"] != before, 20)
    told = tell(client)
    assert told["imported"] == told["own"]
    eventually(lambda: not alive(old), 20)


def test_a_job_with_an_environment_or_folder_of_its_own_imports_in_it(daemon: Daemon, app: App, tmp_path: Path) -> None:
    seen = "SEEN = [os.environ.get('COLOUR'), os.getcwd()]\ndef see(): return SEEN\n"
    client = app(jobs=WORK + TELL + seen)
    warm_up(daemon, client)
    assert client.submit("jobs:see").result(timeout=20) == [None, str(tmp_path)]
    assert client.options(env={"COLOUR": "red"}).submit("jobs:see").result(timeout=20) == ["red", str(tmp_path)]
    assert client.options(cwd="/usr").submit("jobs:see").result(timeout=20) == [None, "/usr"]


def test_deadline_output_retry_and_tree_are_as_in_a_cold_one(daemon: Daemon, app: App, tmp_path: Path) -> None:
    client = app(jobs=WORK + TELL + (
        "import subprocess, sys\n"
        "def stubborn():\n    print('here', flush=True)\n    time.sleep(600)\n"
        "def leave(path):\n    p = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "    open(path, 'w').write(str(p.pid))\n"
        "def fail():\n    raise KeyError(os.environ['SIDECAR_ATTEMPT'])\n"
    ))  # fmt: skip
    warm_up(daemon, client)
    status = client.options(timeout=0.2, grace=0.1).submit("jobs:stubborn").wait(timeout=20)
    assert status.outcome == "timed_out"
    client.submit("jobs:leave", str(tmp_path / "pid")).result(timeout=20)
    assert not alive(int((tmp_path / "pid").read_text()))
    status = client.options(retries=1, backoff=[0.01]).submit("jobs:fail").wait(timeout=20)
    assert (status.failures, status.error and status.error["message"]) == (2, "'2'")
    assert "in fail" in (status.error or {})["traceback"] and "child.py" not in (status.error or {})["traceback"]


NUMBERS = """
import os
import numpy, numpy.random, pandas
PID = os.getpid()

def tell():
    frame = pandas.DataFrame({"a": range(10), "b": numpy.arange(10) ** 2})
    matrix = numpy.random.rand(200, 200)
    return {
        "imported": PID, "own": os.getpid(), "sum": int(frame.groupby(frame.a % 2).b.sum()[1]),
        "product": bool(numpy.allclose(matrix @ numpy.linalg.inv(matrix), numpy.eye(200), atol=1e-5)),
        "random": float(numpy.random.rand()),
    }
"""


def test_numpy_and_pandas_are_warm(daemon: Daemon, app: App) -> None:
    client = app(jobs=NUMBERS)
    warm_up(daemon, client)
    told = [tell(client) for _ in range(3)]
    assert {each["imported"] for each in told} == set(zygotes(daemon))
    assert [(each["sum"], each["product"]) for each in told] == [(165, True)] * 3
    assert len({each["random"] for each in told}) == 3


WAIT = """
def wait(go):
    print(PID, flush=True)
    while not os.path.exists(go): time.sleep(0.005)
    return 'went on'
"""


@pytest.mark.slow
def test_the_ninth_takes_the_place_of_the_least_recently_used(daemon: Daemon, app: App, tmp_path: Path) -> None:
    names = [f"app{number}" for number in range(MOST + 1)]
    client = app(**dict.fromkeys(names, WORK + TELL + WAIT))
    warm_up(daemon, client, f"{names[0]}:tell")
    running = client.submit(f"{names[0]}:wait", str(tmp_path / "go"))
    oldest = int(eventually(running.output, 20))
    settled = time.monotonic() + SETTLED
    for name in names[1:MOST]:
        warm_up(daemon, client, f"{name}:tell")
    assert len(set(zygotes(daemon))) == MOST
    time.sleep(max(0.0, settled - time.monotonic()))
    for name in names[1:]:  # the ninth is asked for twice, and no other has a pause like app0's
        tell(client, f"{name}:tell")
    tell(client, f"{names[-1]}:tell")
    until_warm(daemon, names[-1])
    states = {name: each["state"] for name, each in modules(daemon).items()}
    assert states == {names[0]: "cold", **dict.fromkeys(names[1:], "warm")}
    assert alive(oldest)  # it has a job
    (tmp_path / "go").touch()
    assert running.result(timeout=20) == "went on" and running.status().interruptions == 0
    eventually(lambda: not alive(oldest), 20)
