"""The group of verbs: help for somebody new, the version, and nothing loaded that is not needed."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import sidecar
from sidecar.cli import VERBS, main

from .conftest import Run


def test_the_help_names_every_verb_and_says_how_to_begin(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in result.stdout
    assert "sidecar submit --wait -- echo hello" in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]  # every short help fits its line
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_each_of_its_options(run: Run, verb: str) -> None:
    result = run(verb, "-h")
    assert result.exit_code == 0
    command = main.commands.get(verb) or main.get_command(None, verb)  # type: ignore[arg-type]
    assert command is not None and command.name == verb
    for option in command.params:
        assert option.param_type_name == "argument" or option.help


def test_the_version_is_that_of_the_distribution_or_of_the_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: f"1.2.3 of {name}")
    assert run("--version").stdout == "sidecar 1.2.3 of sidecar-jobs\n"

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert run("--version").stdout == f"sidecar {sidecar.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["submit", "--help"], ["submit", "true"], ["serve", "--slots", "x"]])
def test_trio_and_sqlite3_are_never_loaded(words: list[str], tmp_path: str) -> None:
    code = (
        "import sys, atexit; from sidecar.cli import main\n"
        "atexit.register(lambda: print(sorted({'trio', 'sqlite3', 'asyncio'} & sys.modules.keys()), file=sys.stderr))\n"
        "main(sys.argv[1:])"
    )
    environ = {"SIDECAR_RUNTIME_DIR": str(tmp_path), "SIDECAR_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": ":".join(sys.path), **environ},
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
