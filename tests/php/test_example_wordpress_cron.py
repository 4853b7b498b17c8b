"""clients/php/examples/wordpress: no visitor of a real WordPress waits for cron."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ..daemon_process import Daemon
from .test_example_callback import changed
from .web import SERVERS, Web, needs_fpm, needs_mod_php
from .wordpress import Shop, a_shop, a_wordpress, installed, needs_wordpress, outcomes, soon  # noqa: F401

pytestmark = [*needs_wordpress, needs_fpm]

EVENTS = """
add_filter('cron_schedules', fn ($all) => $all + ['often' => ['interval' => 1, 'display' => 'often']]);
add_action('shop_event', function ($name) {
    file_put_contents('{folder}/events', "{$name} " . PHP_SAPI . ' ' . getmypid() . "\\n", FILE_APPEND | LOCK_EX);
});
add_action('shop_long_event', function () {
    touch('{folder}/begun');
    while (!file_exists('{folder}/go')) { usleep(10000); }
    do_action('shop_event', 'long');
});
"""


OVERDUE = """
remove_all_actions('update_option_cron');
wp_schedule_single_event(time() - %d, 'shop_event', ['old']);
"""


# A machine that takes its time between looking at the lock and locking.
SLOW = "add_filter('pre_set_transient_doing_cron', function ($value) { usleep(500_000); return $value; });"


class Events:
    """Events of the shop, and who ran them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._file = shop.folder / "events"
        shop.site.plugin("shop", EVENTS.replace("{folder}", str(shop.folder)))
        shop.site.page("index", "echo 'Welcome';")

    def schedule(self, web: Web, *calls: str) -> None:
        """Have a page schedule events."""
        lines = "".join(f"var_dump(wp_schedule_{call});" for call in calls)
        self.shop.site.page("schedule", lines)
        assert web.get("schedule") == "bool(true)\n" * len(calls)

    def overdue(self, seconds: int) -> None:
        """Have an event that is due since then, of which nobody knows."""
        self.shop.site.run(OVERDUE % seconds)

    def seen(self) -> list[list[str]]:
        """Return name, SAPI and process of each that ran."""
        return [line.split() for line in self._file.read_text().splitlines()] if self._file.exists() else []


def passed(seconds: float) -> None:
    """Wait for an instant, for there is nothing else to be seen of a thing that does not happen."""
    soon(lambda: time.time() > seconds)


