"""clients/php/examples/wordpress: no visitor of a real WordPress waits for mail."""

from __future__ import annotations

import os
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from ..daemon_process import Daemon
from .test_example_callback import changed
from .web import SERVERS, Web, needs_fpm
from .wordpress import Shop, a_shop, a_wordpress, installed, needs_wordpress, outcomes, soon  # noqa: F401

pytestmark = [*needs_wordpress, needs_fpm]

HOST = {"Host": "shop.example.org"}  # that of our pages is no mail address to WordPress


def forgets_password(web: Web) -> tuple[int, str]:
    """Ask for a mail to Ann with which she can set another password."""
    headers = {**HOST, "Content-Type": "application/x-www-form-urlencoded"}
    return web.ask("POST", "wp-login", urlencode({"user_login": "ann"}).encode(), headers, "action=lostpassword")


@pytest.mark.parametrize("server", SERVERS)
def test_the_visitor_has_the_page_before_the_mail_is_sent(server: str, shop: Shop, daemon: Daemon) -> None:
    with shop.served(server) as web:
        status, page = forgets_password(web)
        assert (status, page) == (302, ""), page
        soon(lambda: daemon.call("stats")["states"].get("running") == 1)
        assert shop.mails() == []
        shop.open()
        [mail] = soon(shop.mails)
        assert "To: ann@example.org\n" in mail
        assert "action=rp" in mail
        soon(lambda: outcomes(daemon).get("succeeded") == 1)
        [job] = daemon.call("list", {})
        assert daemon.call("logs", job["id"])["output"] == b""
        assert web.log().count("sidecar:") == 0


@pytest.mark.parametrize("server", SERVERS)
def test_without_the_plugin_the_visitor_waits_for_the_mail_server(server: str, shop: Shop) -> None:
    shop.plugin.unlink()
    with shop.served(server) as web, ThreadPoolExecutor(1) as visitor:
        answer = visitor.submit(forgets_password, web)
        with pytest.raises(TimeoutError):
            answer.result(1)
        shop.open()
        assert answer.result(30)[0] == 302


@pytest.mark.parametrize("server", SERVERS)
def test_without_a_daemon_the_page_sends_the_mail_and_shows_nothing_of_it(
    server: str, shop: Shop, daemon: Daemon
) -> None:
    daemon.stop()
    shop.open()
    with shop.served(server) as web:
        assert forgets_password(web) == (302, "")
        [mail] = shop.mails()
        assert "To: ann@example.org\n" in mail
        assert "sidecar: a mail is sent by the page: cannot reach sidecar" in web.log()
    daemon.start()
    assert daemon.call("stats")["counters"]["spool"] == 0  # and it is not sent once more


def test_a_daemon_that_does_not_answer_costs_no_mail(shop: Shop, daemon: Daemon) -> None:
    shop.open()
    with shop.served() as web:
        assert forgets_password(web) == (302, "")
        assert soon(shop.mails)
        stopped = daemon.pids()["daemon"]
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert forgets_password(web) == (302, "")
            assert len(shop.mails()) == 2
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert "sidecar: a mail is sent by the page: cannot submit: no answer" in web.log()


@pytest.mark.parametrize(
    "filters", ["add_filter('wp_mail', '__return_null')", "add_filter('sidecar_mail', '__return_false')"]
)
def test_filters_may_keep_a_mail_on_the_page(filters: str, shop: Shop, daemon: Daemon) -> None:
    shop.site.plugin("shop", f"{filters};")
    shop.open()
    with shop.served() as web:
        assert forgets_password(web) == (302, "")
        assert len(shop.mails()) == 1
    assert daemon.call("list", {}) == []


def test_without_its_client_the_plugin_lets_wordpress_be(shop: Shop, daemon: Daemon) -> None:
    shutil.rmtree(shop.plugin.parent / "sidecar")
    shop.open()
    with shop.served() as web:
        assert forgets_password(web) == (302, "")
        assert len(shop.mails()) == 1
        assert "PHP" not in web.log().replace("PHP 8", "")


def test_with_a_spool_that_mail_would_wait_for_a_daemon(shop: Shop, daemon: Daemon) -> None:
    changed(shop.plugin, "'on_unavailable' => 'throw'", "'on_unavailable' => 'spool'")
    daemon.stop()
    shop.open()
    with shop.served() as web:
        assert forgets_password(web) == (302, "")
        assert shop.mails() == []
    daemon.start()
    soon(shop.mails)


