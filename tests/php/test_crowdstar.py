"""The stand-in for crowdstar/background-processing: what the original does, where it did it and where it refused to.

A script tells what it does in a file; a closure of it may wait for another file, which a test makes once it has the
response.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..daemon_process import Daemon
from ..rawclient import frame, unpack
from ..waiting import eventually
from .script import CLIENT, PHP, needs_php
from .web import SERVERS, Exchange, Web, needs_fpm, serving

pytestmark = needs_php

EVERYWHERE = [*SERVERS, "cli"]

_HEAD = """<?php
declare(strict_types=1);
set_error_handler(static function (int $level, string $message, string $file, int $line): bool {
    throw new ErrorException($message, 0, $level, $file, $line);
});
require '%s/compat/crowdstar.php';
use CrowdStar\\BackgroundProcessing\\BackgroundProcessing;
use CrowdStar\\BackgroundProcessing\\Exception\\{AlreadyInvokedException, BackgroundProcessingFailedException};
use CrowdStar\\BackgroundProcessing\\Timer\\{AbstractTimer, NewRelicTimer};
function tell(string $line): void { file_put_contents('%s/told', "$line\\n", FILE_APPEND); }
function wait(): void {
    for ($tries = 6000; $tries > 0 && !file_exists('%s/go'); $tries--) { usleep(5000); clearstatcache(); }
}
function attempt(): void {
    try { BackgroundProcessing::run(); } catch (Throwable $error) { tell($error::class . ': ' . $error->getMessage()); }
}
ob_start();
"""


class Place:
    """Where scripts run: a web server, or the command line."""

    def __init__(self, folder: Path, env: dict[str, str], web: Web | None) -> None:
        self._folder = folder
        self._env = env
        self._web = web

    def begin(self, code: str, name: str = "page") -> Exchange:
        """Ask for a page with this code; its response is the caller's to read."""
        assert self._web is not None
        self._web.page(name, self._whole(code), whole=True)
        return self._web.begin(name)

    def told(self) -> list[str]:
        """Return what the scripts have told so far."""
        file = self._folder / "told"
        return file.read_text().splitlines() if file.exists() else []

    def go(self) -> None:
        """Let who waits go on."""
        (self._folder / "go").touch()

    def run(self, code: str) -> list[str]:
        """Run a script to its end, which it tells, and return what it told before."""
        code += "\ntell('end');"
        if self._web is not None:
            response = self.begin(code)
            response.rest()
        else:
            assert PHP is not None
            file = self._folder / "script.php"
            file.write_text(self._whole(code))
            subprocess.run([PHP, str(file)], env={**os.environ, **self._env}, check=True, timeout=60)
        eventually(lambda: self.told()[-1:] == ["end"])
        return self.told()[:-1]

    def _whole(self, code: str) -> str:
        return _HEAD % (CLIENT, self._folder, self._folder) + code


@contextmanager
def placed(where: str, env: dict[str, str], folder: Path) -> Iterator[Place]:
    """Give one of EVERYWHERE, with this environment."""
    if where == "cli":
        yield Place(folder, env, None)
        return
    with serving(where, env) as web:
        yield Place(folder, env, web)


@pytest.fixture(params=EVERYWHERE)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Give each place, without a daemon: closures need none."""
    with placed(request.param, {"SIDECAR_RUNTIME_DIR": str(tmp_path / "none")}, tmp_path) as place:
        yield place


_CLOSURES = """
    echo 'page';
    $count = 1;
    BackgroundProcessing::add(function (int $more) use (&$count): void {
        wait();
        $count += $more;
        tell("first $count");
        echo str_repeat('never seen', 10_000); // more than any buffer on its way holds
    }, 2);
    BackgroundProcessing::add(fn (string ...$words) => tell('second ' . implode(' ', $words)), 'with', 'words');
    $count = 10;
    BackgroundProcessing::run();
    tell("after run $count");
