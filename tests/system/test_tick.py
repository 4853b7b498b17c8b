"""`sidecar tick`, started as cron does it: works off what is there and ends, never two at once, nothing lost between.

Every run is a real one: its own keeper, daemon and zygotes, which are gone when it has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import boot
from sidecar.cli.serve import own_path
from sidecar.client import Handle, Options, connect
from tests.daemon_process import Daemon, members_of
from tests.mutant import ROOT
from tests.rawclient import Ended
from tests.waiting import eventually

from . import jobs
from .checks import alive, lines

LONG = 120.0  # seconds; a tick that reaches it does not see that nothing is left

# None of the keeper's locks. That of the store is still there: it bears no second daemon at the same time.
NO_LOCK = "import fcntl; fcntl.flock = lambda fd, how: None"

# A tick that just exits at its end, without closing the door first and taking in what has come.
NO_DRAIN = """
import os
from sidecar.keeper.loop import Keeper
Keeper.stop = lambda self: os._exit(0)
"""


class Run:
    """One tick under way."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self._began = time.monotonic()

    def said(self) -> str:
        """Return what it has written to stderr."""
        return self._log.read_text(errors="replace")

    def report(self) -> str:
        """Return the line that says what was done, without its time."""
        (line,) = re.findall(r"^sidecar: tick of [-0-9: +]+, [0-9.]+ s: (.*)$", self.said(), re.MULTILINE)
        return str(line)

    def end(self, seconds: float = 90.0) -> Run:
        """Wait for its end, which is to be a good one."""
        assert (self.wait(seconds), self.stdout) == (0, b""), self.said()
        return self

    def wait(self, seconds: float = 90.0) -> int:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"the tick does not end\n{self.said()}"
        with self.process.stdout as stdout:
            self.stdout = stdout.read()
        status = self.process.wait(seconds)
        self.seconds = time.monotonic() - self._began
        return status


class Host(Daemon):
    """A machine without a daemon: `tick` starts one as cron does; `start` is a `serve` on the same folders."""

    def __init__(self, config: str = "", slots: int | None = 4) -> None:
        super().__init__(config, slots)
        self.slots = slots
        self.config = str(self.folder / "sidecar.toml") if config else None
        self._runs: list[Run] = []

    def begin(self, seconds: float = LONG, mutation: str = "", **settings: object) -> Run:
        """Start one. `mutation` is Python that runs in its keeper before it, `settings` are what no option can say."""
        at = self._command.index("serve")
        command = [*self._command[:at], "tick", *self._command[at + 1 :], "--for", str(seconds)]
        if mutation or settings:
            command = self._mutant(mutation, {"tick": seconds, **settings})
        log = self.folder / f"tick-{len(self._runs)}"
        with open(log, "wb") as stderr:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                env=self.env, cwd="/", start_new_session=True,
            )  # fmt: skip
        self._runs.append(Run(process, log))
        return self._runs[-1]

    def _mutant(self, mutation: str, settings: dict[str, object]) -> list[str]:
        given = {
            "runtime_dir": str(self.runtime), "state_dir": str(self.state), "slots": self.slots,
            "config": self.config, "path": [*own_path(), ROOT], **settings,
        }  # fmt: skip
        argv = boot.command(sys.executable, "sidecar.keeper", [ROOT])
        argv[3] = f"import sys\nsys.path.append({ROOT!r})\n{mutation}\n{argv[3]}"
        return [*argv, json.dumps(given)]

    def tick(self, seconds: float = LONG, mutation: str = "") -> Run:
        """Run one from its start to its end."""
        return self.begin(seconds, mutation).end()

    def spooling(self) -> Options:
        """Return a client of a machine on which sidecar has run before, so that there is a spool."""
        self.tick()
        return connect(str(self.runtime))

    def log(self) -> str:
        return super().log() + "".join(run.said() for run in self._runs)

    def close(self) -> None:
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        super().close()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def result_of(host: Host, *handles: Handle) -> list[object]:
    """Ask a serve for results: between ticks there is nobody to ask."""
    host.start()
    try:
        return [Handle(each.id, door=connect(str(host.runtime)).door).result(timeout=20) for each in handles]
    finally:
        host.stop()


