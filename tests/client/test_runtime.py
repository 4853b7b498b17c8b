"""The runtime record: what goes along, when it is made again, how the folder is spelled."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from sidecar import descriptor
from sidecar.client import runtime


@pytest.fixture(autouse=True)
def no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without a record, and leave none behind that was made of what a test bent."""
    monkeypatch.setattr(runtime, "_record", None)


def record() -> dict[str, Any]:
    return descriptor.parse_runtime(runtime.current().packed)


def test_the_record_is_one_the_daemon_takes() -> None:
    found = record()
    assert found["kind"] == "python"
    assert found["interpreter"] == os.path.abspath(sys.executable)
    assert all(entry.startswith("/") for entry in found["path"])


def test_the_record_is_the_same_object_while_nothing_changes() -> None:
    assert runtime.current() is runtime.current()


def test_a_changed_path_makes_a_new_record(monkeypatch: pytest.MonkeyPatch) -> None:
    before = runtime.current()
    monkeypatch.setattr(sys, "path", [*sys.path, "/srv/shop"])
    assert runtime.current() is not before
    assert record()["path"][-1] == "/srv/shop"


def test_a_path_changed_in_place_makes_a_new_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = runtime.current()
    sys.path.insert(0, "/srv/shop")
    assert runtime.current() is not before
    assert record()["path"][0] == "/srv/shop"


def test_another_folder_makes_a_new_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = runtime.current()
    monkeypatch.chdir(tmp_path)
    assert runtime.current() is not before
    assert record()["cwd"] == str(tmp_path)


def test_a_folder_that_is_gone_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "cwd" not in record()
    assert runtime.current().folder is None


def test_django_goes_along_when_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    apps = types.SimpleNamespace(ready=False)
    monkeypatch.setitem(sys.modules, "django.apps", types.SimpleNamespace(apps=apps))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    assert "setup" not in record()
    apps.ready = True
    assert record()["setup"] == "django:setup"
    assert record()["env"] == {"DJANGO_SETTINGS_MODULE": "shop.settings"}


def test_django_without_a_settings_module_is_not_set_up_in_the_job() -> None:
    assert "setup" not in runtime.make([], "/", {}, True)


def test_named_variables_go_along() -> None:
    environ = {"SIDECAR_FORWARD_ENV": "A, B  C", "A": "1", "C": "3", "D": "4"}
    assert runtime.make([], "/", environ, False)["env"] == {"A": "1", "C": "3"}


def test_the_interpreters_own_folders_stay_at_home() -> None:
    path = [
        "", "/srv/shop", "lib", "/usr/local/lib/python3.11", "/usr/local/lib/python3.11/site-packages",
        "/usr/local/src/app", "/usr/lib/python3/dist-packages", "/venv/lib64/python3.11/site-packages",
        "/root/.local/lib/python3.11/site-packages", "/srv/shop", Path("/ignored"), "../up", "/bad\udcff",
    ]  # fmt: skip
    assert runtime.own_path(path, "/srv/app", ("/usr/local", "/usr", "/venv")) == [
        "/srv/app", "/srv/shop", "/srv/app/lib", "/usr/local/src/app", "/root/.local/lib/python3.11/site-packages",
        "/srv/up",
    ]  # fmt: skip


def test_relative_entries_are_left_out_when_the_folder_is_gone() -> None:
    assert runtime.own_path(["", "lib", "/x"], None, ()) == ["/x"]


@pytest.mark.parametrize("executable", ["/usr/bin/uwsgi", "/usr/sbin/apache2", "/usr/bin/mod_wsgi-express", "", None])
def test_a_server_that_embeds_python_is_not_taken_for_one(executable: str | None, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.touch(0o755)
    assert runtime.interpreter(executable, str(tmp_path)) == str(python)


def test_a_virtualenvs_python_is_kept_as_it_is_spelled() -> None:
    assert runtime.interpreter("/venv/bin/python", "/elsewhere") == "/venv/bin/python"


def test_a_link_to_the_folder_stays_a_link(tmp_path: Path) -> None:
    release, current = tmp_path / "release-7", tmp_path / "current"
    release.mkdir()
    current.symlink_to(release)
    assert runtime.spelled_folder(str(release), str(current)) == str(current)


def test_a_stale_spelling_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for stale in (str(tmp_path / "other"), str(tmp_path / "gone"), "relative", "", None):
        assert runtime.spelled_folder(str(tmp_path), stale) == str(tmp_path)
