"""A real `sidecar serve` for tests: in folders of its own, started, stopped and killed by pid, and proven gone.

Everything waits with a deadline. What a daemon leaves running is found by the SIDECAR_INSTANCE in its environment.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .rawclient import Ended, RawClient
from .waiting import eventually

START = 20.0  # seconds; the ready line comes after about 0.3
STOP = 45.0  # the design's drain of 25 s, the grace, and some air
GONE = 10.0

_NOT_OURS = ("SIDECAR_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_")


class Daemon:
    """One `sidecar serve`. `state` and `runtime` stay over `restart`; `close` ends and removes everything.

    `config` is the text of a configuration file. `env` is added to the environment of the daemon and of `self.env`.
    """

    def __init__(self, config: str = "", slots: int | None = 4, env: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))  # short: a socket's path has 107 bytes
        self.runtime = self.folder / "run"
        self.state = self.folder / "state"
        self.handoff = str(self.runtime / "handoff.sock")
        self.control = str(self.runtime / "control.sock")
        self.spool = str(self.state / "spool")
        self.variables = {"SIDECAR_RUNTIME_DIR": str(self.runtime), "SIDECAR_STATE_DIR": str(self.state)}
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(_NOT_OURS)}
        self.env = {**inherited, **(env or {}), **self.variables}  # for clients of this daemon
        self._command = [sys.executable, "-m", "sidecar", "serve"]
        self._command += ["--runtime-dir", str(self.runtime), "--state-dir", str(self.state)]
        if config:
            (self.folder / "sidecar.toml").write_text(config)
            self._command += ["--config", str(self.folder / "sidecar.toml")]
        if slots is not None:
            self._command += ["--slots", str(slots)]
        self._log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The keeper's pid."""
        assert self.process is not None, "not started"
        return self.process.pid

    def start(self) -> Daemon:
        """Start it and wait until it says that it is ready."""
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=self.env, cwd="/", start_new_session=True,
            )  # fmt: skip
        line = self._first_line(self.process, START)
        if b" is ready: " not in line:
            self.kill()
            raise AssertionError(f"sidecar serve is not ready after {START} s; it said {line!r} and\n{self.log()}")
        return self

    @staticmethod
    def _first_line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
        assert process.stdout is not None
        fd, got, ends = process.stdout.fileno(), b"", time.monotonic() + seconds
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        while not got.endswith(b"\n") and poller.poll(max(0.0, ends - time.monotonic()) * 1000):
            data = os.read(fd, 4096)
            if not data:
                break
            got += data
        return got

    def client(self, timeout: float = 10.0) -> RawClient:
        """Connect a raw client."""
        return RawClient(self.control, timeout)

    def call(self, method: str, *params: object) -> Any:
        """Ask one thing on a connection of its own."""
        with self.client() as client:
            return client.call(method, *params)

    def pids(self) -> dict[str, Any]:
        """Return the pids as `ping` tells them: keeper, daemon, zygotes (generation, key, pid)."""
        while True:
            try:
                pids: dict[str, Any] = self.call("ping")["pids"]
                return pids
            except (Ended, ConnectionError):  # that daemon made room for the next one: open a new connection
                assert self.running, self.log()

    def log(self) -> str:
        """Return what it wrote to stderr so far, over all restarts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def signal(self, number: int) -> None:
        """Send the keeper a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP) -> int:
        """Wait for the keeper's end; returns its exit status."""
        assert self.process is not None
        status = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def stop(self, now: bool = False, seconds: float = STOP) -> int:
        """End it in order; `now` does not let jobs finish. Returns the exit status."""
        if self.running:
            self.signal(signal.SIGTERM)
            if now:
                self.signal(signal.SIGINT)  # another number: two equal ones that are pending become one
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL the keeper; what hangs on it is to end by itself."""
        if self.process is not None:
            self.process.kill()
            self.wait()

    def restart(self) -> Daemon:
        """Stop it and start it again with the same folders."""
        self.stop()
        return self.start()

    @property
    def running(self) -> bool:
        """Whether the keeper is there."""
        return self.process is not None and self.process.poll() is None

    def instance(self) -> str:
        """Return the id by which its processes are known, "" when it never came to have one."""
        with suppress(FileNotFoundError):
            return (self.state / "instance").read_text().strip()
        return ""

    def family(self) -> list[tuple[int, str]]:
        """Return pid and command line of every process that belongs to it, but for the keeper."""
        return members_of(self.instance())

    def close(self) -> None:
        """End it, and fail when anything of it stays, after ending that too."""
        try:
            if self.running:
                self._end()
            left = self._wait_gone()
            assert not left, f"left running by sidecar: {left}\n{self.log()}"
        finally:
            if self.process is not None and self.process.stdout is not None:
                self.process.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        try:
            self.stop(now=True)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"sidecar serve did not end within {STOP} s of SIGTERM\n{self.log()}") from None

    def _wait_gone(self) -> list[tuple[int, str]]:
        try:
            eventually(lambda: not self.family(), GONE)
        except AssertionError:
            left = self.family()
            end_all(self.instance())
            return left
        return []


def members_of(instance: str) -> list[tuple[int, str]]:
    """Return pid and command line of every process with this SIDECAR_INSTANCE in its environment."""
    if not instance:
        return []
    mark = b"SIDECAR_INSTANCE=" + instance.encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile, or is somebody else's
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found.append((int(entry.name), b" ".join(words).decode(errors="replace").strip()))
    return found


def end_all(instance: str) -> None:
    """SIGKILL every process of an instance: by a pidfd that is opened before the look, so never a stranger."""
    for pid, _ in members_of(instance):
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if any(member == pid for member, _ in members_of(instance)):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)