"""
_IN_ORDER = ["first 12", "second with words", "after run 12"]


@pytest.mark.parametrize("server", SERVERS)
def test_closures_run_after_the_response_in_order(server: str, tmp_path: Path) -> None:
    with placed(server, {}, tmp_path) as place:
        response = place.begin(_CLOSURES)
        assert response.ended(20)
        assert place.told() == []
        place.go()
        assert response.rest() == "page"
        eventually(lambda: place.told() == _IN_ORDER)


@pytest.mark.parametrize("server", SERVERS)
def test_without_its_run_nothing_runs(server: str, tmp_path: Path) -> None:
    with placed(server, {}, tmp_path) as place:
        assert place.begin(_CLOSURES.replace("BackgroundProcessing::run();", "")).rest() == "page"
        eventually(lambda: place.told() == ["after run 10"])


def test_they_run_on_the_command_line_too(tmp_path: Path) -> None:
    with placed("cli", {}, tmp_path) as place:
        place.go()
        assert place.run(_CLOSURES) == _IN_ORDER


@pytest.mark.parametrize("server", [SERVERS[0], SERVERS[2]])
def test_the_session_is_closed_first(server: str, tmp_path: Path) -> None:
    session = f"session_save_path('{tmp_path}'); session_id('visitor'); session_start();"
    with placed(server, {}, tmp_path) as place:
        first = place.begin(f"""{session} $_SESSION['seen'] = 'by the first';
            BackgroundProcessing::add(fn () => wait());
            BackgroundProcessing::add(fn () => tell('over'));
            BackgroundProcessing::run();""")
        assert first.ended(20)
        assert place.begin(f"{session} echo $_SESSION['seen'];", "next").rest() == "by the first"
        assert place.told() == []
        place.go()
        eventually(lambda: place.told() == ["over"])


def test_a_second_run_throws(place: Place) -> None:
    assert place.run("""
        BackgroundProcessing::add(fn () => tell('ran'));
        attempt();
        BackgroundProcessing::add(fn () => tell('ran too'));
        attempt();
        try { BackgroundProcessing::run(); } catch (AlreadyInvokedException $error) { tell("{$error->getCode()}"); }
    """) == [
        "ran",
        "CrowdStar\\BackgroundProcessing\\Exception\\AlreadyInvokedException: background process invoked already",
        "0",
    ]


_THROWING = """
    BackgroundProcessing::add(fn () => tell('first'));
    BackgroundProcessing::add(fn () => throw new DomainException('thrown'));
    BackgroundProcessing::add(fn () => tell('third'));
    BackgroundProcessing::add(fn () => intdiv(1, 0));
    BackgroundProcessing::add(fn () => tell('fifth'));
"""


def test_what_a_closure_throws_is_thrown_as_it_is_and_ends_it(place: Place) -> None:
    assert place.run(f"{_THROWING} tell((string) BackgroundProcessing::getExecutionType()); attempt();") == [
        "0", "first", "DomainException: thrown",
    ]  # fmt: skip


def test_where_it_is_to_go_on_all_run_and_what_they_threw_is_thrown_together(place: Place) -> None:
    assert place.run(f"""{_THROWING}
        BackgroundProcessing::setExecutionType(BackgroundProcessing::EXECUTION_TYPE_CONTINUE_ON_ERROR);
        tell((string) BackgroundProcessing::getExecutionType());
        try {{ BackgroundProcessing::run(); }} catch (BackgroundProcessingFailedException $error) {{
            tell($error->getMessage());
            foreach ($error->getExceptions() as $one) {{ tell($one::class); }}
            tell($error->getPrevious() === $error->getExceptions()[0] ? 'the first is its cause' : 'no cause');
        }}
    """) == [
        "1", "first", "third", "fifth", "2 background processing task(s) failed", "DomainException",
        "DivisionByZeroError", "the first is its cause",
    ]  # fmt: skip


def test_all_of_them_run_where_none_throws(place: Place) -> None:
    assert place.run("""
        BackgroundProcessing::setExecutionType(BackgroundProcessing::EXECUTION_TYPE_CONTINUE_ON_ERROR);
        BackgroundProcessing::add(fn () => tell('first'));
        BackgroundProcessing::add(fn () => tell('second'));
        attempt();
    """) == ["first", "second"]


@pytest.mark.parametrize(
    ("stop", "told"), [("true", ["stopped", "closure"]), ("false", ["closure"]), ("", ["closure"])]
)
def test_timers_stop_before_the_closures_if_that_is_asked_for(stop: str, told: list[str], place: Place) -> None:
    assert (
        place.run(f"""
        BackgroundProcessing::addTimer(new class extends AbstractTimer {{
            public function stopTiming(): AbstractTimer {{ tell('stopped'); return $this; }}
        }});
        BackgroundProcessing::addTimer(new NewRelicTimer());
        BackgroundProcessing::add(fn () => tell('closure'));
        BackgroundProcessing::run({stop});
    """)
        == told
    )


def test_a_subclass_sees_and_resets_the_state(place: Place) -> None:
    assert place.run("""
        final class Reset extends BackgroundProcessing {
            public static function all(): void {
                tell(count(self::$closures) . count(self::$timers) . (int) self::$invoked . self::$executionType);
                [self::$closures, self::$timers, self::$invoked, self::$executionType] = [[], [], false, 0];
            }
        }
        BackgroundProcessing::add(fn () => tell('closure'));
        BackgroundProcessing::addTimer(new NewRelicTimer());
        BackgroundProcessing::setExecutionType(1);
        Reset::run();
        Reset::all();
        Reset::all();
        BackgroundProcessing::run();
    """) == ["closure", "1111", "0000"]


_NAMES = """
    BackgroundProcessing::add('file_put_contents', '%s/a', 'by place');
    BackgroundProcessing::add(fn () => tell('closure'));
    BackgroundProcessing::add('file_put_contents', data: 'by name', filename: '%s/b');
    BackgroundProcessing::add('touch', '%s/c');
    attempt();
