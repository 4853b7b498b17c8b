"""clients/php/examples/plain: the visitor is sent on while the mail server takes its time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .script import CLIENT, needs_php
from .web import SERVERS, Web, mailing, serving

pytestmark = needs_php

PAGES = CLIENT / "examples" / "plain"

_SENDMAIL = """#!/bin/sh
until [ -e {folder}/open ]; do sleep 0.02; done
[ ! -e {folder}/away ] || exit 75
cat > {folder}/$$ && mv {folder}/$$ {folder}/mail
"""


@pytest.fixture(params=SERVERS)
def web(request: pytest.FixtureRequest, daemon: Daemon, tmp_path: Path) -> Iterator[Web]:
    """Serve the form; the mail server of its jobs waits until it is `open`, and takes nothing while `away`."""
    ours = mailing(tmp_path, _SENDMAIL.format(folder=tmp_path))
    with serving(request.param, {**daemon.variables, **ours}, PAGES) as web:
        yield web


def posted(web: Web, **fields: str) -> tuple[int, str]:
    """Fill in the form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return web.ask("POST", "form", urlencode(fields).encode(), headers)


def test_the_visitor_is_sent_on_before_the_mail_is(daemon: Daemon, web: Web, tmp_path: Path) -> None:
    assert posted(web, email="ann@example.org", text="Where is my order?\nAnn")[0] == 303
    eventually(lambda: daemon.call("stats")["states"]["running"] == 1)
    assert "Thank you" in web.ask("GET", "form", query="sent")[1]
    assert not (tmp_path / "mail").exists()
    (tmp_path / "open").touch()
    mail = eventually(lambda: (tmp_path / "mail").exists() and (tmp_path / "mail").read_text())
    assert "To: shop@example.org\n" in mail.replace("\r\n", "\n")
    assert "Reply-To: ann@example.org\n" in mail.replace("\r\n", "\n")
    assert mail.rstrip().endswith("Where is my order?\nAnn")
    eventually(lambda: daemon.call("stats")["outcomes"]["succeeded"] == 1)


def test_a_mail_server_that_is_away_is_tried_again(daemon: Daemon, web: Web, tmp_path: Path) -> None:
    (tmp_path / "open").touch()
    (tmp_path / "away").touch()
    assert posted(web, email="ann@example.org", text="Hello")[0] == 303
    [job] = eventually(lambda: [job for job in daemon.call("list", {}) if job["failures"]])
    status = eventually(lambda: found if len((found := daemon.call("status", job["id"]))["attempts"]) > 1 else None, 20)
    error = status["attempts"][0]["error"]
    assert error["message"] == "the mail server did not take the message of ann@example.org"


@pytest.mark.parametrize("email", ["", "ann", "ann@example.org\nBcc: all@example.org"])
def test_what_is_no_address_is_asked_for_again(email: str, daemon: Daemon, web: Web) -> None:
    status, page = posted(web, email=email, text="Hello")
    assert status == 422
    assert "We need your address" in page
    assert daemon.call("stats")["counters"]["datagrams"] == 0
