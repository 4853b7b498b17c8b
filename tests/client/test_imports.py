"""What importing the client costs: which modules come along, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "trio", "click", "sqlite3", "asyncio", "typing", "inspect", "dataclasses", "logging", "threading", "concurrent",
    "uuid", "random", "json", "subprocess", "socket", "enum", "re",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    shown = f"import msgpack, sys\nbefore = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-S", "-c", _with_path(shown)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def _with_path(code: str) -> str:
    return f"import sys\nsys.path[:] = {sys.path!r}\n{code}"


def test_importing_the_client_brings_nothing_heavy() -> None:
    assert not modules_after("import sidecar.client") & HEAVY


def test_a_sent_submit_brings_nothing_heavy() -> None:
    code = (
        "import os, tempfile, _socket\n"
        "before |= set(sys.modules)\n"
        "folder = os.environ['SIDECAR_RUNTIME_DIR'] = tempfile.mkdtemp()\n"
        "peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM); peer.bind(folder + '/handoff.sock')\n"
        "import sidecar.client\n"
        "assert sidecar.client.submit('a:b', 1).ack == 'sent'\n"
        "os.unlink(folder + '/handoff.sock'); os.rmdir(folder)"
    )
    came = modules_after(code)
    assert "sidecar.client.control" not in came
    assert not came & {"trio", "click", "sqlite3", "asyncio", "socket", "typing"}


@pytest.mark.parametrize("module", ["sidecar.client.aio", "sidecar.client.control"])
def test_neither_aio_nor_the_stream_bring_trio(module: str) -> None:
    assert not modules_after(f"import {module}") & {"trio", "click", "sqlite3", "asyncio"}


def test_control_the_look_at_modules_sees_what_is_imported() -> None:
    assert "sqlite3" in modules_after("import sqlite3, sidecar.client")
