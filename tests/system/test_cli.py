"""The command line against a real daemon: `python -m sidecar` in processes of its own, real jobs, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

from ..conftest import StartDaemon
from ..daemon_process import Daemon
from ..rawclient import job_of, show_id
from ..waiting import eventually

SIDECAR = [sys.executable, "-m", "sidecar"]
UNKNOWN = "11111111-1111-7111-8111-111111111111"

SHOP = """\
import os, sys, time
def add(a, b=1):
    print("adding")
    return {"sum": a + b}
def bad():
    raise ValueError("no luck")
async def later(text):
    return text
def unpackable():
    return object()
def where():
    return [os.getcwd(), os.environ.get("COLOUR")]
"""


def environment(daemon: Daemon) -> dict[str, str]:
    """Return the environment of a user of this daemon; what this suite imports, he can import."""
    return {**daemon.env, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def sidecar(daemon: Daemon, *words: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """Run `sidecar` with these words and wait for its end."""
    return subprocess.run(
        [*SIDECAR, *words], env=environment(daemon), capture_output=True, text=True, timeout=60, check=False, **given
    )


def submitted(daemon: Daemon, *words: str, **given: Any) -> str:
    """Submit a job and return its id."""
    done = sidecar(daemon, "submit", "--ack", "stored", *words, **given)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def asked(daemon: Daemon, *words: str) -> Any:
    """Return what a verb answers with --json."""
    return json.loads(sidecar(daemon, *words, "--json").stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Give a project folder with a module in it."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["--", "sh", "-c", "echo out; echo err >&2"], 0, "out\nerr\n", ""),
        (["--", "sh", "-c", "exit 7"], 7, "", ""),
        (["--", "sh", "-c", "kill -9 $$"], 137, "", "signal 9"),
        (["--timeout", "0.2", "--", "sleep", "60"], 124, "", "timed_out"),
        (["--", "no-such-program"], 127, "", "no-such-program"),
        (["--cwd", "/no/such/folder", "true"], 126, "", "/no/such/folder"),
        (["--call", "shop:add", "--args", "[1]", "--kwargs", '{"b": 4}'], 0, "adding\n", ""),
        (["--call", "shop:bad"], 1, "", "ValueError: no luck"),
        (["--call", "shop:missing"], 1, "", "missing"),
        (["--call", "no_such_module:f"], 1, "", "no_such_module"),
        (["--call", "shop:unpackable"], 0, "", "cannot keep the result"),
        (["--env", "COLOUR=red", "--", "sh", "-c", "echo $COLOUR; pwd"], 0, "red\n{folder}\n", ""),
        (["--stdin", "shop.py", "cat"], 0, SHOP, ""),
    ],
)
def test_submit_wait_ends_as_if_the_job_had_been_run_in_its_place(
    shared_daemon: Daemon, shop: Path, words: list[str], code: int, out: str, err: str
) -> None:
    done = sidecar(shared_daemon, "submit", "--wait", *words, cwd=shop)
    assert (done.returncode, done.stdout) == (code, out.replace("{folder}", str(shop))), done.stderr
    assert err in done.stderr
    assert done.stderr or not err


def test_submit_wait_shows_output_while_the_job_runs(shared_daemon: Daemon, shop: Path) -> None:
    go = shop / "go"
    script = f"echo one; while ! test -e {go}; do sleep 0.01; done; echo two"
    with subprocess.Popen(
        [*SIDECAR, "submit", "--wait", "--timeout", "30", "--", "sh", "-c", script],
        env=environment(shared_daemon), cwd=shop, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        out: IO[str] = process.stdout  # type: ignore[assignment]
        assert out.readline() == "one\n"  # or it would not come before the job goes on
        go.touch()
        assert out.read() == "two\n"
    assert process.returncode == 0


def test_ctrl_c_during_a_wait_leaves_the_job_alone(shared_daemon: Daemon, shop: Path) -> None:
    script = f"echo started; while ! test -e {shop}/go; do sleep 0.01; done"
    with subprocess.Popen(
        [*SIDECAR, "submit", "--wait", "--timeout", "30", "--", "sh", "-c", script],
        env=environment(shared_daemon), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        out: IO[str] = process.stdout  # type: ignore[assignment]
        assert out.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    id = said.split("sidecar cancel ")[1].strip()
    assert asked(shared_daemon, "status", id)["state"] == "running"
    (shop / "go").touch()
    assert sidecar(shared_daemon, "wait", id).returncode == 0


def test_the_output_of_many_lines_is_complete_and_in_order(shared_daemon: Daemon) -> None:
    done = sidecar(shared_daemon, "submit", "--wait", "--", "seq", "20000")
    lost = "of its output" in done.stderr  # a reader that is too slow is told, never waited for
    numbers = [int(line) for line in done.stdout.split("\n") if line.isdigit()]
    assert numbers[-1] == 20000
    assert lost or numbers == list(range(1, 20001))


def test_a_job_that_is_followed_late_is_not_shown_twice(shared_daemon: Daemon, shop: Path) -> None:
    script = f"seq 20000; while ! test -e {shop}/go; do sleep 0.01; done; echo end"
    id = submitted(shared_daemon, "--timeout", "30", "--", "sh", "-c", script)
    eventually(lambda: asked(shared_daemon, "logs", id)["output"].endswith("20000\n"))
    with subprocess.Popen(
        [*SIDECAR, "logs", "--follow", id],
        env=environment(shared_daemon), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        out: IO[str] = process.stdout  # type: ignore[assignment]
        out.readline()  # the rest of a line that was cut
        first = out.readline()
        (shop / "go").touch()
        rest = out.read()
        said = process.communicate(timeout=30)[1]
    assert "were not kept" in said
    assert rest.splitlines() == [*map(str, range(int(first) + 1, 20001)), "end"]


def test_a_job_can_be_looked_at_from_every_side(shared_daemon: Daemon, shop: Path) -> None:
    id = submitted(shared_daemon, "--call", "shop:add", "--args", "[1]", "--queue", "shop", cwd=shop)
    assert sidecar(shared_daemon, "wait", id).stdout == f"{id} succeeded\n"
    assert sidecar(shared_daemon, "result", id).stdout == '{"sum": 2}\n'
    assert sidecar(shared_daemon, "logs", id).stdout == "adding\n"
    assert sidecar(shared_daemon, "logs", "--follow", id).stdout == "adding\n"
    assert "shop:add" in sidecar(shared_daemon, "status", id).stdout
    assert sidecar(shared_daemon, "list", "--queue", "shop").stdout.splitlines()[1].startswith(id)
    status = asked(shared_daemon, "status", id)
    assert (status["outcome"], status["queue"], len(status["attempts"])) == ("succeeded", "shop", 1)
    assert asked(shared_daemon, "result", id)["result"] == {"sum": 2}
    assert asked(shared_daemon, "logs", id)["output"] == "adding\n"
    assert id in [each["id"] for each in asked(shared_daemon, "list", "--outcome", "succeeded", "--queue", "shop")]
    assert asked(shared_daemon, "list", "--state", "queued", "--queue", "shop") == []


def test_a_call_runs_in_the_folder_and_the_environment_it_was_typed_in(shared_daemon: Daemon, shop: Path) -> None:
    words = ["--call", "shop:where", "--env", "COLOUR=blue", "--json", "--wait"]
    done = sidecar(shared_daemon, "submit", *words, cwd=shop)
    assert json.loads(done.stdout)["result"] == [str(shop), "blue"]


def test_a_coroutine_function_is_run_to_its_end(shared_daemon: Daemon, shop: Path) -> None:
    done = sidecar(shared_daemon, "submit", "--call", "shop:later", "--args", '["x"]', "--json", "--wait", cwd=shop)
    assert json.loads(done.stdout)["result"] == "x"


def test_an_id_may_be_shortened_but_not_too_far(shared_daemon: Daemon) -> None:
    id = submitted(shared_daemon, "true")
    assert sidecar(shared_daemon, "wait", id.replace("-", "")[:24]).stdout.startswith(id)
    assert sidecar(shared_daemon, "status", id[:2]).returncode == 2


@pytest.mark.parametrize("verb", ["status", "wait", "result", "logs", "cancel"])
def test_an_unknown_id_ends_with_1_and_one_line(shared_daemon: Daemon, verb: str) -> None:
    done = sidecar(shared_daemon, verb, UNKNOWN)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sidecar: cannot find job") and done.stderr.count("\n") == 1


def test_cancel_ends_a_job_that_waits_and_one_that_runs(shared_daemon: Daemon) -> None:
    waiting = submitted(shared_daemon, "--delay", "600", "true")
    running = submitted(shared_daemon, "--", "sleep", "60")
    eventually(lambda: asked(shared_daemon, "status", running)["state"] == "running")
    begin = time.monotonic()
    done = sidecar(shared_daemon, "cancel", waiting, running)
    assert done.returncode == 0, done.stderr
    assert f"{waiting} cancelled" in done.stdout
    for id in (waiting, running):
        assert sidecar(shared_daemon, "wait", id, "--timeout", "20").returncode == 1
        assert asked(shared_daemon, "status", id)["outcome"] == "cancelled"
    assert time.monotonic() - begin < 20
    assert sidecar(shared_daemon, "cancel", submitted(shared_daemon, "true"), UNKNOWN).returncode == 1


def test_wait_gives_up_when_its_time_is_up(shared_daemon: Daemon) -> None:
    id = submitted(shared_daemon, "--delay", "600", "true")
    done = sidecar(shared_daemon, "wait", id, "--timeout", "0.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "goes on" in done.stderr
    assert sidecar(shared_daemon, "cancel", id).returncode == 0


def test_ping_stats_and_doctor_find_all_well(shared_daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = shared_daemon.pids()
    shown = asked(shared_daemon, "ping")
    assert (shown["pids"]["keeper"], shown["pids"]["daemon"]) == (shared_daemon.pid, pids["daemon"])
    assert str(pids["daemon"]) in sidecar(shared_daemon, "ping").stdout
    assert asked(shared_daemon, "stats")["states"].keys() >= {"queued", "running", "done"}
    assert sidecar(shared_daemon, "stats").returncode == 0
    report = asked(shared_daemon, "doctor")
    wrong = {each["name"] for each in report["checks"] if not each["ok"]}
    assert wrong <= {"environment"}, report  # which is this suite's own
    assert {"call", "command", "spool", "disk"} <= {each["name"] for each in report["checks"]}


def test_without_a_daemon_every_verb_ends_with_3_but_a_job_is_kept(daemon: Daemon) -> None:
    daemon.stop()
    for words in (["ping"], ["list"], ["status", UNKNOWN], ["reload"], ["submit", "--on-unavailable", "raise", "true"]):
        done = sidecar(daemon, *words)
        assert (done.returncode, done.stdout) == (3, ""), words
        assert done.stderr.startswith("sidecar: cannot ") and done.stderr.count("\n") == 1
    assert sidecar(daemon, "doctor").returncode == 3
    kept = sidecar(daemon, "submit", "true")
    assert kept.returncode == 0 and "spool" in kept.stderr
    daemon.start()
    assert sidecar(daemon, "wait", kept.stdout.strip(), "--timeout", "20").returncode == 0


def test_a_second_serve_says_one_sentence_and_disturbs_nothing(shared_daemon: Daemon) -> None:
    before = shared_daemon.pids()
    done = sidecar(shared_daemon, "serve")
    assert done.returncode == 1
    assert "cannot serve" in done.stderr and done.stderr.count("\n") == 1
    assert shared_daemon.pids() == before


@pytest.mark.parametrize("words", [["--slots", "0"], ["--config", "/no/such/file"], ["--colour"], ["now"]])
def test_serve_with_wrong_flags_ends_with_2(shared_daemon: Daemon, words: list[str]) -> None:
    assert sidecar(shared_daemon, "serve", *words).returncode == 2


def test_reload_brings_another_daemon_and_running_jobs_do_not_notice(daemon: Daemon, shop: Path) -> None:
    id = submitted(daemon, "--", "sh", "-c", f"while ! test -e {shop}/go; do sleep 0.01; done")
    before = daemon.pids()["daemon"]
    done = sidecar(daemon, "reload")
    assert done.returncode == 0, done.stderr
    after = daemon.pids()["daemon"]
    assert after != before and done.stdout.startswith(f"reloaded: daemon {after} ")
    (shop / "go").touch()
    assert sidecar(daemon, "wait", id).returncode == 0
    assert len(asked(daemon, "status", id)["attempts"]) == 1


def test_a_wait_goes_on_with_the_next_daemon(daemon: Daemon, shop: Path) -> None:
    script = f"echo started; while ! test -e {shop}/go; do sleep 0.01; done; echo done"
    with subprocess.Popen(
        [*SIDECAR, "submit", "--wait", "--timeout", "60", "--", "sh", "-c", script],
        env=environment(daemon), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        out: IO[str] = process.stdout  # type: ignore[assignment]
        assert out.readline() == "started\n"
        before = daemon.pids()["daemon"]
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: daemon.pids()["daemon"]) != before
        (shop / "go").touch()
        assert out.read().endswith("done\n")
    assert process.returncode == 0


def test_serve_with_slots_and_a_configuration_obeys_them(start_daemon: StartDaemon) -> None:
    one = start_daemon(config="timeout = 0.3\ngrace = 0.1\n", slots=1)
    assert asked(one, "ping")["slots"] == 1
    assert sidecar(one, "submit", "--wait", "--", "sleep", "60").returncode == 124


def test_wait_shows_all_of_a_short_and_noisy_programs_output(shared_daemon: Daemon) -> None:
    done = subprocess.run(
        [*SIDECAR, "submit", "--wait", "--", "seq", "30000"], env=shared_daemon.env, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split() == [b"%d" % number for number in range(1, 30001)]


def test_status_says_what_a_job_failed_with_while_its_next_try_is_due(shared_daemon: Daemon) -> None:
    job = job_of("time:nothing", retries=1, backoff=[3600])
    shared_daemon.call("submit", job)
    eventually(lambda: shared_daemon.call("status", job["id"])["failures"] == 1)
    words = [*SIDECAR, "status", show_id(job["id"])]
    shown = subprocess.run(words, env=shared_daemon.env, capture_output=True, text=True, check=True).stdout
    assert "scheduled" in shown and "AttributeError: cannot find 'nothing' in module 'time'" in shown
    shared_daemon.call("cancel", job["id"])
