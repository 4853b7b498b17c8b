"""The job's side: from fork to the job's first instruction, and for a call the call itself.

Everything here runs in the forked child, where every page that is written for the first time costs a fault, and even
reading a Python object writes its reference count. So: what it needs is imported before the first fork, what every job
has alike (signal mask, umask, limits) the zygote has too and hands down, and the way to the job's first instruction is
short. Names needed only when something went wrong are imported then. The order of `set_up` is the design's (6.3).
What ends here ends by `os._exit`: nothing of the zygote's own shutdown may run.
"""

from __future__ import annotations

import atexit
import mmap
import os
import signal
import sys
from importlib import import_module
from types import CoroutineType
from typing import Any, NoReturn

import msgpack

from . import kernel

REPORT_FD = 3
NOT_FOUND, NOT_RUNNABLE, FAILED = 127, 126, 1  # exit statuses, as a shell would give them
_TRACEBACK = 32 * 1024
_NAME = 200  # characters of a command's name in a message
_memory: mmap.mmap
_packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # a call keeps that, a command expects the default


class Plan:
    """What one attempt is to do: made by the daemon, carried out here."""

    __slots__ = ("additions", "argv", "call", "cwd", "fields", "limit")

    def __init__(self, fields: dict[str, Any], cwd: str | None, limit: int) -> None:
        self.fields = fields
        self.argv: list[str | bytes] | None = fields.get("argv")
        self.call: str = fields.get("call", "")
        self.cwd: str | None = fields.get("cwd") or cwd
        self.additions: dict[str, str] = {**fields.get("env", {}), **fields["ours"]}  # to the runtime's environment
        self.limit = limit  # of the packed return value, bytes


def run(plan: Plan, parent: int, stdin: int, output: int, report: int, setup: str | None) -> NoReturn:
    """Become the attempt. Never returns."""
    status = FAILED
    try:
        set_up(plan, parent, stdin, output, report)
        if plan.argv is not None:
            status = execute(plan.argv, {**os.environ, **plan.additions})
        else:
            status = call(plan, setup)
    except BaseException as error:  # the last line of defence: nothing may return into the zygote's loop
        _report_error(error)
    finally:
        os._exit(status)


def set_up(plan: Plan, parent: int, stdin: int, output: int, report: int) -> None:
    """Make the process a job's: own session, own descriptors, clean signals, its folder and environment."""
    os.setsid()
    kernel.become_subreaper()
    os.dup2(stdin, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(report, REPORT_FD)
    global _memory
    _memory = mmap.mmap(REPORT_FD, 0)  # it keeps a descriptor of its own, which the next line closes: the map stays
    os.closerange(4, 1 << 30)
    if plan.argv is not None:
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
    kernel.die_with_parent()
    if os.getppid() != parent:  # it ended before the line above
        os._exit(FAILED)
    if plan.cwd is not None:
        _enter(plan.cwd)


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        _report({"error": _error("FolderError", f"cannot enter folder {folder!r}: {error.strerror}")})
        os._exit(NOT_RUNNABLE)


def execute(argv: list[str | bytes], environ: dict[str, str]) -> int:
    """Replace this process by the command; returns an exit status only when that failed."""
    name = os.fsdecode(argv[0])[:_NAME]
    try:
        os.execvpe(argv[0], argv, environ)
    except FileNotFoundError:
        _report({"error": _error("CommandNotFound", f"cannot run {name!r}: no such file or command")})
        return NOT_FOUND
    except OSError as error:
        _report({"error": _error("CommandError", f"cannot run {name!r}: {error.strerror}")})
        return NOT_RUNNABLE


def call(plan: Plan, setup: str | None) -> int:
    """Import, call, report; returns the exit status of the process."""
    sys.argv = [plan.call]
    _add_to_environment(plan.additions)
    status = 0
    try:
        if setup:
            resolve(setup)()
        args, kwargs = _document(plan.fields.get("args")), _document(plan.fields.get("kwargs"))
        result = resolve(plan.call)(*(args or ()), **(kwargs or {}))
        if type(result) is CoroutineType:
            result = import_module("asyncio").run(result)
        _report_result(result, plan.limit)
    except SystemExit as end:
        status = _report_exit(end, plan.limit)
    except BaseException as error:
        _report_error(error)
        status = FAILED
    _finish()
    return status


def _add_to_environment(additions: dict[str, str]) -> None:
    """Do what os.environ.update does, by a way that writes a tenth of the pages (82 faults of a job's 380)."""
    known: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    for name, value in additions.items():
        key, text = name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
        known[key] = text
        os.putenv(key, text)


def resolve(target: str) -> Any:
    """Import "module:qualname" and return what it names."""
    module_name, _, path = target.partition(":")
    found = sys.modules.get(module_name) or import_module(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AttributeError(f"cannot find {path!r} in module {module_name!r}") from None
    return found


def _document(packed: bytes | None) -> Any:
    if packed is None:
        return None
    return msgpack.unpackb(packed, raw=False, strict_map_key=False, unicode_errors="surrogateescape")


def _finish() -> None:
    """End as an interpreter would: threads joined, exit functions run, output flushed."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _report(value: dict[str, Any]) -> None:
    """Write to the report file by way of memory: what the job has made of descriptor 3 by now is the job's."""
    data = _packer.pack(value)
    _memory[4 : 4 + len(data)] = data
    # The length goes last: what is killed in between has reported nothing, rather than half.
    _memory[:4] = len(data).to_bytes(4, "big")


def _report_result(value: Any, limit: int) -> None:
    try:
        packed = _packer.pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        return _report({"result_error": f"cannot pack the return value: {error}"[:1000]})
    if len(packed) > limit:
        return _report({"result_error": f"the return value is {len(packed)} bytes, the limit is {limit}"})
    _report({"result": packed})


def _report_exit(end: SystemExit, limit: int) -> int:
    """sys.exit() in a job: None and 0 are a return without a value, a number a status, a text a complaint."""
    if end.code is None or end.code == 0:
        _report_result(None, limit)
        return 0
    _report({"error": _error("SystemExit", str(end.code)[:_TRACEBACK])})
    return end.code & 0xFF or FAILED if isinstance(end.code, int) else FAILED


def _error(kind: str, message: str, traceback: str = "") -> dict[str, str]:
    return {"type": _text(kind), "message": _text(message), "traceback": _text(traceback)}


def _text(given: str) -> str:
    """Return a text that UTF-8 can carry: an exception may hold lone surrogates."""
    return given.encode("utf-8", "backslashreplace").decode()


def _report_error(error: BaseException) -> None:
    import traceback

    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_globals.get("__name__") == __name__:
        shown = shown.tb_next  # our own frames say nothing about the job
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:
        message = "(its message could not be made)"
    try:
        text = "".join(traceback.format_exception(kind, error, shown))
    except Exception:
        text = ""
    _report({"error": _error(name, message[:_TRACEBACK], text[-_TRACEBACK:])})