def test_a_mail_server_that_is_away_is_tried_again_later(shop: Shop, daemon: Daemon) -> None:
    shop.open()
    (shop.folder / "away").touch()
    with shop.served() as web:
        assert forgets_password(web) == (302, "")
        [job] = soon(lambda: [job for job in daemon.call("list", {}) if job["failures"]])
        error = daemon.call("status", job["id"])["error"]
        assert (job["state"], error["type"]) == ("scheduled", "RuntimeException")
        assert error["message"] == "Could not instantiate mail function."


DECORATED = """
add_filter('wp_mail', function ($mail) { $mail['message'] .= ' With a footer.'; return $mail; });
"""
ORDERED = """
$type = fn () => 'text/html';
$from = fn ($address) => 'orders.' . $address;
file_put_contents('{folder}/invoice.pdf', 'To pay: 12.50');
file_put_contents('{folder}/large.zip', str_repeat('x', (int) $_GET['large']));
add_filter('wp_mail_content_type', $type);
add_filter('wp_mail_from', $from);
$files = $_GET['large'] > 0 ? ['{folder}/invoice.pdf', '{folder}/large.zip'] : '{folder}/invoice.pdf';
var_dump(wp_mail('bob@example.org', 'Your order', '<b>Thanks</b>', "Reply-To: ann@example.org\\nX-Order: 7", $files));
remove_filter('wp_mail_content_type', $type);
remove_filter('wp_mail_from', $from);
unlink('{folder}/invoice.pdf');
unlink('{folder}/large.zip');
"""


def orders(shop: Shop, web: Web, large: int = 0) -> None:
    """Mail an invoice as plugins do: with filters that are there for this mail only, and a file that goes after it."""
    shop.site.plugin("shop", DECORATED)
    shop.site.page("order", ORDERED.replace("{folder}", str(shop.folder)))
    assert web.ask("GET", "order", headers=HOST, query=f"large={large}") == (200, "bool(true)\n")


def test_the_mail_is_what_the_page_would_have_sent(shop: Shop, daemon: Daemon) -> None:
    with shop.served() as web:
        orders(shop, web)
        shop.open()
        [mail] = soon(shop.mails)
        soon(lambda: outcomes(daemon).get("succeeded") == 1)
    assert list((shop.folder / "temp").iterdir()) == []
    head, _, body = mail.partition("\n\n")
    assert "From: WordPress <orders.wordpress@shop.example.org>" in head
    assert "Reply-To: ann@example.org" in head
    assert "X-Order: 7" in head
    assert "Content-Type: text/html" in body
    assert "<b>Thanks</b> With a footer.\n" in body
    assert "filename=invoice.pdf" in body
    assert "VG8gcGF5OiAxMi41MA==" in body
    shop.plugin.unlink()
    shop.mails(clear=True)
    with shop.served() as web:
        orders(shop, web)
    assert without_chance(shop.mails()[0]) == without_chance(mail)


def without_chance(mail: str) -> str:
    """Return a mail without its date and what is drawn by lot."""
    drawn = re.findall(r'boundary="b1_?([^"]+)"', mail)[0]
    return re.sub(r"^(Date|Message-ID): .*$", "", mail, flags=re.MULTILINE).replace(drawn, "")


@pytest.mark.parametrize(
    ("broken", "by", "lost"),
    [
        ("[$mail, filtered($mail['headers'])]", "[$mail, []]", "Content-Type: text/html"),
        ("    remove_all_filters('wp_mail');", "    ", "<b>Thanks</b> With a footer.\n"),
        ("$packed[] = [$key, basename($path), new Bytes((string) file_get_contents($path))];", "", "invoice.pdf"),
    ],
    ids=["filters of one mail", "filters of all", "attachments"],
)
def test_a_plugin_that_did_less_would_send_another_mail(broken: str, by: str, lost: str, shop: Shop) -> None:
    changed(shop.plugin, broken, by)
    with shop.served() as web:
        orders(shop, web)
        shop.open()
        [mail] = soon(shop.mails)
        assert lost not in mail


def test_a_job_knows_its_site_by_what_the_plugin_sends_along(shop: Shop, daemon: Daemon) -> None:
    changed(shop.plugin, "env: $env, ", "")
    shop.open()
    with shop.served() as web:
        forgets_password(web)
        [job] = soon(lambda: [job for job in daemon.call("list", {}) if job["failures"]])
        assert daemon.call("status", job["id"])["error"]["message"] == "Invalid address:  (From): wordpress@localhost"


def test_files_that_are_too_large_to_go_along_are_sent_by_the_page(shop: Shop, daemon: Daemon) -> None:
    shop.open()
    with shop.served() as web:
        orders(shop, web, large=2 * 1024 * 1024)
        [mail] = shop.mails()
        assert "filename=large.zip" in mail
        assert "large.zip is too large to go along" in web.log()
    assert daemon.call("stats")["counters"]["stream"] == 0
