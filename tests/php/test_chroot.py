"""A PHP-FPM pool in a chroot: the daemon's folders lie inside, its jobs run outside, where paths have other names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import CLIENT, needs_php
from .web import Web, fpm, needs_fpm

pytestmark = [
    needs_php,
    needs_fpm,
    pytest.mark.skipif(os.geteuid() != 0, reason="we are not root: PHP-FPM cannot chroot"),
]

_PAGE = """<?php
require '/client/autoload.php';
$job = (new Sidecar\\Client(%s))->submit('App\\where', timeout: 60);
echo json_encode([is_dir('/usr'), __DIR__, $job->ack%s]);
"""
_APP = "<?php namespace App; function where(): array { return [is_dir('/usr'), __DIR__, getcwd()]; }"


@pytest.fixture
def cage(daemon: Daemon) -> Path:
    """Give the folder that is `/` to the pages: in it are those, the client, the application, and the daemon's own."""
    shutil.copytree(CLIENT / "src", daemon.folder / "client" / "src")
    shutil.copytree(CLIENT / "bin", daemon.folder / "client" / "bin")
    shutil.copy(CLIENT / "autoload.php", daemon.folder / "client")
    for name in ("pages", "app"):
        (daemon.folder / name).mkdir()
    (daemon.folder / "app" / "app.php").write_text(_APP)
    return daemon.folder


@pytest.fixture
def web(cage: Path) -> Iterator[Web]:
    """Give a web server whose PHP sees nothing but the cage."""
    inside = {"SIDECAR_RUNTIME_DIR": "/run", "SIDECAR_STATE_DIR": "/state"}
    with fpm(inside, settings=f"chroot = {cage}", pages=cage / "pages", scripts="/pages", plain=False) as web:
        yield web


def heard(web: Web, cage: Path, client: str, further: str = "") -> Any:
    """Have a page submit with such a client, and return what it says."""
    (cage / "pages" / "hand.php").write_text(_PAGE % (client, further))
    return json.loads(web.get("hand"))


def as_documented(cage: Path) -> str:
    """Return what the client is made of: paths as they are outside."""
    worker = f"{cage}/client/bin/sidecar-php-worker"
    return f"bootstrap: '{cage}/app/app.php', runtime: ['worker' => '{worker}']"


def test_a_job_handed_off_in_a_chroot_runs_outside(cage: Path, web: Web) -> None:
    page = heard(web, cage, as_documented(cage), ", $job->result(60)")
    assert page == [False, "/pages", "sent", [True, f"{cage}/app", f"{cage}/app"]]


def test_with_the_paths_of_the_chroot_a_job_waits_for_what_is_not_there(cage: Path, web: Web, daemon: Daemon) -> None:
    assert heard(web, cage, "bootstrap: '/app/app.php'")[2] == "sent"
    eventually(lambda: "/client/bin/sidecar-php-worker is not there" in daemon.log(), 60)
    assert daemon.call("stats")["outcomes"]["succeeded"] == 0


def test_without_a_daemon_the_spool_in_the_chroot_takes_the_job(cage: Path, web: Web, daemon: Daemon) -> None:
    daemon.stop()
    assert heard(web, cage, as_documented(cage)) == [False, "/pages", "spooled"]
    daemon.start()
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 1, 60)
