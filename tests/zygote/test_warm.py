"""A warm zygote: imports once, refuses what a fork cannot hand down, and gives each job what it would have had cold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.checks import alive
from tests.waiting import eventually

from .process import ROOT, ZygoteProcess, report, result

Warm = Callable[..., ZygoteProcess]


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    """Give a function that starts a warm zygote for a module with this source: `warm(source)`."""
    started: list[ZygoteProcess] = []

    def start(source: str, broken: str = "", **record: Any) -> ZygoteProcess:
        (tmp_path / "app.py").write_text(source)
        path = [str(tmp_path), ROOT]
        started.append(ZygoteProcess({"path": path, "cwd": str(tmp_path), "warm": "app", **record}, broken))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def cold(process: ZygoteProcess) -> str | None:
    """Return why a zygote did not become warm."""
    return process.hello["cold"]  # type: ignore[no-any-return]


WHERE = "import os\nPID = os.getpid()\ndef where(): return [PID, os.getpid(), os.getppid()]\n"


def test_a_job_finds_its_module_imported_by_its_zygote(warm: Warm) -> None:
    process = warm(WHERE)
    assert cold(process) is None
    for _ in range(2):
        imported, own, parent = result(process.run(call="app:where"))
        assert imported == parent == process.pid != own


def test_a_cold_zygote_leaves_the_import_to_the_job(tmp_path: Path) -> None:
    """Negative control."""
    (tmp_path / "app.py").write_text(WHERE)
    process = ZygoteProcess({"path": [str(tmp_path)]})
    imported, own, _ = result(process.run(call="app:where"))
    assert imported == own
    process.stop()


def test_the_setup_runs_once_and_before_the_import(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "prepare.py").write_text("import os\nRAN = []\ndef setup(): RAN.append(os.getpid())\n")
    process = warm("import prepare\nSEEN = list(prepare.RAN)\ndef ran(): return SEEN, prepare.RAN\n",
                   setup="prepare:setup")  # fmt: skip
    assert result(process.run(call="app:ran")) == [[process.pid], [process.pid]]


UNSAFE = {
    "thread": ("import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
               "starts threads (1)"),
    "socket": ("import socket\nS = socket.socket()", "leaves open: socket:"),
    "pipe": ("import os\nP = os.pipe()", "leaves open: pipe:"),
    "file": ("F = open(__file__)", "app.py"),
    "sqlite": ("import sqlite3\nD = sqlite3.connect('app.sqlite'); D.execute('CREATE TABLE a (b)')", "app.sqlite"),
    "child": ("import subprocess\nC = subprocess.Popen(['sleep', '600'])", "starts a process"),
    "fork": ("import os, time\nif os.fork() == 0:\n    time.sleep(600)", "starts a process"),
    "fork-and-run-on": ("import os\nFORKED = os.fork()", "starts a process"),
    "orphan": ("import os, time\nif not os.fork():\n    if not os.fork(): time.sleep(600)\n    os._exit(0)\nos.wait()",
               "starts a process"),
    "sigchld": ("import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)", "SIGCHLD"),
    "timer": ("import signal\nsignal.setitimer(signal.ITIMER_REAL, 600)", "timer"),
    "wakeup": ("import os, signal\nsignal.set_wakeup_fd(os.open('/dev/null', os.O_RDWR | os.O_NONBLOCK))", "wake-up"),
    "folder": ("import os\nos.chdir('/usr')", "folder"),
    "umask": ("import os\nos.umask(0o077)", "umask"),
    "closes": ("import os\nos.closerange(5, 1000)", "closes descriptors"),
    "removes": ("import atexit, shutil, tempfile\natexit.register(shutil.rmtree, tempfile.mkdtemp(dir='.'))",
                "removed when"),
    "raises": ("raise ValueError('not today')", "ValueError: not today"),
    "exits": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "missing": ("import no_such_module_here", "ModuleNotFoundError"),
    "dies-when-forked": ("import os\nos.register_at_fork(after_in_child=lambda: os._exit(9))", "did not come up"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_what_a_fork_cannot_hand_down_is_refused_with_the_reason(warm: Warm, name: str) -> None:
    source, words = UNSAFE[name]
    assert words in (cold(warm(source)) or "")


@pytest.mark.parametrize("name", ["thread", "socket", "child", "folder"])
def test_without_the_look_afterwards_it_is_taken(warm: Warm, name: str) -> None:
    """Negative control."""
    assert cold(warm(UNSAFE[name][0], broken="no_comparing")) is None


def test_a_process_that_is_over_when_the_import_is_does_no_harm(warm: Warm) -> None:
    assert cold(warm("import subprocess\nsubprocess.run(['true'])\nopen(__file__).close()")) is None


def test_a_log_that_the_import_opened_is_written_by_each_job(warm: Warm, tmp_path: Path) -> None:
    process = warm(
        "import logging, os\nlogging.basicConfig(filename='app.log', format='%(message)s')\n"
        "def f(n):\n    logging.warning('job %d', n)\n    return os.listdir('/proc/self/fd')\n"
    )
    assert cold(process) is None
    open_in_job = [result(process.run(call="app:f", args=[number])) for number in range(3)]
    assert (tmp_path / "app.log").read_text() == "job 0\njob 1\njob 2\n"
    assert [len(fds) for fds in open_in_job] == [6] * 3  # 0 to 3, the log, and the folder that is listed


def test_jobs_see_nothing_of_what_keeps_libraries_from_starting_threads(warm: Warm) -> None:
    process = warm("import os\nname = 'OMP_NUM_THREADS'\nSEEN = os.environ.get(name)\n"
                   "def f(): return SEEN, os.environ.get(name), os.popen(f'echo ${name}').read()")  # fmt: skip
    assert result(process.run(call="app:f")) == ["1", None, "\n"]


def test_who_says_how_many_threads_is_heard(warm: Warm) -> None:
    process = warm(
        "import os\nSEEN = os.environ['OMP_NUM_THREADS']\ndef f(): return SEEN", env={"OMP_NUM_THREADS": "2"}
    )
    assert result(process.run(call="app:f")) == "2"


RANDOM = "import random\nrandom.random()\ndef f(): return [random.random(), random.random()]"


def test_no_two_jobs_get_the_same_random_numbers(warm: Warm) -> None:
    process = warm(RANDOM)
    numbers = [tuple(result(process.run(call="app:f"))) for _ in range(5)]
    assert len(set(numbers)) == 5


def test_without_the_hook_of_random_they_get_the_same(warm: Warm) -> None:
    """Negative control."""
    process = warm(RANDOM, broken="no_reseeding")
    assert result(process.run(call="app:f")) == result(process.run(call="app:f"))


NUMPY = "import numpy.random\ndef f(): return float(numpy.random.rand())"


def test_no_two_jobs_get_the_same_random_numbers_of_numpy(warm: Warm) -> None:
    process = warm(NUMPY)
    assert len({result(process.run(call="app:f")) for _ in range(5)}) == 5


def test_without_reseeding_numpy_they_do(warm: Warm) -> None:
    """Negative control."""
    process = warm(NUMPY, broken="no_putting_back")
    assert len({result(process.run(call="app:f")) for _ in range(5)}) == 1


THREADS = """
import threading, logging, concurrent.futures, os, _thread

