"""Ticks that are killed by SIGKILL, at a line that a test names or at any moment: the next one has everything."""

from __future__ import annotations

import os
import random
import re
import signal
from collections import Counter

import pytest

from ..system.checks import alive
from ..waiting import eventually
from .script import needs_php
from .ticks import (
    ALONE,
    BLIND,
    LENIENT,
    RAN,
    Host,
    dying_before,
    kill_later,
    mutated,
)

pytestmark = needs_php


POINTS = [
    ("Intake.php", "        $isNew = $this->queue->insert($job);\n", "queued"),  # nothing of it is in the queue yet
    ("Intake.php", "        unlink($path);\n", "queued"),
    ("Tick.php", "        $this->after = $job->queue;\n", "claimed"),
    ("Attempt.php", "        self::keepLowDescriptorsBusy();\n", "claimed"),
    ("Attempt.php", "        stream_set_blocking($this->pipe, false);\n", "started"),
    ("Attempt.php", "            [$this->survivors] = $this->leash->end();\n", "ran"),
    ("Tick.php", "        Rules::conclude($job, $ending, lcg_value());\n", "ran"),
    ("Tick.php", "        ($this->say)(Log::job($job, $how, microtime(true)));\n", "recorded"),
]
FOLDER_POINTS = [
    ("FolderQueue.php", "        Ground::write($draft, $job->pack());\n", "queued"),
    ("FolderQueue.php", "                    $job->take($owner);\n", "queued"),
    ("FolderQueue.php", "            $this->move($running, $this->place($job));\n", "recorded"),
]


def finish(host: Host, more: int = 2) -> None:
    """Run ticks as cron would until nothing is left."""
    for _ in range(more):
        host.tick()
    assert host.tick().report().endswith("left: none")


@pytest.mark.parametrize(("file", "line", "stage"), POINTS, ids=[f"{line.strip()[:40]}" for _, line, _ in POINTS])
def test_a_tick_killed_at_a_point_leaves_everything_to_the_next(host: Host, file: str, line: str, stage: str) -> None:
    killed_at(host, file, line, stage)


@pytest.mark.parametrize(
    ("file", "line", "stage"), FOLDER_POINTS, ids=[line.strip()[:40] for _, line, _ in FOLDER_POINTS]
)
def test_so_does_one_killed_within_a_step_of_the_folder(folder_host: Host, file: str, line: str, stage: str) -> None:
    killed_at(folder_host, file, line, stage)


def killed_at(host: Host, file: str, line: str, stage: str) -> None:
    ids = host.submit(f"{RAN} $jobs[] = $ran('often'); $jobs[] = $ran('once', at_most_once: true);")
    killed = host.begin("--slots=1", client=dying_before(host.folder, file, line))
    assert killed.wait() == -signal.SIGKILL
    finish(host)
    ran = Counter(host.lines("ran"))
    outcomes = dict(zip(("often", "once"), map(host.outcome, ids), strict=True))
    assert outcomes["often"] == "succeeded"
    assert ran["often"] in ((1, 2) if stage in ("started", "ran") else (1,))
    assert ran["once"] <= 1
    hit = re.findall(r"job ([-0-9a-f]+) .*, attempt 1: crash, end not seen", host.log())
    assert len(hit) == (1 if stage in ("claimed", "started", "ran") else 0)
    if hit == [ids[1]]:
        assert outcomes["once"] == "lost"
        assert "at_most_once forbids a second start" in host.status(ids[1])["reason"]
    else:
        assert (outcomes["once"], ran["once"]) == ("succeeded", 1)


def test_a_tick_that_takes_no_look_at_what_was_left_leaves_it(host: Host) -> None:
    (id,) = host.submit(f"{RAN} $jobs[] = $ran('x');")
    file, line, _ = POINTS[2]
    host.begin(client=dying_before(host.folder, file, line)).wait()
    run = host.tick(client=mutated(host.folder, ("Tick.php", "            $this->recover();\n", "")))
    assert run.report().endswith("left: 1 running")
    assert (host.outcome(id), host.lines("ran")) == ("running", [])


def test_a_tick_that_deletes_the_spool_file_first_loses_the_job(host: Host) -> None:
    (id,) = host.submit(f"{RAN} $jobs[] = $ran('x');")
    line = "        $isNew = $this->queue->insert($job);\n"
    dying = mutated(host.folder, ("Intake.php", line, f"unlink($path); posix_kill(getmypid(), 9); {line}"))
    host.begin(client=dying).wait()
    host.tick()
    assert host.ask("status", id)[0] == 1


