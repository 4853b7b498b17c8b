"""Starting one process: a new session, exactly the named descriptors, exactly the given environment.

posix_spawn and not fork: nothing of ours runs in the child, so there is nothing to go wrong in between, and a program
that does not exist is an error here and not a dead child. Descriptors travel the way systemd passes them: 3 and up, the
names in LISTEN_FDNAMES. Without LISTEN_PID, which a parent can not know before the child is there.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress

_FIRST = 3
_OUT_OF_THE_WAY = 100  # sources are moved up here, so that no dup2 overwrites one that is still needed
_OUR_OWN = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_DEFAULT_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def start(argv: list[str], environ: dict[str, str], fds: dict[str, int]) -> int:
    """Start argv[0] and return its pid; raises OSError when it cannot be run.

    Its stdin is empty. Its stdout is our stderr: our own stdout carries one line, which a program may be reading.
    """
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for fd in fds.values()]
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, 2, 1),
    ]
    actions += [(os.POSIX_SPAWN_DUP2, source, _FIRST + at) for at, source in enumerate(sources)]
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            environ | {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(fds)},
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        for source in sources:
            os.close(source)


def environment(environ: dict[str, str]) -> dict[str, str]:
    """Return what our processes inherit of our environment: all but what was meant for this process alone."""
    return {name: value for name, value in environ.items() if name not in _OUR_OWN}


def keep_to_ourselves() -> None:
    """Let no descriptor that a careless parent left us reach our children, and none of ours become 0, 1 or 2."""
    while (fd := os.open(os.devnull, os.O_RDWR)) < _FIRST:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= _FIRST:
            with suppress(OSError):  # the folder's own descriptor is closed by now
                os.set_inheritable(int(name), False)