"""


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("ack", ["", "synced"])
def test_names_are_jobs_of_the_daemon(where: str, ack: str, daemon: Daemon, tmp_path: Path) -> None:
    env = {**daemon.variables, **({"SIDECAR_ACK": ack} if ack else {})}
    with placed(where, env, tmp_path) as place:
        assert place.run(_NAMES % (tmp_path, tmp_path, tmp_path)) == ["closure"]
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 3)
    counters = daemon.call("stats")["counters"]
    assert (counters["stream"], counters["datagrams"], counters["spool"]) == (3, 0, 0)
    assert [(tmp_path / name).read_text() for name in "abc"] == ["by place", "by name", ""]


def test_names_go_by_the_client_that_was_set(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "load.php").write_text(f"<?php function ours() {{ touch('{tmp_path}/done'); }}")
    client = f"BackgroundProcessing::setClient(new Sidecar\\Client(bootstrap: '{tmp_path}/load.php'));"
    with placed("cli", daemon.variables, tmp_path) as place:
        place.run(f"{client} BackgroundProcessing::add('ours'); attempt();")
    eventually((tmp_path / "done").exists)


@needs_fpm
@pytest.mark.parametrize("where", ["fpm", "cli"])
def test_all_names_are_written_at_once(where: str, tmp_path: Path) -> None:
    with Listener() as listener, placed(where, {"SIDECAR_RUNTIME_DIR": listener.folder}, tmp_path) as place:
        assert place.run(_NAMES % ("/x", "/x", "/x")) == ["closure"]
        assert listener.calls == ["file_put_contents", "file_put_contents", "touch"]
        assert listener.reads == 1


@pytest.mark.parametrize("where", EVERYWHERE)
def test_without_a_daemon_names_wait_for_it_in_the_spool(where: str, daemon: Daemon, tmp_path: Path) -> None:
    daemon.stop()
    with placed(where, daemon.variables, tmp_path) as place:
        assert place.run(_NAMES % (tmp_path, tmp_path, tmp_path)) == ["closure"]
    assert len(list(Path(daemon.spool, "new").iterdir())) == 3
    daemon.start()
    eventually(lambda: [(tmp_path / name).exists() for name in "abc"] == [True] * 3)


def test_a_name_that_cannot_be_one_is_thrown_like_what_a_closure_throws(place: Place) -> None:
    told = place.run(
        "BackgroundProcessing::add('rm -rf /'); BackgroundProcessing::add(fn () => tell('ran')); attempt();"
    )
    assert len(told) == 1
    assert told[0].startswith("InvalidArgumentException: cannot submit job: call is 'rm -rf /'")


class Listener:
    """Somebody in the daemon's place, who counts what comes at once, and answers nothing before all of it is there."""

    EXPECTED = 3

    def __enter__(self) -> Listener:
        self._temporary = tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp")
        self.folder = self._temporary.name
        self.calls: list[str] = []
        self.reads = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(f"{self.folder}/control.sock")
        self._socket.listen()
        self._socket.settimeout(30)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join()
        self._socket.close()
        self._temporary.cleanup()

    def _serve(self) -> None:
        peer, _ = self._socket.accept()
        with peer:
            peer.settimeout(30)
            come, requests = b"", list[Any]()
            while len(requests) < self.EXPECTED:
                data = peer.recv(1 << 20)
                if not data:
                    return
                self.reads += 1
                come += data
                while len(come) >= 4 and len(come) >= 4 + (size := struct.unpack(">I", come[:4])[0]):
                    requests.append(unpack(come[4 : 4 + size]))
                    come = come[4 + size :]
            self.calls = [params[0]["call"] for _, _, _, params in requests]
            peer.sendall(b"".join(frame([1, number, None, {"ack": "stored"}]) for _, number, _, _ in requests))