@pytest.mark.parametrize("server", SERVERS)
def test_an_event_runs_at_its_time_though_nobody_visits(server: str, shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    with shop.served(server) as web:
        at = int(time.time()) + 2
        events.schedule(web, f"single_event({at}, 'shop_event', ['once'])")
        assert [job["due"] for job in daemon.call("list", {"state": "scheduled"})] == [at]
        [[name, sapi, _]] = soon(events.seen)
        assert (name, sapi) == ("once", "cli")
        assert at <= time.time()
        soon(lambda: outcomes(daemon).get("succeeded") == 1)
        [job] = daemon.call("list", {})
        assert daemon.call("logs", job["id"])["output"] == b""
        assert 0 <= job["started"] - at < 5


def test_an_event_that_recurs_is_run_again_and_again(shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    with shop.served() as web:
        events.schedule(web, f"event({int(time.time())}, 'often', 'shop_event', ['often'])")
        soon(lambda: len(events.seen()) >= 3)
        assert len({process for *_, process in events.seen()}) == len(events.seen())


@needs_mod_php
def test_without_the_plugin_an_event_waits_for_a_visitor(shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    shop.plugin.unlink()
    with shop.served("mod_php") as web:
        at = int(time.time()) + 3  # what this visit itself may have run is done by then
        events.schedule(web, f"single_event({at}, 'shop_event', ['once'])")
        passed(at + 2)
        assert events.seen() == []
        assert web.get("index") == "Welcome"
        [[name, sapi, _]] = soon(events.seen)
        assert (name, sapi) == ("once", "apache2handler")


WRITES_LATER = """
wp_schedule_single_event(time(), 'shop_long_event');
for ($until = microtime(true) + 3; !file_exists('{folder}/begun') && microtime(true) < $until;) { usleep(10000); }
echo file_exists('{folder}/begun') ? 'begun' : 'not begun';
"""


@pytest.mark.parametrize(
    ("condition", "said"), [("$instant > time()", "not begun"), ("true", "begun")], ids=["ours", "sooner"]
)
def test_an_event_that_is_due_begins_when_its_page_has_ended(
    condition: str, said: str, shop: Shop, daemon: Daemon
) -> None:
    events = Events(shop)
    changed(shop.plugin, "if ($instant > time())", f"if ({condition})")
    shop.site.page("later", WRITES_LATER.replace("{folder}", str(shop.folder)))
    (shop.folder / "go").touch()
    with shop.served() as web:
        assert web.get("later") == said
        soon(events.seen)


def test_events_that_become_due_while_another_runs_are_run_after_it(shop: Shop, daemon: Daemon) -> None:
    events = while_another_runs(shop, daemon)
    soon(lambda: [name for name, *_ in events.seen()] == ["long", "short"])


def test_else_they_would_find_it_locked_and_wait_for_a_visitor(shop: Shop, daemon: Daemon) -> None:
    changed(shop.plugin, "add_action('shutdown', handOffRest(...));", "")
    events = while_another_runs(shop, daemon)
    soon(lambda: outcomes(daemon).get("succeeded") == 2)
    assert [name for name, *_ in events.seen()] == ["long"]


def while_another_runs(shop: Shop, daemon: Daemon) -> Events:
    """Have an event come and go while another one, with the lock, is at work."""
    events = Events(shop)
    with shop.served() as web:
        events.schedule(web, "single_event(time(), 'shop_long_event')")
        soon(lambda: (shop.folder / "begun").exists())
        events.schedule(web, "single_event(time() + 1, 'shop_event', ['short'])")
        soon(lambda: outcomes(daemon).get("succeeded") == 1)
        assert events.seen() == []
        (shop.folder / "go").touch()
    return events


def test_events_from_before_the_plugin_are_handed_off_by_the_next_visitor(shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    events.overdue(61)
    with shop.served() as web:
        assert [web.get("index") for _ in range(5)] == ["Welcome"] * 5
        [[name, sapi, _]] = soon(events.seen)
        assert (name, sapi) == ("old", "cli")
        assert len(daemon.call("list", {})) == 1


def test_else_nobody_would_know_of_them(shop: Shop, daemon: Daemon) -> None:
    changed(shop.plugin, "add_action('wp_loaded', lookForOverdue(...), 20);", "")
    Events(shop).overdue(61)
    with shop.served() as web:
        assert web.get("index") == "Welcome"
        assert daemon.call("list", {}) == []


def test_a_run_whose_lock_is_held_by_nobody_is_followed_by_another(shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    shop.site.run("set_transient('doing_cron', sprintf('%.22F', microtime(true)));")  # and it dies
    with shop.served() as web:
        now = int(time.time())
        events.schedule(
            web, f"single_event({now + 1}, 'shop_event', ['one'])", f"single_event({now + 2}, 'shop_event', ['two'])"
        )
        soon(lambda: outcomes(daemon).get("succeeded") == 2)
        assert events.seen() == []
        [job] = daemon.call("list", {"state": "scheduled"})  # not one for each
        assert 60 < job["due"] - now < 120


@pytest.mark.parametrize(("alone", "once"), [("beginAlone();", True), ("", False)], ids=["ours", "WordPress's"])
def test_runs_that_begin_at_once_run_no_event_twice(alone: str, once: bool, shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    changed(shop.plugin, "    beginAlone();\n", alone)
    shop.site.plugin("slow", SLOW)
    daemon.stop()
    with shop.served() as web:
        now = int(time.time())
        events.schedule(web, *(f"single_event({now - n}, 'shop_event', ['{n}'])" for n in range(3)))
    daemon.start()
    soon(lambda: outcomes(daemon).get("succeeded", 0) >= 3)
    assert ([name for name, *_ in events.seen()].count("2") == 1) is once


@needs_mod_php
def test_no_visitor_runs_what_the_daemon_is_about_to_run(shop: Shop, daemon: Daemon) -> None:
    events = Events(shop)
    events.overdue(10)
    with shop.served("mod_php") as web:
        assert web.get("index") == "Welcome"
        assert shop.site.run("echo get_transient('doing_cron') === false ? 'free' : 'locked';") == "free"
        assert daemon.call("list", {}) == []
    changed(shop.plugin, "remove_action('init', 'wp_cron');", "")
    with shop.served("mod_php") as web:
        assert web.get("index") == "Welcome"
        [[name, sapi, _]] = soon(events.seen)
        assert (name, sapi) == ("old", "apache2handler")


@needs_mod_php
def test_without_a_daemon_visitors_run_events_as_ever(shop: Shop, daemon: Daemon) -> None:
    daemon.stop()
    events = Events(shop)
    events.overdue(61)
    with shop.served("mod_php") as web:
        assert web.get("index") == "Welcome"
        [[name, sapi, _]] = soon(events.seen)
        assert (name, sapi) == ("old", "apache2handler")
        assert "sidecar: due events wait for a visitor: cannot reach sidecar" in web.log()


NETWORK = """
require ABSPATH . 'wp-admin/includes/upgrade.php';
foreach ($wpdb->tables('ms_global') as $table => $name) { $wpdb->$table = $name; }
install_network();
populate_network(1, 'localhost', 'ann@example.org', 'Shops', '/', false);
"""
IS_NETWORK = """define('MULTISITE', true);
define('SUBDOMAIN_INSTALL', false);
define('DOMAIN_CURRENT_SITE', 'localhost');
define('PATH_CURRENT_SITE', '/');
define('SITE_ID_CURRENT_SITE', 1);
define('BLOG_ID_CURRENT_SITE', 1);
$table_prefix"""
SECOND = (
    "$_SERVER = ['HTTP_HOST' => 'localhost', 'REMOTE_ADDR' => '127.0.0.1', 'REQUEST_URI' => '/second/'] + $_SERVER;"
)
NAMED = "function shop_name() { return get_option('blogname'); }"
IN_SECOND = """
switch_to_blog(2);
wp_schedule_single_event(time(), 'shop_event', [shop_name()]);
$job = SidecarWordPress\\client()->submit('shop_name');
restore_current_blog();
var_dump(shop_name(), $job->result(40));
"""


@pytest.mark.parametrize(
    ("client", "seen"), [("client: $here", ["Second"]), ("client: null", [])], ids=["ours", "of the page's site"]
)
def test_each_site_of_a_network_has_its_own_events_and_jobs(
    client: str, seen: list[str], shop: Shop, daemon: Daemon
) -> None:
    changed(shop.plugin, "client: $here", client)
    shop.plugin.rename(shop.folder / "plugin")
    shop.site.run(NETWORK)
    changed(shop.site.folder / "wp-config.php", "$table_prefix", IS_NETWORK)
    load, quiet = f"require '{shop.site.folder}/wp-load.php';", "define('DISABLE_WP_CRON', true);"
    shop.site.run(f"{SECOND} {quiet} {load} wpmu_create_blog('localhost', '/second/', 'Second', 1);", load=False)
    shop.site.run(f"{SECOND} {quiet} {load}", load=False)
    shop.site.run(f"{SECOND} require '{shop.site.folder}/wp-cron.php';", load=False)
    (shop.folder / "plugin").rename(shop.plugin)
    events = Events(shop)
    shop.site.plugin("named", NAMED)
    shop.site.page("second", IN_SECOND)
    with shop.served() as web:
        assert web.get("second") == 'string(4) "Shop"\nstring(6) "Second"\n'
        soon(lambda: runs(daemon) and not unfinished(daemon))
    assert [name for name, *_ in events.seen()] == seen


def runs(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the runs of wp-cron.php."""
    found: list[dict[str, Any]] = daemon.call("list", {"queue": "wordpress-cron"})
    return found


def unfinished(daemon: Daemon) -> list[dict[str, Any]]:
    """Return those that begin by now, and are not done."""
    return [job for job in runs(daemon) if job["state"] != "done" and job["due"] < time.time() + 5]