def test_a_tick_with_nothing_to_do_ends_at_once_and_leaves_no_socket(host: Host) -> None:
    run = host.tick()
    assert run.seconds < LONG / 2
    assert run.report() == "0 taken from the spool; ended: none; left: none"
    assert len(run.said().splitlines()) == 1
    assert sorted(os.listdir(host.runtime)) == ["spool"]
    assert host.family() == []


def test_a_tick_works_off_the_spool(host: Host, tmp_path: Path) -> None:
    client = host.spooling()
    handles = [client.submit(jobs.square, str(tmp_path / "ran"), number) for number in range(50)]
    assert {handle.ack for handle in handles} == {"spooled"}
    run = host.tick()
    assert sorted(map(int, lines(tmp_path / "ran"))) == list(range(50))
    assert run.report() == "50 taken from the spool; ended: 50 succeeded; left: none"
    assert run.seconds < LONG / 2
    assert host.tick().report() == "0 taken from the spool; ended: none; left: none"
    assert result_of(host, *handles) == [number * number for number in range(50)]


def test_a_job_that_cannot_start_does_not_keep_a_tick(host: Host, tmp_path: Path) -> None:
    client = host.spooling()
    gone = client.options(runtime={"interpreter": str(tmp_path / "gone")})
    gone.submit("time:time")
    client.submit(jobs.square, str(tmp_path / "ran"), 3)
    run = host.tick()
    assert run.report() == "2 taken from the spool; ended: 1 succeeded; left: 1 queued"
    assert host.tick().report() == "0 taken from the spool; ended: none; left: 1 queued"


def test_jobs_have_their_semantics_and_the_line_says_how_they_ended(host: Host, tmp_path: Path) -> None:
    client = host.spooling()
    client.submit(["false"])
    client.options(timeout=0.3, grace=0.2).submit(jobs.stubborn, str(tmp_path / "pid"))
    client.options(retries=2, backoff=[0.1]).submit(jobs.fail_until, str(tmp_path / "tries"), 3)
    client.options(expires=0.001).submit(["true"])
    run = host.tick()
    assert len(lines(tmp_path / "tries")) == 3, "a retry that comes due in time is run"
    assert not alive(int(lines(tmp_path / "pid")[0]))
    taken, ended, left = run.report().split("; ")
    assert (taken, left) == ("4 taken from the spool", "left: none")
    assert set(ended.removeprefix("ended: ").split(", ")) == {"1 failed", "1 timed_out", "1 succeeded", "1 expired"}


def test_what_is_scheduled_for_later_stays_and_what_comes_due_in_time_is_run(host: Host, tmp_path: Path) -> None:
    client = host.spooling()
    client.options(delay=3600).submit(jobs.square, str(tmp_path / "ran"), 1)
    assert host.tick().report() == "1 taken from the spool; ended: none; left: 1 scheduled"
    client.options(delay=1.5).submit(jobs.square, str(tmp_path / "ran"), 2)
    run = host.tick()
    assert lines(tmp_path / "ran") == ["2"]
    assert run.report() == "1 taken from the spool; ended: 1 succeeded; left: 1 scheduled"


def test_a_tick_leaves_at_once_while_a_serve_is_there_and_disturbs_nothing(host: Host) -> None:
    host.start()
    before = host.pids()
    run = host.tick()
    who = f"another sidecar (`sidecar serve`, process {host.pid})"
    assert run.said() == f"sidecar: tick: nothing to do, {who} serves {host.state}\n"
    assert host.pids() == before


def test_a_tick_leaves_at_once_while_another_is_at_work(host: Host, tmp_path: Path) -> None:
    host.spooling().submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    first = host.begin()
    eventually(lambda: lines(tmp_path / "started"), 20)
    who = f"another sidecar (`sidecar tick`, process {first.process.pid})"
    assert host.tick().said() == f"sidecar: tick: nothing to do, {who} serves {host.state}\n"
    serve = subprocess.run(host._command, env=host.env, capture_output=True, text=True, timeout=60, check=False)
    assert (serve.returncode, serve.stdout) == (1, "")
    assert f"cannot serve: {who} serves" in serve.stderr
    (tmp_path / "go").touch()
    assert first.end().report() == "1 taken from the spool; ended: 1 succeeded; left: none"
    assert len(lines(tmp_path / "started")) == 1


