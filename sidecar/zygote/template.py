"""The PHP that holds an application in memory, as its zygote sees it: asked for spares, watched, ended.

Starting php and loading an application takes 15 to 200 ms, a fork of one that has done so 0.7. So beside the zygote
stands one php that runs the bootstrap once and forks on demand (clients/php/src/Template.php). What it forks are our
own children from the first moment (CLONE_PARENT): spares as any other, told their job on a pipe, with a deadline, a
tree, output and report of ours.

It answers when it likes. A child of ours that it has not named yet must not be taken for a stray: it stays in the
template's session until we know it, and say so on its pipe. When it cannot be (no FFI, a bootstrap that leaves a
connection open) or dies, the daemon is told why, and each job has a fresh php: slower, and the same otherwise.
"""

from __future__ import annotations

from _signal import SIG_DFL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socketpair
from array import array
from collections import deque
from contextlib import suppress
from math import inf
from os import (
    O_RDWR,
    P_PID,
    WEXITED,
    WNOHANG,
    WNOWAIT,
    _exit,
    chdir,
    closerange,
    devnull,
    dup2,
    environ,
    execve,
    fork,
    kill,
    pidfd_open,
    set_inheritable,
    setsid,
    stat,
    waitid,
    waitpid,
    write,
)  # fmt: skip
from os import open as open_fd
from select import EPOLLIN
from struct import Struct
from time import monotonic, time

import msgpack

from .attempt import UNBEGUN
from .channel import pack
from .child import NAMES
from .forks import SPARES, Ends
from .kernel import die_with_parent
from .php import OPTIONS, order_of
from .watched import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .attempt import Key
    from .child import Order
    from .loop import Zygote

    Waiting = tuple[Key, float, float, Order]  # an attempt that is to begin: key, timeout, grace (seconds), order

AHEAD = 3  # spares that are there or asked for
# Opcache would share its memory among the jobs, and never look at a file again: a request, to it, begins with a start.
_SETTINGS = ("-d", "ffi.enable=1", "-d", "opcache.enable_cli=0")
_CHANNEL = 4  # the template's descriptor
_ROOM = 256 * 1024
_BESIDE = 32 * 1024  # bytes that may come to a job's own in its order: a path, names
_PID = Struct("q")
_KNOWN = b"k"
_SIGKILL = 9
_LOADING, _ANSWERING = 60.0, 10.0  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0  # until one that could not be is tried again


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogateescape")


