"""`sidecar-php tick` where PHP may not do something: no processes, no signals, no /proc, no extension."""

from __future__ import annotations

import os
import signal

import pytest

from ..system.checks import alive
from ..waiting import eventually
from .script import CLIENT, needs_php
from .ticks import ALONE, NO_PROCESSES, RAN, TREE, Host, results

pytestmark = needs_php


def test_without_proc_a_job_is_not_started_beside_what_it_left(folder_host: Host) -> None:
    host = folder_host
    (id, other) = host.submit(f"""{ALONE}
        $jobs[] = $alone('x', 'setsid sleep 600 & echo $! > "$0.pid"; exit 1', retries: 1, backoff: [0]);
        $jobs[] = $alone('y', 'true');
    """)
    folders = ":".join([str(host.folder), str(CLIENT), os.path.dirname(__file__), "/dev/null"])
    try:
        run = host.tick("--for=25", flags=("-d", f"open_basedir={folders}"))
        assert "sidecar-php: without /proc: what a job leaves behind in a session of its own is not ended" in run.said()
        assert "sidecar-php: without setsid: " in run.said()
        assert (host.lines("x.begun"), host.lines("x.beside")) == (["begun"], [])
        assert (host.outcome(id), host.outcome(other)) == ("scheduled", "succeeded")
        assert "what an earlier attempt has started still runs and cannot be ended; again in " in run.said()
    finally:
        os.kill(int(host.lines("x.pid")[0]), signal.SIGKILL)


def test_without_proc_open_calls_run_in_the_tick_and_it_says_what_is_lost(host: Host) -> None:
    ids = host.submit(r"""
        $jobs[] = $client->submit('Jobs\add', [1, 2], queue: 'a');
        $jobs[] = $client->submit('Jobs\Told::work', ["{$out}/told"], retries: 1, backoff: [0], queue: 'b');
        $jobs[] = $client->submit('Jobs\write', ['printed'], queue: 'c');
        $jobs[] = $client->run(['true'], queue: 'd');
        $jobs[] = $client->submit('getenv', ['OWN'], env: ['OWN' => 'mine'], queue: 'e');
        $jobs[] = $client->submit('getenv', ['OWN'], queue: 'f');
    """)
    run = host.tick(flags=NO_PROCESSES)
    assert (
        "sidecar-php: without proc_open: commands are not run: they wait for a tick that has proc_open\n" in run.said()
    )
    outcomes = ["succeeded", "failed", "succeeded", "queued", "succeeded", "succeeded"]
    assert [host.outcome(id) for id in ids] == outcomes
    assert results(host, [ids[0], ids[4], ids[5]]) == [3, "mine", False]
    assert host.lines("told") == ["worked, attempt 2"]
    assert host.status(ids[2])["output"] == "printed"
    assert run.report() == "6 taken from the spool; ended: 4 succeeded, 1 failed; left: 1 queued"
    assert host.tick().report() == "0 taken from the spool; ended: 1 succeeded; left: none"


@pytest.mark.parametrize(
    ("call", "outcome", "error"),
    [
        (r"'Jobs\leave_with', [3]", "succeeded", ""),
        (r"'Jobs\exhaust_memory'", "failed", "FatalError: Allowed memory size"),
        (r"'Jobs\spin', timeout: 1", "timed_out", "Timeout: did not end in time"),
    ],
)
def test_without_proc_open_what_ends_the_tick_is_recorded(host: Host, call: str, outcome: str, error: str) -> None:
    ids = host.submit(
        f"{RAN} $jobs[] = $client->submit({call}); $jobs[] = $client->submit('strlen', ['x'], priority: -1);"
    )
    run = host.begin(flags=NO_PROCESSES)
    run.wait()
    assert host.outcome(ids[0]) == outcome, run.said()
    assert error in host.status(ids[0])["attempt 1"]
    assert run.report().endswith("left: 1 queued")
    host.tick(flags=NO_PROCESSES)
    assert host.outcome(ids[1]) == "succeeded"


def test_without_proc_open_a_killed_tick_leaves_everything_to_the_next(host: Host) -> None:
    ids = host.submit(r"""
        $jobs[] = $client->submit('Jobs\nap', [], queue: 'a');
        $jobs[] = $client->submit('Jobs\nap', [], queue: 'b', at_most_once: true);
    """)
    for _ in ids:
        run = host.begin(flags=NO_PROCESSES)
        eventually(lambda: host.ask("list")[1].count("running") == 1, 60)
        run.process.kill()
        run.wait()
    run = host.begin("--for=1", "--drain=0")
    run.wait()
    outcomes = [host.outcome(id) for id in ids]
    assert outcomes == ["queued", "lost"]


def test_no_extension_is_needed(folder_host: Host) -> None:
    host = folder_host
    ids = host.submit(f"{RAN} $jobs[] = $ran('x'); $jobs[] = $client->submit('Jobs\\\\add', [1, 2]);" + TREE)
    run = host.tick(flags=("-n",))
    assert [host.outcome(id) for id in ids] == ["succeeded", "succeeded", "timed_out"], run.said()
    assert not any(alive(int(pid)) for pid in host.lines("pids"))


def test_without_posix_and_pcntl_a_tree_ends_all_the_same(host: Host) -> None:
    (id,) = host.submit(TREE)
    lacking = (
        "pcntl_signal,pcntl_async_signals,pcntl_fork,pcntl_alarm,posix_kill,posix_setsid,posix_geteuid,posix_getpid"
    )
    run = host.tick(flags=("-d", f"disable_functions={lacking}"))
    assert "sidecar-php: without pcntl_signal: SIGTERM ends the tick as SIGKILL does" in run.said()
    assert host.outcome(id) == "timed_out"
    assert not any(alive(int(pid)) for pid in host.lines("pids"))
