"""doctor: each thing that can be wrong is found, named, and comes with a cure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.cli import checks, surroundings
from sidecar.errors import Internal, NoSpace

from .conftest import Run
from .stub import PING, Stub, failed, job

QUIET = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}


@pytest.fixture
def well(stub: Stub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Give a stub with which all is well."""
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(surroundings, "_installed_version", lambda: None)
    monkeypatch.setattr(checks, "ROOM", 0)
    for name in ("tmp", "new"):
        (folder / "spool" / name).mkdir(parents=True)
    stub.answer(job())
    stub.answers["stats"] = {"modules": []}
    stub.answers["ping"] = {**PING, "version": __version__}
    return stub


def test_a_healthy_place_gets_a_line_for_each_look_that_begins_with_ok(run: Run, well: Stub) -> None:
    result = run("doctor")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 13), result.stdout
    assert all(line.startswith("ok    ") for line in lines)


def test_a_module_that_stays_cold_is_named_with_the_reason_and_no_failure(run: Run, well: Stub) -> None:
    well.answers["stats"] = {
        "modules": [
            {"module": "shop.jobs", "state": "warm", "reason": None},
            {"module": "shop.mail", "state": "cold", "reason": None},
            {"module": "shop.pay", "state": "cold", "reason": "it starts 1 threads"},
        ]
    }
    result = run("doctor")
    assert result.exit_code == 0
    assert "ok    warm modules: shop.jobs; shop.pay stays cold: it starts 1 threads" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("answers", "name", "said", "cure"),
    [
        ({"ping": {**PING, "allowed": False}}, "admitted", "not as uid 1000", "run this as the user"),
        ({"ping": {**PING, "version": "9.9"}}, "version", "9.9 in the daemon", "sidecar reload"),
        ({"ping": {**PING, "store": {**PING["store"], "accepts": False}}}, "disk", "are kept in reserve", "make room"),
        ({"wait": failed(("ImportError", "no"))}, "call", "os:getpid: failed no", "log of `sidecar serve`"),
        ({"wait": failed(("CommandNotFound", "no"))}, "command", "true: failed no", "PATH of `sidecar serve`"),
        ({"wait": job(state="queued", outcome=None, waiting="no slot"), "status": job(waiting="no sidecar in x")},
         "call", "no sidecar in x", "sidecar list --state running"),
        ({"ping": NoSpace("cannot open store")}, "daemon", "cannot open store", "make room"),
        ({"submit": NoSpace("cannot take the job")}, "call", "cannot take the job", "make room"),
        ({"submit": Internal("cannot store")}, "command", "cannot store", "PATH of `sidecar serve`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_daemon_is_found(
    run: Run, well: Stub, answers: dict[str, Any], name: str, said: str, cure: str
) -> None:
    well.answers |= answers
    shown = json.loads(run("doctor", "--json").stdout)
    found = {each["name"]: each for each in shown["checks"]}[name]
    assert not shown["ok"] and not found["ok"]
    assert said in found["text"] and cure in found["cure"]
    result = run("doctor")
    assert result.exit_code == (3 if name == "daemon" else 1)
    assert f"FAIL  {name}: " in result.stdout


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PYTHONPATH", "lib:/usr", "PYTHONPATH has 'lib'"),
        ("PYTHONPATH", "/no/such/folder", "which is not there"),
        ("VIRTUAL_ENV", "/no/such/venv", "VIRTUAL_ENV is /no/such/venv"),
        ("PYTHONHOME", "/usr", "PYTHONHOME is set"),
    ],
)
def test_an_odd_environment_is_found(
    well: Stub, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    assert surroundings.environment().ok
    monkeypatch.setenv(variable, value)
    found = surroundings.environment()
    assert not found.ok and said in found.text and found.cure


def test_another_version_installed_than_imported_is_found(well: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_installed_version", lambda: "0.0.1")
    assert "0.0.1 is installed" in surroundings.environment().text


def test_a_spool_that_takes_nothing_is_found(
    run: Run, well: Stub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings.os, "access", lambda path, mode: False)  # root may write anywhere
    assert "FAIL  spool: cannot write to " in run("doctor").stdout
    (folder / "spool" / "new").rmdir()
    result = run("doctor")
    assert result.exit_code == 1
    assert "FAIL  spool: there is no " in result.stdout


def test_a_spool_on_a_full_disk_is_found(run: Run, well: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "room", lambda folder: (1, 2))
    assert "takes no jobs, its disk is nearly full" in run("doctor").stdout


def test_a_nearly_full_disk_is_named_and_no_failure(run: Run, well: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ROOM", 1 << 60)
    result = run("doctor")
    assert result.exit_code == 0
    assert any(line.startswith("ok    disk: ") and "nearly full" in line for line in result.stdout.splitlines())


@pytest.mark.parametrize(("depth", "said"), [("10\n", "max_dgram_qlen=512"), ("512\n", "holds 512"), ("?", "unknown")])
def test_a_short_kernel_queue_is_explained_and_no_failure(tmp_path: Path, depth: str, said: str) -> None:
    (tmp_path / "qlen").write_text(depth)
    found = surroundings.kernel_queue(str(tmp_path / "qlen"))
    assert found.ok and said in found.text


def test_an_interpreter_without_sidecar_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'msgpack'\" >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = surroundings.interpreter()
    assert (found.ok, found.cure) == (False, f"run: {python} -m pip install sidecar-jobs")
    assert found.text.endswith("No module named 'msgpack'")


def test_without_a_daemon_that_is_said_once_and_the_rest_is_still_looked_at(run: Run) -> None:
    result = run("doctor")
    lines = result.stdout.splitlines()
    assert result.exit_code == 3
    assert lines[0].startswith("FAIL  runtime folder: ") and "`sidecar serve`" in lines[0]
    assert [line.split(":")[0].split("  ", 1)[1].strip() for line in lines] == [
        "runtime folder", "interpreter", "kernel queue", "spool", "environment",
    ]  # fmt: skip


def test_sockets_of_a_dead_daemon_are_told_from_none(run: Run, stub: Stub) -> None:
    stub.close()
    result = run("doctor")
    assert result.exit_code == 3
    assert "ok    runtime folder: " in result.stdout
    assert "FAIL  hand-off socket: " in result.stdout and "Connection refused" in result.stdout
    assert "FAIL  daemon: " in result.stdout