class Template:
    """One template, from its start to its end; `asked` are the spares that it has not named yet."""

    def __init__(self, record: dict[str, Any], zygote: Zygote, pause: float = _FIRST_PAUSE) -> None:
        """Start it; it says later whether jobs can be forked from it. If not, `again` may be tried after `pause` s."""
        self.pause = pause
        self.zygote = zygote
        self.record = record
        self.ready = False
        self.reason: str | None = None  # why it is no more, or never was
        self.retry = 0.0  # when the next one may be tried, on the monotonic clock
        self.files: Files | None = None  # what it has loaded, PHP tells that without the links on the way
        self.paths: set[str] = set()
        self.found = _found(record)
        self.asked: deque[Ends] = deque()
        self.waiting: deque[Waiting] = deque()  # attempts that want a spare
        self.until = monotonic() + _LOADING  # when it must have said something
        self.began = time()
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        ours.setblocking(False)
        self.sock = ours
        self.fd = ours.fileno()
        self.pid = fork()
        if self.pid == 0:
            _become(record, theirs.fileno())
        theirs.close()
        about: dict[str, Any] = {"unbegun": len(UNBEGUN)}
        if "bootstrap" in record:
            about["bootstrap"] = record["bootstrap"]
        self.sock.send(msgpack.packb(about, unicode_errors="surrogateescape"))
        zygote.poll.register(self.fd, EPOLLIN)
        zygote.alarm = min(zygote.alarm, self.until)

    # -- what attempts want ---------------------------------------------------------------------------------------

    def pack_order(self, order: Order) -> bytes:
        """Pack what a spare is to do: its environment, input and folder go along, it has none of ours."""
        plan = _unpack(order[0])
        forks = self.zygote.forks
        given = order_of(plan, self.record, forks.result_limit)
        names = {name.decode(): str(value) for name, value in zip(NAMES, order[1:], strict=True)}
        given["env"] = {**plan.get("env", {}), **names}
        for name in ("cwd", "stdin"):
            if name in plan:
                given[name] = plan[name]
        packed: bytes = msgpack.packb(given, unicode_errors="surrogateescape")
        return packed

    def take(self, wanted: Waiting) -> bool:
        """Begin an attempt as soon as a spare is there; False when it has to be begun another way."""
        body = wanted[3][0]
        if not self.ready or len(body) + _BESIDE > self.zygote.forks.report_limit:  # else no spare could be given it
            return False
        self.waiting.append(wanted)
        return True

    def stop(self, key: Key) -> bool:
        """Forget an attempt that waits; False when none of this key does."""
        for wanted in self.waiting:
            if wanted[0] == key:
                self.waiting.remove(wanted)
                return True
        return False

    def refill(self) -> None:
        """Ask for the spares that are missing."""
        if not self.ready:
            return
        missing = AHEAD + len(self.waiting) - len(self.zygote.forks.spares) - len(self.asked)
        for _ in range(missing):
            try:
                self._ask()
            except OSError:  # out of descriptors, or it is gone: its end says so next
                return

    def _ask(self) -> None:
        ends = Ends(self.zygote.forks.report_limit, True)
        given = array("i", (ends.writing, ends.report, ends.reading))
        try:
            self.sock.sendmsg([b"spare"], [(SOL_SOCKET, SCM_RIGHTS, given)])
        except OSError:
            ends.close()
            raise
        ends.give()
        self.asked.append(ends)
        self._expect_an_answer()

    def _expect_an_answer(self) -> None:
        self.until = monotonic() + _ANSWERING if self.asked else inf
        self.zygote.alarm = min(self.zygote.alarm, self.until)

    # -- what it says ---------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """Take what it said."""
        while True:
            try:
                packet = self.sock.recv(_ROOM)
            except BlockingIOError:
                break
            except ConnectionResetError:  # it ended without reading all that we sent; what it said comes next
                continue
            except OSError:
                packet = b""
            if not packet:
                return self.end("it has ended, see the daemon's log" if self.ready else "it has not come up")
            try:
                reason = self._answered(packet)
            except (ValueError, LookupError, TypeError, AttributeError):  # a bootstrap may write there too
                reason = "it says what makes no sense"
            if reason is not None:
                return self.end(reason)
        self._expect_an_answer()

    def _answered(self, packet: bytes) -> str | None:
        if self.ready:
            if len(packet) != _PID.size:
                raise ValueError(packet)
            return None if self._named(_PID.unpack(packet)[0]) else "it cannot fork"
        about = _unpack(packet)
        if "loaded" in about:
            self.paths.update(about["loaded"])
            return None
        if "unsafe" in about:
            return str(about["unsafe"])
        return None if about["ready"] and self._loaded() else "what it loads is written while it loads it"

    def _loaded(self) -> bool:
        self.files = Files(self.paths, set(), self.began)
        if self.files.changed:
            return False
        self.ready = True
        forks = self.zygote.forks
        forks.ahead = forks.wanted = 0
        forks.end_spares()  # they would each load it
        forks.pack_order = self.pack_order
        self.tell()
        return True

    def again(self) -> Template | None:
        """Return the next one, where this one could not be and some time has passed: what was wrong may be mended."""
        if self.reason is None or monotonic() < self.retry:
            return None
        return Template(self.record, self.zygote, min(2 * self.pause, _LONGEST_PAUSE))

    def is_stale(self) -> bool:
        """Say whether what it has loaded is no longer what is on the disk."""
        return self.ready and self.files is not None and (self.files.look() or _found(self.record) != self.found)

    def tell(self) -> None:
        """Tell the daemon that jobs are forked from it, or why they are not."""
        if self.ready or self.reason is not None:
            self.zygote.channel.send(["template", self.reason])

    def _named(self, pid: int) -> bool:
        ends = self.asked.popleft()
        try:
            if pid <= 0:
                raise ChildProcessError("no process")
            waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)  # raises for one that is not ours
            pidfd = pidfd_open(pid)
        except OSError:  # out of processes: nothing is there, and whoever waits is begun another way
            ends.close()
            return False
        with suppress(BrokenPipeError):  # it has ended already: its pidfd says so next
            write(ends.orders, _KNOWN)
        forks = self.zygote.forks
        spare = forks.attempt(pid, pidfd, ends)
        self.zygote.watch(spare)
        forks.spares.append(spare)
        if self.waiting:
            self.zygote.begin(self.waiting.popleft())
        return True

    def look(self) -> None:
        """End it when it has been silent for too long."""
        if self.reason is None and monotonic() >= self.until:
            self.end(f"it has not answered within {_ANSWERING if self.ready else _LOADING:g} s")

    def end(self, reason: str) -> None:
        """End it; what waits for it is begun another way."""
        self.ready, self.reason, self.until = False, reason, inf
        self.retry = monotonic() + self.pause
        self.zygote.poll.unregister(self.fd)
        self.sock.close()
        try:
            kill(self.pid, _SIGKILL)
        finally:
            waitpid(self.pid, 0)  # it is killed: this does not last
        for ends in self.asked:
            ends.close()
        self.asked.clear()
        waiting, self.waiting = self.waiting, deque()
        forks = self.zygote.forks
        forks.pack_order, forks.ahead = pack, SPARES
        forks.end_spares()
        self.tell()
        for wanted in waiting:
            self.zygote.begin(wanted)


def _found(record: dict[str, Any]) -> list[tuple[int, int] | None]:
    """Return what is at the paths of a record: where one leads through a link (`current`), another with each deploy."""
    return [_inode(record[name]) for name in ("bootstrap", "worker", "cwd") if name in record]


def _inode(path: str) -> tuple[int, int] | None:
    try:
        about = stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _become(record: dict[str, Any], channel: int) -> NoReturn:
    """Be the php that holds the application; nothing it prints is a job's."""
    try:
        setsid()
        die_with_parent()
        null = open_fd(devnull, O_RDWR)
        dup2(channel, _CHANNEL) if channel != _CHANNEL else set_inheritable(channel, True)
        for fd in (0, 1, 2, 3):  # 3 for the report: PHP would open its script there, and close it at the end
            dup2(null, fd)
        closerange(_CHANNEL + 1, 1 << 30)
        chdir(record.get("cwd", "/"))
        for number in (SIGPIPE, SIGXFSZ):
            signal(number, SIG_DFL)
        words = [record["interpreter"], *OPTIONS, *_SETTINGS, record["worker"], "template"]
        execve(words[0], words, environ)
    finally:
        _exit(1)
