"""What a hand-off costs a PHP page, seen from PHP; beside a push to Redis by its extension, in turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from sidecar.client import Options, connect

from ..daemon_process import Daemon
from ..php.runtime import record
from ..waiting import eventually
from .execution import bare_fork
from .table import Row, timed

_OF_PHP_CLI = {
    "calendar", "ctype", "exif", "ffi", "fileinfo", "ftp", "gettext", "iconv", "opcache", "pdo", "phar", "posix",
    "readline", "shmop", "sockets", "sysvmsg", "sysvsem", "sysvshm", "tokenizer",
}  # fmt: skip
_JOBS, _SINGLES, _IDLE = 2000, 150, 0.02
_LEAVES_A_FILE_OPEN = "<?php $kept = fopen(__FILE__, 'r');"  # a bootstrap that no other process may share

CLIENT = Path(__file__).parents[2] / "clients" / "php" / "autoload.php"
_SCRIPT = """<?php
require $argv[1];
use Sidecar\\Client;

function each(int $count, int $pauseEvery, callable $action): array {
    $times = [];
    for ($number = 0; $number < $count; $number++) {
        $before = hrtime(true);
        $action();
        $times[] = (hrtime(true) - $before) / 1e9;
        if ($number % $pauseEvery === $pauseEvery - 1) { usleep(300); }  // the queue holds eleven
    }
    return $times;
}

$later = ['run_at' => time() + 1e6];
$client = new Client(...$later);
$send = fn () => $client->submit('Acme\\Mail::send', [42]);
$close = fn () => Sidecar\\Door::of(null)->handoff->close();
$push = null;
if ($argv[2] !== '') {
    $redis = new Redis();
    $redis->connect($argv[2]);
    $data = str_repeat('x', 300);
    $push = fn () => $redis->lPush('queue', $data);
}
$sent = $pushed = [];
each(200, 8, $send);
for ($turn = 0; $turn < 20; $turn++) {
    array_push($sent, ...each(200, 8, $send));
    $push && array_push($pushed, ...each(200, 8, $push));
}
$opened = each(2000, 8, function () use ($close, $send): void { $close(); $send(); });
$stored = each(2000, 8, fn () => $client->submit('Acme\\Mail::send', [42], ack: 'stored'));
$before = memory_get_usage();
$fresh = new Client(...$later);
$fresh->submit('Acme\\Mail::send', [42]);
echo json_encode(['sent' => $sent, 'pushed' => $pushed, 'opened' => $opened, 'stored' => $stored]);
"""
_MEMORY = """<?php
$before = memory_get_peak_usage();
require $argv[1];
(new Sidecar\\Client(run_at: time() + 1e6))->submit('Acme\\Mail::send', [42]);
echo memory_get_peak_usage() - $before;
"""


def handoff(daemon: Daemon) -> list[Row]:
    """Measure submit('Acme\\Mail::send', [42]) in a warm process, its first one, and one with an answer."""
    if shutil.which("php") is None:
        return [Row("submit('Acme\\Mail::send', [42]), PHP", "µs", float("nan"), None, "no php here", None, "≤ 5")]
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as folder:
        redis = redis_server(folder)
        try:
            times = json.loads(_php(daemon, _SCRIPT, f"{folder}/redis.sock" if redis else ""))
        finally:
            if redis:
                redis.terminate()
                redis.wait(10)
    peer = sorted(times["pushed"])[len(times["pushed"]) // 2] * 1e6 if redis else None
    name = "phpredis lPush, memory only" if redis else "no redis-server or no phpredis here"
    extra = int(_php(daemon, _MEMORY))
    return [
        timed("submit('A\\B::c', [42]), PHP, sent", "µs", times["sent"], 1e6, peer=name, peer_p50=peer, goal="≤ 5"),
        timed("the same with no socket open yet", "µs", times["opened"], 1e6, peer="", peer_p50=None, goal="≤ 15"),
        timed("the same, stored", "µs", times["stored"], 1e6, peer=name, peer_p50=peer, goal=""),
        Row("peak memory of a page that hands off", "KiB", extra / 1024, None, "", None, "< 300"),
    ]


def jobs(daemon: Daemon, slots: int) -> list[Row]:
    """Run no-op PHP calls forked from the template, and look how long one takes to begin when nothing else runs."""
    if shutil.which("php") is None:
        return []
    target = connect(str(daemon.runtime)).options(ack="sent", timeout=60, runtime=record())
    target.submit("Jobs\\add", 1, 2).wait(timeout=30)
    eventually(lambda: target.submit("Jobs\\is_forked").result(timeout=30), 30)
    forked = _until_first_lines(target)
    with tempfile.NamedTemporaryFile("w", suffix=".php") as bootstrap:
        bootstrap.write(_LEAVES_A_FILE_OPEN)
        bootstrap.flush()
        other = target.options(runtime=record(bootstrap.name))
        other.submit("hrtime").wait(timeout=30)
        eventually(lambda: other.submit("hrtime").wait(timeout=30).cold, 30)
        fresh = _until_first_lines(other)
    with tempfile.TemporaryDirectory() as folder:
        lean = target.options(runtime=record(env={"PHP_INI_SCAN_DIR": _as_installed(folder)}))
        eventually(lambda: lean.submit("Jobs\\is_forked").result(timeout=30), 30)
        before = bare_fork()
        rates = [_rate(lean), _rate(target), _rate(lean), _rate(target)]
        bare = 2 / (before + bare_fork())
    name, peer = f"no-op PHP calls, stored, {slots} slots", "bare fork + exit + wait loop, Python"
    few, all_ = (rates[0] + rates[2]) / 2, (rates[1] + rates[3]) / 2
    return [
        timed("submit → first line of a PHP job, idle", "ms", forked, 1e3, peer="", peer_p50=None, goal="≤ 2.5"),
        timed("the same in a php of its own: not forked", "ms", fresh, 1e3, peer="", peer_p50=None, goal=""),
        Row(name, "jobs/s", few, None, peer, bare, "≥ 1,000"),
        Row(f"the same with all {_extensions()} extensions that are here", "jobs/s", all_, None, peer, bare, ""),
    ]


def _as_installed(folder: str) -> str:
    """Make a folder of ini files for what comes with Debian's php-cli: each extension more makes a fork dearer."""
    for path in Path(_said("echo PHP_CONFIG_FILE_SCAN_DIR;")).glob("*.ini"):
        if path.stem.partition("-")[2] in _OF_PHP_CLI:
            shutil.copy(path, folder)
    return folder


