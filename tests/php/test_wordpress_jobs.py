"""Jobs with a real wp-load.php: its constructor connects to MariaDB, so each has a php and a connection of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import said
from .wordpress import WordPress, a_wordpress, installed, needs_wordpress  # noqa: F401

pytestmark = needs_wordpress

SHOP = """
function shop_connection(string $folder = ''): array {
    global $wpdb;
    $id = (int) $wpdb->get_var('SELECT CONNECTION_ID()');
    if ($folder !== '') {
        touch("{$folder}/at-{$id}");
        while (!file_exists("{$folder}/go")) { usleep(10000); }
    }
    return ['id' => $id, 'again' => (int) $wpdb->get_var('SELECT CONNECTION_ID()'),
        'name' => get_option('blogname'), 'process' => getmypid()];
}
function shop_connected(): array {
    $GLOBALS['wpdb']->db_connect();
    return shop_connection();
}
"""
# The same application, but with nothing open when it is forked from.
CLOSING = "<?php require '{folder}/wp-load.php'; $wpdb->close();"
THREE = """
    $jobs = [];
    foreach (range(1, 3) as $_) {
        $job = $client->submit('%s');
        $jobs[] = ['result' => $job->result(60), 'id' => $job->id];
    }
    say($jobs);
"""


def asked(daemon: Daemon, bootstrap: Path, code: str) -> Any:
    """Run a few lines with a client whose jobs have this bootstrap."""
    return said(f"$client = new Client(bootstrap: '{bootstrap}');\n{code}", daemon.variables)


def cold(daemon: Daemon, job: dict[str, Any]) -> str | None:
    """Return why the job had to load its application."""
    why: str | None = daemon.call("status", job["id"])["cold"]
    return why


def test_wordpress_has_a_fresh_php_for_each_job_and_the_status_says_why(daemon: Daemon, wordpress: WordPress) -> None:
    wordpress.plugin("shop", SHOP)
    jobs = asked(daemon, wordpress.folder / "wp-load.php", THREE % "shop_connection")
    results = [job["result"] for job in jobs]
    assert [result["name"] for result in results] == ["Shop"] * 3
    assert len({result["process"] for result in results}) == 3
    assert len({result["id"] for result in results}) == 3
    eventually(lambda: cold(daemon, jobs[0]))  # a template was tried meanwhile
    for job in jobs:
        assert "starts a php and loads the application: its bootstrap leaves open: socket, a connection" in (
            cold(daemon, job) or ""
        )


def test_a_job_goes_on_with_its_connection_when_others_have_ended(
    daemon: Daemon, wordpress: WordPress, tmp_path: Path
) -> None:
    wordpress.plugin("shop", SHOP)
    ask = f"""
        $held = $client->submit('shop_connection', ['{tmp_path}']);
        while (glob('{tmp_path}/at-*') === []) {{ usleep(10000); }}
        $ended = array_map(fn () => $client->submit('shop_connection')->result(60)['id'], range(1, 3));
        touch('{tmp_path}/go');
        say([$held->result(60), $ended]);
    """
    held, ended = asked(daemon, wordpress.folder / "wp-load.php", ask)
    assert held["again"] == held["id"]
    assert len({held["id"], *ended}) == 4


def test_without_its_connection_the_same_wordpress_is_forked_from(
    daemon: Daemon, wordpress: WordPress, tmp_path: Path
) -> None:
    wordpress.plugin("shop", SHOP)
    bootstrap = tmp_path / "closing.php"
    bootstrap.write_text(CLOSING.format(folder=wordpress.folder))
    jobs = asked(daemon, bootstrap, THREE % "shop_connected")
    assert len({job["result"]["id"] for job in jobs}) == 3
    assert [cold(daemon, job) for job in jobs] == [None] * 3
    assert "a fresh php" not in daemon.log()


def test_a_client_in_wordpress_knows_that_its_jobs_need_wordpress(
    daemon: Daemon, wordpress: WordPress, tmp_path: Path
) -> None:
    wordpress.plugin("shop", SHOP)
    ask = f"""
        (function (): void {{ // which turns the notices of our scripts into exceptions
            restore_error_handler();
            require '{wordpress.folder}/wp-load.php';
        }})();
        namespace_of_a_plugin_with_composer();
        say((new Client())->submit('shop_connection')->result(60)['name']);
    """
    composer = f"""
        function namespace_of_a_plugin_with_composer(): void {{
            eval('namespace Composer\\Autoload; class ClassLoader {{
                static function getRegisteredLoaders(): array {{ return ["{tmp_path}/vendor" => null]; }} }}');
        }}
    """
    assert said(composer + ask, daemon.variables) == "Shop"