def test_rules_that_do_not_heed_at_most_once_start_it_twice(host: Host) -> None:
    host.submit(f"{RAN} $jobs[] = $ran('once', at_most_once: true);")
    careless = ("Entry.php", "return $this->body['at_most_once'] ?? false;", "return false;")
    line = "        Rules::conclude($job, $ending, lcg_value());\n"
    killed = mutated(host.folder, ("Tick.php", line, f"posix_kill(getmypid(), 9); {line}"))
    host.begin(client=killed).wait()
    host.tick(client=mutated(host.folder, careless))
    assert host.lines("ran") == ["once", "once"]


def test_the_rest_of_a_killed_tick_is_ended_before_its_job_runs_again(host: Host) -> None:
    (id,) = host.submit(f"""{ALONE}
        $jobs[] = $alone('x', 'trap "" TERM; echo $$ >> "$0.pids"; [ -e "$0.go" ] || sleep 600');
    """)
    killed = host.begin()
    eventually(lambda: host.lines("x.pids"), 60)
    killed.process.kill()
    assert killed.wait() == -signal.SIGKILL
    assert alive(int(host.lines("x.pids")[0])), "it does not end by itself"
    (host.out / "x.go").touch()
    run = host.tick()
    assert "attempt 1: crash, end not seen, left behind and ended: " in run.said()
    assert not alive(int(host.lines("x.pids")[0]))
    assert (host.lines("x.begun"), host.lines("x.beside")) == (["begun", "begun"], [])
    sheet = host.status(id)
    assert (sheet["outcome"], sheet["interruptions"], sheet["failures"]) == ("succeeded", "1", "0")


@pytest.mark.parametrize("blind", [False, True])
def test_a_tick_that_ends_nothing_leaves_the_job_waiting_unless_it_is_blind_too(folder_host: Host, blind: bool) -> None:
    host = folder_host
    host.submit(f"{ALONE} $jobs[] = $alone('x', 'echo $$ >> \"$0.pids\"; [ -e \"$0.go\" ] || exec sleep 600');")
    killed = host.begin()
    eventually(lambda: host.lines("x.pids"), 60)
    killed.process.kill()
    killed.wait()
    try:
        (host.out / "x.go").touch()
        run = host.tick("--for=5", client=mutated(host.folder, LENIENT, *([BLIND] if blind else [])))
        assert host.lines("x.beside") == (["beside"] if blind else [])
        assert ("what an earlier attempt has started still runs" in run.said()) is not blind
    finally:
        os.kill(int(host.lines("x.pids")[0]), signal.SIGKILL)


def test_a_job_that_takes_its_tick_down_three_times_is_lost(host: Host) -> None:
    (id, other) = host.submit(
        f"""{RAN}
        $jobs[] = $client->run(['sh', '-c', 'echo x >> "$0/tried"; kill -9 $PPID'], retries: 9);
        $jobs[] = $ran('other', priority: -1);
    """.replace("kill -9 $PPID'", "kill -9 $PPID', $out")
    )
    for _ in range(3):
        assert host.begin("--slots=1").wait() == -signal.SIGKILL
    host.tick()
    assert host.lines("tried") == ["x"] * 3
    assert (host.outcome(id), host.outcome(other)) == ("lost", "succeeded")
    assert host.status(id)["reason"] == "its tick or the machine died under it 3 times"


def test_ticks_killed_at_any_moment_lose_nothing_and_run_nothing_beside_itself(host: Host) -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    ids = host.submit(f"""{ALONE}
        for ($n = 0; $n < 40; $n++) {{ $jobs[] = $alone("j{{$n}}", 'sleep 0.05', at_most_once: $n % 4 === 0); }}
    """)
    for _ in range(8):
        kill_later(host.begin("--slots=3"), dice.uniform(0.05, 0.6))
    finish(host, 3)
    for number, id in enumerate(ids):
        begun, ended = host.lines(f"j{number}.begun"), host.lines(f"j{number}.ended")
        assert host.lines(f"j{number}.beside") == [], f"seed {seed}"
        if number % 4 == 0:
            assert len(begun) <= 1, f"seed {seed}"
            assert host.outcome(id) == "lost" or len(ended) == 1, f"seed {seed}"
        else:
            lost = host.outcome(id) == "lost" and host.status(id)["interruptions"] == "3"
            assert lost or (host.outcome(id) == "succeeded" and ended), f"seed {seed}"
