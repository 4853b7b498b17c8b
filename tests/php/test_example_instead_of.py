"""clients/php/examples/instead-of: for each old technique, when its response ends and what is printed where.

The work of every page waits for a file that a test makes once it has seen the response, or that there is none yet. So
which of the two ended first is no matter of time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..conftest import StartDaemon
from ..daemon_process import Daemon
from ..waiting import eventually
from .script import CLIENT, PHP, needs_php, needs_sqlite, said
from .web import SERVERS, Web, needs_fpm, serving

pytestmark = needs_php

PAGES = CLIENT / "examples" / "instead-of"
NOT_YET = 0.5  # seconds without a byte, of a page whose work has begun


class Shop:
    """The pages, and the folder in which their work is seen."""

    def __init__(self, web: Web, folder: Path) -> None:
        self.web = web
        self.folder = folder

    def log(self) -> list[str]:
        """Return what was written down so far, without who it was."""
        file = self.folder / "log"
        return [line.split(" by ")[0] for line in file.read_text().splitlines()] if file.exists() else []

    def has_begun(self) -> None:
        """Wait until the report is being made: it waits for its figures."""
        eventually(lambda: "May begun" in self.log())
        assert "May made" not in self.log()

    def go_on(self) -> None:
        """Let the figures come."""
        (self.folder / "figures").touch()

    def is_made(self, times: int = 1) -> None:
        """Wait until the report is there."""
        eventually(lambda: self.log().count("May made") == times)


@contextmanager
def opened(server: str, daemon: Daemon, folder: Path) -> Iterator[Shop]:
    """Serve the pages; whatever waits in them goes on at the end."""
    with serving(server, {**daemon.variables, "SHOP_FOLDER": str(folder)}, PAGES) as web:
        shop = Shop(web, folder)
        try:
            yield shop
        finally:
            shop.go_on()


@pytest.fixture(params=SERVERS)
def shop(request: pytest.FixtureRequest, shared_daemon: Daemon, tmp_path: Path) -> Iterator[Shop]:
    """Serve the pages, under each of the web servers."""
    with opened(request.param, shared_daemon, tmp_path) as shop:
        yield shop


@pytest.fixture
def under_fpm(shared_daemon: Daemon, tmp_path: Path) -> Iterator[Shop]:
    """Serve the pages under PHP-FPM, whose workers are two."""
    with opened("fpm", shared_daemon, tmp_path) as shop:
        yield shop


@pytest.mark.parametrize("page", ["exec", "fork", "destructor", "shutdown", "queue", "finish"])
def test_ours_ends_its_response_before_the_work(page: str, shop: Shop) -> None:
    response = shop.web.begin(f"{page}/after")
    assert response.ended(20)
    shop.has_begun()
    shop.go_on()
    shop.is_made()
    pages = {
        "destructor": "ordered\nin a shutdown function\n",
        "finish": "ordered\nand everybody sees this\n",
    }
    text = response.rest()
    assert text.startswith("ordered ") if page == "exec" else text == pages.get(page, "ordered\n")


def test_exec_as_it_is_ends_its_response_before_the_work_too(shop: Shop) -> None:
    response = shop.web.begin("exec/before")
    shop.has_begun()
    assert response.ended(20)
    shop.go_on()
    shop.is_made()
    assert response.rest() == "ordered\n"


def test_a_destructor_keeps_the_browser_waiting_and_prints_on_the_page_after_everything(shop: Shop) -> None:
    response = shop.web.begin("destructor/before")
    shop.has_begun()
    assert not response.ended(NOT_YET)
    shop.go_on()
    assert response.rest() == "ordered\nin a shutdown function\nthe report of May\n"


def test_a_shutdown_function_keeps_the_browser_waiting_and_prints_on_the_page(shop: Shop) -> None:
    response = shop.web.begin("shutdown/before")
    shop.has_begun()
    assert not response.ended(NOT_YET)
    assert shop.log() == ["one visit more", "May begun"]
    shop.go_on()
    assert response.rest() == "ordered\nthe report of May\n"


def test_deferred_work_runs_after_the_response_and_prints_for_nobody(shop: Shop) -> None:
    response = shop.web.begin("shutdown/after")
    assert response.ended(20)
    shop.has_begun()
    eventually(lambda: "one visit more" in shop.log())
    assert response.rest() == "ordered\n"


@needs_fpm
@needs_sqlite
def test_finishing_the_request_keeps_the_visitor_s_next_page_waiting_and_the_worker_busy(under_fpm: Shop) -> None:
    first = under_fpm.web.begin("finish/before")
    assert first.ended(20)
    assert first.rest() == "ordered\n"
    under_fpm.has_begun()
    second = under_fpm.web.begin("finish/before")  # the same session, and the second of two workers
    assert not second.ended(NOT_YET)
    assert under_fpm.log() == ["May begun"]  # it has come as far as session_start
    third = under_fpm.web.begin("queue/before")  # anybody else's page
    assert not third.ended(NOT_YET)
    under_fpm.go_on()
    assert [second.rest(), third.rest()] == ["ordered\n", "ordered\n"]


@needs_fpm
@needs_sqlite
def test_with_ours_the_visitor_s_next_page_is_there_while_the_work_goes_on(under_fpm: Shop) -> None:
    for _ in range(3):
        assert under_fpm.web.get("finish/after") == "ordered\nand everybody sees this\n"
    assert under_fpm.web.get("queue/before") == "ordered\n"
    under_fpm.has_begun()
    under_fpm.go_on()
    under_fpm.is_made(3)


@pytest.mark.parametrize("server", SERVERS[1:])
def test_finishing_the_request_is_fatal_elsewhere(server: str, shared_daemon: Daemon, tmp_path: Path) -> None:
    with opened(server, shared_daemon, tmp_path) as shop:
        page = shop.web.ask("GET", "finish/before")[1]
        assert "undefined function fastcgi_finish_request" in page + shop.web.log()


@pytest.mark.parametrize("server", [SERVERS[0], SERVERS[2]])
def test_forking_is_fatal_in_a_page(server: str, shared_daemon: Daemon, tmp_path: Path) -> None:
    with opened(server, shared_daemon, tmp_path) as shop:
        assert "undefined function pcntl_fork" in shop.web.ask("GET", "fork/before")[1]


class Started:
    """One of the scripts on the command line, and what it writes."""

    def __init__(self, script: str, daemon: Daemon, folder: Path) -> None:
        assert PHP
        self.process = subprocess.Popen(
            [PHP, str(PAGES / script)], env={**daemon.env, "SHOP_FOLDER": str(folder)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def whole(self, seconds: float) -> str | None:
        """Return all that it writes; None: it is not over."""
        try:
            return self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            return None


def test_a_forked_child_prints_and_shuts_down_what_is_its_parent_s(shared_daemon: Daemon, tmp_path: Path) -> None:
    shop, script = Shop(Web(tmp_path), tmp_path), Started("fork/before.php", shared_daemon, tmp_path)
    shop.has_begun()
    assert script.process.wait(20) == 0  # the script has ended,
    assert script.whole(NOT_YET) is None  # and who reads its output waits for the child
    shop.go_on()
    assert script.whole(20) == "ordered\nordered\n"
    assert len([line for line in shop.log() if line.startswith("shutdown function")]) == 2


def test_ours_on_the_command_line_is_over_at_once_and_prints_once(shared_daemon: Daemon, tmp_path: Path) -> None:
    shop, script = Shop(Web(tmp_path), tmp_path), Started("fork/after.php", shared_daemon, tmp_path)
    assert script.whole(20) == "ordered\n"
    shop.has_begun()
    shop.go_on()
    shop.is_made()
    assert len([line for line in shop.log() if line.startswith("shutdown function")]) == 1


@needs_fpm
def test_exec_starts_as_many_at_once_as_are_asked_for_and_ours_as_many_as_may(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon(slots=2)
    with opened("fpm", daemon, tmp_path) as shop:
        for _ in range(5):
            shop.web.get("exec/before")
        eventually(lambda: shop.log() == ["May begun"] * 5)
        for _ in range(5):
            shop.web.get("exec/after")
        eventually(lambda: shop.log() == ["May begun"] * 7)
        assert daemon.call("stats")["queues"]["default"] == {"scheduled": 0, "queued": 3, "running": 2}
        shop.go_on()
        shop.is_made(10)
        eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 5)


@needs_fpm
def test_nobody_hears_of_what_exec_could_not_do_and_ours_says_why(
    under_fpm: Shop, shared_daemon: Daemon, tmp_path: Path
) -> None:
    status, said_before = under_fpm.web.ask("GET", "exec/before", query="month=Brumaire")
    assert (status, said_before) == (200, "ordered\n")
    _, said_after = under_fpm.web.ask("GET", "exec/after", query="month=Brumaire")
    id = said_after.split()[1]
    failed = eventually(lambda: shared_daemon.call("status", id)["failures"] and shared_daemon.call("status", id))
    assert failed["error"]["message"] == "ended with status 255"
    logs = f"say((new Client)->job('{id}')->logs());"  # of the newest attempt, which may have just begun
    eventually(lambda: "no month is called Brumaire" in said(logs, shared_daemon.variables))
    assert "Brumaire" not in under_fpm.web.log()
    shared_daemon.call("cancel", id)


@needs_sqlite
def test_a_queue_in_a_table_waits_for_its_cron_and_two_of_them_do_everything_twice(
    shop: Shop, shared_daemon: Daemon
) -> None:
    assert shop.web.get("queue/before") == "ordered\n"
    assert shop.log() == []  # for up to a minute
    crons = [Started("queue/cron.php", shared_daemon, shop.folder) for _ in range(2)]
    eventually(lambda: shop.log() == ["May begun"] * 2)
    shop.go_on()
    assert [cron.whole(20) for cron in crons] == ["", ""]
    assert shop.log().count("May made") == 2
