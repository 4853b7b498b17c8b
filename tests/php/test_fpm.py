"""The PHP client in a web request: what is kept from one to the next, what a page never shows, when a response ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import CLIENT, needs_php
from .web import Over, Web, built_in, fpm, needs_fpm

pytestmark = [needs_php, needs_fpm]

_HAND_OFF = """
    $ack = (new Client)->run(['true'])->ack;
    $open = [];
    foreach (glob('/proc/self/fd/*') as $fd) {
        $name = is_link($fd) ? readlink($fd) : '';
        if (str_starts_with($name, 'socket:')) { $open[] = $name; }
    }
    say([$ack, getmypid(), count($open), $open]);
"""


@pytest.fixture
def web(daemon: Daemon) -> Iterator[Web]:
    """Give a web server whose one worker hands off to the daemon."""
    with fpm(daemon.variables) as web:
        yield web


def heard(web: Web, name: str) -> Any:
    """Fetch a page that says one thing; a warning in it would not be JSON."""
    return json.loads(web.get(name))


def test_the_socket_is_kept_from_one_request_to_the_next(daemon: Daemon, web: Web) -> None:
    web.page("hand", _HAND_OFF)
    first, second, third = (heard(web, "hand") for _ in range(3))
    assert [first[0], first[1]] == [second[0], second[1]] == [third[0], third[1]] == ["sent", first[1]]
    kept = set(first[3]) & set(second[3]) & set(third[3])
    assert first[2] == second[2] == third[2]
    assert len(kept) == first[2] - 1  # all but the connection of the web server, which is another for each request
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 3)


def test_a_page_that_hands_off_loads_the_files_that_are_not_looked_for_first_and_no_others(web: Web) -> None:
    web.page("files", "(new Client)->submit('strlen', ['x']); say(get_included_files());")
    text = (CLIENT / "autoload.php").read_text()
    known = re.findall(r"'(\w+)'", text[text.index("in_array(") : text.index("], true)")])
    assert len(known) > 5
    _, _, functions, *classes = heard(web, "files")
    assert sorted(classes) == [f"{CLIENT}/src/{name}.php" for name in sorted(known)]
    assert functions == f"{CLIENT}/src/functions.php"


def test_a_daemon_that_was_replaced_is_found_again_and_the_page_says_nothing_of_it(daemon: Daemon, web: Web) -> None:
    web.page("hand", _HAND_OFF)
    assert heard(web, "hand")[0] == "sent"
    for _ in range(2):
        daemon.stop()
        daemon.start()
        assert heard(web, "hand")[0] == "sent"
        assert heard(web, "hand")[0] == "sent"
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 5)
    assert "PHP" not in web.log()


def test_without_a_daemon_the_page_is_answered_and_its_job_is_done_later(daemon: Daemon, web: Web) -> None:
    web.page("hand", _HAND_OFF)
    assert heard(web, "hand")[0] == "sent"
    daemon.stop()
    assert heard(web, "hand")[0] == "spooled"
    daemon.start()
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 2)
    assert "PHP" not in web.log()


def test_open_basedir_does_not_keep_the_client_from_the_daemon(daemon: Daemon) -> None:
    client = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/clients"
    with fpm(daemon.variables) as web:
        cage = f"ini_set('open_basedir', '{client}:{web.folder}/pages');"
        page = "$client = new Client; $job = $client->run(['true'], ack: 'stored');"
        web.page("caged", cage + page + "say([$job->ack, $client->run(['true'])->ack, $job->wait(20)->outcome]);")
        assert heard(web, "caged") == ["stored", "sent", "succeeded"]


def test_the_records_of_a_web_request_name_the_command_line_s_php(daemon: Daemon, web: Web) -> None:
    web.page("record", "say(Sidecar\\Msgpack::decode(Sidecar\\Runtime::record(null, '/srv/app/vendor/autoload.php')));")
    record = heard(web, "record")
    assert record["kind"] == "php"
    assert os.path.basename(record["interpreter"]).startswith("php")
    assert "fpm" not in record["interpreter"]
    assert os.access(record["interpreter"], os.X_OK)
    assert (record["bootstrap"], record["cwd"]) == ("/srv/app/vendor/autoload.php", "/srv/app")


def test_the_records_of_php_s_own_server_are_the_same_in_every_folder_of_pages() -> None:
    with built_in({}) as web:
        page = "$record = Sidecar\\Msgpack::decode(Sidecar\\Runtime::record(null, null)); say([getcwd(), $record]);"
        (web.folder / "pages" / "below").mkdir()
        for name in ("record", "below/record"):
            web.page(name, page)
        [[one, first], [other, second]] = [heard(web, name) for name in ("record", "below/record")]
    assert one != other
    assert first == second


_LATE = """
    echo 'page';
    $how = Response::finish();
    $again = Response::finish();
    echo 'never seen';
    $until = microtime(true) + 30;
    while (!file_exists($_SERVER['DOCUMENT_ROOT'] . '/go') && microtime(true) < $until) {
        usleep(5000);
        clearstatcache();
    }
    file_put_contents($_SERVER['DOCUMENT_ROOT'] . '/how', json_encode([$how, $again, connection_status()]));
