"""A warm zygote: a module is imported here once, and its jobs are forked with it in memory.

That is safe only if nobody can tell: a job must find what it would have found had it imported the module itself. So
after the import we look at what it has left, and whoever cannot be handed down by fork stays cold, with the reason:

    threads             fork copies only the one that calls it: their locks would stay held for ever
    child processes     they would belong to no job
    descriptors         sockets, pipes and files have one place or one peer: two jobs would read each other's bytes, and
                        SQLite forbids it outright. A file opened for reading counts too: its place is shared. What
                        jobs may share is a log (O_APPEND: each write is whole) and a device such as /dev/null
    SIGCHLD, timers     its handlers would run in our loop, and could reap our jobs
    folder, umask       each job gets these anew

An import that hangs, crashes or exits takes this zygote down, which runs no job then: the daemon gives it a deadline.
Last, one fork is tried: a hook that hangs in it would have hung all jobs, with nobody left to keep their deadlines.

At-fork hooks are what a fork costs most. Those of threading, logging and thread pools mend what other threads held;
with one thread there is nothing to mend, so they are left out here and put back in each job, which may have threads
and fork in its turn. Hooks that we do not know run, `random`'s among them; numpy has none, and would give all jobs the
same numbers, so we do it for numpy.

What the module registered for the exit of its process runs in each job, as it would have run there. Not so finalizers
of what the import made: that lives as long as this zygote.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself brings enum, and jobs may not want it
import atexit
import gc
import os
import stat
import sys
import time
from fcntl import F_GETFL, fcntl

from . import child, tree
from .watched import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_NOTHING_TO_MEND = ("threading", "logging", "concurrent.futures.thread")
_REMOVES = ("rmtree", "remove", "unlink", "rmdir")
_TIMERS = (_signal.ITIMER_REAL, _signal.ITIMER_VIRTUAL, _signal.ITIMER_PROF)
_REASON = 300  # characters

_hook, _register = os.register_at_fork, atexit.register
_importing = False  # whoever bound our stand-ins for these two meanwhile has them for good
_left_out: list[dict[str, Any]] = []


class Unsafe(Exception):
    """The module cannot be handed down by fork; the text says why."""


def warm_up(record: dict[str, Any], children: tree.Children) -> Files:
    """Run the runtime's setup and import `record["warm"]`; return the files to watch. Raises Unsafe."""
    began, pid = time.time(), os.getpid()
    _enter(record.get("cwd"))
    before = Surroundings(children)
    try:
        _import(record["warm"], record.get("setup"))
    except BaseException as error:  # whatever it is, also SystemExit: the module's own, and no reason for us to end
        raise Unsafe(_shown(error)) from None
    finally:
        if os.getpid() != pid:  # it forked, and this is the copy: nobody's job, and not our loop either
            os._exit(0)
    _keep_objects()
    kept = before.compare(Surroundings(children))
    _try_fork()
    before.compare(Surroundings(children))
    child.kept = kept
    files = Files.of(list(sys.modules.values()), began)
    gc.collect()
    gc.freeze()  # last: what is young when a job begins, its first collection would look at, page by page
    gc.disable()
    return files


def _enter(folder: str | None) -> None:
    try:
        os.chdir(folder or "/")
    except OSError as error:
        raise Unsafe(f"cannot enter folder {folder!r}: {error.strerror}") from None


