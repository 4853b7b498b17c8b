"""The spool: whole files, once, readable for the daemon; and clear words when there is no way."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sidecar.client import spool as spooling
from sidecar.errors import NoSpace, Unavailable

ID = bytes(range(16))


def test_a_message_becomes_a_file_named_by_its_id(folder: Path, spool: Path) -> None:
    path = Path(spooling.write(str(folder), ID, b"message"))
    assert path == spool / "new" / ID.hex()
    assert path.read_bytes() == b"message"
    assert not list((spool / "tmp").iterdir())


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_group_may_read_it_whatever_the_umask(folder: Path, spool: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        path = spooling.write(str(folder), ID, b"message")
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o7777 == 0o640


def test_the_same_job_twice_is_one_file(folder: Path, spool: Path) -> None:
    spooling.write(str(folder), ID, b"message")
    spooling.write(str(folder), ID, b"message")
    assert len(list((spool / "new").iterdir())) == 1


def test_the_state_folder_is_the_second_place(folder: Path) -> None:
    for name in ("tmp", "new"):
        (folder / "state" / "spool" / name).mkdir(parents=True)
    assert spooling.write(str(folder), ID, b"x") == f"{folder}/state/spool/new/{ID.hex()}"


def test_no_spool_names_the_places_and_serve(folder: Path) -> None:
    with pytest.raises(Unavailable, match=rf"no folder takes it \({folder}/spool .*start `sidecar serve` once"):
        spooling.write(str(folder), ID, b"x")


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, Unavailable)]
)
def test_a_write_that_fails_leaves_nothing_behind(
    folder: Path, spool: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(file: int, data: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(spooling.os, "write", fail)
    with pytest.raises(error, match="cannot spool job"):
        spooling.write(str(folder), ID, b"x")
    assert not [path for path in spool.rglob("*") if path.is_file()]


def test_a_short_write_is_gone_on_with(folder: Path, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(spooling.os, "write", lambda file, data: write(file, bytes(data[:3])))
    assert Path(spooling.write(str(folder), ID, b"0123456789")).read_bytes() == b"0123456789"
