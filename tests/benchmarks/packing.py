"""What large arguments cost a PHP page, with ext-msgpack and without it.

Two processes in turns: one has all the extensions that this machine enables, the other all but that. It is asked for
large arrays only, after a look at every value in them; "unchecked" and "by ext-msgpack" are what it takes by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..daemon_process import Daemon
from .php import CLIENT, has
from .table import Row, percentile

_TURNS = 8
_SCRIPT = r"""
require $argv[1];
$row = ['id' => 42, 'name' => 'Ann Example', 'email' => 'ann@example.org', 'tags' => ['a', 'b'], 'sum' => 9.5];
$rows = array_fill(0, 100, [...$row, 'paid' => true]);
$packed = Sidecar\Msgpack::encode($rows);
$client = new Sidecar\Client(run_at: 4e9);
$extension = class_exists('MessagePack') ? new MessagePack(false) : null;
$actions = [
    'small' => fn () => $client->submit('Acme\Mail::send', [42]),
    'text' => fn () => $client->submit('Acme\Mail::send', [str_repeat('Grüße aus 1234 ', 640)]),
    'rows' => fn () => $client->submit('Acme\Mail::send', [$rows]),
    'packed' => fn () => Sidecar\Msgpack::encode($rows),
    'unpacked' => fn () => Sidecar\Msgpack::decode($packed),
    'packed unchecked' => fn () => $extension?->pack($rows),
    'unpacked by it' => fn () => $extension?->unpack($packed),
];
foreach ($actions as $what => $action) {
    for ($number = 0; $number < 80; $number++) {
        $before = hrtime(true);
        $action();
        $times[$what][] = (hrtime(true) - $before) / 1e3;
        if ($number % 8 === 7) { usleep(300); } // the queue holds eleven
    }
}
echo json_encode($times);
"""


def rows(daemon: Daemon) -> list[Row]:
    """Measure hand-offs whose arguments are small, a long text, and many rows."""
    if shutil.which("php") is None:
        return []
    there = has("MessagePack")
    with tempfile.TemporaryDirectory(prefix="sc-") as name:
        without = _settings_without_it(Path(name))
        turns = [(_measured(daemon, {}) if there else {}, _measured(daemon, without)) for _ in range(_TURNS)]
    ext, own = (
        {what: percentile([time for turn in turns for time in turn[which][what]], 0.5) for what in turns[0][which]}
        for which in (0, 1)
    )
    peer = "with it" if there else "no php-msgpack here"

    def row(what: str, key: str, goal: str = "") -> Row:
        return Row(f"{what}, no ext-msgpack", "µs", own[key], None, peer, ext.get(key), goal)

    found = [
        row("submit('A\\B::c', [42]), PHP", "small", "≤ 5"),
        row("submit of a text of 10 KB", "text"),
        row("submit of 100 rows of six fields (7 KB)", "rows"),
    ]
    if there:
        found += [
            Row("these packed, with ext-msgpack", "µs", ext["packed"], None, "unchecked", ext["packed unchecked"]),
            Row("these unpacked", "µs", ext["unpacked"], None, "by ext-msgpack, were it used", ext["unpacked by it"]),
        ]
    return found


def _settings_without_it(folder: Path) -> dict[str, str]:
    """Return the environment of a php that has every extension but that one."""
    listed = subprocess.run(["php", "-r", "echo php_ini_scanned_files();"], capture_output=True, text=True, check=True)
    for path in map(str.strip, listed.stdout.split(",")):
        if path and not path.endswith("msgpack.ini"):
            (folder / Path(path).name).symlink_to(path)
    return {"PHP_INI_SCAN_DIR": str(folder)}


def _measured(daemon: Daemon, env: dict[str, str]) -> dict[str, list[float]]:
    command = ["php", "-r", _SCRIPT, "--", str(CLIENT)]
    env = os.environ | daemon.variables | env
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found
