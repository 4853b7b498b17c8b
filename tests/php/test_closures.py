"""Closures as jobs: signed, and nothing unserialized that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..daemon_process import Daemon
from .script import CLIENT, needs_php, said

LIBRARY = Path("/usr/share/php/Laravel/SerializableClosure/autoload.php")
pytestmark = [
    needs_php,
    pytest.mark.skipif(not LIBRARY.exists(), reason="no laravel/serializable-closure here: closures are not tested"),
]


def bootstrap(folder: Path, name: str, key: str) -> Path:
    """Write what an application loads, on its pages and in its jobs."""
    (folder / name).write_text(f"<?php require_once '{CLIENT}/autoload.php'; require_once '{LIBRARY}'; {key}")
    return folder / name


def from_a_file(folder: Path, code: str, env: dict[str, str]) -> Any:
    """Run a script whose lines are in a file: the library reads a closure's text where it stands."""
    (folder / "page.php").write_text("<?php use Sidecar\\{Bytes, Client}; use Sidecar\\Exception\\JobFailed;\n" + code)
    return said(f"require '{folder}/page.php';", env)


KEY = "Sidecar\\Closures::useKey('0123456789abcdef');"


def test_a_closure_runs_in_a_job_with_what_it_has_captured(shared_daemon: Daemon, tmp_path: Path) -> None:
    load = bootstrap(tmp_path, "load.php", KEY)
    code = f"""
        require '{load}';
        $client = new Client(bootstrap: '{load}');
        $more = 40;
        $jobs = [
            $client->submit(fn (int $number) => $number + $more, [2]),
            $client->prepare(fn (int $number) => getmypid(), ['number' => 1])->send(),
            ...$client->submitAll([[fn () => 'one'], [strtoupper(...), ['two']]]),
        ];
        $results = array_map(fn ($job) => $job->result(20), $jobs);
        $results[1] = $results[1] !== getmypid();
        say($results);
    """
    assert from_a_file(tmp_path, code, shared_daemon.variables) == [42, True, "one", "TWO"]


def test_nothing_is_unserialized_that_another_key_has_signed(shared_daemon: Daemon, tmp_path: Path) -> None:
    ours = bootstrap(
        tmp_path, "ours.php", KEY + f" class Trap {{ function __wakeup() {{ touch('{tmp_path}/sprung'); }} }}"
    )
    code = f"""
        require '{ours}';
        $client = new Client(bootstrap: '{ours}');
        $trap = serialize(new Trap);
        $forged = [hash_hmac('sha256', $trap, 'another key', true) . $trap, str_repeat('x', 32) . $trap, $trap, ''];
        $errors = [];
        foreach ($forged as $bytes) {{
            try {{ $client->submit('Sidecar\\Closures::run', [new Bytes($bytes)])->result(20); }}
            catch (JobFailed $error) {{ $errors[] = str_contains($error->getMessage(), 'another key has signed it'); }}
        }}
        // The control: what the right key has signed is unserialized.
        $signed = hash_hmac('sha256', $trap, '0123456789abcdef', true) . $trap;
        $before = file_exists('{tmp_path}/sprung');
        try {{ $client->submit('Sidecar\\Closures::run', [new Bytes($signed)])->result(20); }} catch (JobFailed) {{ }}
        clearstatcache();
        say([$errors, $before, file_exists('{tmp_path}/sprung')]);
    """
    assert from_a_file(tmp_path, code, shared_daemon.variables) == [[True] * 4, False, True]


def test_the_key_is_never_the_job_s(shared_daemon: Daemon, tmp_path: Path) -> None:
    ours = bootstrap(tmp_path, "ours.php", KEY)
    without = bootstrap(tmp_path, "without.php", "")
    code = f"""
        require '{ours}';
        $job = (new Client(bootstrap: '{without}'))->submit(fn () => 1, env: ['SIDECAR_KEY' => '0123456789abcdef']);
        try {{ $job->result(20); }} catch (JobFailed $error) {{ say($error->getMessage()); }}
    """
    assert "no key signs it" in from_a_file(tmp_path, code, shared_daemon.variables)


def test_without_a_key_the_alternatives_are_named(tmp_path: Path) -> None:
    load = bootstrap(tmp_path, "load.php", "")
    code = f"""
        require '{load}';
        try {{ (new Client)->submit(fn () => 1); }}
        catch (InvalidArgumentException $error) {{ say($error->getMessage()); }}
    """
    message = said(code, {})
    assert "Sidecar\\Closures::useKey" in message and "Sidecar\\Deferred" in message
