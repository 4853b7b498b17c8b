"""The system calls that Python's standard library does not have, and the memory file a job reports in.

The zygote calls `become_subreaper` before its first fork, for itself and for its children's sake: the first call
through ctypes costs 200 µs of page faults, and what the parent has touched no child pays for.
"""

from __future__ import annotations

import ctypes
import fcntl
from os import MFD_ALLOW_SEALING, MFD_CLOEXEC, SEEK_SET, ftruncate, lseek, memfd_create, write

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = 9
_F_ADD_SEALS = 1033
_SEAL_FIXED_SIZE = 0x1 | 0x2 | 0x4  # F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW

_prctl = ctypes.CDLL(None, use_errno=True).prctl
_prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_seal = fcntl.fcntl


def become_subreaper() -> None:
    """Let orphans among our descendants come to us instead of to init. Kept over execve, not inherited by fork."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent() -> None:
    """Be killed when the thread that forked us ends; only sound where the parent has one thread. Lost by setuid."""
    if _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def report_file(size: int) -> int:
    """Make the memory file that is a job's fd 3: `size` bytes and sealed there, so no job can fill memory with it.

    One per attempt, never reused: a mapping kept by an earlier child could forge the next result.
    """
    fd = memfd_create("report", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    ftruncate(fd, size)
    _seal(fd, _F_ADD_SEALS, _SEAL_FIXED_SIZE)
    return fd


def memory_file(data: bytes) -> int:
    """Make a memory file that holds `data`, read from its start."""
    fd = memfd_create("data", MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[write(fd, view) :]
    lseek(fd, 0, SEEK_SET)
    return fd
