"""What is asked of the disk: a sync that tells failures, names that are synced, and the room that is left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sidecar import disk

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("blocks", "reserve", "kept"),
    [(1000 * MIB, 64 * MIB, 64 * MIB), (640 * MIB, 64 * MIB, 64 * MIB), (100 * MIB, 64 * MIB, 10 * MIB), (0, 1, 0)],
)
def test_the_reserve_is_at_most_a_tenth(monkeypatch: Any, blocks: int, reserve: int, kept: int) -> None:
    found = os.statvfs_result((4096, 4096, blocks // 4096, 5000, 4000, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda folder: found)
    assert disk.room("/", reserve) == (4000 * 4096, kept)


def test_the_name_of_a_file_is_synced_with_those_of_its_folders(tmp_path: Path, monkeypatch: Any) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    disk.sync_names(str(deep))
    assert synced[:3] == [str(deep), str(deep.parent), str(tmp_path)]
    assert os.stat(synced[-1]).st_dev == os.stat(deep).st_dev
    assert synced[-1] == "/" or os.stat(os.path.dirname(synced[-1])).st_dev != os.stat(deep).st_dev


def test_a_synced_file_is_read_only_and_can_be_closed_twice(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x")
    file = disk.SyncedFile(str(tmp_path / "log"))
    file.sync()
    file.close()
    file.close()
    with pytest.raises(ValueError):
        file.sync()
    with pytest.raises(FileNotFoundError):
        disk.SyncedFile(str(tmp_path / "none"))
