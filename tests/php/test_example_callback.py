"""clients/php/examples/callback: the provider has its 200 while the work waits, and each payment is booked once."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import CLIENT, needs_php, needs_sqlite
from .web import SERVERS, Web, serving

pytestmark = [needs_php, needs_sqlite]

PAGES = CLIENT / "examples" / "callback"
SECRET = "between us"


HAND_OFF = "$client->submit('Shop\\Payment::received', [$config['database'], $payment], timeout: 60, retries: 8);"
WORK_HERE = "Shop\\Payment::received($config['database'], $payment);"


def copied(folder: Path) -> Path:
    """Copy the example, for a test that breaks it."""
    shutil.copytree(PAGES, folder)
    changed(folder / "bootstrap.php", "__DIR__ . '/../../autoload.php'", f"'{CLIENT}/autoload.php'")
    return folder


def changed(file: Path, old: str, new: str) -> None:
    """Replace some text in a file, which must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


class Shop:
    """Server A, from its database to its page, and what server B does with it."""

    def __init__(self, web: Web, file: Path) -> None:
        self.web = web
        self.file = file

    def call_back(self, payment: object, secret: str = SECRET, page: str = "callback") -> tuple[int, str]:
        """Post a payment as the provider does."""
        body = json.dumps(payment).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Signature": signature, "Content-Type": "application/json"}
        return self.web.ask("POST", page, body, headers)

    def select(self, query: str) -> list[tuple[object, ...]]:
        """Look into the database; a table that is not there is an empty one."""
        with closing(sqlite3.connect(self.file)) as database:
            try:
                return database.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                assert "no such table" in str(error)
                return []

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Keep the job from its first write: whoever writes to the database waits meanwhile."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield
            database.execute("ROLLBACK")


@pytest.fixture(params=SERVERS)
def shop(request: pytest.FixtureRequest, daemon: Daemon, tmp_path: Path) -> Iterator[Shop]:
    """Give server A, under each of the web servers."""
    file = tmp_path / "shop.sqlite"
    env = {**daemon.variables, "SHOP_DATABASE": f"sqlite:{file}", "SHOP_SECRET": SECRET}
    with serving(request.param, env, PAGES) as web:
        yield Shop(web, file)


def payment(id: str) -> dict[str, object]:
    """Return a payment of this id."""
    return {"id": id, "order": 7, "cents": 1250}


def test_the_provider_has_its_answer_before_the_work_is_done(daemon: Daemon, shop: Shop) -> None:
    with shop.held_up():
        assert shop.call_back(payment("p-1")) == (200, "ok\n")
        eventually(lambda: daemon.call("stats")["states"].get("running") == 1)  # at once: no cron comes by
        assert shop.select("SELECT * FROM payments") == []
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 1)
    assert shop.select("SELECT * FROM payments") == [("p-1", 7, 1250)]
    [(order, process)] = shop.select("SELECT order_id, made_by FROM invoices")
    assert order == 7
    assert isinstance(process, int)
    assert not os.path.exists(f"/proc/{process}")  # it was a process of its own, and is gone


def test_a_callback_that_comes_three_times_is_worked_on_once(daemon: Daemon, shop: Shop) -> None:
    with shop.held_up():  # so that all three are there before the first is done
        assert [shop.call_back(payment("p-1")) for _ in range(3)] == [(200, "ok\n")] * 3
        assert shop.call_back(payment("p-2")) == (200, "ok\n")
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 4)
    assert shop.select("SELECT id FROM payments ORDER BY id") == [("p-1",), ("p-2",)]
    assert shop.select("SELECT count(*) FROM invoices") == [(2,)]


def test_without_a_daemon_the_answer_is_the_same_and_the_work_is_done_when_it_is_back(
    daemon: Daemon, shop: Shop
) -> None:
    daemon.stop()
    assert shop.call_back(payment("p-1")) == (200, "ok\n")
    assert shop.select("SELECT * FROM payments") == []
    daemon.start()
    eventually(lambda: shop.select("SELECT id FROM payments") == [("p-1",)])
    assert "PHP" not in shop.web.log().replace("PHP 8", "")


def test_a_job_that_was_killed_in_the_middle_is_done_after_all(daemon: Daemon, shop: Shop) -> None:
    with shop.held_up():
        assert shop.call_back(payment("p-1"))[0] == 200
        eventually(lambda: daemon.call("stats")["states"].get("running") == 1)
        daemon.kill()
    daemon.start()
    eventually(lambda: shop.select("SELECT id FROM payments") == [("p-1",)])
    assert shop.select("SELECT count(*) FROM invoices") == [(1,)]


def test_what_is_not_from_the_provider_is_refused_and_nothing_is_done(daemon: Daemon, shop: Shop) -> None:
    assert shop.call_back(payment("p-1"), "guessed") == (403, "the signature is not ours\n")
    assert shop.call_back(["no", "payment"]) == (422, "a payment has id, order and cents\n")
    assert daemon.call("stats")["counters"]["datagrams"] == 0


@pytest.mark.parametrize("server", SERVERS)
def test_the_same_page_with_the_work_in_it_keeps_the_provider_waiting(server: str, tmp_path: Path) -> None:
    pages = copied(tmp_path / "pages")
    changed(pages / "callback.php", HAND_OFF, WORK_HERE)
    with serving(server, {"SHOP_DATABASE": f"sqlite:{tmp_path}/shop.sqlite", "SHOP_SECRET": SECRET}, pages) as web:
        shop = Shop(web, tmp_path / "shop.sqlite")
        with ThreadPoolExecutor(1) as provider:
            with shop.held_up():
                answer = provider.submit(shop.call_back, payment("p-1"))
                with pytest.raises(TimeoutError):
                    answer.result(0.5)
            assert answer.result(30) == (200, "ok\n")


def test_without_the_key_each_callback_is_another_payment(daemon: Daemon, tmp_path: Path) -> None:
    pages = copied(tmp_path / "pages")
    changed(pages / "Payment.php", "id TEXT PRIMARY KEY", "id TEXT")
    env = {**daemon.variables, "SHOP_DATABASE": f"sqlite:{tmp_path}/shop.sqlite", "SHOP_SECRET": SECRET}
    with serving("built_in", env, pages) as web:
        shop = Shop(web, tmp_path / "shop.sqlite")
        assert [shop.call_back(payment("p-1"))[0] for _ in range(3)] == [200] * 3
        eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 3)
        assert shop.select("SELECT count(*) FROM payments") == [(3,)]