def _import(module: str, setup: str | None) -> None:
    """Import as a job would, but with libraries told to start no threads; a job sees nothing of that."""
    added = [name for name in _ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    global _importing
    os.register_at_fork, atexit.register, _importing = _hook_unknown, _at_exit, True  # type: ignore[assignment]
    sys.argv = [module]
    gc.enable()
    try:
        if setup:
            child.resolve(setup)()
        __import__(module)
    finally:
        os.register_at_fork, atexit.register, _importing = _hook, _register, False
        for name in added:
            os.environ.pop(name, None)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else each job would write it again


def _hook_unknown(**hooks: Any) -> None:
    if _importing and sys._getframe(1).f_globals.get("__name__") in _NOTHING_TO_MEND:
        _left_out.append(hooks)
    else:
        _hook(**hooks)


def _at_exit(function: Any, *args: Any, **kwargs: Any) -> Any:
    if _importing and getattr(function, "__name__", "") in _REMOVES:
        raise Unsafe("it makes a file or folder that is removed when its process ends: the first job would remove it")
    if _importing and sys._getframe(1).f_globals.get("__name__") == "weakref":
        return function  # _keep_objects says why
    return _register(function, *args, **kwargs)


def _keep_objects() -> None:
    """Have no job end what was made by the import: a temporary folder, say, that the next one needs too.

    Finalizers that a job makes itself run as ever: the first of them registers anew what runs them at the exit.
    """
    weakref = sys.modules.get("weakref")
    if weakref is not None:
        for each in list(weakref.finalize._registry):
            each.atexit = False
        weakref.finalize._registered_with_atexit = False


def _in_job() -> None:
    """Make what was copied the job's own; runs after our forks, and not after the job's."""
    global _forked
    if _forked:
        return
    _forked = True
    for hooks in _left_out:
        _hook(**hooks)
    threading = sys.modules.get("threading")
    if threading is not None:
        threading.main_thread()._set_native_id()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


_forked = False


def _try_fork() -> None:
    _hook(after_in_child=_in_job)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _forked else 1)
    if os.waitpid(pid, 0)[1] != 0:
        raise Unsafe("a process forked with it in memory did not come up")


class Surroundings:
    """What a module must leave as it was."""

    def __init__(self, children: tree.Children) -> None:
        self.threads = len(os.listdir("/proc/self/task"))
        try:
            self.children = set(children.pids())
        except OSError:  # its descriptor was closed, which is told below
            self.children = set()
        self.descriptors = _descriptors()
        self.handlers = [_signal.getsignal(_signal.SIGCHLD), *map(_signal.getitimer, _TIMERS)]
        self.handlers.append(_signal.set_wakeup_fd(-1))
        umask = os.umask(0)
        os.umask(umask)
        self.place = (os.getcwd(), umask)

    def compare(self, after: Surroundings) -> list[int]:
        """Return the descriptors that are new and that jobs may share. Raises Unsafe naming what they may not."""
        if after.threads > self.threads:
            raise Unsafe(f"it starts threads ({after.threads - self.threads}), which a fork does not copy")
        if after.children - self.children:
            raise Unsafe("it starts a process that goes on after the import")
        if after.handlers != self.handlers:
            raise Unsafe("it sets a handler for SIGCHLD, a timer or a wake-up descriptor")
        if after.place != self.place:
            raise Unsafe("it changes the working folder or the umask")
        return self._compare_descriptors(after.descriptors)

    def _compare_descriptors(self, after: dict[int, tuple[int, int]]) -> list[int]:
        for fd, file in self.descriptors.items():
            if after.get(fd) != file:
                raise Unsafe("it closes descriptors that are not its own")
        kept = sorted(after.keys() - self.descriptors.keys())
        for fd in kept:
            if not _may_be_shared(fd):
                raise Unsafe(f"it leaves open: {os.readlink(f'/proc/self/fd/{fd}')}")
        return kept


def _descriptors() -> dict[int, tuple[int, int]]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            about = os.fstat(int(name))
        except OSError:  # the folder's own, closed by now
            continue
        found[int(name)] = (about.st_dev, about.st_ino)
    return found


def _may_be_shared(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    log = stat.S_ISREG(mode) and bool(fcntl(fd, F_GETFL) & os.O_APPEND)
    return log or stat.S_ISCHR(mode)


def _shown(error: BaseException) -> str:
    if isinstance(error, Unsafe):
        return str(error)
    try:
        text = str(error)
    except Exception:
        text = ""
    return child._text(f"its import ends with {type(error).__name__}: {text}"[:_REASON])
