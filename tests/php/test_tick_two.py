"""Two ticks at a time, of one host and of two, and beside a daemon: no job runs twice."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .mariadb import MariaDb, needs_mariadb
from .script import CLIENT, needs_php
from .ticks import (
    ALONE,
    NO_LOCK,
    RAN,
    Host,
    hosting,
    mutated,
)

pytestmark = needs_php

README = (CLIENT / "examples" / "shared-hosting" / "README.md").read_text()


def test_a_tick_that_finds_another_at_work_leaves_at_once(host: Host) -> None:
    (id,) = host.submit(f"{ALONE} $jobs[] = $alone('x', 'until [ -e \"$0.go\" ]; do sleep 0.02; done');")
    first = host.begin()
    eventually(lambda: host.lines("x.begun"), 60)
    second = host.tick()
    assert second.said() == (
        f"sidecar-php: left to `tick`, process {first.process.pid}, which is at work in {host.state}\n"
    )
    (host.out / "x.go").touch()
    first.end()
    assert (host.outcome(id), host.lines("x.begun"), host.lines("x.beside")) == ("succeeded", ["begun"], [])


def test_without_the_lock_a_second_tick_takes_what_runs_for_left_over(host: Host) -> None:
    host.submit(f"{ALONE} $jobs[] = $alone('x', 'until [ -e \"$0.go\" ]; do sleep 0.02; done');")
    client = mutated(host.folder, NO_LOCK)
    first = host.begin(client=client)
    eventually(lambda: host.lines("x.begun"), 60)
    second = host.begin(client=client)
    eventually(lambda: "attempt 1: crash" in second.said(), 60)
    (host.out / "x.go").touch()
    first.wait()
    second.wait()


def test_a_tick_leaves_to_a_daemon_that_serves_the_same_folder(daemon: Daemon, tmp_path: Path) -> None:
    host = Host(tmp_path, f"{tmp_path}/queue")
    host.state = daemon.state
    host.spool = daemon.state / "spool"
    assert host.tick().said() == (
        f"sidecar-php: left to `serve`, process {daemon.pid}, which is at work in {daemon.state}\n"
    )


MANY = f"{RAN} for ($n = 0; $n < 200; $n++) {{ $jobs[] = $ran((string) $n, at_most_once: $n % 2 === 0); }}"


def both(host: Host, client: Path) -> tuple[list[int], str]:
    """Have ticks of two hosts work off one spool and one queue; returns their exit statuses and what they said."""
    other = Host(host.folder, host.queue, "other")
    runs = [each.begin("--slots=4", client=client) for each in (host, other)]
    statuses = [run.wait() for run in runs]
    return statuses, "".join(run.said() for run in runs)


def test_two_hosts_with_one_queue_never_run_a_job_twice(host: Host) -> None:
    ids = host.submit(MANY)
    statuses, said = both(host, CLIENT)
    assert statuses == [0, 0], said
    assert Counter(host.lines("ran")) == Counter(str(number) for number in range(200))
    ended = [int(count) for count in re.findall(r"ended: ([0-9]+) succeeded; left: ", said)]
    assert (len(ended), sum(ended)) == (2, 200), "both had a part in it"
    assert {host.outcome(id) for id in random.Random(1).sample(ids, 5)} == {"succeeded"}


@needs_mariadb
def test_what_a_dead_host_has_claimed_can_be_given_to_another(request: pytest.FixtureRequest, mariadb: MariaDb) -> None:
    with hosting("mariadb", request) as host:
        (id,) = host.submit(f"{ALONE} $jobs[] = $alone('x', '[ -e \"$0.go\" ] || sleep 600');")
        run = host.begin()
        eventually(lambda: host.lines("x.begun"), 60)
        run.process.kill()
        run.wait()
        other = Host(host.folder, host.queue, "other")
        assert other.tick().report().endswith("left: 1 running"), "nobody else guesses that it is dead"
        owners = [(each.state / "owner").read_text() for each in (other, host)]
        mutual = re.search(r"UPDATE sidecar_job SET owner = '…' WHERE owner = '…'", README)
        assert mutual
        (host.out / "x.go").touch()
        mariadb.run(mutual[0].replace("…", "{}").format(*owners), re.findall(r"dbname=(\w+)", host.queue)[0])
        assert other.tick().report() == "0 taken from the spool; ended: 1 succeeded; left: none"
        assert host.outcome(id) == "succeeded"


# The claim is made without looking whether somebody else has made it; with a pause in which he does.
GREEDY = {
    "folder": [
        ("FolderQueue.php", "flock($this->lock, LOCK_EX)", "true"),
        ("FolderQueue.php", '/tmp/" . bin2hex($job->id)', '/tmp/" . bin2hex($job->id) . getmypid()'),
        ("FolderQueue.php", '            unlink("{$this->folder}/tmp/{$name}");\n', ""),
        (
            "FolderQueue.php",
            '$this->move("waiting/{$name}", "running/{$digits}");',
            'usleep(2000); @rename("{$this->folder}/waiting/{$name}", "{$this->folder}/running/{$digits}");',
        ),
    ],
    "sql": [
        ("PdoQueue.php", "\"state = 'waiting' AND attempts = :before\"", "'attempts <> -:before - 1'"),
        ("PdoQueue.php", "                $before = $job->attempts;\n", "usleep(2000); $before = $job->attempts;\n"),
    ],
}


def test_a_claim_that_is_not_exclusive_runs_jobs_twice(host: Host) -> None:
    host.submit(MANY)
    both(host, mutated(host.folder, *GREEDY["folder" if host.queue.startswith("/") else "sql"]))
    assert max(Counter(host.lines("ran")).values()) > 1
