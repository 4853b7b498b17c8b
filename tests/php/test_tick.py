"""`sidecar-php tick`: jobs with the daemon's semantics from cron, over a folder, SQLite and a real MariaDB alike.

Every run is a real one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from ..system.checks import alive
from ..waiting import eventually
from .script import CLIENT, PHP, needs_php
from .ticks import (
    ALONE,
    LENIENT,
    NO_PROCESSES,
    RAN,
    TREE,
    Host,
    attempts,
    mutated,
    results,
)

pytestmark = needs_php


def test_a_tick_with_nothing_to_do_ends_at_once(host: Host) -> None:
    run = host.tick()
    assert run.report() == "0 taken from the spool; ended: none; left: none"
    assert len(run.said().splitlines()) == 1
    assert (host.spool / "new").is_dir(), "the client can spool from now on"


def test_jobs_end_as_with_the_daemon_and_the_log_says_so(host: Host) -> None:
    code = r"""
        $jobs[] = $client->submit('Jobs\add', [1, 'b' => 2]);
        $jobs[] = $client->submit('Jobs\raise', ["no\nluck"], retries: 1, backoff: [0.05]);
        $jobs[] = $client->run(['sh', '-c', 'echo on stdout; echo on stderr >&2; exit 3']);
        $jobs[] = $client->run(['no-such-command']);
        $jobs[] = $client->run(['true'], cwd: '/no/such/folder');
        $jobs[] = $client->run(['sh', '-c', 'kill -9 $$']);
        $jobs[] = $client->submit('Jobs\exhaust_memory');
        $jobs[] = $client->submit('Jobs\leave_with', [0]);
        $jobs[] = $client->submit('Jobs\return_object');
        $jobs[] = $client->submit('Jobs\add', [1, 2], expires: 0.001);
        $jobs[] = $client->submit('Jobs\read_stdin', stdin: "caf\xe9");
        $shows = ['sh', '-c', 'pwd; echo $OWN $SIDECAR_ATTEMPT $SIDECAR_QUEUE'];
        $jobs[] = $client->run($shows, cwd: '/usr', env: ['OWN' => 'mine'], queue: 'q');
        $jobs[] = $client->submit('Jobs\add', [1, 2], delay: 3600);
        $jobs[] = $client->submit('Jobs\Told::work', ["{$out}/told"], retries: 1, backoff: [0]);
    """
    ids = host.submit(code)
    run = host.tick()
    said = [attempts(run.said(), id) for id in ids]
    assert said[0] == [r"Jobs\add, attempt 1: exit status 0; succeeded"]
    assert said[1] == [
        r"Jobs\raise, attempt 1: exit status 1, DomainException: no\x0aluck; again",
        r"Jobs\raise, attempt 2: exit status 1, DomainException: no\x0aluck; failed",
    ]
    assert said[3] == [
        "no-such-command, attempt 1: exit status 127, CommandNotFound: cannot run 'no-such-command': no such file or"
        " command; failed"
    ]
    assert "FolderError: cannot enter folder '/no/such/folder'" in said[4][0]
    assert "attempt 1: signal 9; failed" in said[5][0]
    assert "exit status 255, FatalError: Allowed memory size" in said[6][0]
    assert said[9] == [r"Jobs\add, not started in time; expired"]
    outcomes = [host.outcome(id) for id in ids]
    assert outcomes == [
        "succeeded", "failed", "failed", "failed", "failed", "failed", "failed", "succeeded", "succeeded", "expired",
        "succeeded", "succeeded", "scheduled", "failed",
    ]  # fmt: skip
    counts = "ended: 5 succeeded, 7 failed, 1 expired"
    taken, ended, left = run.report().split("; ")
    assert (taken, left) == ("14 taken from the spool", "left: 1 scheduled")
    assert set(ended.removeprefix("ended: ").split(", ")) == set(counts.removeprefix("ended: ").split(", "))
    assert results(host, [ids[0], ids[7]]) == [3, None]
    assert host.status(ids[2])["output"] == "on stdout\non stderr\n"
    assert host.status(ids[11])["output"] == "/usr\nmine 1 q\n"
    assert "DateTimeImmutable" in host.status(ids[8])["result"]
    assert host.lines("told") == ["worked, attempt 2"], "failed() is called once, in the last try"
    assert host.tick().report() == "0 taken from the spool; ended: none; left: 1 scheduled"


def test_what_comes_due_in_time_is_run_and_the_tick_waits_for_it(host: Host) -> None:
    ids = host.submit(f"{RAN} $jobs[] = $ran('late', delay: 1.2); $jobs[] = $ran('now');")
    assert host.tick().report() == "2 taken from the spool; ended: 2 succeeded; left: none"
    assert host.lines("ran") == ["now", "late"]
    assert [host.outcome(id) for id in ids] == ["succeeded", "succeeded"]


def test_priorities_go_first_and_queues_take_turns(host: Host) -> None:
    host.submit(f"""{RAN}
        foreach (['a', 'a', 'a', 'b', 'b'] as $n => $queue) {{ $jobs[] = $ran("{{$queue}}", queue: $queue); }}
        $jobs[] = $ran('first', queue: 'z', priority: 5);
        $jobs[] = $ran('last', queue: 'a', priority: -5);
    """)
    host.tick("--slots=1")
    assert host.lines("ran") == ["first", "a", "b", "a", "b", "a", "last"]


def test_the_end_of_what_a_job_floods_is_kept(host: Host) -> None:
    (id,) = host.submit("$jobs[] = $client->submit('Jobs\\\\flood', [5_000_000]);")
    host.tick()
    sheet = host.status(id)
    assert (sheet["outcome"], sheet["output"]) == ("succeeded", "x" * 65536)


@pytest.mark.parametrize("flags", [(), NO_PROCESSES], ids=["processes", "no processes"])
def test_a_job_may_say_that_it_need_not_be_tried_again_or_when(host: Host, flags: tuple[str, ...]) -> None:
    code = r"""
        $client = $client->options(retries: 5, backoff: [3600]);
        foreach (['as any', 'give up', 'give up for a cause', 'again'] as $how) {
            $jobs[] = $client->submit('Jobs\Retrying::fail', ["{$out}/{$how}", $how, 0.1]);
        }
    """
    ids = host.submit(code)
    host.tick(flags=flags)
    assert [host.outcome(id) for id in ids] == ["scheduled", "failed", "failed", "failed"]
    assert [len(host.lines(how)) for how in ("as any", "give up", "give up for a cause", "again")] == [1, 1, 1, 6]
    assert "RangeException: the cause" in host.status(ids[2])["attempt 1"]
    assert host.status(ids[1])["output"] == "told: no such address"


def test_a_timeout_ends_a_tree_that_ignores_sigterm(host: Host) -> None:
    (id,) = host.submit(TREE)
    run = host.tick()
    assert host.outcome(id) == "timed_out"
    assert "attempt 1: timeout, signal 9" in attempts(run.said(), id)[0]
    pids = [int(pid) for pid in host.lines("pids")]
    assert len(pids) == 4
    assert not any(map(alive, pids))
    assert os.listdir(host.state / "leash") == []


def test_a_tick_that_looks_for_no_others_leaves_them(folder_host: Host) -> None:
    folder_host.submit(TREE)
    folder_host.tick(client=mutated(folder_host.folder, LENIENT))
    left = [int(pid) for pid in folder_host.lines("pids") if alive(int(pid))]
    try:
        assert left
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def test_what_a_job_leaves_behind_ends_with_it(host: Host) -> None:
    (id,) = host.submit("$jobs[] = $client->run(['sh', '-c', 'setsid sleep 600 & echo $! > \"$0/pid\"', $out]);")
    run = host.tick()
    assert "left behind and ended: 1; succeeded" in run.said()
    assert not alive(int(host.lines("pid")[0]))
    assert host.outcome(id) == "succeeded"


SLOW = f"""{ALONE} $jobs[] = $alone('x', '[ -e "$0.go" ] || sleep 600');
    $jobs[] = $client->run(['sleep', '600'], at_most_once: true); $jobs[] = $client->run(['true'], priority: -1);"""


def test_so_does_what_it_leaves_behind_where_a_link_leads_to_the_folder(folder_host: Host) -> None:
    (folder_host.folder / "disk").mkdir()
    folder_host.state.symlink_to(folder_host.folder / "disk")
    folder_host.submit("$jobs[] = $client->run(['sh', '-c', 'env -i setsid sleep 600 & echo $! > \"$0/pids\"', $out]);")
    assert "left behind and ended: 1; succeeded" in folder_host.tick().said()
    assert not alive(int(folder_host.lines("pids")[0]))


def test_when_the_time_is_over_nothing_starts_and_what_runs_is_interrupted(host: Host) -> None:
    ids = host.submit(SLOW)
    run = host.tick("--for=1", "--drain=0.2")
    assert run.report() == "3 taken from the spool; ended: 1 lost; left: 2 queued"
    assert "attempt 1: shutdown, signal 15" in run.said()
    (host.out / "x.go").touch()
    host.tick()
    assert [host.outcome(id) for id in ids] == ["succeeded", "lost", "succeeded"]
    assert host.status(ids[0])["interruptions"] == "1"
    assert host.status(ids[1])["reason"].startswith("it was ended with its tick")


def test_what_ends_while_a_tick_drains_has_ended(host: Host) -> None:
    host.submit("$jobs[] = $client->run(['sleep', '1.5']);")
    assert host.tick("--for=1", "--drain=60").report().endswith("ended: 1 succeeded; left: none")


def test_sigterm_drains_and_a_second_one_ends_it_now(host: Host) -> None:
    ids = host.submit(SLOW)
    run = host.begin("--drain=600")
    eventually(lambda: host.lines("x.begun"), 60)
    run.process.terminate()
    run.process.send_signal(signal.SIGINT)
    assert run.end().report().endswith("ended: 1 lost; left: 2 queued")
    assert host.outcome(ids[0]) == "queued"


def test_the_command_line_says_what_is_wrong(folder_host: Host) -> None:
    folder_host.tick()
    assert folder_host.ask("tick", "--help")[0] == 0
    assert "--for SECONDS" in folder_host.ask("tick", "--help")[1]
    for words in (
        ["explode"],
        ["tick", "--no"],
        ["tick", "--for=0"],
        ["tick", "--slots", "x"],
        ["status"],
        ["list", "x"],
    ):
        status, text = folder_host.ask(*words)
        assert (status, text.startswith("sidecar-php: ")) == (2, True), text
    folder_host.state = folder_host.folder / "typo"
    assert folder_host.ask("list")[0] == 111
    assert not folder_host.state.exists()
    folder_host.state = folder_host.folder / "state"
    assert folder_host.ask("status", "01a1fc47") == (1, "sidecar-php: no job 01a1fc47 is known\n")


def test_a_php_that_is_none_for_the_command_line_is_told_so(tmp_path: Path) -> None:
    program = (CLIENT / "bin" / "sidecar-php").read_text()
    assert program.count("PHP_SAPI !== 'cli'") == 1
    (tmp_path / "sidecar-php").write_text(program.replace("PHP_SAPI !== 'cli'", "PHP_SAPI === 'cli'"))
    done = subprocess.run([str(PHP), tmp_path / "sidecar-php"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert re.search(
        r"^sidecar-php: cannot run: this is PHP [0-9.]+ \(cli\), start it with ", done.stdout, re.MULTILINE
    )


def test_an_id_may_be_cut_and_list_shows_the_newest_first(host: Host) -> None:
    ids = host.submit("$jobs[] = $client->run(['true']); usleep(3000); $jobs[] = $client->run(['echo', \"a\\n\"]);")
    host.tick()
    status, text = host.ask("list")
    assert status == 0
    assert [line[:36] for line in text.splitlines()][::-1] == ids
    assert "echo 'a\\x0a'" in text
    assert host.status(ids[0].replace("-", "").upper())["id"] == ids[0]
    assert host.ask("status", ids[0][:4]) == (
        1,
        f"sidecar-php: several jobs begin with {ids[0][:4]}, give more of the id\n",
    )


def test_a_result_that_nobody_can_read_is_said_to_be_one(host: Host) -> None:
    (host.out / "report").write_bytes(b"\0\0\0\x0b\x81\xa6result\xc4\x01\xc1")
    (id,) = host.submit("$jobs[] = $client->run(['sh', '-c', 'cat $0/report >&3', $out]);")
    host.tick()
    assert host.status(id)["result"] == "what it has reported is no msgpack"
