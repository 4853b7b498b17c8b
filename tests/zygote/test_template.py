"""The php that holds an application: when there is one, what its jobs share and do not, and how it may end."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.php.runtime import PHP, needs_php, record
from tests.waiting import eventually

from .process import ZygoteProcess, report, result

pytestmark = needs_php

J = "Jobs\\"
Start = Callable[..., ZygoteProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a zygote whose bootstrap is the usual one and some lines more."""
    started: list[ZygoteProcess] = []

    def start(folder: Path, lines: str = "", broken: str = "", **more: Any) -> ZygoteProcess:
        file = folder / "bootstrap.php"
        file.write_text(f"<?php require '{record()['bootstrap']}';\n{lines}\n")
        os.utime(file, (1, 1))  # what is written in the moment in which it is loaded is not trusted
        started.append(ZygoteProcess({**record(cwd="/"), "bootstrap": str(file), **more}, broken, True))
        return started[-1]

    yield start
    for process in started:
        with suppress(OSError):  # one that a test has killed
            process.stop()


@pytest.fixture(scope="module")
def ending_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZygoteProcess]:
    """Give a zygote whose jobs end in each way."""
    file = tmp_path_factory.mktemp("ends") / "bootstrap.php"
    file.write_text("<?php " + _ENDS)
    os.utime(file, (1, 1))
    process = ZygoteProcess({**record(cwd="/"), "bootstrap": str(file)}, "", True)
    process.wait_for("template", None)
    yield process
    process.stop()


def template_of(process: ZygoteProcess) -> int:
    """Return the pid of a zygote's template."""

    def find() -> list[int]:
        return [pid for pid in process.children() if _channel(pid).startswith("socket:")]

    return eventually(find)[0]  # the oldest: its children have its channel for a moment


def is_stale(process: ZygoteProcess) -> bool:
    """Say whether a job is turned away for a change; it is looked for when the last look is some milliseconds old."""
    number = process.start(call=J + "add", args=[1, 2])
    return process.wait_for_one(["stale", number], ["exited", number])[0] == "stale"


def _channel(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/4")
    except OSError:
        return ""


# When there is none, each job has a fresh php, and the reason is told.


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("$GLOBALS['pair'] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);", "leaves open: socket, "),
        ("$GLOBALS['file'] = fopen(__FILE__, 'r');", "leaves open: "),
        ("$GLOBALS['child'] = proc_open(['sleep', '60'], [], $pipes);", "leaves a process running"),
        ("throw new LogicException('not today');", "its bootstrap ends with LogicException: not today"),
        ("exit(0);", "its bootstrap ended by exit()"),
        ("trigger_error('broken', E_USER_ERROR);", "its bootstrap ended by broken"),
        ("touch(__FILE__);", "written while it loads it"),
        ("if (pcntl_fork() > 0) { usleep(100_000); }", "leaves a process running"),
        ("file_put_contents('php://fd/4', 'nonsense');", "makes no sense"),
    ],
)
def test_a_bootstrap_that_cannot_be_shared_is_loaded_by_each_job(
    start: Start, tmp_path: Path, lines: str, reason: str
) -> None:
    process = start(tmp_path, f"if (($argv[1] ?? '') === 'template') {{ {lines} }}")
    assert reason in process.wait_for("template")[1]
    process.in_spares = False
    assert result(process.run(call=J + "add", args=[1, 2])) == 3


def test_a_php_without_ffi_has_none(start: Start, tmp_path: Path) -> None:
    php = tmp_path / "php"
    php.write_text(f'#!/bin/sh\nexec {PHP} -n "$@"\n')
    php.chmod(0o755)
    process = start(tmp_path, interpreter=str(php))
    assert "a php that cannot be forked from" in process.wait_for("template")[1]
    process.in_spares = False
    assert result(process.run(call=J + "add", args=[1, 2])) == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-d disable_functions=putenv", "disables putenv"),
        ("-d disable_functions=ini_set,chdir", "disables chdir, ini_set"),
        ("-d session.auto_start=1 -d session.save_path=/tmp", "leaves a session open"),
        ("-d opcache.preload=/dev/null", "has opcache.preload"),
        ("-d variables_order=GPC", None),
    ],
)
def test_a_php_ini_of_its_own_way_costs_no_job(start: Start, tmp_path: Path, words: str, reason: str | None) -> None:
    php = tmp_path / "php"
    php.write_text(f'#!/bin/sh\nexec {PHP} {words} "$@"\n')
    php.chmod(0o755)
    process = start(tmp_path, interpreter=str(php))
    process.in_spares = False
    said = process.wait_for("template")[1]
    assert said is None if reason is None else reason in said
    assert result(process.run(call=J + "add", args=[1, 2], env={"A": "b"})) == 3


