"""The zygote's first steps: descriptors by name, and everything that all jobs have alike, which fork hands down."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself brings enum, which every fork pays for
import gc
import os
import resource
import sys
from _socket import socket

from . import kernel
from .channel import Channel
from .loop import Zygote

_NOT_FOR_JOBS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                 "INVOCATION_ID", "JOURNAL_STREAM", "LD_BIND_NOW", "SIDECAR_CONFIG", "SIDECAR_SLOTS",
                 "SIDECAR_DEATHS", "SIDECAR_CRASH_AT", "SIDECAR_CRASH_MARK")  # fmt: skip
_FROM_ROOT = ("PATH", "HOME", "USER", "LANG", "TZ")


def serve() -> None:
    """Set up from the fds that the keeper passed by name, then run."""
    names = dict(zip(os.environ["LISTEN_FDNAMES"].split(":"), range(3, 1024), strict=False))
    for fd in names.values():
        os.set_inheritable(fd, False)
    kernel.become_subreaper()
    _be_as_jobs_are()
    _clean_environment()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    zygote = Zygote(Channel(socket(fileno=names["daemon"])), names["lifeline"])
    gc.collect()
    gc.freeze()
    gc.disable()  # this loop makes no cycles; jobs get it back
    zygote.run()
    os._exit(0)  # what a module registered for its exit is for its jobs to run


def _be_as_jobs_are() -> None:
    """Take on what every job has alike: it is handed down by fork, and costs a job nothing."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:  # when memory runs out: jobs, which are larger than we, before the daemon and before the web server
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:  # a container that forbids it: a preference, not a promise
        pass


def _clean_environment() -> None:
    """Leave in our environment what a job may see: run by a user, the user's own; run by root, next to nothing."""
    for name in list(os.environ):
        ours = name in _NOT_FOR_JOBS
        stranger = os.geteuid() == 0 and name not in _FROM_ROOT and not name.startswith("SIDECAR_")
        if ours or stranger:
            del os.environ[name]
