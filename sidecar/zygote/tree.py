"""The end of a process tree, the subreaper way: only ever kill what the kernel says is our own unreaped child.

Every attempt's main process is a subreaper, and so is the zygote. While the main process lives, orphans below it come
to it; when it ends, everything that is left of its tree comes to us, whatever it did to sessions and groups. So after
the main process is reaped, every child of ours that is not another attempt's main process is a stray of the ended tree,
and it is killed, and reaped, until there is none. A number can not be somebody else's: it is not reused before we reap.
"""

from __future__ import annotations

from os import O_CLOEXEC, O_RDONLY, WNOHANG, getpid, kill, killpg, listdir, pread, waitpid
from os import open as open_fd

_SIGKILL = 9
_PART = 4096  # bytes: a few hundred pids


class Children:
    """The list of our own unreaped children, as the kernel keeps it."""

    def __init__(self) -> None:
        pid = getpid()
        self.own = str(pid)
        try:
            self.fd = open_fd(f"/proc/{pid}/task/{pid}/children", O_RDONLY | O_CLOEXEC)
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            self.fd = -1

    def pids(self) -> list[int]:
        """Return the pids of our unreaped children, dead or alive."""
        if self.fd < 0:
            return self._search()
        data = part = pread(self.fd, _PART, 0)
        while len(part) > _PART // 2:  # the kernel ends a part where the next pid has no room, or where the list ends
            part = pread(self.fd, _PART, len(data))
            data += part
        return [int(pid) for pid in data.split()]

    def _search(self) -> list[int]:
        found = []
        for name in listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as file:
                        parent = file.read().rpartition(")")[2].split()[1]
                except OSError:
                    continue
                if parent == self.own:
                    found.append(int(name))
        return found


def kill_strays(strays: set[int]) -> tuple[set[int], set[int]]:
    """Reap those that have ended, kill the others; return who is still there, and who is not ours to end.

    The latter runs as somebody else (a setuid program that a job left behind): it ends when it likes.
    """
    alive, beyond = set(), set()
    for pid in strays:
        try:
            if waitpid(pid, WNOHANG)[0] == 0:
                kill(pid, _SIGKILL)
                alive.add(pid)
        except (ChildProcessError, ProcessLookupError):
            continue
        except PermissionError:
            beyond.add(pid)
    return alive, beyond


def still_there(pids: set[int]) -> set[int]:
    """Reap those of `pids` that have ended, and return the others."""
    return {pid for pid in pids if _is_there(pid)}


def _is_there(pid: int) -> bool:
    try:
        return waitpid(pid, WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def signal_group(pid: int, number: int) -> None:
    """Signal the group that the unreaped child `pid` leads; or it alone, where it has not come to setsid yet."""
    try:
        killpg(pid, number)
    except ProcessLookupError:
        kill(pid, number)
    except PermissionError:  # all that is left of the group runs as somebody else
        pass