def own():
    return [threading.main_thread().native_id, threading.get_native_id(), os.getpid(), threading.active_count(),
            threading.current_thread() is threading.main_thread()]

def forks():
    held = threading.Event()
    threading.Thread(target=held.wait, daemon=True).start()
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, str(threading.active_count()).encode())
        os._exit(0)
    count = os.read(reading, 10)
    held.set()
    return int(count)

def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        logging.warning("from %s", list(pool.map(abs, [-1, -2])))
    return True
"""


def test_a_job_has_threads_locks_and_ids_as_if_it_had_imported_them(warm: Warm) -> None:
    process = warm(THREADS)
    assert cold(process) is None
    native, own, pid, count, is_main = result(process.run(call="app:own"))
    assert (native == own == pid, count, is_main) == (True, 1, True)
    assert result(process.run(call="app:pool")) is True


def test_a_job_that_has_threads_may_fork(warm: Warm) -> None:
    """What was left out of our fork must be back in the job's own: else its child would wait for threads it has not."""
    assert result(warm(THREADS).run(call="app:forks")) == 1


def test_without_putting_hooks_back_a_forked_job_counts_threads_it_has_not(warm: Warm) -> None:
    """Negative control."""
    process = warm(THREADS, broken="no_putting_back")
    assert result(process.run(call="app:forks")) == 2
    assert result(process.run(call="app:own"))[0] == process.pid


