"""The end of a process tree, the subreaper way: only ever kill what the kernel says is our own unreaped child.

Every attempt's main process is a subreaper, and so is the zygote. While the main process lives, orphans below it come
to it; when it ends, everything that is left of its tree comes to us, whatever it did to sessions and groups. So after
the main process is reaped, every child of ours that is not another attempt's main process is a stray of the ended tree,
and it is killed, and reaped, until there is none. A number can not be somebody else's: it is not reused before we reap.
"""

from __future__ import annotations

import os
import signal

_CHILDREN = f"/proc/{os.getpid()}/task/{os.getpid()}/children"


def children() -> list[int]:
    """Return the pids of our unreaped children, dead or alive."""
    try:
        fd = os.open(_CHILDREN, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return _children_by_search()
    try:
        data = b""
        while chunk := os.read(fd, 65536):
            data += chunk
    finally:
        os.close(fd)
    return [int(pid) for pid in data.split()]


def _children_by_search() -> list[int]:
    own, found = str(os.getpid()), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = file.read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent == own:
                found.append(int(name))
    return found


def kill_strays(strays: set[int]) -> tuple[set[int], set[int]]:
    """Reap those that have ended, kill the others; return who is still there, and who is not ours to end.

    The latter runs as somebody else (a setuid program that a job left behind): it ends when it likes.
    """
    alive, beyond = set(), set()
    for pid in strays:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                os.kill(pid, signal.SIGKILL)
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
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that the unreaped child `pid` leads; or it alone, where it has not come to setsid yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)
    except PermissionError:  # all that is left of the group runs as somebody else
        pass
