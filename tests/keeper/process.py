"""A real keeper for tests, with stubs for daemon and zygotes: started, told, watched and proven gone."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sidecar import boot

from ..daemon_process import end_all, members_of
from ..waiting import eventually

ROOT = Path(__file__).parents[2]
STUBS = Path(__file__).parent / "stubs"


_AS_SYSTEMD = """
import os, sys
for at, fd in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(fd, 3 + at)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(at + 1), LISTEN_FDNAMES="sidecar.socket:sidecar.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Folders:
    """A state folder and a runtime folder, that several keepers may use after each other."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="sk-", dir="/tmp"))  # short: a socket's path has 107 bytes
        self.state = self.base / "state"
        self.runtime = self.base / "run"
        self.runtime.mkdir(mode=0o700)

    def script(self, who: str, **script: Any) -> None:
        """Say how the next daemons ("daemon") or the zygotes behave."""
        (self.runtime / f"{who}.json").write_text(json.dumps(script))

    def let_continue(self) -> None:
        """Let those go on that wait for the test."""
        (self.runtime / "continue").touch()

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """Return what the stubs noted, in order; a line that is half written is not there yet."""
        path = self.runtime / "stub.log"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [each for each in events if not event or each["event"] == event]

    def told(self, do: str) -> list[dict[str, Any]]:
        """Return the keeper's messages of one kind, as noted by the daemons that got them."""
        return [event for event in self.events("told") if event["message"]["do"] == do]

    def instance(self) -> str:
        """Return the instance's name."""
        return (self.state / "instance").read_text().strip()

    def family(self) -> list[tuple[int, str]]:
        """Return what lives of it, but for the keeper."""
        return members_of(self.instance()) if (self.state / "instance").exists() else []


class Keeper:
    """One keeper process. `mutation` is Python that runs in it before main: it breaks a promise on purpose."""

    def __init__(
        self, folders: Folders, mutation: str = "", env: dict[str, str] | None = None, **settings: Any
    ) -> None:
        self.folders = folders
        given = {
            "runtime_dir": str(folders.runtime), "state_dir": str(folders.state), "path": [str(ROOT), str(STUBS)],
            "daemon_module": "stub_daemon", "zygote_module": "stub_zygote", **settings,
        }  # fmt: skip
        argv = boot.command(sys.executable, "sidecar.keeper", [str(ROOT)])
        if mutation:
            argv[3] = f"import sys\nsys.path.append({str(ROOT)!r})\n{mutation}\n{argv[3]}"
        self.command = [*argv, json.dumps(given)]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")} | (env or {})
        self.stderr = folders.base / f"stderr-{os.urandom(4).hex()}"

    def start(self, **options: Any) -> Keeper:
        """Start it."""
        with open(self.stderr, "wb") as stderr:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=self.env, **options
            )
        return self

    def serve(self, **options: Any) -> Keeper:
        """Start it and wait until it is ready."""
        self.start(**options)
        self.line = self.process.stdout.readline().decode()  # type: ignore[union-attr]
        assert " is ready: " in self.line, self.log()
        return self

    def serve_on(self, *given: socket.socket) -> Keeper:
        """Start it as systemd would: the sockets at fd 3 and up, its own pid in LISTEN_PID."""
        high = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 50) for sock in given]
        self.command = [sys.executable, "-c", _AS_SYSTEMD, ",".join(map(str, high)), *self.command]
        try:
            return self.serve(pass_fds=high)
        finally:
            for fd in high:
                os.close(fd)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """Return what it said on stderr."""
        return self.stderr.read_text()

    def ask(self, **order: Any) -> Any:
        """Give the daemon that serves an order."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folders.runtime / "control.sock"))
            sock.send(json.dumps(order).encode())
            answer = sock.recv(65536)
            return json.loads(answer) if answer else None

    def default(self) -> dict[str, Any]:
        """Return generation and pid of the newest default zygote, as the daemon was told."""

        def found() -> list[dict[str, Any]]:
            return [t["message"] for t in self.folders.told("zygote") if t["message"]["key"] == "default"]

        return max(eventually(found), key=lambda about: about["generation"])

    def orphan(self, generation: int) -> int:
        """Have a zygote leave an orphan, and the daemon look at it with every message; return its pid."""
        pid: int = self.ask(zygote=generation, say={"orphan": True})
        self.ask(watch=[pid])
        return pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 15.0) -> int:
        """Wait for its end."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()
        self.wait()

    def close(self) -> None:
        """End it in any case, with everything that hangs on it."""
        if self.process.poll() is None:
            for _ in range(3):
                self.signal(signal.SIGTERM)
            try:
                self.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process.stdout.close()  # type: ignore[union-attr]


def daemon_pid(folders: Folders) -> int:
    """Return the pid of the daemon that got the last go."""
    pid: int = eventually(lambda: folders.told("go"))[-1]["pid"]
    return pid


def alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def end_everything(folders: Folders) -> None:
    """End what a broken test left."""
    if (folders.state / "instance").exists():
        end_all(folders.instance())
