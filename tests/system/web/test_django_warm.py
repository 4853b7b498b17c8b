"""A Django project of a dozen apps, its ORM and its log, without any configuration: imported once for all its jobs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import Daemon
from tests.waiting import eventually

from .conftest import CopyApp
from .interpreter import Interpreter

HandOff = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def project(copy_app: CopyApp, interpreter: Interpreter) -> Path:
    folder = copy_app("django")
    migrate = [interpreter.python, "-m", "django", "migrate", "--run-syncdb", "--settings", "bookshop.large"]
    subprocess.run(migrate, cwd=folder, check=True, timeout=120, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def hand_off(daemon: Daemon, project: Path, interpreter: Interpreter) -> HandOff:
    """Give a function that runs jobs one after the other from a process of the project: `hand_off("where", 3)`."""

    def run(function: str, count: int) -> list[Any]:
        env = {**daemon.env, "DJANGO_SETTINGS_MODULE": "bookshop.large"}
        command = [interpreter.python, "hand_off.py", function, str(count)]
        done = subprocess.run(command, cwd=project, env=env, check=True, timeout=120, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def until_warm(daemon: Daemon) -> None:
    def known() -> dict[str, Any]:
        return next((each for each in daemon.call("stats")["modules"] if each["module"] == "orders.jobs"), {})

    eventually(lambda: known().get("state") == "warm" or known().get("reason"), 60)
    assert known()["reason"] is None


def test_from_the_third_job_on_the_project_is_there(
    daemon: Daemon, hand_off: HandOff, project: Path, interpreter: Interpreter
) -> None:
    cold = hand_off("where", 2)
    assert all(each["imported"] == each["own"] for each in cold)
    until_warm(daemon)
    warm = hand_off("where", 5)
    assert {each["imported"] for each in warm} == {each["parent"] for each in warm}
    assert min(each["took"] for each in warm) < min(each["took"] for each in cold) / 3  # a tenth and less, when idle
    assert str(project / "bookshop.log") in open_files(int(warm[0]["parent"]))


def open_files(pid: int) -> list[str]:
    return [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]


def test_each_job_has_a_database_connection_of_its_own(daemon: Daemon, hand_off: HandOff) -> None:
    hand_off("where", 2)
    until_warm(daemon)
    before = hand_off("count", 1)[0]
    assert hand_off("database", 2) == ["sqlite"] * 2
    assert hand_off("count", 3) == [before] * 3


def test_models_that_were_edited_are_what_the_next_job_uses(daemon: Daemon, hand_off: HandOff, project: Path) -> None:
    hand_off("where", 2)
    until_warm(daemon)
    assert hand_off("database", 1) == ["sqlite"]
    jobs = project / "orders" / "jobs.py"
    source = jobs.read_text()
    assert "return str(connection.vendor)" in source
    jobs.write_text(source.replace("return str(connection.vendor)", "return 'edited: ' + str(connection.vendor)"))
    try:
        assert hand_off("database", 2) == ["edited: sqlite"] * 2
    finally:
        jobs.write_text(source)
