"""clients/php/examples/shared-hosting: a form and a line in the crontab, as its README has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from .script import CLIENT, needs_php, said
from .web import SERVERS, Web, mailing, serving

pytestmark = needs_php

PAGES = CLIENT / "examples" / "shared-hosting"
README = (PAGES / "README.md").read_text()
_SENDMAIL = "#!/bin/sh\n[ ! -e {folder}/away ] || exit 75\ncat > {folder}/$$ && mv {folder}/$$ {folder}/mail\n"


@pytest.fixture(params=SERVERS)
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Web]:
    """Serve the form; its mails go into `mail`."""
    ours = mailing(tmp_path, _SENDMAIL.format(folder=tmp_path))
    with serving(request.param, {**ours, "SIDECAR_STATE_DIR": str(tmp_path / "sidecar")}, PAGES) as web:
        yield web


def cron(home: Path) -> str:
    """Do what the README's line in the crontab does; returns what is in the log then."""
    (line,) = re.findall(r"^    \* \* \* \* \* (php .*)$", README, re.MULTILINE)
    (home / "shop" / "vendor" / "bin").mkdir(parents=True, exist_ok=True)
    program = home / "shop" / "vendor" / "bin" / "sidecar-php"
    program.unlink(missing_ok=True)
    program.symlink_to(CLIENT / "bin" / "sidecar-php")
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "SHELL": "/bin/sh"}
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=environment, cwd=home, capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), "cron would mail it"
    return (home / "sidecar.log").read_text()


def posted(web: Web, email: str) -> int:
    """Fill in the form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return web.ask("POST", "form", urlencode({"email": email}).encode(), headers)[0]


def test_who_subscribes_is_welcomed_by_the_next_tick(web: Web, tmp_path: Path) -> None:
    cron(tmp_path)
    assert posted(web, "ann@example.org") == 303
    assert "Thank you" in web.ask("GET", "form", query="sent")[1]
    assert not (tmp_path / "mail").exists()
    log = cron(tmp_path)
    assert "To: ann@example.org\n" in (tmp_path / "mail").read_text().replace("\r\n", "\n")
    assert re.search(r"Site\\Newsletter::welcome, attempt 1: exit status 0, took [0-9.]+ s; succeeded\n", log)
    assert log.splitlines()[-1].endswith(": 1 taken from the spool; ended: 1 succeeded; left: none")


def test_a_mail_server_that_is_away_is_tried_again(web: Web, tmp_path: Path) -> None:
    cron(tmp_path)
    (tmp_path / "away").touch()
    assert posted(web, "ann@example.org") == 303
    command = [str(CLIENT / "bin" / "sidecar-php"), "tick", "--for", "0.5", "--state", str(tmp_path / "sidecar")]
    first = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "the mail server did not take the message to ann@example.org" in first.stderr
    (tmp_path / "away").unlink()
    assert "ended: 1 succeeded; left: none" in cron(tmp_path)


def test_what_is_no_address_is_asked_for_again(web: Web, tmp_path: Path) -> None:
    cron(tmp_path)
    assert posted(web, "ann") == 422
    assert os.listdir(tmp_path / "sidecar" / "spool" / "new") == []


def test_before_the_first_tick_nothing_is_lost_without_a_word(web: Web) -> None:
    assert posted(web, "ann@example.org") not in (303, 422)


def test_the_other_tick_does_it_too(web: Web, tmp_path: Path) -> None:
    cron(tmp_path)
    assert posted(web, "ann@example.org") == 303
    state = str(tmp_path / "sidecar")
    command = [sys.executable, "-m", "sidecar", "tick", "--state-dir", state, "--runtime-dir", f"{state}/run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "1 taken from the spool; ended: 1 succeeded" in done.stderr) == (0, True), done.stderr
    assert (tmp_path / "mail").exists()


def test_the_readme_lists_what_is_lost_as_the_program_does() -> None:
    lost = said("say(Sidecar\\Tick\\Lost::WITHOUT);", {})
    rows = re.findall(r"^\| `([\w/]+)` \| (.*) \|$", README, re.MULTILINE)
    assert rows == [(missing, line) for missing, lines in lost.items() for line in lines]


def test_the_readme_s_log_lines_are_as_they_are(web: Web, tmp_path: Path) -> None:
    cron(tmp_path)
    posted(web, "ann@example.org")
    shapes = [re.sub(r"[0-9a-f]{8}-[-0-9a-f]+|[0-9]+", "N", line) for line in cron(tmp_path).splitlines()[-2:]]
    shown = [
        re.sub(r"[0-9a-f]{8}-[-0-9a-f]+|[0-9]+", "N", line)
        for line in re.findall(r"^    (sidecar-php: .*)$", README, re.M)
    ]
    assert shown[0] == shapes[0]
    assert shown[1].split("; left")[0] == shapes[1].split("; left")[0]
