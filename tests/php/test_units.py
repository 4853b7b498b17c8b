"""PHPUnit and PHP_CodeSniffer over the client, as one who changes it runs them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .script import CLIENT


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine: not run")
    done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_client_s_own_tests_pass() -> None:
    assert "OK (" in _run("phpunit")


def test_the_code_reads_as_psr_12() -> None:
    _run("phpcs", "--standard=PSR12", "--extensions=php", "src", "compat", "tests", "autoload.php", "bin", "examples")