def test_a_tick_that_was_killed_is_not_named_as_the_one_at_work(host: Host) -> None:
    host.tick()
    (host.state / "keeper.lock").write_text(f"tick {2**22 + 1}")  # over the largest number of a process
    with open(host.state / "keeper.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert host.tick().said() == f"sidecar: tick: nothing to do, another sidecar serves {host.state}\n"


def run_several(host: Host, path: Path, at: tuple[int, ...], mutation: str = "") -> Counter[int]:
    """Start ticks on a spool of jobs, each when so many jobs were begun; returns how often each of these was."""
    client = host.spooling()
    for number in range(40):
        client.submit(jobs.note_attempt, str(path), number, 0.1)
    runs = []
    for begun in at:
        eventually(lambda begun=begun: len(lines(path)) >= begun, 30)  # type: ignore[misc]
        runs.append(host.begin(seconds=5 if mutation else LONG, mutation=mutation))
    for run in runs:
        run.wait()
    host.tick()
    return Counter(int(line.split()[0]) for line in lines(path))


@pytest.mark.parametrize("at", [(0, 0, 0, 0), (0, 10, 20, 30)])
def test_ticks_that_overlap_run_each_job_once(host: Host, tmp_path: Path, at: tuple[int, ...]) -> None:
    assert run_several(host, tmp_path / "ran", at) == Counter(range(40))
    assert all(run.process.returncode == 0 for run in host._runs)
    assert any("tick: nothing to do" in run.said() for run in host._runs)


def test_without_the_locks_they_run_jobs_twice(host: Host, tmp_path: Path) -> None:
    ran = run_several(host, tmp_path / "ran", (0, 10), NO_LOCK)
    assert set(ran) == set(range(40))
    assert max(ran.values()) > 1


@pytest.mark.parametrize("victims", ["keeper", "daemon", "all"])
def test_a_tick_killed_in_the_middle_leaves_everything_to_the_next(host: Host, tmp_path: Path, victims: str) -> None:
    client = host.spooling()
    for number in range(60):
        client.submit(jobs.note_attempt, str(tmp_path / "ran"), number, 0.05)
    run = host.begin()
    eventually(lambda: len(lines(tmp_path / "ran")) >= 15, 30)
    family = {"keeper": [run.process.pid], "daemon": [host.pids()["daemon"]]}
    family["all"] = [run.process.pid, *(pid for pid, line in members_of(host.instance()) if "sidecar" in line)]
    for pid in family[victims]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            assert victims == "all", "it has ended with another one"
    run.wait()
    if victims == "daemon":  # the keeper starts another one, within the same tick
        assert run.report() == "60 taken from the spool; ended: 60 succeeded; left: none"
    else:
        assert run.process.returncode == -signal.SIGKILL
        assert set(range(60)) - {int(line.split()[0]) for line in lines(tmp_path / "ran")}
        assert host.tick().report().endswith("; left: none")
    begun = [tuple(map(int, line.split())) for line in lines(tmp_path / "ran")]
    assert {number for number, _ in begun} == set(range(60))
    assert len(set(begun)) == len(begun), "what runs again has a number of its own"
    assert {attempt for _, attempt in begun} <= {1, 2}


def test_what_a_time_that_is_over_cuts_off_runs_again_and_costs_no_retry(tmp_path: Path) -> None:
    host = Host(config="drain = 0.3", slots=1)
    try:
        client = host.spooling()
        long = client.options(retries=0, priority=1).submit(
            jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go")
        )
        client.submit(jobs.square, str(tmp_path / "ran"), 1)
        for times in (1, 2):
            run = host.tick(seconds=2)
            assert run.report().endswith("; ended: none; left: 2 queued")
            assert len(lines(tmp_path / "started")) == times
        (tmp_path / "go").touch()
        run = host.tick()
        assert run.report() == "0 taken from the spool; ended: 2 succeeded; left: none"
        host.start()
        status = Handle(long.id, door=connect(str(host.runtime)).door).status()
        assert (status.outcome, status.failures, status.interruptions) == ("succeeded", 0, 2)
        assert [attempt.reason for attempt in status.attempts] == ["shutdown", "shutdown", "exit"]
    finally:
        host.close()


@pytest.mark.parametrize("mutant", ["", "restless"])
def test_when_the_time_is_over_what_runs_may_finish_and_nothing_is_started(tmp_path: Path, mutant: str) -> None:
    host = Host(config="drain = 60", slots=1)
    settings = {"daemon_module": f"tests.system.mutants.{mutant}"} if mutant else {}
    try:
        client = host.spooling()
        client.options(priority=1).submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
        client.submit(jobs.square, str(tmp_path / "ran"), 1)
        run = host.begin(2, **settings)
        eventually(lambda: "ending: 1 running jobs have 60 s" in run.said(), 30)
        (tmp_path / "go").touch()
        if mutant:  # the negative control
            assert "ended: 2 succeeded" in run.end().report()
            return
        assert run.end().report() == "2 taken from the spool; ended: 1 succeeded; left: 1 queued"
        assert lines(tmp_path / "ran") == []
        host.tick()
        assert lines(tmp_path / "ran") == ["1"]
    finally:
        host.close()


def test_a_tick_is_ended_and_reloaded_by_signals_as_a_serve_is(host: Host, tmp_path: Path) -> None:
    client = host.spooling()
    client.submit(jobs.wait_for_file, str(tmp_path / "started"), str(tmp_path / "go"))
    run = host.begin()
    eventually(lambda: lines(tmp_path / "started"), 20)
    before = host.call("ping")["pids"]["daemon"]
    run.process.send_signal(signal.SIGHUP)
    eventually(lambda: said_by_another_than(host, before), 30)
    run.process.send_signal(signal.SIGTERM)
    eventually(lambda: "ending: 1 running jobs" in run.said(), 30)
    (tmp_path / "go").touch()
    assert run.end().report() == "1 taken from the spool; ended: 1 succeeded; left: none"
    assert len(lines(tmp_path / "started")) == 1


def said_by_another_than(host: Host, pid: int) -> bool:
    """Return whether another daemon answers; while they change there may be none."""
    try:
        return bool(host.call("ping")["pids"]["daemon"] != pid)
    except (Ended, ConnectionError):
        return False


def test_a_store_that_nobody_can_open_fails_the_tick(host: Host) -> None:
    client = host.spooling()
    client.submit(["true"])
    (host.state / "jobs.sqlite").write_bytes(b"no database" * 100)
    run = host.begin()
    assert run.wait() == 1
    assert "is not a database" in run.said()
    unknown = "what ended is not known, the daemon did not come to say it"
    assert run.report() == f"0 taken from the spool; {unknown}; 1 left in the spool"


SUBMITTER = """
import os, sys, time
from sidecar.client import connect
runtime, path, ack, go = sys.argv[1:]
client = connect(runtime).options(ack=ack, deadline=5)
number = 0
while not os.path.exists(go):
    handle = client.submit(["sh", "-c", 'echo "$0" >> ' + path, f"{ack}-{number}"])
    print(f"{ack}-{number}", handle.ack, flush=True)
    number += 1
    time.sleep(0.01)
"""


def submit_while_ticks_end(host: Host, folder: Path, ticks: int, mutation: str = "") -> tuple[set[str], Counter[str]]:
    """Submit all the while from two processes; returns what was acknowledged, and how often each of it ran."""
    host.tick()
    submitters = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, str(host.runtime), str(folder / "ran"), ack, str(folder / "go")],
            stdout=subprocess.PIPE, text=True, cwd=os.getcwd(),
        )
        for ack in ("sent", "stored")
    ]  # fmt: skip
    try:
        for seconds in (0.4, 20) * ticks:  # the time is over; nothing is left for a moment
            host.begin(seconds, mutation).wait()
        (folder / "go").touch()
        acked = [line.split() for process in submitters for line in process.communicate(timeout=60)[0].splitlines()]
    finally:
        for process in submitters:
            process.kill()
            process.wait()
    host.tick()
    assert [process.returncode for process in submitters] == [0, 0]
    assert {ack for _, ack in acked} == {"sent", "stored", "spooled"}, "both sides of an end were met"
    return {name for name, _ in acked}, Counter(lines(folder / "ran"))


def test_what_is_handed_off_while_ticks_end_is_run_once(host: Host, tmp_path: Path) -> None:
    acked, ran = submit_while_ticks_end(host, tmp_path, 6)
    assert ran == Counter(acked)


def test_a_tick_that_just_exits_loses_hand_offs(host: Host, tmp_path: Path) -> None:
    acked, ran = submit_while_ticks_end(host, tmp_path, 6, NO_DRAIN)
    assert acked - set(ran)
