"""serve becomes the keeper with everything resolved; reload waits for the other daemon."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.boot import command
from sidecar.cli import reload, serve
from sidecar.errors import Unavailable

from .conftest import Run
from .stub import PING, Stub


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Keep what would be exec'd instead of becoming it."""
    kept: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda file, argv: kept.append([file, *argv]))
    return kept


def settings(became: list[list[str]]) -> dict[str, Any]:
    """Return the settings that the keeper would be given, after a look at the rest of its command."""
    ((file, *argv),) = became
    made: dict[str, Any] = json.loads(argv[-1])
    assert file == sys.executable
    assert argv[:-1] == command(sys.executable, "sidecar.keeper", made["path"])
    return made


def test_serve_takes_folders_from_the_environment(run: Run, folder: Path, became: list[list[str]]) -> None:
    assert run("serve").exit_code == 0
    made = settings(became)
    assert (made["runtime_dir"], made["state_dir"]) == (str(folder), str(folder / "state"))
    assert (made["config"], made["slots"]) == (None, None)


def test_serve_prefers_what_was_typed_and_makes_it_absolute(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, became: list[list[str]]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "own.toml").write_text("timeout = 5\n")
    run("serve", "--runtime-dir", "run", "--state-dir", "/var/../srv/jobs", "--config", "own.toml", "--slots", "3")
    made = settings(became)
    assert (made["runtime_dir"], made["state_dir"]) == (f"{folder}/run", "/srv/jobs")
    assert (made["config"], made["slots"]) == (f"{folder}/own.toml", 3)


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [("SIDECAR_SLOTS", "7", "slots", 7), ("SIDECAR_SLOTS", "", "slots", None), ("SIDECAR_CONFIG", "", "config", None)],
)
def test_serve_reads_the_environment_and_an_empty_variable_is_none(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    became: list[list[str]],
    name: str,
    value: str,
    key: str,
    expected: object,
) -> None:
    monkeypatch.setenv(name, value)
    assert run("serve").exit_code == 0
    assert settings(became)[key] == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "/no/such/file"], "cannot read /no/such/file"),
        (["--config", "bad.toml"], "unknown key 'colour'"),
        (["--slots", "0"], "0"),
        (["--slots", "many"], "many"),
        (["now"], "unexpected extra argument"),
    ],
)
def test_serve_starts_nothing_with_a_wrong_setting(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, became: list[list[str]], words: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "bad.toml").write_text("colour = 1\n")
    result = run("serve", *words)
    assert (result.exit_code, became) == (2, [])
    assert said in result.stderr


def test_serve_hands_on_its_path_but_not_the_folder_it_stands_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lib").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", str(folder), "lib", "/no/such/folder", *sys.path])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    path = serve.own_path()
    assert path[0] == f"{folder}/lib"
    assert str(folder) not in path and "/no/such/folder" not in path
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert serve.own_path()[0] == str(folder)


def test_serve_keeps_the_folder_it_is_run_from_when_that_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = str(Path(serve.__file__).parents[2])
    monkeypatch.chdir(ours)
    monkeypatch.setattr(sys, "path", ["", "/usr"])
    assert serve.own_path() == [ours, "/usr"]


def test_serve_says_why_the_interpreter_does_not_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    result = run("serve")
    assert (result.exit_code, result.stderr) == (
        111,
        "sidecar: cannot start '/no/such/python': No such file or directory\n",
    )


def other_daemon(pid: int) -> dict[str, Any]:
    """Return the ping of a daemon with another pid."""
    pids: Any = PING["pids"]
    return {**PING, "pids": {**pids, "daemon": pid}}


def test_reload_waits_until_another_daemon_answers(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK", 0.001)
    pings = iter([PING, PING, Unavailable("cannot ping: it is just leaving"), PING, other_daemon(99)])
    stub.answers |= {"ping": lambda params: next(pings), "reload": {"reloading": True}}
    result = run("reload")
    assert (result.exit_code, result.stdout) == (0, "reloaded: daemon 99 (0.1.0) follows 12\n")


def test_reload_says_so_when_the_old_one_stays(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "DEADLINE", 0.05)
    monkeypatch.setattr(reload, "LOOK", 0.001)
    stub.answers["reload"] = {"reloading": True}
    result = run("reload")
    assert result.exit_code == 111
    assert "cannot reload: the old one still runs" in result.stderr
