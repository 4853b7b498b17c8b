"""Which files are watched, and that each way to change one is seen."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from sidecar.zygote import watched
from sidecar.zygote.watched import Files


def module_at(path: Path | str) -> ModuleType:
    made = ModuleType("made")
    made.__file__ = str(path)
    return made


@pytest.fixture(autouse=True)
def look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "_SOON", -1.0)
    monkeypatch.setattr(watched, "_LATER", -1.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("one")
    os.utime(path, (1e9, 1e9))
    return path


def edit(path: Path) -> None:
    path.write_text("two")


def edit_within_a_tick(path: Path) -> None:
    path.write_text("longer")
    os.utime(path, (1e9, 1e9))


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text("two")
    os.utime(other, (1e9, 1e9))
    os.rename(other, path)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [edit, edit_within_a_tick, replace, remove])
def test_a_change_is_seen_and_stays_seen(source: Path, change: object) -> None:
    files = Files.of([module_at(source)], time.time())
    assert not files.look()
    change(source)  # type: ignore[operator]
    assert files.look() and files.look()


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text("same")
        os.utime(tmp_path / name / "app.py", (1e9, 1e9))
    os.symlink("one", tmp_path / "current")
    files = Files.of([module_at(tmp_path / "current" / "app.py")], time.time())
    assert not files.look()
    os.symlink("two", tmp_path / "next")
    os.rename(tmp_path / "next", tmp_path / "current")
    assert files.look()


def test_a_module_in_an_archive_is_watched_by_its_archive(source: Path) -> None:
    files = Files.of([module_at(source / "package" / "part.py")], time.time())
    assert not files.look()
    edit(source)
    assert files.look()


def test_a_file_written_while_it_was_imported_counts_as_changed(source: Path) -> None:
    began = time.time()
    edit(source)
    assert Files.of([module_at(source)], began).look()


def test_a_file_from_the_future_does_not(source: Path) -> None:
    os.utime(source, (time.time() + 3600,) * 2)
    assert not Files.of([module_at(source)], time.time()).look()


def test_what_is_installed_is_watched_by_folder_and_seldom_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(watched, "_LATER", 3600.0)
    folder = tmp_path / "lib" / "python3" / "site-packages" / "library"
    folder.mkdir(parents=True)
    (folder / "part.py").write_text("one")
    files = Files.of([module_at(folder / "part.py")], time.time() + 60)
    edit(folder / "part.py")  # in place
    assert not files.look()
    monkeypatch.setattr(watched, "_LATER", -1.0)
    assert files.look()
    files = Files.of([module_at(folder / "part.py")], time.time() + 60)
    monkeypatch.setattr(watched, "_LATER", 3600.0)
    replace(folder / "part.py")
    assert files.look()


def test_a_look_is_good_for_a_while(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "_SOON", 3600.0)
    files = Files.of([module_at(source)], time.time())
    edit(source)
    assert not files.look()


def test_modules_without_a_file_or_with_an_odd_one_are_no_trouble() -> None:
    odd = module_at("relative.py")
    assert not Files.of([sys, odd, None, object(), module_at("/no/such/folder/x.py")], time.time()).look()