"""


def test_the_response_ends_and_the_script_goes_on(web: Web) -> None:
    web.page("late", _LATE)
    assert web.get("late") == "page"  # while the script waits for what comes next
    (web.folder / "pages" / "go").touch()
    eventually(lambda: (web.folder / "pages" / "how").exists() and (web.folder / "pages" / "how").read_text())
    assert json.loads((web.folder / "pages" / "how").read_text()) == ["finished", "finished", 0]


def test_without_its_end_the_response_waits_for_the_script(web: Web) -> None:
    web.page("late", _LATE.replace("Response::finish()", "''"))
    connection = Over(web.folder / "http.sock")
    connection.request("GET", "/late.php")
    connection.sock.settimeout(0.5)
    with pytest.raises(socket.timeout):
        connection.getresponse().read()
    (web.folder / "pages" / "go").touch()
    connection.close()


def test_deferred_work_runs_after_the_response(web: Web) -> None:
    web.page("late", "Deferred::add(function () {" + _LATE.replace("echo 'page';", "") + "}); echo 'page';")
    assert web.get("late") == "page"
    (web.folder / "pages" / "go").touch()
    eventually(lambda: (web.folder / "pages" / "how").exists() and (web.folder / "pages" / "how").read_text())
    assert json.loads((web.folder / "pages" / "how").read_text())[0] == "finished"


@pytest.mark.parametrize(
    ("buffers", "how", "body"),
    [("ob_start();", "sent", "page"), ("ob_start(); ob_start();", "sent", "page"), ("", "open", "pagenever seen")],
)
def test_php_s_own_server_sends_the_page_before_the_script_ends(
    buffers: str, how: str, body: str, daemon: Daemon
) -> None:
    with built_in(daemon.variables) as web:
        web.page("late", buffers + _LATE)
        with socket.create_connection(("127.0.0.1", web.port), 30) as connection:
            connection.sendall(b"GET /late.php HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while b"\r\n\r\npage" not in got:  # the script goes on for as long as it is not told
                data = connection.recv(4096)
                assert data, got
                got += data
            (web.folder / "pages" / "go").touch()
            while data := connection.recv(4096):
                got += data
        head, _, text = got.decode().partition("\r\n\r\n")
        assert text == body
        assert ("Content-Length: 4" in head) == (how == "sent")
        eventually(lambda: (web.folder / "pages" / "how").exists() and (web.folder / "pages" / "how").read_text())
        assert json.loads((web.folder / "pages" / "how").read_text()) == [how, how, 0]


@pytest.mark.parametrize(("code", "has_length"), [(204, False), (304, False), (202, True)])
def test_a_response_without_a_body_has_no_length(code: int, has_length: bool, daemon: Daemon) -> None:
    with built_in(daemon.variables) as web:
        web.page("empty", f"ob_start(); http_response_code({code}); Response::finish();")
        connection = web.connection()
        connection.request("GET", "/empty.php")
        response = connection.getresponse()
        assert (response.status, response.getheader("Content-Length") is not None) == (code, has_length)
        connection.close()


def test_the_session_is_closed_before_the_work_begins(web: Web) -> None:
    session = f"session_save_path('{web.folder}/tmp'); session_id('one'); session_start();"
    with fpm({}, workers=2) as two:
        two.page("late", session + "$_SESSION['seen'] = 1;" + _LATE)
        two.page("next", session + "say($_SESSION['seen']);")
        assert two.get("late") == "page"
        assert heard(two, "next") == 1  # the other worker has it, though the first script goes on
        (two.folder / "pages" / "go").touch()
        eventually(lambda: (two.folder / "pages" / "how").exists())


def test_a_stopped_daemon_does_not_hold_up_a_page(daemon: Daemon, web: Web) -> None:
    web.page("many", "for ($n = 0; $n < 14; $n++) { $acks[] = (new Client)->run(['true'])->ack; } say($acks);")
    pid = daemon.call("ping")["pids"]["daemon"]
    os.kill(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        acks = heard(web, "many")
        took = time.monotonic() - before
    finally:
        os.kill(pid, signal.SIGCONT)
    assert acks.count("sent") >= 10
    assert acks.count("sent") + acks.count("spooled") == 14
    assert took < 10  # four deadlines of a quarter of a second; without one it would be for ever
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 14)
