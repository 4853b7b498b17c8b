"""A sidecar to be hurt: a keeper in folders of its own, whose processes are found in /proc and killed by pidfd.

Nothing is asked of it in order to hurt it. Its sockets may be held here, as systemd would hold them (LISTEN_FDS), so
that they outlive the keeper; its daemon may be one that is broken on purpose (broken.py).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sidecar import boot
from sidecar.cli.serve import own_path

from ..daemon_process import Daemon, end_all
from ..rawclient import Ended, RawClient, Refused, new_id
from ..waiting import eventually

Value = TypeVar("Value")

ROOT = Path(__file__).parents[2]
UP, CALM = 60.0, 120.0  # seconds: until it serves, until all is done; a machine may be slow, and a restart may pause
RESTLESS = 20.0  # seconds for a broken daemon, which may never come to rest: what it believes of its slots is not so
_AS_SYSTEMD = """
import os, sys
for at, fd in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(fd, 3 + at)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(at + 1))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Restless(AssertionError):
    """Jobs did not end. Of a broken daemon that says nothing: another life may show what is to be shown."""


class House(Daemon):
    """One sidecar. `held` keeps its sockets here; `broken` names how its daemon is to break its promise."""

    def __init__(
        self, held: bool = False, broken: str = "", env: dict[str, str] | None = None, slots: int = 4, config: str = ""
    ) -> None:
        super().__init__(slots=slots, env=env, config=config)
        self.broken = broken
        self.env["TORTURE_BROKEN"] = broken
        self.daemon_module = "tests.torture.broken" if broken else "sidecar.daemon"
        settings = {
            "runtime_dir": str(self.runtime), "state_dir": str(self.state), "slots": slots,
            "path": [str(ROOT), *own_path()], "daemon_module": self.daemon_module,
            "config": str(self.folder / "sidecar.toml") if config else None,
        }  # fmt: skip
        self._command = [*boot.command(sys.executable, "sidecar.keeper", [str(ROOT)]), json.dumps(settings)]
        self._held = self._hold() if held else []
        self.acks = self.folder / "acks"
        self.runs = self.folder / "runs"
        self._clients: list[subprocess.Popen[bytes]] = []

    def _hold(self) -> list[socket.socket]:
        self.runtime.mkdir(mode=0o700)
        held = [socket.socket(socket.AF_UNIX, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        held[0].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        held[0].bind(self.handoff)
        held[1].bind(self.control)
        held[1].listen(4096)
        return held

    # -- living ---------------------------------------------------------------------------------------------------

    def launch(self) -> House:
        """Start the keeper and do not wait for anything."""
        command, numbers = self._command, [sock.fileno() for sock in self._held]
        high = [os.dup(number) for number in numbers]
        if high:
            command = [sys.executable, "-c", _AS_SYSTEMD, ",".join(map(str, high)), *command]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd="/",
                start_new_session=True, pass_fds=high,
            )  # fmt: skip
        for fd in high:
            os.close(fd)
        return self

    def start(self) -> House:
        """Start the keeper and wait until a daemon answers."""
        self.launch()
        eventually(lambda: self.ask("ping"), UP, "a daemon that answers")
        return self

    def ask(self, method: str, *params: object) -> Any:
        """Ask the daemon; None when nobody answers, or there is no room for its store."""
        try:
            with RawClient(self.control, UP) as client:
                return client.call(method, *params)
        except (Ended, OSError):
            return None
        except Refused as refused:
            if refused.code != "no_space":
                raise
            return None

    def until(self, condition: Callable[[], Value]) -> Value:
        """Wait until something is true, and keep the keeper alive meanwhile."""

        def holds() -> Value:
            self.keep_alive()
            return condition()

        return eventually(holds, UP)

    def keep_alive(self) -> None:
        """Start the keeper again if it is dead."""
        if not self.running:
            self.launch()

    # -- hurting --------------------------------------------------------------------------------------------------

    def kin(self, kind: str) -> list[int]:
        """Return the pids of the keeper's daemons ("daemon") or zygotes ("zygote")."""
        module = {"daemon": self.daemon_module, "zygote": "sidecar.zygote"}[kind].encode()
        found = []
        for pid in self.children():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[4:5] == [module]:
                    found.append(pid)
        return found

    def children(self) -> list[int]:
        """Return the keeper's children, dead or alive, until it has reaped them."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def kill_one(self, kind: str, dice: random.Random) -> int:
        """SIGKILL the keeper, or one of its daemons or zygotes; returns its pid, 0 when there was none."""
        if kind == "keeper":
            self.kill()
            return self.pid
        found = self.kin(kind)
        return self._kill_kin(dice.choice(found), kind) if found else 0

    def _kill_kin(self, pid: int, kind: str) -> int:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return 0
        try:
            if pid not in self.kin(kind):  # looked at again once its number cannot become somebody else's
                return 0
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return pid
        except ProcessLookupError:
            return 0
        finally:
            os.close(pidfd)

    # -- loading --------------------------------------------------------------------------------------------------

    def load(self, clients: int, dice: random.Random, *options: str) -> None:
        """Start client processes; they go on until `calm`, or until they had enough (`--most`)."""
        for _ in range(clients):
            with open(self.folder / "load.log", "ab") as log:
                self._clients.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.torture.load", str(self.runtime), str(self.acks), str(self.runs),
                         "--seed", str(dice.randrange(1 << 30)), *options],
                        stdin=subprocess.PIPE, stdout=log, stderr=log, env=self.env, cwd=ROOT,
                    )
                )  # fmt: skip

    def acked(self) -> int:
        """Return how many acks were written down so far."""
        return self.acks.read_bytes().count(b"\n") if self.acks.exists() else 0

    def load_ended(self) -> bool:
        """Return whether every client had enough (`--most`)."""
        return all(client.poll() is not None for client in self._clients)

    def end_load(self) -> None:
        """End the clients, each after the submit it is in."""
        for client in self._clients:
            if client.stdin is not None:
                client.stdin.close()
        statuses = [client.wait(CALM) for client in self._clients]
        self._clients.clear()
        assert not any(statuses), f"a client failed: {(self.folder / 'load.log').read_text()[-3000:]}"

    def calm(self, to_the_end: bool = True) -> None:
        """Wait until all that was handed off is taken in, and every job is done; the keeper is kept alive."""

        def settled() -> bool:
            self.keep_alive()
            return self._taken_in() and (not to_the_end or self._all_done())

        try:
            eventually(settled, RESTLESS if self.broken else CALM, "the end of all jobs")
        except AssertionError as error:
            raise Restless(f"{error}\n{self.ask('stats')}\n{self.log()[-5000:]}") from None

    def _taken_in(self) -> bool:
        """Have the daemon say that it does not know a job: it says so only once all that was there is stored."""
        try:
            self.ask("status", new_id())
        except Refused as refused:
            return refused.code == "not_found"
        return False

    def _all_done(self) -> bool:
        stats = self.ask("stats")
        time.sleep(0.01)  # the whole table is counted: not oftener than needed
        return stats is not None and not any(count for state, count in stats["states"].items() if state != "done")

    def close(self) -> None:
        """End it and everything of it; remove the folders."""
        for client in self._clients:
            client.kill()
            client.wait()
            if client.stdin is not None:
                client.stdin.close()
        for sock in self._held:
            sock.close()
        if self.broken and self.running:
            self.kill()
        try:
            super().close()
        finally:
            end_all(self.instance())