def test_a_child_that_the_bootstrap_forks_serves_no_job(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, "if (pcntl_fork() > 0) { pcntl_wait($status); }")
    process.wait_for("template", None)
    assert result(process.run(call=J + "add", args=[1, 2])) == 3


def test_thousands_of_files_may_be_loaded(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / ("f" * 100)
    folder.mkdir()
    for number in range(2500):
        (folder / f"{number}.php").write_text("<?php")
        os.utime(folder / f"{number}.php", (1, 1))
    process = start(tmp_path, f"for ($n = 0; $n < 2500; $n++) {{ require '{folder}/' . $n . '.php'; }}")
    process.wait_for("template", None)
    (folder / "2400.php").touch()
    eventually(lambda: is_stale(process))


# What its jobs share, and what they do not.


def test_the_application_is_loaded_once(start: Start, tmp_path: Path) -> None:
    lines = f"file_put_contents('{tmp_path}/loaded', getmypid() . \"\\n\", FILE_APPEND);"
    process = start(tmp_path, lines)
    process.wait_for("template", None)
    for number in range(5):
        assert result(process.run(call=J + "add", args=[number, 1])) == number + 1
    loaded = (tmp_path / "loaded").read_text().split()
    assert str(template_of(process)) in loaded
    assert len(loaded) <= 1 + 2  # it, and the spares that were forked before it was there


def test_no_job_runs_the_template_s_shutdown_functions_and_destructors(start: Start, tmp_path: Path) -> None:
    lines = f"""
        register_shutdown_function(fn () => file_put_contents('{tmp_path}/ran', 'shutdown;', FILE_APPEND));
        $GLOBALS['kept'] = new class {{
            function __destruct() {{ file_put_contents('{tmp_path}/ran', 'destructor;', FILE_APPEND); }}
        }};
    """
    process = start(tmp_path, lines)
    process.wait_for("template", None)
    (tmp_path / "ran").unlink(missing_ok=True)  # spares of before may have ended
    assert result(process.run(call=J + "add", args=[1, 2])) == 3
    assert process.run(call=J + "leave_with", args=[3])["status"] == 3
    assert "error" in report(process.run(call=J + "raise", args=["x"]))
    assert not (tmp_path / "ran").exists()


# Each writes down what runs at its end; the bootstrap has a shutdown function and a destructor that would, too.
_ENDS = """
    function note(string $text): void { file_put_contents(getenv('NOTES'), "$text;", FILE_APPEND); }
    class Noted { function __construct(public string $text) {} function __destruct() { note($this->text); } }
    class Leaving { function __destruct() { note('leaves'); exit(7); } }
    class Held { static $held; }
    $GLOBALS['kept'] = new class { function __destruct() { note('of the template'); } };
    register_shutdown_function(fn () => note('of the template'));
    function at_end(callable $work): void { register_shutdown_function($work); }
    function leave_in_shutdown() { at_end(fn () => exit(5)); at_end(fn () => note('never')); }
    function throw_in_shutdown() { at_end(fn () => throw new Exception('late')); }
    function break_in_shutdown() { at_end(fn () => trigger_error('late', E_USER_ERROR)); }
    function add($number = 1) { note("$number"); if ($number < 3) { at_end(fn () => add($number + 1)); } }
    function add_in_shutdown() { at_end('add'); }
    function leave_in_destructor() { $GLOBALS['last'] = new Leaving; }
    function leave_in_a_static_s_destructor() { Held::$held = new Leaving; }
    function hold_in_a_static() { Held::$held = new Noted('static'); }
    function hold_in_a_cycle() { $one = new Noted('cycle'); $one->self = $one; }
    function hold_in_shutdown() { $one = new Noted('bound'); at_end(function () use ($one) { note('shutdown'); }); }
    function hold_in_globals() { foreach ([1, 2, 3] as $number) { $GLOBALS["g$number"] = new Noted("$number"); } }
    function make() { foreach (range(1, 99) as $_) { Held::$held[] = new Noted('x'); } }
    function make_in_shutdown() { at_end('make'); }
    function leave_a_buffer_that_stays() { ob_start(null, 0, 0); echo 'kept'; }
    function leave_a_session() {
        session_save_path(dirname(getenv('NOTES'))); session_id('abc'); session_start(['use_cookies' => false]);
        $_SESSION['x'] = 5;
    }
    function leave_a_file() { Held::$held = gzopen(getenv('NOTES'), 'w'); gzwrite(Held::$held, 'text'); }
    function fork_and_return() { $GLOBALS['g'] = new Noted('g'); if (pcntl_fork() > 0) { pcntl_wait($status); } }
"""


@pytest.mark.parametrize(
    ("call", "status", "notes", "output"),
    [
        ("leave_in_shutdown", 5, "", ""),
        ("throw_in_shutdown", 255, "", "Uncaught Exception: late"),
        ("break_in_shutdown", 255, "", "late"),
        ("add_in_shutdown", 0, "1;2;3;", ""),
        ("leave_in_destructor", 7, "leaves;", ""),
        ("leave_in_a_static_s_destructor", 7, "leaves;", ""),
        ("hold_in_a_static", 0, "static;", ""),
        ("hold_in_a_cycle", 0, "cycle;", ""),
        ("hold_in_shutdown", 0, "shutdown;bound;", ""),
        ("hold_in_globals", 0, "3;2;1;", ""),
        ("make_in_shutdown", 0, "x;" * 99, ""),
        ("leave_a_buffer_that_stays", 0, "", "kept"),
        ("fork_and_return", 0, "g;g;", ""),
    ],
)
def test_a_job_ends_as_in_a_php_of_its_own(
    ending_jobs: ZygoteProcess, tmp_path: Path, call: str, status: int, notes: str, output: str
) -> None:
    ending = ending_jobs.run(call=call, timeout=10.0, env={"NOTES": f"{tmp_path}/notes"})
    assert (ending["reason"], ending["status"]) == ("exit", status)
    assert output in ending["tail"].decode()
    assert ((tmp_path / "notes").read_text() if (tmp_path / "notes").exists() else "") == notes


def test_what_a_job_leaves_open_is_written(ending_jobs: ZygoteProcess, tmp_path: Path) -> None:
    env = {"NOTES": f"{tmp_path}/notes"}
    assert ending_jobs.run(call="leave_a_file", env=env)["status"] == 0
    assert gzip.decompress((tmp_path / "notes").read_bytes()) == b"text"
    assert ending_jobs.run(call="leave_a_session", env=env)["status"] == 0
    assert (tmp_path / "sess_abc").read_text() == "x|i:5;"


def test_a_job_sees_no_error_of_the_template_s(ending_jobs: ZygoteProcess) -> None:
    assert result(ending_jobs.run(call="error_get_last")) is None


def test_each_job_has_its_own_random_numbers(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, "mt_srand(1); mt_rand();")
    process.wait_for("template", None)
    assert len({result(process.run(call="mt_rand")) for _ in range(5)}) == 5


def test_what_one_job_changes_the_next_does_not_see(start: Start, tmp_path: Path) -> None:
    process = start(
        tmp_path, "class Counter { static int $count = 0; static function up() { return ++self::$count; } }"
    )
    process.wait_for("template", None)
    assert [result(process.run(call="Counter::up")) for _ in range(3)] == [1, 1, 1]


def test_what_changed_on_the_disk_is_what_no_job_runs(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path)
    process.wait_for("template", None)
    assert result(process.run(call=J + "add", args=[1, 2])) == 3
    (tmp_path / "bootstrap.php").write_text("<?php function another(): int { return 7; }")
    eventually(lambda: is_stale(process))


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    for release in ("r1", "r2"):
        (tmp_path / release).mkdir()
        file = tmp_path / release / "boot.php"
        file.write_text(f"<?php function release(): string {{ return '{release}'; }}")
        os.utime(file, (1, 1))
    (tmp_path / "current").symlink_to("r1")
    process = ZygoteProcess(record(cwd="/") | {"bootstrap": str(tmp_path / "current" / "boot.php")}, "", True)
    process.wait_for("template", None)
    assert result(process.run(call="release")) == "r1"
    (tmp_path / "next").symlink_to("r2")
    (tmp_path / "next").rename(tmp_path / "current")

    eventually(lambda: is_stale(process))
    process.stop()


def test_a_bootstrap_that_was_mended_has_a_template_again(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, "if (($argv[1] ?? '') === 'template') { exit; }", "no_patience_with_templates")
    process.in_spares = False
    assert "ended by exit()" in process.wait_for("template")[1]
    file = tmp_path / "bootstrap.php"
    file.write_text(f"<?php require '{record()['bootstrap']}';")
    os.utime(file, (1, 1))

    def is_forked() -> bool:
        return bool(result(process.run(call=J + "is_forked")))

    eventually(is_forked)


def test_a_folder_behind_a_link_that_leads_elsewhere_is_a_change(start: Start, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("1")
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
    process = start(tmp_path, cwd=str(tmp_path / "current"))
    process.wait_for("template", None)
    assert result(process.run(call=J + "add", args=[1, 2])) == 3
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(tmp_path / "current")
    number = process.start(call=J + "add", args=[1, 2])
    assert process.wait_for_one(["stale", number], ["exited", number])[0] == "stale"


def test_a_job_finds_out_for_itself_where_links_lead(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, "realpath('/proc/self/status');")
    process.wait_for("template", None)
    found = result(process.run(call="realpath", args=["/proc/self/status"]))
    assert found.split("/")[2] != str(template_of(process))


@pytest.mark.parametrize("handler", ["throw new ErrorException($message)", "return true"])
def test_a_handler_of_the_bootstrap_s_changes_nothing(start: Start, tmp_path: Path, handler: str) -> None:
    process = start(tmp_path, f"set_error_handler(function (int $level, string $message) {{ {handler}; }});")
    process.wait_for("template", None)
    ending = process.run(call=J + "add", args=[1, 2], cwd="/no/such/folder")
    assert (ending["status"], report(ending)["error"]["message"]) == (
        126, "cannot enter folder '/no/such/folder': No such file or directory",
    )  # fmt: skip


def test_a_file_that_changed_is_read_anew_also_where_opcache_is_on(start: Start, tmp_path: Path) -> None:
    php = tmp_path / "php"
    php.write_text(f'#!/bin/sh\nexec {PHP} -d opcache.enable_cli=1 "$@"\n')
    php.chmod(0o755)
    process = start(tmp_path, interpreter=str(php))
    process.wait_for("template", None)
    process.in_spares = False
    for number in (1, 2):
        (tmp_path / "next.php").write_text(f"<?php return {number};")
        os.utime(tmp_path / "next.php", (number, number))  # opcache takes nothing that is new
        (tmp_path / "next.php").rename(tmp_path / "late.php")
        assert result(process.run(call=J + "include_broken", args=[str(tmp_path / "late.php")])) == number


@pytest.mark.parametrize(("size", "is_forked"), [(4096, True), (100_000, True), (1_000_000, True), (2_000_000, False)])
def test_an_order_too_long_for_a_spare_has_a_php_of_its_own(
    start: Start, tmp_path: Path, size: int, is_forked: bool
) -> None:
    process = start(tmp_path)
    process.wait_for("template", None)
    eventually(lambda: len(process.spares()) == 3)
    before = process.spares()
    pid, *told = result(process.run(call=J + "told", args=["x" * size]))
    assert (pid in before, told) == (is_forked, [size, "x"])


def test_what_the_job_starts_does_not_find_an_order_in_its_report(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path)
    process.wait_for("template", None)
    eventually(lambda: len(process.spares()) == 3)
    asked = ["php://fd/3", False, None, 0, 20_000]
    assert result(process.run(call="file_get_contents", args=asked, stdin=b"x" * 10_000)) == "\0" * 20_000


# Children that it has not named yet are no strays.


def test_spares_are_not_swept_with_what_ended_trees_leave(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path)
    process.wait_for("template", None)
    process.in_spares = False  # as fast as they come
    numbers = [process.start(call=J + "escape", args=[str(tmp_path / f"pid{number}")]) for number in range(60)]
    endings = [process.ending(number) for number in numbers]
    assert [ending["status"] for ending in endings] == [0] * 60
    assert sum(ending["survivors"] for ending in endings) >= 60


# How it may end.


@pytest.fixture
def stopped(start: Start, tmp_path: Path) -> tuple[ZygoteProcess, int]:
    """Give a zygote with three spares, and its template, which makes no more of them."""
    process = start(tmp_path)
    process.wait_for("template", None)
    template = template_of(process)
    eventually(lambda: len(process.spares()) == 3)
    os.kill(template, signal.SIGSTOP)
    process.in_spares = False
    return process, template


def test_what_waits_for_it_when_it_is_killed_is_begun_otherwise(stopped: tuple[ZygoteProcess, int]) -> None:
    process, template = stopped
    numbers = [process.start(call=J + "add", args=[number, 1]) for number in range(6)]
    assert result(process.ending(numbers[0])) == 1
    os.kill(template, signal.SIGKILL)
    assert [result(process.ending(number)) for number in numbers[1:]] == [2, 3, 4, 5, 6]
    assert "it has ended" in process.wait_for("template")[1]
    assert result(process.run(call=J + "add", args=[1, 2])) == 3


def test_an_attempt_that_waits_for_it_can_be_stopped(stopped: tuple[ZygoteProcess, int]) -> None:
    process, template = stopped
    numbers = [process.start(call=J + "nap") for number in range(4)]  # one more than there are spares
    process.tell("stop", [numbers[3], 1], "cancel")
    ending = process.ending(numbers[3])
    assert (ending["reason"], ending["started"], ending["status"]) == ("cancel", None, None)
    os.kill(template, signal.SIGCONT)


def test_it_goes_with_its_zygote(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path)
    process.wait_for("template", None)
    template = template_of(process)
    process.kill()
    eventually(lambda: not os.path.exists(f"/proc/{template}"), 10)