def _rate(target: Options) -> float:
    start = time.perf_counter()
    for _ in range(_JOBS - 1):
        target.submit("Jobs\\add", 1, 2)
    target.submit("Jobs\\add", 1, 2).wait(timeout=120)
    return _JOBS / (time.perf_counter() - start)


def _extensions() -> int:
    return int(_said("echo count(get_loaded_extensions());"))


def _said(code: str) -> str:
    return subprocess.run(["php", "-r", code], capture_output=True, text=True, check=True).stdout


def _until_first_lines(target: Options) -> list[float]:
    times = []
    for _ in range(_SINGLES):
        time.sleep(_IDLE)
        before = time.monotonic()
        times.append(target.submit("hrtime", True).result(timeout=30) / 1e9 - before)
    return times[10:]


def _php(daemon: Daemon, script: str, *words: str) -> str:
    command = ["php", "-r", script.removeprefix("<?php"), "--", str(CLIENT), *words]
    done = subprocess.run(command, env=os.environ | daemon.variables, capture_output=True, text=True, check=True)
    return done.stdout


def has(name: str) -> bool:
    """Say whether php has a class, from an extension."""
    return subprocess.run(["php", "-r", f"exit(class_exists('{name}') ? 0 : 1);"], check=False).returncode == 0


def redis_server(folder: str) -> subprocess.Popen[bytes] | None:
    """Start a redis-server that keeps nothing, at redis.sock in a folder; None without one, or without phpredis."""
    if shutil.which("redis-server") is None or not has("Redis"):
        return None
    words = ["--port", "0", "--unixsocket", f"{folder}/redis.sock", "--dir", folder, "--save", ""]
    server = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    eventually(lambda: Path(f"{folder}/redis.sock").is_socket())
    return server
