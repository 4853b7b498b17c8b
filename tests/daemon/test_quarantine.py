"""The quarantine by itself: what is put on file, what is acquitted, who is still suspicious."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.daemon.quarantine import Quarantine


def test_nobody_is_suspected_after_one_death(tmp_path: Path) -> None:
    for deaths in (0, 1):
        assert not Quarantine(str(tmp_path / "q"), deaths).wary("datagrams")
    assert not (tmp_path / "q").exists()


def test_what_does_no_harm_leaves_no_file(tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path / "q"), 2)
    for data in (b"one", b"two", b"one"):
        assert quarantine.suspect("datagrams", data)
        assert len(os.listdir(tmp_path / "q")) == 1
        quarantine.acquit("datagrams")
        assert os.listdir(tmp_path / "q") == []


def test_what_a_daemon_died_of_is_not_looked_at_again_and_stays(tmp_path: Path) -> None:
    assert Quarantine(str(tmp_path / "q"), 2).suspect("datagrams", b"poison")
    later = Quarantine(str(tmp_path / "q"), 3)
    assert not later.suspect("datagrams", memoryview(b"poison"))
    later.acquit("datagrams")
    later.close()
    (file,) = (tmp_path / "q").iterdir()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"poison", 0o600)


def test_an_end_in_good_order_acquits(tmp_path: Path) -> None:
    first = Quarantine(str(tmp_path / "q"), 2)
    assert first.suspect("datagrams", b"a") and first.suspect("spool", b"b")
    first.close()
    assert Quarantine(str(tmp_path / "q"), 2).suspect("datagrams", b"a")


def test_a_door_is_at_ease_once_it_was_empty_or_has_taken_many(tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path / "q"), 2)
    quarantine.ease("spool")
    assert (quarantine.wary("spool"), quarantine.wary("datagrams")) == (False, True)
    for number in range(1024):
        assert quarantine.wary("datagrams")
        assert quarantine.suspect("datagrams", b"%d" % number)
        quarantine.acquit("datagrams")
    assert not quarantine.wary("datagrams")


def test_a_folder_that_cannot_be_written_costs_the_precaution_not_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert Quarantine(str(tmp_path / "file" / "q"), 2).suspect("datagrams", b"one")
    assert "cannot put a hand-off on file" in caplog.text
