"""A job whose record was damaged on the disk: it has failed, and says so; the daemon and the other jobs go on."""

from __future__ import annotations

import sqlite3

import pytest

from sidecar.client import connect
from tests.daemon_process import Daemon

DAMAGE = {
    "no msgpack": b"\xc1",
    "nothing": b"",
    "cut": b"\x93\x01",
    "a number": b"\x05",
    "noise": bytes(range(255, 90, -3)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_job_whose_record_is_damaged_fails_and_no_other(daemon: Daemon, damage: bytes) -> None:
    client = connect(str(daemon.runtime))
    bad = client.options(delay=3600.0, ack="stored").submit("operator:add", 1, 2)
    good = client.options(delay=3600.0, ack="stored").submit("operator:add", 2, 2)
    daemon.stop()
    with sqlite3.connect(daemon.state / "jobs.sqlite") as database:
        database.execute("UPDATE job SET body = ? WHERE id = ?", (damage, bytes.fromhex(bad.id.replace("-", ""))))
        database.execute("UPDATE job SET due = 1")
    database.close()
    daemon.start()
    assert good.result(timeout=30) == 4
    status = bad.wait(timeout=30)
    assert (status.outcome, len(status.attempts)) == ("failed", 1)
    assert "Traceback" not in daemon.log()
    daemon.restart()
    assert bad.status().outcome == "failed"