def test_a_hook_that_is_nobodys_we_know_runs(warm: Warm) -> None:
    process = warm("import os\nRAN = []\nos.register_at_fork(after_in_child=lambda: RAN.append(os.getpid()))\n"
                   "def f(): return RAN, os.getpid()")  # fmt: skip
    ran, pid = result(process.run(call="app:f"))
    assert ran == [pid]


def test_what_the_module_registered_for_its_exit_is_run_by_jobs_alone(warm: Warm, tmp_path: Path) -> None:
    process = warm("import atexit, os\natexit.register(lambda: open('ends', 'a').write(f'{os.getpid()} '))\n"
                   "def f(): return os.getpid()")  # fmt: skip
    pid = result(process.run(call="app:f"))
    process.channel.sock.close()
    eventually(lambda: not alive(process.pid), 10)
    assert (tmp_path / "ends").read_text() == f"{pid} "


def test_no_job_ends_what_the_import_made_and_each_ends_what_it_made(warm: Warm, tmp_path: Path) -> None:
    process = warm("import os, tempfile, weakref\nFOLDER = tempfile.TemporaryDirectory(dir='.')\nclass Thing: pass\n"
                   "def f():\n    global thing\n    thing = Thing()\n    weakref.finalize(thing, print, 'ended')\n"
                   "    return os.path.isdir(FOLDER.name)")  # fmt: skip
    assert cold(process) is None
    for _ in range(2):
        ending = process.run(call="app:f")
        assert (result(ending), ending["tail"]) == (True, b"ended\n")


def test_who_bound_what_registers_hooks_while_importing_can_use_it_in_a_job(warm: Warm) -> None:
    process = warm("from os import register_at_fork, fork, _exit, wait\nfrom atexit import register\n"
                   "def f():\n    register(print, 'ended')\n    register_at_fork(before=lambda: print('forks'))\n"
                   "    if not fork(): _exit(0)\n    wait()")  # fmt: skip
    assert process.run(call="app:f")["tail"] == b"forks\nended\n"


def test_a_job_waits_for_its_threads(warm: Warm) -> None:
    process = warm("import threading, time\ndef later():\n    time.sleep(0.05)\n    print('done')\n"
                   "def f(): threading.Thread(target=later).start()")  # fmt: skip
    assert process.run(call="app:f")["tail"] == b"done\n"


def test_an_output_that_was_not_ended_is_not_written_by_each_job(warm: Warm) -> None:
    process = warm("print('importing', end='')\ndef f(): print('job')")
    assert process.run(call="app:f")["tail"] == b"job\n"


def test_a_changed_file_is_noticed_before_the_next_job(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("VALUE = 1")
    process = warm("import part\ndef f(): return part.VALUE")
    assert [what_became_of(process) for _ in range(3)] == ["exited"] * 3
    (tmp_path / "part.py").write_text("VALUE = 2")
    time.sleep(0.06)  # so long a look is good
    assert [what_became_of(process) for _ in range(3)] == ["stale"] * 3


def what_became_of(process: ZygoteProcess) -> str:
    """Start a job and tell whether the zygote ran it or refused it."""
    number = process.start(call="app:f")
    return str(process.wait_for_one(["stale", number, 1], ["exited", number, 1])[0])


def test_without_the_look_stale_code_runs(warm: Warm, tmp_path: Path) -> None:
    """Negative control."""
    process = warm("def f(): return 1", broken="no_looking")
    (tmp_path / "app.py").write_text("def f(): return 2")
    time.sleep(0.1)  # longer than a look is good
    assert result(process.run(call="app:f")) == 1


def test_an_import_is_told_when_it_took_long_and_only_then(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.02)\ndef f(): pass\ndef g(): raise ValueError\n")
    process = ZygoteProcess({"path": [str(tmp_path)]})
    for name in "fg":
        assert report(process.run(call=f"slow:{name}"))["import"] >= 0.02
    assert "import" not in report(process.run(call="os:getpid"))
    process.stop()
