"""The PHP client under Apache's own module: the hand-off, and the page that is whole before its script has ended."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import needs_php
from .web import Web, mod_php, needs_mod_php

pytestmark = [needs_php, needs_mod_php]

_LATE = """
    ob_start();
    echo str_repeat('page ', 100);
    $how = Response::finish();
    echo 'never seen';
    for ($until = microtime(true) + 30; !file_exists(__DIR__ . '/go') && microtime(true) < $until; clearstatcache()) {
        usleep(5000);
    }
    file_put_contents(__DIR__ . '/how', json_encode([$how, Response::finish(), connection_status()]));
"""


@pytest.fixture
def web(daemon: Daemon) -> Iterator[Web]:
    """Give a server that hands off to the daemon."""
    with mod_php(daemon.variables) as web:
        yield web


def test_a_page_hands_off_and_waits_and_the_next_one_finds_a_daemon_that_was_replaced(daemon: Daemon, web: Web) -> None:
    page = "$client = new Client; say([$client->run(['true'])->ack, $client->run(['true'])->wait(20)->outcome]);"
    web.page("hand", page)
    assert json.loads(web.get("hand")) == ["sent", "succeeded"]
    daemon.restart()
    assert json.loads(web.get("hand")) == ["sent", "succeeded"]
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 4)


@pytest.mark.parametrize("accepts", ["identity", "gzip", "gzip, br"])
def test_the_browser_has_the_page_before_the_script_ends_also_where_pages_are_compressed(
    accepts: str, web: Web
) -> None:
    web.page("late", _LATE)
    response = web.begin("late", f"Accept-Encoding: {accepts}\r\n")
    assert response.ended(20), response.head
    assert not (web.folder / "pages" / "how").exists()
    (web.folder / "pages" / "go").touch()
    assert response.rest() == "page " * 100
    eventually(lambda: (web.folder / "pages" / "how").exists() and (web.folder / "pages" / "how").read_text())
    assert json.loads((web.folder / "pages" / "how").read_text()) == ["sent", "sent", 0]


def test_pages_are_compressed_otherwise(web: Web) -> None:
    web.page("plain", "echo str_repeat('page ', 100);")
    response = web.begin("plain", "Accept-Encoding: gzip\r\n")
    assert response.ended(20)
    assert "Content-Encoding: gzip" in response.head


def test_without_its_end_the_response_waits_for_the_script(web: Web) -> None:
    web.page("late", _LATE.replace("Response::finish()", "''"))
    response = web.begin("late")
    assert not response.ended(0.5)
    (web.folder / "pages" / "go").touch()
    assert "never seen" in response.rest()
